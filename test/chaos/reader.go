//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/serde"
)

// reader reads the outputs, committed records only, and checks each number as it comes.
type reader struct {
	client *kgo.Client
	cancel context.CancelFunc
	ended  chan struct{}
	began  time.Time

	mu     sync.Mutex
	topics map[string]*output
	errs   []error
}

// output is what was read of a topic.
type output struct {
	numbers              check.Numbers
	records, lost, again int64
	moved                time.Time // when something came the last time
	stall                time.Duration
}

func startReader(brokers []string) (*reader, error) {
	r := &reader{ended: make(chan struct{}), topics: map[string]*output{}, began: time.Now()}
	for _, t := range outputs {
		r.topics[t] = &output{numbers: check.Numbers{Guarantee: check.ExactlyOnce}, moved: time.Now()}
	}
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(outputs...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		for ctx.Err() == nil {
			r.client.PollFetches(ctx).EachRecord(r.see) // errors are of the brokers that are killed, and retried
		}
	}()
	return r, nil
}

func (r *reader) see(k *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.topics[k.Topic]
	now := time.Now()
	o.stall = max(o.stall, now.Sub(o.moved))
	o.moved = now
	o.records++
	number, err := serde.Int64.Decode(k.Value)
	if err == nil {
		key := string(k.Key)
		last := o.numbers.Last()[key]
		at := check.Record{Partition: check.Partition{Topic: k.Topic, Number: k.Partition}, Offset: k.Offset, Key: key, Value: k.Value}
		if err = o.numbers.See(at, key, number); number > last+1 {
			o.lost += number - last - 1
		} else if number <= last {
			o.again++
		}
	}
	if err != nil && len(r.errs) < 20 {
		r.errs = append(r.errs, err)
	}
}

// check returns what was wrong so far, and stalls that last too long.
func (r *reader) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := r.errs
	for topic, o := range r.topics {
		if since := time.Since(o.moved); since > stallBound {
			errs = append(errs, fmt.Errorf("nothing came to topic %q for %v; the bound is %v", topic, since.Round(time.Second), stallBound))
		}
	}
	return errors.Join(errs...)
}

// await waits until all that is due was read.
func (r *reader) await(ctx context.Context, t truth, bound time.Duration) (time.Duration, error) {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := r.missing(t)
		if err := r.check(); err != nil || len(missing) == 0 {
			return time.Since(began), err
		}
		if time.Since(began) > bound {
			return bound, fmt.Errorf("%v after the faults were over there is still missing: %s", bound, strings.Join(missing, ", "))
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

func (r *reader) missing(t truth) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range outputs {
		n := int64(0)
		for key, last := range t.of(topic) {
			n += last - r.topics[topic].numbers.Last()[key]
		}
		if n > 0 {
			missing = append(missing, fmt.Sprintf("%d of %q", n, topic))
		}
	}
	return missing
}

func (r *reader) progress() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, t := range outputs {
		parts = append(parts, fmt.Sprintf("%d %s", r.topics[t].records, t))
	}
	return strings.Join(parts, ", ")
}

func (r *reader) summary(topic string) output {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.topics[topic]
}

func (r *reader) stop() {
	r.cancel()
	<-r.ended
	r.client.Close()
}
