package node

import (
	"math"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// TimeWindows are tumbling (Advance = Size) or hopping windows, in milliseconds.
type TimeWindows struct{ Size, Advance, Grace int64 }

// First returns the start of the earliest window that holds t. Windows start at multiples of Advance, never before 0
// (TimeWindows.windowsFor).
func (w TimeWindows) First(t int64) int64 {
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
		out, err := wireChanges[serde.Windowed[K], A](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openWindows(task, a.Store, a.Key, a.Value)
		if err != nil {
			return nil, err
		}
		n := &windowAggregate[K, V, A]{
			base: baseOf(name, task), Aggregation: a, windows: w, store: s, nulls: nullsOf[A](), showNulls: nullsOf[V]().shown(),
			forwarder: forwarder[serde.Windowed[K], A]{out: out, sendOld: a.SendOld()}, streamTime: -1, onClose: onClose, closed: -1,
		}
		if t, ok := task.Mark(a.Store); onClose && ok {
			n.closed = t
		}
		if !onClose {
			n.onFlush(task, s.Store, n.decodeKey, s.decode)
		}
		return n, nil
	}
}

type windowAggregate[K, V, A any] struct {
	base
	Aggregation[K, V, A]
	forwarder[serde.Windowed[K], A]
	windows    TimeWindows
	store      *windows[K, A]
	nulls      nulls[A]
	showNulls  bool
	streamTime int64 // the greatest timestamp seen; -1: none
	onClose    bool
	closed     int64 // the close time up to which results were sent on; -1: none
	nextEmit   int64 // the wall clock before which closed windows are not looked for
}

func (n *windowAggregate[K, V, A]) decodeKey(b []byte) (w serde.Windowed[K], err error) {
	key, start := store.SplitWindowKey(b)
	w.Key, err = n.Key.Decode(key)
	w.Window = serde.Window{Start: start, End: n.windows.end(start)}
	return w, err
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
		if n.windows.end(start) <= closeTime {
			if err := n.drop("expired window"); err != nil {
				return err
			}
		} else if err := n.update(r, start); err != nil {
			return err
		}
		if start > math.MaxInt64-n.windows.Advance {
			break
		}
	}
	if n.onClose {
		return n.emit(r, closeTime)
	}
	return nil
}

// update adds a record to one window.
func (n *windowAggregate[K, V, A]) update(r Record[K, V], start int64) error {
	e, err := n.store.get(r.Key, start)
	if err != nil {
		return err
	}
	time := r.Time
	if e.Found {
		time = max(time, e.Time)
	}
	ctx := n.enter()
	old, absent := n.start(e, n.nulls)
	now, err := n.Add(ctx, r.Key, r.Value, old, absent)
	if err != nil {
		return n.failed(err)
	}
	null := n.nulls.is(now) || absent && r.NullValue && n.Init == nil // a reduction starts from the value, null or not
	if err := n.store.put(n.task, r.Key, start, now, null, time, r.Time, r.Headers); err != nil {
		return err
	}
	if n.onClose {
		return nil
	}
	w := serde.Windowed[K]{Key: r.Key, Window: serde.Window{Start: start, End: n.windows.end(start)}}
	return n.forward(Record[serde.Windowed[K], Change[A]]{Key: w, Value: Change[A]{now, old, null, absent}, Time: time, Headers: r.Headers})
}

// emit sends on the results of the windows that closed since the last time
// (AbstractKStreamTimeWindowAggregateProcessor.maybeForwardFinalResult).
func (n *windowAggregate[K, V, A]) emit(r Record[K, V], closeTime int64) error {
	now := n.task.Wall()
	if now < n.nextEmit {
		return nil
	}
	n.nextEmit = now + n.task.EmitInterval()
	if n.closed != -1 && n.closed >= closeTime {
		return nil
	}
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
	for entry, err := range n.store.Windows(from, to) {
		if err != nil {
			return err
		}
		e, err := n.store.decode(entry.Value, nil)
		if err != nil {
			return err
		}
		key, err := n.Key.Decode(entry.Key)
		if err != nil {
			return err
		}
		w := serde.Windowed[K]{Key: key, Window: serde.Window{Start: entry.Start, End: n.windows.end(entry.Start)}}
		change := Change[A]{New: e.Value, NullNew: !e.Found, NullOld: true}
		if err := n.out.Forward(Record[serde.Windowed[K], Change[A]]{Key: w, Value: change, Time: e.Time, Headers: r.Headers}); err != nil {
			return err
		}
	}
	n.closed = closeTime
	n.task.SetMark(n.Store, closeTime)
	return nil
}
