// Package load is the benchmark's data: records that follow from a seed and their number alone, so that programs in
// other languages can make and check the same topics.
package load

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Set is a topic's worth of records.
type Set struct {
	Records int64
	Keys    int64 // distinct keys, uniformly used
	Seed    uint64
	Base    int64 // milliseconds: the timestamp of the first record
}

// perMs is how many records share a millisecond of event time, size the length of a value.
const (
	perMs = 10
	size  = 100
)

// mix is splitmix64.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func pick(seed uint64, i int64, n int64) int64 {
	return int64(mix(seed*1_000_003+uint64(i)) % uint64(n))
}

// Key returns the key of record i: k and 8 digits.
func (s Set) Key(i int64) []byte { return fmt.Appendf(nil, "k%08d", pick(s.Seed, i, s.Keys)) }

// Time returns the timestamp of record i.
func (s Set) Time(i int64) time.Time { return time.UnixMilli(s.Base + i/perMs) }

// Value returns the value of record i: 12 digits of i, |, 6 digits of a second uniform key, |, lower-case letters.
func (s Set) Value(i int64) []byte {
	b := fmt.Appendf(make([]byte, 0, size), "%012d|%06d|", i, pick(s.Seed+7, i, min(s.Keys, 1_000_000)))
	r := mix(uint64(i) ^ s.Seed)
	for p := len(b); p < size; p++ {
		b = append(b, 'a'+byte((r>>((p&7)*8)&255)%26))
		if p&7 == 7 {
			r = mix(r)
		}
	}
	return b
}

// Fill writes the records to a topic, in order.
func (s Set) Fill(ctx context.Context, brokers []string, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchMaxBytes(512<<10), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	failed := make(chan error, 1)
	for i := range s.Records {
		r := &kgo.Record{Topic: topic, Key: s.Key(i), Value: s.Value(i), Timestamp: s.Time(i)}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("filling topic %q: %w", topic, err)
	default:
		return nil
	}
}
