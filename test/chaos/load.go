//go:build unix

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
)

const keys = 1000

// load writes orders at a rate: of each key the numbers 1, 2, 3 and so on, each once, whatever the brokers do.
type load struct {
	rate    int
	client  *kgo.Client
	cancel  context.CancelFunc
	ended   chan struct{}
	count   atomic.Int64
	numbers map[string]int64
	failed  atomic.Pointer[error] // of a record
	err     error
}

// truth is what was written.
type truth struct {
	records int64
	keys    map[string]int64
	buckets map[string]int64
}

// of returns the numbers that must be in an output.
func (t truth) of(topic string) map[string]int64 {
	if topic == "totals" {
		return t.buckets
	}
	return t.keys
}

func (t truth) due(topic string) (n int64) {
	for _, last := range t.of(topic) {
		n += last
	}
	return n
}

func startLoad(brokers []string, rate int) *load {
	l := &load{rate: rate, ended: make(chan struct{}), numbers: map[string]int64{}}
	if l.client, l.err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(0)); l.err != nil {
		return l
	}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	go l.run(ctx)
	return l
}

func (l *load) run(ctx context.Context) {
	defer close(l.ended)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range l.rate / 50 {
			key := fmt.Sprint("k", n*7919%keys)
			n++
			l.numbers[key]++
			value, err := serde.Int64.Append(nil, l.numbers[key])
			if err != nil {
				l.err = err
				return
			}
			// Without a deadline: the client tries until the record is there, once.
			l.client.Produce(context.Background(), &kgo.Record{Topic: ordersTopic, Key: []byte(key), Value: value}, l.wrote)
		}
	}
}

func (l *load) wrote(_ *kgo.Record, err error) {
	if err != nil {
		l.failed.CompareAndSwap(nil, &err)
		return
	}
	l.count.Add(1)
}

func (l *load) written() int64 { return l.count.Load() }

// stop ends the load and says what was written.
func (l *load) stop() truth {
	l.cancel()
	<-l.ended
	ctx, cancel := context.WithTimeout(context.Background(), livenessBound)
	defer cancel()
	err := l.client.Flush(ctx)
	if failed := l.failed.Load(); failed != nil {
		err = *failed
	}
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("writing orders: %w", err)
	}
	l.client.Close()
	t := truth{l.count.Load(), l.numbers, map[string]int64{}}
	for k, n := range l.numbers {
		t.buckets[bucketOf(k)] += n
	}
	return t
}

// fillPrices writes the table that the orders are joined with.
func fillPrices(ctx context.Context, brokers []string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	var all []*kgo.Record
	for n := range keys {
		value, err := serde.Int64.Append(nil, int64(n))
		if err != nil {
			return err
		}
		// Older than any order, so that the join finds them all.
		all = append(all, &kgo.Record{Topic: pricesTopic, Key: fmt.Append(nil, "k", n), Value: value, Timestamp: time.Now().Add(-time.Hour)})
	}
	return cl.ProduceSync(ctx, all...).FirstErr()
}
