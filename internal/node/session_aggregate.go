package node

import (
	"context"
	"math"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// SessionWindows are sessions that end when a key has had no record for Gap, in milliseconds.
type SessionWindows struct{ Gap, Grace int64 }

// SessionAggregation is an Aggregation that can put the aggregates of two sessions together.
type SessionAggregation[K, V, A any] struct {
	Aggregation[K, V, A]

	// Merge returns the aggregate of two sessions that are one. absent says that a is nothing yet, and Init is nil.
	Merge func(ctx context.Context, k K, a, b A, absent bool) (A, error)
}

// SessionAggregate keeps one aggregate a key and session (KStreamSessionWindowAggregate). A record with a null key is
// dropped. A record belongs to one session with all that are within the gap of it; those are removed, and the session
// that they become takes their place. It is dropped where that would end before the greatest timestamp seen less gap and
// grace period. Results have the end of their session as timestamp.
func SessionAggregate[K, V, A any](name string, w SessionWindows, a SessionAggregation[K, V, A], onClose bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[serde.Windowed[K], A](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openSessions(task, a.Store, a.Key, a.Value)
		if err != nil {
			return nil, err
		}
		n := &sessionAggregate[K, V, A]{
			base: baseOf(name, task), SessionAggregation: a, windows: w, store: s, nulls: nullsOf[A](), showNulls: nullsOf[V]().shown(),
			streamTime: -1, closing: closingOf(task, a.Store, onClose),
		}
		n.forwarder = forwarder[serde.Windowed[K], A]{out: Outputs[serde.Windowed[K], Change[A]]{atEnd[K, A]{out}}, sendOld: a.SendOld()}
		if !onClose {
			n.refer = refer(a.Key)
			n.onFlush(task, s.Store, n.decodeKey, s.decode)
		}
		return n, nil
	}
}

type sessionAggregate[K, V, A any] struct {
	base
	SessionAggregation[K, V, A]
	forwarder[serde.Windowed[K], A]
	windows    SessionWindows
	store      *sessions[K, A]
	nulls      nulls[A]
	showNulls  bool
	found      []session[A] // of the record in process
	entries    []store.WindowEntry
	refer      func([]byte) (K, error)
	streamTime int64 // the greatest timestamp seen; -1: none
	closing
}

type session[A any] struct {
	serde.Window
	value A
}

// atEnd gives the results of sessions their timestamp.
type atEnd[K, A any] struct {
	to Outputs[serde.Windowed[K], Change[A]]
}

func (a atEnd[K, A]) Receive(r Record[serde.Windowed[K], Change[A]]) error {
	r.Time = r.Key.Window.End
	return a.to.Forward(r)
}

func (n *sessionAggregate[K, V, A]) decodeKey(b []byte) (w serde.Windowed[K], err error) {
	key, start, end := store.SplitSessionKey(b)
	w.Key, err = n.refer(key)
	w.Window = serde.Window{Start: start, End: end}
	return w, err
}

func (n *sessionAggregate[K, V, A]) Receive(r Record[K, V]) error {
	if r.NullKey {
		return n.drop("null key")
	}
	if r.NullValue && !n.showNulls && !n.CountNulls {
		return n.drop(nullValue)
	}
	n.streamTime = max(n.streamTime, r.Time)
	closeTime := n.streamTime - n.windows.Grace - n.windows.Gap
	if err := n.update(r, closeTime); err != nil {
		return err
	}
	if n.due(closeTime) {
		return n.close(r, closeTime)
	}
	return nil
}

// update makes one session of the record and those around it.
func (n *sessionAggregate[K, V, A]) update(r Record[K, V], closeTime int64) error {
	ctx := n.enter()
	agg, absent := n.start(Entry[A]{}, n.nulls)
	whole, err := n.around(r)
	if err != nil {
		return err
	}
	for _, s := range n.found {
		if agg, err = n.Merge(ctx, r.Key, agg, s.value, absent && n.Init == nil); err != nil {
			return n.failed(err)
		}
		absent = n.nulls.is(agg)
	}
	if whole.End < closeTime {
		return n.drop("expired session")
	}
	if whole.Start != whole.End {
		if err := n.replaced(r); err != nil {
			return err
		}
	}
	now, err := n.Add(n.enter(), r.Key, r.Value, agg, absent)
	if err != nil {
		return n.failed(err)
	}
	null := n.nulls.is(now) || absent && r.NullValue && n.Init == nil // a reduction starts from the value, null or not
	if err := n.store.put(n.task, r.Key, whole, now, null, r.Time, r.Headers); err != nil {
		return err
	}
	return n.changed(r.Key, whole, Change[A]{New: now, NullNew: null, NullOld: true})
}

// around finds the sessions of the key within the gap, and returns the window of all.
func (n *sessionAggregate[K, V, A]) around(r Record[K, V]) (whole serde.Window, err error) {
	whole = serde.Window{Start: r.Time, End: r.Time}
	latest := int64(math.MaxInt64)
	if r.Time < latest-n.windows.Gap {
		latest = r.Time + n.windows.Gap
	}
	clear(n.found)
	n.found = n.found[:0]
	key, err := n.store.encodeKey(r.Key)
	if err != nil {
		return whole, err
	}
	if n.entries, err = n.store.SessionsOf(n.entries[:0], key, r.Time-n.windows.Gap, latest); err != nil {
		return whole, err
	}
	for _, e := range n.entries {
		v, err := n.store.decode(e.Value, nil)
		if err != nil {
			return whole, err
		}
		n.found = append(n.found, session[A]{serde.Window{Start: e.Start, End: e.End}, v.Value})
		whole.Start, whole.End = min(whole.Start, e.Start), max(whole.End, e.End)
	}
	return whole, nil
}

// replaced removes the sessions that were found.
func (n *sessionAggregate[K, V, A]) replaced(r Record[K, V]) error {
	for _, s := range n.found {
		if err := n.store.remove(n.task, r.Key, s.Window, r.Time, r.Headers); err != nil {
			return err
		}
		if err := n.changed(r.Key, s.Window, Change[A]{Old: s.value, NullNew: true}); err != nil {
			return err
		}
	}
	return nil
}

func (n *sessionAggregate[K, V, A]) changed(k K, w serde.Window, c Change[A]) error {
	if n.onClose {
		return nil
	}
	return n.forward(Record[serde.Windowed[K], Change[A]]{Key: serde.Windowed[K]{Key: k, Window: w}, Value: c})
}

// close sends on the results of the sessions that closed since the last time.
func (n *sessionAggregate[K, V, A]) close(r Record[K, V], closeTime int64) error {
	from, to := max(0, n.closed), closeTime-1 // both ends of a session belong to it
	if to < from {
		return nil
	}
	for s, err := range n.store.Sessions(from, to) {
		if err != nil {
			return err
		}
		e, err := n.store.decode(s.Value, nil)
		if err != nil {
			return err
		}
		key, err := n.Key.Decode(s.Key)
		if err != nil {
			return err
		}
		w := serde.Windowed[K]{Key: key, Window: serde.Window{Start: s.Start, End: s.End}}
		change := Change[A]{New: e.Value, NullNew: !e.Found, NullOld: true}
		if err := n.out.Forward(Record[serde.Windowed[K], Change[A]]{Key: w, Value: change, Headers: r.Headers}); err != nil {
			return err
		}
	}
	n.sent(closeTime)
	return nil
}

// sessions is the typed view of a session store.
type sessions[K, V any] struct {
	*store.Store
	codec[K, V]
}

func openSessions[K, V any](task topology.Context, name string, key serde.Serde[K], value serde.Serde[V]) (*sessions[K, V], error) {
	s, err := openStore(task, name)
	if err != nil {
		return nil, err
	}
	return &sessions[K, V]{s, codec[K, V]{name: name, key: key, value: value}}, nil
}

// put writes the aggregate of a session; it is logged with the time of the record in process.
func (s *sessions[K, V]) put(task topology.Context, k K, w serde.Window, v V, null bool, time int64, headers []topology.Header) error {
	kb, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	vb, err := s.encodeValue(v, null)
	if err != nil {
		return err
	}
	return s.PutSession(kb, w.Start, w.End, store.Value{Bytes: vb, Timestamp: time}, s.context(task, time, headers))
}

func (s *sessions[K, V]) remove(task topology.Context, k K, w serde.Window, time int64, headers []topology.Header) error {
	kb, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	return s.RemoveSession(kb, w.Start, w.End, time, s.context(task, time, headers))
}

// SessionGetter reads a table of sessions from its session store.
func SessionGetter[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) GetterFunc[serde.Windowed[K], V] {
	return func(task topology.Context) (Getter[serde.Windowed[K], V], error) {
		s, err := openSessions(task, name, key, value)
		if err != nil {
			return nil, err
		}
		return func(w serde.Windowed[K], _ int64) (e Entry[V], err error) {
			b, err := s.encodeKey(w.Key)
			if err != nil {
				return e, err
			}
			e, err = s.decode(s.GetSession(b, w.Window.Start, w.Window.End))
			e.Time = w.Window.End
			return e, err
		}, nil
	}
}
