package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/check"
)

// A history is what committed records there are and were, as a reader sees them: what is compacted or deleted later
// stays in it.
type history struct {
	client *kgo.Client
	stop   context.CancelFunc
	ended  chan struct{}

	mu struct {
		sync.Mutex
		records map[check.Partition][]check.Record
		next    map[check.Partition]int64 // the offset after the last thing that was read, be it a record or a marker
	}
}

func newHistory(opts ...kgo.Opt) (*history, error) {
	opts = append(opts, kgo.ClientID("history"),
		kgo.ConsumeRegex(), kgo.ConsumeTopics(".*"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.MetadataMaxAge(time.Second),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.FetchMaxWait(200*time.Millisecond))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	h := &history{client: client, ended: make(chan struct{})}
	h.mu.records, h.mu.next = make(map[check.Partition][]check.Record), make(map[check.Partition]int64)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go h.read(ctx)
	return h, nil
}

func (h *history) close() {
	h.stop()
	<-h.ended
	h.client.Close()
}

func (h *history) read(ctx context.Context) {
	defer close(h.ended)
	for ctx.Err() == nil {
		fetches := h.client.PollFetches(ctx)
		h.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			p := check.Partition{Topic: r.Topic, Number: r.Partition}
			if r.Offset < h.mu.next[p] {
				return // a reader that was sent back
			}
			h.mu.next[p] = r.Offset + 1
			if !r.Attrs.IsControl() {
				h.mu.records[p] = append(h.mu.records[p], check.Record{
					Partition: p, Offset: r.Offset, Key: string(r.Key), Value: r.Value, Timestamp: r.Timestamp.UnixMilli(),
				})
			}
		})
		h.mu.Unlock()
	}
}

// of returns the records of a partition.
func (h *history) of(topic string, number int32) []check.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clip(h.mu.records[check.Partition{Topic: topic, Number: number}])
}

// hasRead says whether all committed records of topics were read, as far as they reach now.
func (h *history) hasRead(c *kfake.Cluster, topics ...string) bool {
	for _, t := range topics {
		for _, p := range c.PartitionInfos(t) {
			h.mu.Lock()
			next := h.mu.next[check.Partition{Topic: t, Number: p.Partition}]
			h.mu.Unlock()
			if next < p.LastStableOffset && p.LogStartOffset < p.LastStableOffset {
				return false
			}
		}
	}
	return true
}
