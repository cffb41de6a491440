package task

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/topology"
)

// A timer is a punctuation that was asked for.
type timer struct {
	topology.Punctuation
	at       int64 // when it is due
	canceled bool
}

// timers are those of one clock, the next one first; of those due at the same time the order is that of a
// java.util.PriorityQueue, which sifts the same way.
type timers []*timer

func (q timers) Len() int           { return len(q) }
func (q timers) Less(i, j int) bool { return q[i].at < q[j].at }
func (q timers) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timers) Push(x any)        { *q = append(*q, x.(*timer)) }
func (q *timers) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// due returns when the next one is due by the wall clock; the zero time: there is none.
func (q timers) due() time.Time {
	if len(q) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(q[0].at)
}

// Schedule has something done again and again (StreamTask.schedule).
func (t *Task) Schedule(p topology.Punctuation) (cancel func()) {
	m, now := &timer{Punctuation: p}, t.clock(p.Clock)
	switch {
	case p.Anchor != nil:
		if m.at = *p.Anchor; m.at < now {
			m.proceed(now)
		}
	case p.Clock == topology.WallClock:
		m.at = now + p.Every
	}
	heap.Push(&t.timers[p.Clock], m)
	return func() { m.canceled = true }
}

func (t *Task) clock(c topology.Clock) int64 {
	if c == topology.WallClock {
		return t.wall
	}
	return t.time
}

// proceed sets when the timer is due next; times that were missed are left out (PunctuationSchedule.next).
func (m *timer) proceed(now int64) {
	if next := m.at + m.Every; now < next {
		m.at = next
	} else {
		m.at += ((now-m.at)/m.Every + 1) * m.Every
	}
}

// Punctuate does what is due: by stream time, then by the wall clock.
func (t *Task) Punctuate(now time.Time) error {
	t.wall = now.UnixMilli()
	for c := range t.timers {
		if err := t.punctuate(&t.timers[c], t.clock(topology.Clock(c))); err != nil {
			return err
		}
	}
	return nil
}

func (t *Task) punctuate(q *timers, now int64) (err error) {
	defer t.recovered(&err)
	for len(*q) > 0 && (*q)[0].at <= now {
		m := heap.Pop(q).(*timer)
		if m.canceled {
			continue
		}
		t.current, t.touched = nil, true
		if err := m.Do(now); err != nil {
			return err
		}
		if !m.canceled {
			m.proceed(now)
			heap.Push(q, m)
		}
	}
	return nil
}

// lifecycle is what is to be called when a node begins and ends.
type lifecycle struct{ open, close func() error }

// OnStart has a node opened when the stores are restored, and closed when it is given up.
func (t *Task) OnStart(open, close func() error) { t.starts = append(t.starts, lifecycle{open, close}) }

// openNodes opens the nodes that asked for it; they were built children first.
func (t *Task) openNodes() (err error) {
	defer t.recovered(&err)
	for _, n := range slices.Backward(t.starts) {
		t.running = append(t.running, n)
		if err := n.open(); err != nil {
			return fmt.Errorf("task %v: %w", t.cfg.ID, err)
		}
	}
	return nil
}

// closeNodes closes what was opened, the last one also where it could not be, and forgets what the nodes asked for.
func (t *Task) closeNodes() (err error) {
	defer t.recovered(&err)
	var errs []error
	for len(t.running) > 0 {
		n := t.running[0]
		t.running = t.running[1:]
		errs = append(errs, n.close())
	}
	t.starts, t.timers = nil, [2]timers{}
	return errors.Join(errs...)
}
