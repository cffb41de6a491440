package node

import (
	"slices"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/topology"
)

// SlidingWindows are windows around records: two records of a key that are at most Difference milliseconds apart are in
// one of them.
type SlidingWindows struct{ Difference, Grace int64 }

// SlidingAggregate keeps one aggregate a key and sliding window (KStreamSlidingWindowAggregate): a window ends at each
// record, and one starts a millisecond after each record that others follow within the difference. So all sets of
// records that a window of this size can hold have one. Both ends of a window belong to it. Records before Difference
// end no window of their own; they are in one that starts at 0.
//
// A record with a null key or value is dropped, and so is one whose window on the right has closed: a window takes
// records while its end is not before the greatest timestamp seen less the grace period. Each window that it comes too
// late for is counted as dropped.
func SlidingAggregate[K, V, A any](name string, w SlidingWindows, a Aggregation[K, V, A], onClose bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		results, err := openResults(task, name, children, a, onClose, func(start int64) int64 { return start + w.Difference })
		return &slidingAggregate[K, V, A]{windowResults: results, windows: w}, err
	}
}

type slidingAggregate[K, V, A any] struct {
	windowResults[K, V, A]
	windows SlidingWindows
	found   []slidingWindow[A] // of the record in process, by start
	entries []store.WindowEntry
}

type slidingWindow[A any] struct {
	start int64
	Entry[A]
}

func (n *slidingAggregate[K, V, A]) Receive(r Record[K, V]) error {
	if r.NullKey || r.NullValue {
		return n.drop("null key or value")
	}
	n.streamTime = max(n.streamTime, r.Time)
	closeTime := n.streamTime - n.windows.Grace
	if n.end(r.Time) < closeTime {
		return n.drop("expired window")
	}
	if r.Time < n.windows.Difference {
		return n.early(r, closeTime)
	}
	if err := n.slide(r, closeTime); err != nil {
		return err
	}
	if to := closeTime - n.windows.Difference - 1; n.due(closeTime) && to >= 0 { // both ends of a window belong to it
		if err := n.emit(r, max(0, n.closed-n.windows.Difference), to); err != nil {
			return err
		}
		n.sent(closeTime)
	}
	return nil
}

// find reads the windows of the key that start between from and to.
func (n *slidingAggregate[K, V, A]) find(r Record[K, V], from, to int64) error {
	clear(n.found)
	n.found = n.found[:0]
	key, err := n.store.encodeKey(r.Key)
	if err != nil {
		return err
	}
	if n.entries, err = n.store.WindowsOf(n.entries[:0], key, from, to); err != nil {
		return err
	}
	for _, w := range n.entries {
		e, err := n.store.decode(w.Value, nil)
		if err != nil {
			return err
		}
		n.found = append(n.found, slidingWindow[A]{w.Start, e})
	}
	return nil
}

// starts says whether a window that was found starts at t.
func (n *slidingAggregate[K, V, A]) starts(t int64) bool {
	return slices.ContainsFunc(n.found, func(w slidingWindow[A]) bool { return w.start == t })
}

// slide adds a record to the windows that hold it, from the latest to the earliest, and makes those that it is the cause
// of: the one that ends with it, the one that starts after it, and the one that starts after the record before it.
func (n *slidingAggregate[K, V, A]) slide(r Record[K, V], closeTime int64) error {
	if err := n.find(r, max(0, r.Time-2*n.windows.Difference), r.Time+1); err != nil {
		return err
	}
	var left, right Entry[A]
	hasLeft, hasRight, previous := false, false, int64(-1)
walk:
	for _, w := range slices.Backward(n.found) {
		switch end := n.end(w.start); {
		case w.start == r.Time+1:
			hasRight = true
			continue
		case end < r.Time:
			left, previous = w.Entry, w.Time
			break walk
		case end == r.Time:
			hasLeft = true
			if w.Time < r.Time {
				previous = w.Time
			}
		case !right.Found:
			right = w.Entry
		}
		if err := n.addTo(r, w.start, w.Entry, closeTime); err != nil {
			return err
		}
		if hasLeft && w.Time >= r.Time { // there was a record at this time, and so is every window
			return nil
		}
	}
	if after := previous + 1; previous >= 0 && !n.starts(after) && n.end(after) >= r.Time {
		if err := n.addTo(r, after, Entry[A]{}, closeTime); err != nil {
			return err
		}
	}
	if start := r.Time - n.windows.Difference; !hasLeft {
		var e Entry[A]
		if previous >= start {
			e, e.Time = left, r.Time
		}
		if err := n.addTo(r, start, e, closeTime); err != nil {
			return err
		}
	}
	return n.makeRight(r, right, hasRight)
}

// early is slide for a record whose window on the left would start before 0.
func (n *slidingAggregate[K, V, A]) early(r Record[K, V], closeTime int64) error {
	if err := n.find(r, 0, r.Time+1); err != nil {
		return err
	}
	var first, right Entry[A]
	hasRight, previous := false, int64(-1)
	for _, w := range n.found {
		switch {
		case w.start == 0:
			first = w.Entry
			if w.Time < r.Time {
				previous = w.Time
			}
		case w.start <= r.Time:
			right = w.Entry
			if err := n.addTo(r, w.start, w.Entry, closeTime); err != nil {
				return err
			}
		default:
			hasRight = true
		}
	}
	if !right.Found && first.Found && first.Time > r.Time {
		right = first
	}
	if err := n.makeRight(r, right, hasRight); err != nil {
		return err
	}
	if previous >= 0 && !n.starts(previous+1) {
		if err := n.addTo(r, previous+1, Entry[A]{}, closeTime); err != nil {
			return err
		}
	}
	return n.addTo(r, 0, first, closeTime)
}

// addTo adds a record to a window, unless that has closed.
func (n *slidingAggregate[K, V, A]) addTo(r Record[K, V], start int64, e Entry[A], closeTime int64) error {
	if n.end(start) < closeTime {
		return n.drop("expired window")
	}
	return n.update(r, start, e)
}

// makeRight makes the window that starts after a record, where later records were found within the difference and it
// is not there yet: its aggregate is theirs.
func (n *slidingAggregate[K, V, A]) makeRight(r Record[K, V], right Entry[A], there bool) error {
	if there || !right.Found || right.Time <= r.Time {
		return nil
	}
	return n.set(r, r.Time+1, right.Time, Change[A]{New: right.Value, NullOld: true})
}
