package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

const (
	aggregateOptions = nameOption | nodeNameOption | storeOption | keyOption | valueOption
	tableOptions     = aggregateOptions | versionedOption | maxEntriesOption // of tables without windows
)

// Count counts the records of each key, from 1. A record with a null key or value is dropped, counted. Each count has
// the greatest timestamp of its records.
//
// The result is a table kept in a store. Options: As names the store (and its changelog), Named the node; InMemory,
// OnDisk, Uncached, Unlogged and LogConfig are about the store; WithKey sets the key's serde. Java:
// KGroupedStream.count. Names: KSTREAM-AGGREGATE-STATE-STORE-n, KSTREAM-AGGREGATE-n.
func (g *Grouped[K, V]) Count(opts ...Option) *Table[K, int64] {
	o := g.b.options("Count", opts, tableOptions)
	if o.store && o.name == "" {
		g.b.newName("KSTREAM-AGGREGATE-STATE-STORE-") // Java uses up a number more here, for compatibility with itself
	}
	return aggregate(g, "Count", "KSTREAM-AGGREGATE-", o, serde.Int64, node.Aggregation[K, V, int64]{Init: zero, Add: countOne[K, V]})
}

func zero() int64 { return 0 }

func countOne[K, V any](_ context.Context, _ K, _ V, n int64, _ bool) (int64, error) {
	return n + 1, nil
}

// Reduce combines the values of each key: the first value stands as it is, each further one is combined with the result
// so far by f(result, value). A record with a null key or value is dropped, counted. The result has the greatest
// timestamp of its records.
//
// Options as for [Grouped.Count]; WithValue sets the value's serde. Java: KGroupedStream.reduce. Names:
// KSTREAM-REDUCE-STATE-STORE-n, KSTREAM-REDUCE-n.
func (g *Grouped[K, V]) Reduce(f func(result, value V) V, opts ...Option) *Table[K, V] {
	g.b.function("Reduce", f)
	return g.reduce("Reduce", func(_ context.Context, a, b V) (V, error) { return f(a, b), nil }, opts)
}

// TryReduce is [Grouped.Reduce] with a context and an error.
func (g *Grouped[K, V]) TryReduce(f func(ctx context.Context, result, value V) (V, error), opts ...Option) *Table[K, V] {
	g.b.function("TryReduce", f)
	return g.reduce("TryReduce", f, opts)
}

func (g *Grouped[K, V]) reduce(verb string, f func(ctx context.Context, result, value V) (V, error), opts []Option) *Table[K, V] {
	o := g.b.options(verb, opts, tableOptions)
	return aggregate(g, verb, "KSTREAM-REDUCE-", o, g.value, node.Aggregation[K, V, V]{Add: reducer[K](f)})
}

// reducer makes the first value the result, and combines others with it.
func reducer[K, V any](f func(ctx context.Context, result, value V) (V, error)) func(context.Context, K, V, V, bool) (V, error) {
	return func(ctx context.Context, _ K, v, result V, absent bool) (V, error) {
		if absent {
			return v, nil
		}
		return f(ctx, result, v)
	}
}

// Aggregate folds the values of each key into a result of another type: add(key, value, result) returns the new result,
// which starts as init(). A record with a null key or value is dropped, counted. Where the result's type shows nulls
// (Opt), a null result deletes the row, and the next record starts anew. add must not change the result that it is
// given in place: it may be what the record cache holds. The result has the greatest timestamp of its records.
//
// Options as for [Grouped.Count]; WithValue sets the result's serde. Java: KGroupedStream.aggregate. Names:
// KSTREAM-AGGREGATE-STATE-STORE-n, KSTREAM-AGGREGATE-n.
func (g *Grouped[K, V]) Aggregate[A any](init func() A, add func(key K, value V, result A) A, opts ...Option) *Table[K, A] {
	g.b.function("Aggregate", init, add)
	return g.TryAggregate(init, func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil }, opts...)
}

// TryAggregate is [Grouped.Aggregate] with a context and an error.
func (g *Grouped[K, V]) TryAggregate[A any](init func() A, add func(ctx context.Context, key K, value V, result A) (A, error), opts ...Option) *Table[K, A] {
	g.b.function("Aggregate", init, add)
	o := g.b.options("Aggregate", opts, tableOptions)
	return aggregate(g, "Aggregate", "KSTREAM-AGGREGATE-", o, nil, node.Aggregation[K, V, A]{Init: init, Add: adder(add)})
}

func adder[K, V, A any](add func(context.Context, K, V, A) (A, error)) func(context.Context, K, V, A, bool) (A, error) {
	return func(ctx context.Context, k K, v V, a A, _ bool) (A, error) { return add(ctx, k, v, a) }
}

// aggregate makes the table of an aggregation that is not windowed.
func aggregate[K, V, A any](g *Grouped[K, V], verb, prefix string, o *settings, value serde.Serde[A], a node.Aggregation[K, V, A]) *Table[K, A] {
	a.Key = serdeFor(g.b, given(g.b, verb, o.key, g.key), "key", "streams.WithKey")
	a.Value = serdeFor(g.b, given(g.b, verb, o.value, value), "value", "streams.WithValue")
	a.Store = g.b.storeName(o.name, prefix)
	name := g.b.nameOr(o.node, prefix)
	kept := newKept(a.Store, o)
	a.SendOld = kept.sendsOld
	spec := o.spec(a.Store, state.KeyValue)
	st := aggregation(name, node.Aggregate(name, a), func(t *topology.Builder, user string) { t.AddStore(spec, user) })
	sources := g.below(a.Store, st)
	return &Table[K, A]{
		b: g.b, step: st, name: name, key: a.Key, value: a.Value, sources: sources, kept: kept,
		getter: func() node.GetterFunc[K, A] { return node.StoreGetter(a.Store, a.Key, a.Value) },
	}
}

// storeName returns the name that was given to a store, or a generated one; only the latter uses up a number.
func (b *Builder) storeName(given, prefix string) string {
	if given != "" {
		return given
	}
	return b.newName(prefix + "STATE-STORE-")
}
