package streams

import (
	"context"
	"math"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// SessionWindows are windows of activity: a session of a key goes on while its records are no further apart than a gap,
// and has the timestamps of its first and last record as start and end. Make them with [Gap].
type SessionWindows struct{ gap, grace time.Duration }

// Gap returns sessions that end when a key has had no record for so long, at least a millisecond. Two records that are
// exactly the gap apart are in one session. Java: SessionWindows.ofInactivityGapWithNoGrace.
func Gap(gap time.Duration) SessionWindows { return SessionWindows{gap: gap} }

// Grace lets sessions take late records: a session is closed once a record has come whose timestamp is more than gap and
// grace after the session's end. It is 0 by default.
func (w SessionWindows) Grace(grace time.Duration) SessionWindows {
	w.grace = grace
	return w
}

// check reports what is wrong with the windows, and returns windows that can be used.
func (w SessionWindows) check(b *Builder) node.SessionWindows {
	n := node.SessionWindows{Gap: w.gap.Milliseconds(), Grace: w.grace.Milliseconds()}
	switch {
	case w.gap%time.Millisecond != 0 || w.grace%time.Millisecond != 0:
		b.fail("sessions are given the gap %v and the grace period %v; they are measured in whole milliseconds", w.gap, w.grace)
	case n.Gap <= 0:
		b.fail("sessions have the gap %v; it needs at least 1ms", w.gap)
	case n.Grace < 0:
		b.fail("sessions have the grace period %v; it cannot be negative", w.grace)
	case w.gap > math.MaxInt64-w.grace:
		b.fail("sessions with the gap %v have the grace period %v; both together can be %v", w.gap, w.grace, time.Duration(math.MaxInt64))
	default:
		return n
	}
	return node.SessionWindows{Gap: 1}
}

// SessionWindowed is a grouped stream whose records are aggregated by key and session (Java: SessionWindowedKStream).
//
// In all its aggregations a record that lies within the gap of sessions makes one session of them and itself: each of
// those is deleted from the table (a null for its window is sent on), and the new one is added. A record is dropped,
// counted, whose session would have ended more than gap and grace before the greatest timestamp seen so far. A null key
// is dropped; a null value is counted by Count, and seen by the functions of Reduce and Aggregate where its type shows
// nulls, else dropped. Results have the end of their session as timestamp.
type SessionWindowed[K, V any] struct {
	group   *Grouped[K, V]
	windows node.SessionWindows
	onClose bool
}

// Sessions splits the groups by sessions. Java: KGroupedStream.windowedBy(SessionWindows).
func (g *Grouped[K, V]) Sessions(w SessionWindows) *SessionWindowed[K, V] {
	return &SessionWindowed[K, V]{group: g, windows: w.check(g.b)}
}

// EmitOnClose sends each session's result on once, when the session has closed, instead of at each update; see
// [TimeWindowed.EmitOnClose].
func (w *SessionWindowed[K, V]) EmitOnClose() *SessionWindowed[K, V] {
	closing := *w
	closing.onClose = true
	return &closing
}

// Count counts the records of each key and session, null values included.
//
// Options as for [TimeWindowed.Count]. Java: SessionWindowedKStream.count. Names: KSTREAM-AGGREGATE-STATE-STORE-n,
// KSTREAM-AGGREGATE-n.
func (w *SessionWindowed[K, V]) Count[W WindowedKey[K]](opts ...Option) *Table[W, int64] {
	b := w.group.b
	o := b.options("Count", opts, windowedOptions)
	if o.store && o.name == "" {
		b.newName("KSTREAM-AGGREGATE-STATE-STORE-") // Java uses up a number more here, for compatibility with itself
	}
	a := node.SessionAggregation[K, V, int64]{
		Aggregation: node.Aggregation[K, V, int64]{Init: zero, Add: countOne[K, V], CountNulls: true},
		Merge:       func(_ context.Context, _ K, a, b int64, _ bool) (int64, error) { return a + b, nil },
	}
	return sessionAggregate[K, V, int64, W](w, "Count", "KSTREAM-AGGREGATE-", o, serde.Int64, a)
}

// Reduce combines the values of each key and session; the results of sessions that become one are combined by the same
// function, the earlier one first. See [Grouped.Reduce].
//
// Options as for Count. Java: SessionWindowedKStream.reduce. Names: KSTREAM-REDUCE-STATE-STORE-n, KSTREAM-REDUCE-n.
func (w *SessionWindowed[K, V]) Reduce[W WindowedKey[K]](f func(result, value V) V, opts ...Option) *Table[W, V] {
	w.group.b.function("Reduce", f)
	return w.TryReduce[W](func(_ context.Context, a, b V) (V, error) { return f(a, b), nil }, opts...)
}

// TryReduce is [SessionWindowed.Reduce] with a context and an error.
func (w *SessionWindowed[K, V]) TryReduce[W WindowedKey[K]](f func(ctx context.Context, result, value V) (V, error), opts ...Option) *Table[W, V] {
	w.group.b.function("TryReduce", f)
	o := w.group.b.options("Reduce", opts, windowedOptions)
	add := reducer[K](f)
	a := node.SessionAggregation[K, V, V]{
		Aggregation: node.Aggregation[K, V, V]{Add: add},
		Merge:       func(ctx context.Context, k K, a, b V, absent bool) (V, error) { return add(ctx, k, b, a, absent) },
	}
	return sessionAggregate[K, V, V, W](w, "Reduce", "KSTREAM-REDUCE-", o, w.group.value, a)
}

// Aggregate folds the values of each key and session into a result: it starts as init(), takes in the results of the
// sessions around the record by merge(key, result, other), the earliest first, and then the record by add. See
// [Grouped.Aggregate].
//
// Options as for Count. Java: SessionWindowedKStream.aggregate. Names: KSTREAM-AGGREGATE-STATE-STORE-n,
// KSTREAM-AGGREGATE-n.
func (w *SessionWindowed[K, V]) Aggregate[A any, W WindowedKey[K]](init func() A, add func(key K, value V, result A) A, merge func(key K, result, other A) A, opts ...Option) *Table[W, A] {
	w.group.b.function("Aggregate", init, add, merge)
	return w.TryAggregate[A, W](init, func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil },
		func(_ context.Context, k K, a, b A) (A, error) { return merge(k, a, b), nil }, opts...)
}

// TryAggregate is [SessionWindowed.Aggregate] with a context and an error.
func (w *SessionWindowed[K, V]) TryAggregate[A any, W WindowedKey[K]](init func() A, add func(ctx context.Context, key K, value V, result A) (A, error), merge func(ctx context.Context, key K, result, other A) (A, error), opts ...Option) *Table[W, A] {
	w.group.b.function("Aggregate", init, add, merge)
	o := w.group.b.options("Aggregate", opts, windowedOptions)
	a := node.SessionAggregation[K, V, A]{
		Aggregation: node.Aggregation[K, V, A]{Init: init, Add: adder(add)},
		Merge:       func(ctx context.Context, k K, a, b A, _ bool) (A, error) { return merge(ctx, k, a, b) },
	}
	return sessionAggregate[K, V, A, W](w, "Aggregate", "KSTREAM-AGGREGATE-", o, nil, a)
}

// sessionAggregate makes the table of an aggregation by sessions. W is Windowed[K].
func sessionAggregate[K, V, A any, W WindowedKey[K]](w *SessionWindowed[K, V], verb, prefix string, o *settings, value serde.Serde[A], a node.SessionAggregation[K, V, A]) *Table[W, A] {
	g := w.group
	a.Key = serdeFor(g.b, given(g.b, verb, o.key, g.key), "key", "streams.WithKey")
	a.Value = serdeFor(g.b, given(g.b, verb, o.value, value), "value", "streams.WithValue")
	a.Store = g.b.storeName(o.name, prefix)
	name := g.b.nameOr(o.node, prefix)
	kept := newKept(a.Store, o)
	a.SendOld = kept.sendsOld
	spec := o.spec(a.Store, state.Session)
	spec.Timestamped = false
	spec.Retention = g.b.retention(verb, o, milliseconds(w.windows.Gap+w.windows.Grace), "their gap plus grace period")
	if w.onClose {
		spec.TimeIndexed, spec.Cached = true, false
	}
	st := aggregation(name, node.SessionAggregate(name, w.windows, a, w.onClose), func(t *topology.Builder, user string) { t.AddStore(spec, user) })
	grace := w.windows.Gap + w.windows.Grace
	st.grace = &grace
	sources := g.below(a.Store, st)
	key := any(serde.SessionWindowed(a.Key)).(serde.Serde[W])
	return &Table[W, A]{
		b: g.b, step: st, name: name, key: key, value: a.Value, sources: sources, kept: kept,
		getter: func() node.GetterFunc[W, A] {
			return any(node.SessionGetter(a.Store, a.Key, a.Value)).(node.GetterFunc[W, A])
		},
	}
}

// retention returns how long windows are kept: as long as they need, or as the option says.
func (b *Builder) retention(verb string, o *settings, least time.Duration, what string) time.Duration {
	switch {
	case o.retention == nil:
		return least
	case *o.retention%time.Millisecond != 0:
		b.fail("%s keeps windows for %v; that is measured in whole milliseconds", verb, *o.retention)
	case *o.retention < least:
		b.fail("%s keeps windows for %v; %s is %v, and they are kept at least as long", verb, *o.retention, what, least)
	}
	return *o.retention
}
