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

const windowedOptions = aggregateOptions | retentionOption

// TimeWindowed is a grouped stream whose records are aggregated by key and time window (Java: TimeWindowedKStream).
//
// In all its aggregations a record counts in each window that holds its timestamp and is still open: a window is open
// while its end is after the greatest timestamp seen so far less the grace period. For each window that a record comes
// too late for, one dropped record is counted. A null key is dropped; a null value is counted by Count, and seen by the
// functions of Reduce and Aggregate where its type shows nulls, else dropped.
type TimeWindowed[K, V any] struct {
	group *Grouped[K, V]
	windowed
	onClose bool
}

// windowed says by which windows of a fixed size records are aggregated.
type windowed struct {
	windows node.TimeWindows
	sliding *node.SlidingWindows // instead of windows
}

// EmitOnClose sends each window's result on once, when the window has closed, instead of at each update. A window
// closes when a record with a later timestamp comes: without new records nothing is sent. Closed windows are looked for
// at most once a second of the wall clock. Java: emitStrategy(EmitStrategy.onWindowClose()).
func (w *TimeWindowed[K, V]) EmitOnClose() *TimeWindowed[K, V] {
	if w.windows.Size == math.MaxInt64 {
		w.group.b.fail("EmitOnClose: unlimited windows never close")
	}
	closing := *w
	closing.onClose = true
	return &closing
}

// Count counts the records of each key and window, null values included.
//
// Options as for [Grouped.Count]; Retention sets how long windows are kept. Java: TimeWindowedKStream.count. Names:
// KSTREAM-AGGREGATE-STATE-STORE-n, KSTREAM-AGGREGATE-n.
func (w *TimeWindowed[K, V]) Count[W WindowedKey[K]](opts ...Option) *Table[W, int64] {
	b := w.group.b
	o := b.options("Count", opts, windowedOptions)
	if o.store && o.name == "" && w.sliding == nil {
		b.newName("KSTREAM-AGGREGATE-STATE-STORE-") // Java uses up a number more here, for compatibility with itself
	}
	a := node.Aggregation[K, V, int64]{Init: zero, Add: countOne[K, V], CountNulls: true}
	return windowAggregate[K, V, int64, W](w, "Count", "KSTREAM-AGGREGATE-", o, serde.Int64, a)
}

// Reduce combines the values of each key and window; see [Grouped.Reduce].
//
// Options as for Count. Java: TimeWindowedKStream.reduce. Names: KSTREAM-REDUCE-STATE-STORE-n, KSTREAM-REDUCE-n.
func (w *TimeWindowed[K, V]) Reduce[W WindowedKey[K]](f func(result, value V) V, opts ...Option) *Table[W, V] {
	w.group.b.function("Reduce", f)
	return w.TryReduce[W](func(_ context.Context, a, b V) (V, error) { return f(a, b), nil }, opts...)
}

// TryReduce is [TimeWindowed.Reduce] with a context and an error.
func (w *TimeWindowed[K, V]) TryReduce[W WindowedKey[K]](f func(ctx context.Context, result, value V) (V, error), opts ...Option) *Table[W, V] {
	w.group.b.function("TryReduce", f)
	o := w.group.b.options("Reduce", opts, windowedOptions)
	return windowAggregate[K, V, V, W](w, "Reduce", "KSTREAM-REDUCE-", o, w.group.value, node.Aggregation[K, V, V]{Add: reducer[K](f)})
}

// Aggregate folds the values of each key and window into a result; see [Grouped.Aggregate].
//
// Options as for Count. Java: TimeWindowedKStream.aggregate. Names: KSTREAM-AGGREGATE-STATE-STORE-n,
// KSTREAM-AGGREGATE-n.
func (w *TimeWindowed[K, V]) Aggregate[A any, W WindowedKey[K]](init func() A, add func(key K, value V, result A) A, opts ...Option) *Table[W, A] {
	w.group.b.function("Aggregate", init, add)
	return w.TryAggregate[A, W](init, func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil }, opts...)
}

// TryAggregate is [TimeWindowed.Aggregate] with a context and an error.
func (w *TimeWindowed[K, V]) TryAggregate[A any, W WindowedKey[K]](init func() A, add func(ctx context.Context, key K, value V, result A) (A, error), opts ...Option) *Table[W, A] {
	w.group.b.function("Aggregate", init, add)
	o := w.group.b.options("Aggregate", opts, windowedOptions)
	return windowAggregate[K, V, A, W](w, "Aggregate", "KSTREAM-AGGREGATE-", o, nil, node.Aggregation[K, V, A]{Init: init, Add: adder(add)})
}

// windowAggregate makes the table of a windowed aggregation. W is Windowed[K].
func windowAggregate[K, V, A any, W WindowedKey[K]](w *TimeWindowed[K, V], verb, prefix string, o *settings, value serde.Serde[A], a node.Aggregation[K, V, A]) *Table[W, A] {
	g := w.group
	a.Key = serdeFor(g.b, given(g.b, verb, o.key, g.key), "key", "streams.WithKey")
	a.Value = serdeFor(g.b, given(g.b, verb, o.value, value), "value", "streams.WithValue")
	a.Store = g.b.storeName(o.name, prefix)
	name := g.b.nameOr(o.node, prefix)
	kept := newKept(a.Store, o)
	a.SendOld = kept.sendsOld
	spec := o.spec(a.Store, state.Window)
	w.describe(g.b, verb, o, spec)
	if w.onClose { // the store is read by time then
		spec.TimeFirst, spec.TimeIndexed = w.sliding == nil, w.sliding != nil
		spec.Cached = spec.Cached && w.sliding == nil // Java caches those of time windows only
	}
	newNode := node.WindowAggregate(name, w.windows, a, w.onClose)
	if w.sliding != nil {
		newNode = node.SlidingAggregate(name, *w.sliding, a, w.onClose)
	}
	st := aggregation(name, newNode, func(t *topology.Builder, user string) { t.AddStore(spec, user) })
	st.grace = w.grace()
	sources := g.below(a.Store, st)
	key := any(serde.TimeWindowed(a.Key, spec.WindowSize)).(serde.Serde[W])
	return &Table[W, A]{
		b: g.b, step: st, name: name, key: key, value: a.Value, sources: sources, kept: kept,
		getter: func() node.GetterFunc[W, A] {
			return any(node.WindowGetter(a.Store, a.Key, a.Value)).(node.GetterFunc[W, A])
		},
	}
}

// describe completes the description of the window store.
func (w *windowed) describe(b *Builder, verb string, o *settings, spec *state.Spec) {
	switch {
	case w.sliding != nil:
		spec.WindowSize = milliseconds(w.sliding.Difference)
		spec.Retention = b.retention(verb, o, 2*spec.WindowSize+milliseconds(w.sliding.Grace), "twice their time difference plus grace period")
	case w.windows.Size == math.MaxInt64:
		spec.WindowSize = math.MaxInt64
		spec.Retention = b.retention(verb, o, math.MaxInt64, "their size")
	default:
		spec.WindowSize = milliseconds(w.windows.Size)
		spec.Retention = b.retention(verb, o, spec.WindowSize+milliseconds(w.windows.Grace), "their size plus grace period")
	}
}

// grace returns how long after their end windows close.
func (w *windowed) grace() *int64 {
	if w.sliding != nil {
		return &w.sliding.Grace
	}
	return &w.windows.Grace
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
