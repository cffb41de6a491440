package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A feed writes the input: of each key running numbers, and now and then the next version of its row. Its connections
// are never disturbed; that brokers are away or refuse it bears like any producer.
type feed struct {
	p      *plan
	client *kgo.Client
	rnd    *rand.Rand

	numbers, versions map[string]int64
	jump              time.Duration // of event time

	mu struct {
		sync.Mutex
		err error
	}
}

func newFeed(p *plan, opts ...kgo.Opt) (*feed, error) {
	client, err := kgo.NewClient(append(opts, kgo.ClientID("feed"), kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return nil, err
	}
	return &feed{
		p: p, client: client, rnd: rand.New(rand.NewPCG(p.seed, 2)), numbers: make(map[string]int64), versions: make(map[string]int64),
	}, nil
}

func (f *feed) key() string { return fmt.Sprintf("k%02d", f.rnd.IntN(f.p.keys)) }

// some writes what is due in a while.
func (f *feed) some(d time.Duration) {
	due := float64(f.p.rate) * d.Seconds()
	n := int(due)
	if f.rnd.Float64() < due-float64(n) {
		n++
	}
	for range n {
		if f.rnd.IntN(10) == 0 {
			f.row(f.key())
		}
		f.number(f.key())
	}
}

func (f *feed) number(key string) {
	f.numbers[key]++
	f.send(inTopic, key, f.numbers[key])
}

func (f *feed) row(key string) {
	f.versions[key]++
	f.send(rowsTopic, key, f.versions[key])
}

// last writes a version of each row, waits, and writes a number of each key, which must meet it.
func (f *feed) last(ctx context.Context, rowsSeen func() bool) {
	for n := range f.p.keys {
		f.row(fmt.Sprintf("k%02d", n))
	}
	f.flush(ctx)
	for !rowsSeen() && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
	}
	for n := range f.p.keys {
		f.number(fmt.Sprintf("k%02d", n))
	}
	f.flush(ctx)
}

// send writes a record. Its time is about now, and jumps.
func (f *feed) send(topic, key string, number int64) {
	jitter := time.Duration(f.rnd.Int64N(int64(20 * time.Second)))
	r := &kgo.Record{
		Topic: topic, Key: []byte(key), Value: []byte(format(key, number)), Timestamp: time.Now().Add(f.jump - jitter),
	}
	f.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) { f.failed(err) })
}

func (f *feed) flush(ctx context.Context) { f.failed(f.client.Flush(ctx)) }

func (f *feed) failed(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.err = fmt.Errorf("the input cannot be written: %w", err)
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.err
}
