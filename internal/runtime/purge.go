package runtime

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/assign"
)

// A purger deletes from repartition topics what is committed, and nothing that is not: a record that was read but not
// committed is read again by whoever gets its task (KAFKA-17635).
type purger struct {
	mu struct {
		sync.Mutex
		upTo map[assign.TopicPartition]int64 // committed by this instance
		done map[assign.TopicPartition]int64 // deleted
		busy bool
	}
	wg sync.WaitGroup
}

// committed says up to where partitions are committed.
func (p *purger) committed(offsets map[assign.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.upTo == nil {
		p.mu.upTo, p.mu.done = make(map[assign.TopicPartition]int64), make(map[assign.TopicPartition]int64)
	}
	maps.Copy(p.mu.upTo, offsets)
}

// start deletes in the background, unless it is still at it. What fails is tried again the next time.
func (p *purger) start(i *Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := make(map[assign.TopicPartition]int64)
	for part, upTo := range p.mu.upTo {
		if upTo > p.mu.done[part] {
			before[part] = upTo
		}
	}
	if p.mu.busy || len(before) == 0 {
		return
	}
	p.mu.busy = true
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(i.hope.Context, 30*time.Second)
		defer cancel()
		err := i.ports.Cluster.DeleteRecords(ctx, before)
		if err != nil {
			i.log.Warn("repartition topics cannot be purged; trying again later (the application needs DELETE on them)", "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.busy = false
		if err == nil {
			maps.Copy(p.mu.done, before)
		}
	})
}
