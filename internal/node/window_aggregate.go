package node

import (
	"math"

	"github.com/millrace/millrace/topology"
)

// TimeWindows are windows of Size milliseconds that start at Start and each Advance from there: tumbling (Advance =
// Size), hopping, or unlimited (Size is the end of time).
type TimeWindows struct{ Size, Advance, Grace, Start int64 }

// First returns the start of the earliest window that holds t, or a later time where none does. Windows start at
// multiples of Advance, never before Start (TimeWindows.windowsFor).
func (w TimeWindows) First(t int64) int64 {
	if w.Size == math.MaxInt64 {
		return w.Start
	}
	// t - Size + Advance does not overflow: Advance <= Size, and t is not negative.
	return max(0, t-w.Size+w.Advance) / w.Advance * w.Advance
}

// end returns where the window that starts at start ends; one that would end after the end of time ends there.
func (w TimeWindows) end(start int64) int64 {
	if start > math.MaxInt64-w.Size {
		return math.MaxInt64
	}
	return start + w.Size
}

// WindowAggregate keeps one aggregate a key and time window (KStreamWindowAggregate). A record with a null key is
// dropped. A window takes records while its end is after the greatest timestamp seen less the grace period; each
// window that a record comes too late for is counted as dropped. With onClose results are sent on once, when their
// window has closed, instead of at each update.
func WindowAggregate[K, V, A any](name string, w TimeWindows, a Aggregation[K, V, A], onClose bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		results, err := openResults(task, name, children, a, onClose, w.end)
		return &windowAggregate[K, V, A]{results, w}, err
	}
}

type windowAggregate[K, V, A any] struct {
	windowResults[K, V, A]
	windows TimeWindows
}

func (n *windowAggregate[K, V, A]) Receive(r Record[K, V]) error {
	if r.NullKey {
		return n.drop("null key")
	}
	if r.NullValue && !n.showNulls && !n.CountNulls {
		return n.drop(nullValue)
	}
	n.streamTime = max(n.streamTime, r.Time)
	closeTime := n.streamTime - n.windows.Grace
	for start := n.windows.First(r.Time); start <= r.Time; start += n.windows.Advance {
		if err := n.add(r, start, closeTime); err != nil {
			return err
		}
		if start > math.MaxInt64-n.windows.Advance {
			break
		}
	}
	if n.due(closeTime) {
		return n.close(r, closeTime)
	}
	return nil
}

// add adds a record to a window, unless that has closed.
func (n *windowAggregate[K, V, A]) add(r Record[K, V], start, closeTime int64) error {
	if n.windows.end(start) <= closeTime {
		return n.drop("expired window")
	}
	e, err := n.store.get(r.Key, start)
	if err != nil {
		return err
	}
	return n.update(r, start, e)
}

// close sends on the results of the windows that closed since the last time.
func (n *windowAggregate[K, V, A]) close(r Record[K, V], closeTime int64) error {
	from, to := int64(0), closeTime-n.windows.Size
	if to < 0 {
		return nil
	}
	if n.closed != -1 {
		from = max(0, n.closed-n.windows.Size) + 1
		if n.windows.First(to) == n.windows.First(from-1) && to/n.windows.Advance == (from-1)/n.windows.Advance {
			return nil // no window between the two close times
		}
	}
	if err := n.emit(r, from, to); err != nil {
		return err
	}
	n.sent(closeTime)
	return nil
}
