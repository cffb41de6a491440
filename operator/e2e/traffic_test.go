//go:build k8s

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/serde"
)

// traffic writes records at a rate, reads what the application makes of them, and holds that against what was written: of each key the
// numbers from 1 on, each once.
type traffic struct {
	input  string
	client *kgo.Client
	reader *kgo.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	rate    int     // records a second
	hot     float64 // the part of them that goes to partition 0, beside its share
	keys    int     // of a partition
	next    int
	written map[string]int64 // by key
	numbers check.Numbers
	read    int64
	stalls  [tasks]stall
	errs    []error
	stopped bool
}

// stall is how long nothing came of a partition of the input.
type stall struct {
	last    time.Time
	longest time.Duration
}

// flow begins to write and to read.
func (s *scene) flow(rate int) *traffic {
	s.Helper()
	tr := &traffic{input: s.input, rate: rate, keys: 500, written: make(map[string]int64), numbers: check.Numbers{Guarantee: check.ExactlyOnce}}
	brokers := kgo.SeedBrokers(strings.Split(world.kafka.Bootstrap(), ",")...)
	var err error
	if tr.client, err = kgo.NewClient(brokers, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		s.Fatal(err)
	}
	if tr.reader, err = kgo.NewClient(brokers, kgo.ConsumeTopics(s.output), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted())); err != nil {
		s.Fatal(err)
	}
	var ctx context.Context
	ctx, tr.cancel = context.WithCancel(context.Background())
	tr.ended.Go(func() { tr.write(ctx) })
	tr.ended.Go(func() {
		for ctx.Err() == nil {
			tr.reader.PollFetches(ctx).EachRecord(tr.see)
		}
	})
	s.traffic = tr
	return tr
}

func (tr *traffic) write(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, due := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			tr.mu.Lock()
			due += now.Sub(last).Seconds() * float64(tr.rate)
			tr.mu.Unlock()
			last = now
			tr.burst(int(due))
			due -= float64(int(due))
		}
	}
}

// burst writes so many records now.
func (tr *traffic) burst(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.stopped {
		return
	}
	for range n {
		tr.next++
		partition := tr.next % tasks
		if float64(tr.next%100) < 100*tr.hot {
			partition = 0
		}
		key := fmt.Sprintf("%d-%d", partition, tr.next*7919%tr.keys)
		tr.written[key]++
		// Without a deadline: the client tries until the record is there, once.
		tr.client.Produce(context.Background(), &kgo.Record{Topic: tr.input, Partition: int32(partition), Key: []byte(key), Value: []byte("a record of the end-to-end tests")}, func(_ *kgo.Record, err error) {
			if err != nil {
				tr.failed(fmt.Errorf("writing: %w", err))
			}
		})
	}
}

func (tr *traffic) failed(err error) {
	go func() { // who calls may have the lock
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.errs = append(tr.errs, err)
	}()
}

func (tr *traffic) see(r *kgo.Record) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	key := string(r.Key)
	tr.read++
	number, err := serde.Int64.Decode(r.Value)
	if err == nil {
		err = tr.numbers.See(check.Record{Partition: check.Partition{Topic: r.Topic, Number: r.Partition}, Offset: r.Offset, Key: key, Value: r.Value}, key, number)
	}
	if err != nil && len(tr.errs) < 20 {
		tr.errs = append(tr.errs, err)
	}
	var partition int
	if _, err := fmt.Sscanf(key, "%d-", &partition); err == nil && partition < tasks {
		p := &tr.stalls[partition]
		if !p.last.IsZero() {
			p.longest = max(p.longest, time.Since(p.last))
		}
		p.last = time.Now()
	}
}

// at changes the rate, and the part that goes to partition 0.
func (tr *traffic) at(rate int, hot float64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.rate, tr.hot = rate, hot
}

// longest is for how long at most nothing came of a partition since it was asked last, and of which.
func (tr *traffic) longest() (stalled time.Duration, partition int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i := range tr.stalls {
		p := &tr.stalls[i]
		if longest := max(p.longest, time.Since(p.last)); !p.last.IsZero() && longest > stalled {
			stalled, partition = longest, i
		}
		p.longest = 0
	}
	return stalled, partition
}

// quietest is the partition of which nothing has come for longest.
func (tr *traffic) quietest() (since time.Duration, partition int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i := range tr.stalls {
		if d := time.Since(tr.stalls[i].last); d > since {
			since, partition = d, i
		}
	}
	return since, partition
}

// behind is how many outputs are not there yet.
func (tr *traffic) behind() (n int64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for key, written := range tr.written {
		n += written - tr.numbers.Last()[key]
	}
	return n
}

// wrong is what was wrong so far.
func (tr *traffic) wrong() []error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.errs)
}

func (tr *traffic) String() string {
	stalled, partition := tr.longest()
	behind := tr.behind()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return fmt.Sprintf("%d records written, %d read, %d to come, longest stall of late %v in partition %d, %d errors", tr.next, tr.read, behind, stalled.Round(time.Millisecond), partition, len(tr.errs))
}

// stop ends the writing.
func (tr *traffic) stop() {
	tr.mu.Lock()
	stopped := tr.stopped
	tr.stopped = true
	tr.mu.Unlock()
	if stopped {
		return
	}
	tr.cancel()
	tr.ended.Wait()
	tr.client.Close()
	tr.reader.Close()
}

// caughtUp waits until what was written has come out, but for what is on its way.
func (s *scene) caughtUp(within time.Duration) {
	s.Helper()
	s.traffic.mu.Lock()
	rest := int64(s.traffic.rate)
	s.traffic.mu.Unlock()
	s.until("the outputs are there", within, func() string {
		if wrong := s.traffic.wrong(); len(wrong) > 0 {
			s.Fatal("the output is wrong: ", wrong)
		}
		if n := s.traffic.behind(); n > rest {
			return fmt.Sprintf("%d outputs are to come", n)
		}
		return ""
	})
}

// settle ends the writing, waits for the rest, and compares: nothing is lost, and nothing comes twice.
func (s *scene) settle() {
	s.Helper()
	s.traffic.at(0, 0)
	s.caughtUp(time.Minute)
	s.traffic.stop()
	if wrong := s.traffic.wrong(); len(wrong) > 0 {
		s.Fatal("the output is wrong: ", wrong)
	}
	s.Logf("%d records: none lost, none twice", s.traffic.read)
	if s.traffic.read != int64(s.traffic.next) || s.traffic.next == 0 {
		s.Fatalf("%d outputs of %d records", s.traffic.read, s.traffic.next)
	}
}
