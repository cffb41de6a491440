package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// commitDue says whether to commit: the interval is over, or the stores hold back more than they should.
func (w *worker) commitDue(now time.Time) bool {
	return now.Sub(w.lastCommit) >= w.i.cfg.CommitInterval || w.i.stores.CommitWanted()
}

// commit makes what tasks did last, in this order, so that nothing that was read is forgotten before what came of it
// is safe (at least once):
//
//  1. The caches are flushed: what they held back is processed on, logged and sent.
//  2. Everything that was sent is acknowledged. One record lost is the end: nothing is committed.
//  3. The offsets of the inputs are committed, as the group's member.
//  4. The stores take over what was held back until now, with the positions of their changelogs.
//
// Tasks that were lost are left out. If the group refuses the member, all of them are.
func (w *worker) commit(tasks map[topology.TaskID]*running) error {
	began := time.Now()
	w.lastCommit = began
	var needed []*running
	for _, r := range tasks {
		if r.CommitNeeded() && !r.lost.Load() {
			needed = append(needed, r)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	for _, r := range needed {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.i.cfg.CommitTimeout)
	defer cancel()
	if err := w.producer.Flush(ctx); err != nil {
		return err
	}
	offsets, purge := w.offsets(needed)
	if err := w.i.member.Commit(ctx, offsets); err != nil {
		var lost interface{ LostMembership() }
		if !errors.As(err, &lost) {
			return err
		}
		w.log.Warn("the group does not take the commit: the tasks are given up, and what they did since the last commit is "+
			"done again by whoever gets them", "error", err)
		return w.lose(needed)
	}
	for _, r := range needed {
		partition := r.ID().Partition
		err := r.Committed(func(changelog string) (int64, bool) { return w.producer.Written(changelog, partition) })
		if err != nil {
			return fmt.Errorf("runtime: task %v: its state cannot be written: %w", r.ID(), err)
		}
	}
	w.i.purge.committed(purge)
	w.i.metrics.Committed(w.number, time.Since(began))
	return nil
}

// offsets collects what is to be committed. Where a task has processed all that it has, that is up to the position of
// the consumer, past what is not a record (transaction markers, say), as Java does.
func (w *worker) offsets(tasks []*running) (offsets map[assign.TopicPartition]Committed, purge map[assign.TopicPartition]int64) {
	offsets = make(map[assign.TopicPartition]Committed)
	purge = make(map[assign.TopicPartition]int64)
	for _, r := range tasks {
		news := r.Offsets()
		for _, in := range r.inputs {
			c, ok := news[in.part.Topic]
			if !ok {
				continue
			}
			if in.held == 0 {
				c.Offset = max(c.Offset, in.next)
			}
			offsets[in.part] = c
			if in.purged {
				purge[in.part] = c.Offset
			}
		}
	}
	return offsets, purge
}

// lose gives up tasks that the group has given to others: nothing more of them is committed.
func (w *worker) lose(tasks []*running) error {
	ids := make(map[topology.TaskID]*running)
	for _, r := range tasks {
		r.lost.Store(true)
		if w.tasks[r.ID()] == r {
			ids[r.ID()] = r
		}
	}
	err := w.giveUp(ids, false)
	for _, r := range ids {
		w.i.events.put(gone{r})
	}
	return err
}
