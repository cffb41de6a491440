package task

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/topology"
)

// Add queues records of a topic behind those that wait. The task takes the slice over.
func (t *Task) Add(topic string, records []topology.Record) (err error) {
	defer t.recovered(&err)
	in := t.byName[topic]
	if in == nil {
		return fmt.Errorf("task %v: topic %q is none of its inputs", t.cfg.ID, topic)
	}
	in.add(records)
	if in.hasHead {
		return nil
	}
	return t.pullHead(in)
}

// Buffered returns how many records of a topic wait.
func (t *Task) Buffered(topic string) int {
	in := t.byName[topic]
	if in == nil {
		return 0
	}
	if in.hasHead {
		return in.waiting + 1
	}
	return in.waiting
}

// Lag says that the broker has n more records of a topic than were added. Until it is said of an empty input, the task
// waits, unless it never does.
func (t *Task) Lag(topic string, n int64) {
	if in := t.byName[topic]; in != nil {
		in.lag = n
	}
}

// Absent says that a topic has no partition for the task, as it has fewer than another: nothing is waited for.
func (t *Task) Absent(topic string) {
	t.inputs = slices.DeleteFunc(t.inputs, func(in *input) bool { return in.topic == topic })
}

// pullHead decodes records of an input until one is to be processed, and makes it the head. Dropped records count as
// processed.
func (t *Task) pullHead(in *input) error {
	for {
		r := in.pull()
		if r == nil {
			in.hasHead, in.head = false, nil
			return nil
		}
		t.current, t.atWork = r, in.node
		stamp, err := in.source.Decode(in.slot, r, in.time)
		if err != nil {
			err = t.undecodable(in, r, err)
		}
		if err == nil && stamp >= 0 {
			in.head, in.stamp, in.hasHead, in.idleUntil = r, stamp, true, time.Time{}
			heap.Push(&t.ready, in)
			return nil
		}
		if err == nil {
			t.Drop(in.node, "negative timestamp")
		} else if !errors.Is(err, errSkip) {
			return err
		}
		t.touched = true
		in.position, in.epoch = r.Offset+1, r.LeaderEpoch
	}
}

// Process processes up to limit records, the lowest timestamp among the inputs first, and returns how many. It stops
// where the task has to wait: see [Task.WaitUntil].
func (t *Task) Process(limit int, now time.Time) (n int, err error) {
	t.wall = now.UnixMilli()
	for n < limit && t.isReady(now) {
		if err := t.processOne(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (t *Task) processOne() (err error) {
	defer t.recovered(&err)
	in := heap.Pop(&t.ready).(*input)
	r := in.head
	in.hasHead, in.head = false, nil
	in.time = max(in.time, in.stamp)
	t.time = max(t.time, in.stamp)
	t.current, t.touched = r, true
	if err := in.source.Process(in.slot); err != nil {
		return err
	}
	in.position, in.epoch = r.Offset+1, r.LeaderEpoch
	return t.pullHead(in)
}

// isReady says whether the task may process (PartitionGroup.readyToProcess): it has a head of every input, or does not
// wait for those that are empty. An input waits from when it is first found empty; each has its own time.
func (t *Task) isReady(now time.Time) bool {
	t.deadline = time.Time{}
	if len(t.ready) == len(t.inputs) || t.cfg.MaxIdle < 0 {
		return len(t.ready) > 0
	}
	for _, in := range t.inputs {
		switch {
		case in.hasHead:
		case in.lag != 0: // the broker has some, or has not said: they will come
			in.idleUntil = time.Time{}
			return false
		default:
			if in.idleUntil.IsZero() {
				in.idleUntil = now.Add(t.cfg.MaxIdle)
			}
			if now.Before(in.idleUntil) {
				t.deadline = in.idleUntil
				return false
			}
		}
	}
	return len(t.ready) > 0
}

// WaitUntil returns when there is something to do without new records; the zero time: not before they come.
func (t *Task) WaitUntil() time.Time {
	until := t.timers[topology.WallClock].due()
	if len(t.ready) > 0 && !t.deadline.IsZero() && (until.IsZero() || t.deadline.Before(until)) {
		return t.deadline
	}
	return until
}
