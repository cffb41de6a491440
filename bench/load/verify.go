package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// WindowMs is the size of the windows of the windowed workload.
const WindowMs = 10_000

// digest is the number of records and the sum of their hashes: equal for equal sets of records, whatever their order.
type digest struct {
	n   int
	sum uint64
}

// add takes a record in: FNV-1a over key, 0 and value.
func (d *digest) add(key, value []byte) {
	h := uint64(0xcbf29ce484222325)
	for _, b := range key {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h *= 0x100000001b3
	for _, b := range value {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	d.n++
	d.sum += h
}

// Verify compares a workload's output topic with what its input says: all records of W1, the last value of each key of
// the others.
func (s Set) Verify(ctx context.Context, brokers []string, workload, out string) error {
	var want, got digest
	last := map[string]int64{}
	for i := range s.Records {
		key, value := s.Key(i), s.Value(i)
		switch workload {
		case "W1":
			if value[11] != '0' {
				want.add(key, bytes.ToUpper(value))
			}
		case "W2":
			last[string(key)]++
		case "W4":
			start := s.Time(i).UnixMilli() / WindowMs * WindowMs
			last[string(binary.BigEndian.AppendUint64(key, uint64(start)))]++
		case "W7":
			n, err := strconv.ParseInt(string(value[9:12]), 10, 64)
			if err != nil {
				return err
			}
			last[string(value[13:19])] += n
		default:
			return fmt.Errorf("workload %q is not one that can be verified", workload)
		}
	}
	for k, n := range last {
		want.add([]byte(k), binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	final := map[string][]byte{}
	err := read(ctx, brokers, out, func(r *kgo.Record) {
		if workload == "W1" {
			got.add(r.Key, r.Value)
		} else {
			final[string(r.Key)] = r.Value
		}
	})
	if err != nil {
		return err
	}
	for k, v := range final {
		got.add([]byte(k), v)
	}
	if got != want {
		return fmt.Errorf("topic %q has %d results with digest %x; %d with digest %x are right", out, got.n, got.sum, want.n, want.sum)
	}
	return nil
}

// read reads a topic to its end.
func read(ctx context.Context, brokers []string, topic string, f func(*kgo.Record)) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords()) // a partition may end with one
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				f(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}
