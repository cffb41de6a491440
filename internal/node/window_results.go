package node

import (
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// windowResults are the aggregates of windows, as a node that keeps and sends them on has them.
type windowResults[K, V, A any] struct {
	base
	Aggregation[K, V, A]
	forwarder[serde.Windowed[K], A]
	store      *windows[K, A]
	end        func(start int64) int64
	nulls      nulls[A]
	showNulls  bool
	refer      func([]byte) (K, error)
	streamTime int64 // the greatest timestamp seen; -1: none
	closing
}

// openResults opens the store of the results, and gets ready to send on what its cache holds back.
func openResults[K, V, A any](task topology.Context, name string, children []any, a Aggregation[K, V, A], onClose bool, end func(start int64) int64) (windowResults[K, V, A], error) {
	var n windowResults[K, V, A]
	out, err := wireChanges[serde.Windowed[K], A](name, children)
	if err != nil {
		return n, err
	}
	s, err := openWindows(task, a.Store, a.Key, a.Value)
	if err != nil {
		return n, err
	}
	n = windowResults[K, V, A]{
		base: baseOf(name, task), Aggregation: a, store: s, end: end, nulls: nullsOf[A](), showNulls: nullsOf[V]().shown(),
		forwarder: forwarder[serde.Windowed[K], A]{out: out, sendOld: a.SendOld()}, streamTime: -1, closing: closingOf(task, a.Store, onClose),
	}
	if !onClose {
		n.refer = refer(a.Key)
		n.onFlush(task, s.Store, n.decodeKey, s.decode)
	}
	return n, nil
}

func (n *windowResults[K, V, A]) decodeKey(b []byte) (w serde.Windowed[K], err error) {
	key, start := store.SplitWindowKey(b)
	w.Key, err = n.refer(key)
	w.Window = serde.Window{Start: start, End: n.end(start)}
	return w, err
}

// update adds a record to the window that starts at start and has been e so far.
func (n *windowResults[K, V, A]) update(r Record[K, V], start int64, e Entry[A]) error {
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
	return n.set(r, start, time, Change[A]{New: now, Old: old, NullNew: null, NullOld: absent})
}

// set changes a window.
func (n *windowResults[K, V, A]) set(r Record[K, V], start, time int64, c Change[A]) error {
	if err := n.store.put(n.task, r.Key, start, c.New, c.NullNew, time, r.Time, r.Headers); err != nil {
		return err
	}
	if n.onClose {
		return nil
	}
	w := serde.Windowed[K]{Key: r.Key, Window: serde.Window{Start: start, End: n.end(start)}}
	return n.forward(Record[serde.Windowed[K], Change[A]]{Key: w, Value: c, Time: time, Headers: r.Headers})
}

// emit sends on the results of the windows that start between from and to, which have closed.
func (n *windowResults[K, V, A]) emit(r Record[K, V], from, to int64) error {
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
		w := serde.Windowed[K]{Key: key, Window: serde.Window{Start: entry.Start, End: n.end(entry.Start)}}
		change := Change[A]{New: e.Value, NullNew: !e.Found, NullOld: true}
		if err := n.out.Forward(Record[serde.Windowed[K], Change[A]]{Key: w, Value: change, Time: e.Time, Headers: r.Headers}); err != nil {
			return err
		}
	}
	return nil
}

// closing says when a node that sends results on when their windows close looks for closed ones
// (AbstractKStreamTimeWindowAggregateProcessor).
type closing struct {
	context topology.Context
	mark    string
	onClose bool
	closed  int64 // the close time up to which results were sent on; -1: none
	next    int64 // the wall clock before which closed windows are not looked for
}

func closingOf(task topology.Context, store string, onClose bool) closing {
	c := closing{context: task, mark: store, onClose: onClose, closed: -1}
	if t, ok := task.Mark(store); onClose && ok {
		c.closed = t
	}
	return c
}

// due says whether to look for windows that closed since the last time.
func (c *closing) due(closeTime int64) bool {
	now := c.context.Wall()
	if !c.onClose || now < c.next {
		return false
	}
	c.next = now + c.context.EmitInterval()
	return c.closed == -1 || c.closed < closeTime
}

// sent remembers, with the next commit, up to where results were sent on.
func (c *closing) sent(closeTime int64) {
	c.closed = closeTime
	c.context.SetMark(c.mark, closeTime)
}
