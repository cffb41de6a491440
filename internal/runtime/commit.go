package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// commitDue says whether to commit: the interval is over, the stores hold back more than they should, or a processor
// asks for it.
func (w *worker) commitDue(now time.Time) bool {
	if now.Sub(w.lastCommit) >= w.interval(now) || w.i.stores.CommitWanted() {
		return true
	}
	for _, r := range w.tasks {
		if r.CommitRequested() {
			return true
		}
	}
	return false
}

// interval is how long to wait between two commits. A worker that is behind may commit less often: what it does is late
// anyway, and a commit costs the most where many changes of a key could have been one. So a record waits for its commit
// no longer than the worker needs to catch up, at its present rate, or than keeps commits to a twentieth of the time; and
// never longer than the longest interval.
func (w *worker) interval(now time.Time) time.Duration {
	base, longest := w.i.cfg.CommitInterval, w.i.cfg.CatchUpInterval
	since := now.Sub(w.lastCommit)
	if since < base || longest <= base {
		return base
	}
	behind := int64(0)
	for _, r := range w.tasks {
		for _, in := range r.inputs {
			behind += in.lag.Load() + in.held.Load()
		}
	}
	if behind == 0 {
		return base
	}
	catchUp := time.Duration(float64(behind) / float64(max(w.processed, 1)) * float64(since))
	return min(max(base, catchUp, 20*w.commitTook), longest)
}

// commit makes what the tasks did last, in this order, so that nothing that was read is forgotten before what came of
// it is safe:
//
//  1. The caches are flushed: what they held back is processed on, logged and sent.
//  2. Everything that was sent is acknowledged, and the offsets of the inputs are stored, as the group's member: under
//     exactly-once in one transaction. One record lost voids all of it.
//  3. The stores take over what was held back until now, with the positions of their changelogs.
//
// All tasks of the worker are committed together, for they share the transaction. One that was lost must not be in it.
func (w *worker) commit() error {
	began := time.Now()
	w.lastCommit, w.processed = began, 0
	needed, err := w.needed()
	if err != nil {
		return err
	}
	if len(needed) == 0 {
		return w.persist()
	}
	for _, r := range needed {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(w.i.hope.Context, w.i.cfg.CommitTimeout)
	defer cancel()
	offsets, purge := w.offsets(needed)
	asked := time.Now()
	err = w.send(ctx, offsets)
	blocked := time.Since(asked)
	switch {
	case err == nil:
		w.doubt(began, blocked)
	case lostMembership(err):
		w.log.Warn("the group does not take the commit: the tasks are given up, and what they did since the last commit is "+
			"done again by whoever gets them", "error", err)
		return w.lose()
	default:
		return err
	}
	w.failures, w.failing = 0, time.Time{}
	for _, r := range needed {
		for _, in := range r.inputs {
			if c, ok := offsets[in.part]; ok {
				in.stored.Store(c.Offset)
			}
		}
		partition := r.id.Partition
		err := r.Committed(func(changelog string) (int64, bool) { return w.producer.Written(changelog, partition) })
		if err != nil {
			return err
		}
		w.i.noteCommitted(r.Task)
	}
	w.i.purge.committed(purge)
	w.commitTook = time.Since(began)
	w.metrics.Committed(w.commitTook, blocked)
	return nil
}

// send has the producer commit, and meanwhile answers readers: the stores stand still.
func (w *worker) send(ctx context.Context, offsets map[assign.TopicPartition]Committed) error {
	done := make(chan error, 1)
	go func() { done <- w.producer.Commit(ctx, offsets) }()
	for {
		select {
		case err := <-done:
			return err
		case read := <-w.lend:
			read()
		}
	}
}

// A commit that takes longer than slowCommit may have been tried more than once, by other connections. A try that was
// given up may still be on its way, and set the offsets back when it arrives, after later commits even: nothing is lost by
// that, but what was done since would be done again by whoever gets the task next, and the group would seem to lag for
// as long as nothing comes.
const slowCommit = time.Second

// strayTime is how long a request that was given up may be on its way.
const strayTime = 30 * time.Second

// doubt notes how a commit went that began then: whether the offsets are to be committed again though nothing is new.
func (w *worker) doubt(began time.Time, took time.Duration) {
	switch {
	case took > slowCommit:
		w.doubtful = began
	case began.Sub(w.doubtful) > strayTime:
		w.doubtful = time.Time{}
	}
}

// persist has the tasks that have nothing to commit write what earlier commits left.
func (w *worker) persist() error {
	for _, r := range w.tasks {
		if err := r.Persist(); err != nil {
			return err
		}
	}
	return nil
}

// needed returns the tasks that have something to commit.
func (w *worker) needed() (needed []*running, err error) {
	for _, r := range w.tasks {
		switch {
		case r.lost.Load() && w.producer.InTransaction():
			return nil, &void{fmt.Errorf("runtime: task %v was lost while its work was part of a transaction", r.id)}
		case (r.CommitNeeded() || r.passed() || !w.doubtful.IsZero()) && !r.lost.Load():
			needed = append(needed, r)
		}
	}
	return needed, nil
}

// passed says whether the task came past something that is no record, a transaction's marker say, since the last commit:
// that is committed too, or the end of a topic would seem never to be reached (StreamTask.commitNeeded).
func (r *running) passed() bool {
	return slices.ContainsFunc(r.inputs, func(in *input) bool { return in.held.Load() == 0 && in.next > in.stored.Load() })
}

// offsets collects what is to be committed. Where a task has processed all that it has, that is up to the position of
// the consumer. What is sent without anything having been read, by a punctuation say, is committed with offsets as well:
// by them the group can tell that the member still has its place.
func (w *worker) offsets(tasks []*running) (offsets map[assign.TopicPartition]Committed, purge map[assign.TopicPartition]int64) {
	offsets = make(map[assign.TopicPartition]Committed)
	purge = make(map[assign.TopicPartition]int64)
	for _, r := range tasks {
		news, all := r.Offsets(), r.Positions()
		for _, in := range r.inputs {
			c := all[in.part.Topic]
			if in.held.Load() == 0 {
				c.Offset = max(c.Offset, in.next)
			} else { // a marker behind the last record may be committed already
				c.Offset = max(c.Offset, in.stored.Load())
			}
			if _, ok := news[in.part.Topic]; !ok && c.Offset == in.stored.Load() && w.doubtful.IsZero() && !w.producer.InTransaction() {
				continue
			}
			offsets[in.part] = Committed(c)
			if in.purged {
				purge[in.part] = c.Offset
			}
		}
	}
	return offsets, purge
}

// lose gives up all tasks, as the group has given them to others: nothing more of them is committed.
func (w *worker) lose() error {
	ids := make(map[topology.TaskID]*running)
	for _, r := range w.tasks {
		r.lost.Store(true)
		ids[r.id] = r
	}
	err := w.giveUp(ids, false)
	for _, r := range ids {
		w.i.events.put(gone{r})
	}
	return err
}

// void says that what was done since the last commit cannot be committed, through no fault of the cluster.
type void struct{ error }

func (*void) StartOver() {}

// progress says that the cause of starting over is another than the last time, however soon it came.
func progress(cause error) bool {
	var p interface{ Progress() bool }
	return errors.As(cause, &p) && p.Progress()
}

// startOver takes all tasks of the worker back to the last commit: the transaction, if there is one, is aborted, and
// the tasks are restored to what was committed and begin there. Each time in a row it waits longer, until that has gone
// on for as long as the application allows; then the cause is returned.
func (w *worker) startOver(cause error) error {
	now := time.Now()
	if w.failing.IsZero() || progress(cause) || now.Sub(w.failed) > w.pause+w.i.cfg.TaskTimeout/2 { // the last time was another trouble
		w.failures, w.failing = 0, now
	}
	w.failed = now
	w.failures++
	w.metrics.StartedOver()
	if since := now.Sub(w.failing); since > w.i.cfg.TaskTimeout {
		return fmt.Errorf("runtime: worker %d could not commit for %v, %d times in a row (option TaskTimeout): %w",
			w.number, since.Round(time.Second), w.failures, cause)
	}
	if w.pause = 0; w.failures > 1 {
		w.pause = min(100*time.Millisecond<<min(w.failures-2, 10), 10*time.Second)
	}
	w.log.Warn("what was done since the last commit is void; starting over from there", "tasks", len(w.tasks), "error", cause,
		"times", w.failures, "pause", w.pause)
	if err := w.producer.Reset(); err != nil {
		return err
	}
	var again rewound
	for id, r := range w.tasks {
		w.leave(r)
		delete(w.tasks, id)
		if r.lost.Load() {
			w.i.abandon(r, nil)
			w.i.events.put(gone{r})
			continue
		}
		bad := w.i.spoilt(cause, r.id)
		if !bad {
			if err := r.Rewind(); err != nil {
				w.log.Warn("a task cannot be rewound, opening it again", "task", r.id, "error", err)
				bad = true
			}
		}
		if bad {
			w.i.abandon(r, cause)
		}
		again.runs = append(again.runs, r)
	}
	again.pause = w.pause
	w.i.events.put(again)
	return nil
}
