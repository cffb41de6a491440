package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// GroupedTable is a table whose rows are aggregated by another key (Java: KGroupedTable). What a row was is taken out of
// its group when the row changes.
type GroupedTable[K, V any] struct {
	b        *Builder
	step     *step
	key      serde.Serde[K]
	value    serde.Serde[V]
	topic    string // the repartition topic's name, where it was given
	repeated *step
}

// GroupBy groups the rows by a new key, with a new value each. Rows are repartitioned; one whose new key or value is
// null is left out.
//
// Options: As names the repartition topic and the node; WithKey and WithValue set the serdes. Java: KTable.groupBy.
// Names: KTABLE-SELECT-n.
func (t *Table[K, V]) GroupBy[K2, V2 any](f func(K, V) (K2, V2), opts ...Option) *GroupedTable[K2, V2] {
	t.b.function("GroupBy", f)
	return t.TryGroupBy(func(_ context.Context, k K, v V) (K2, V2, error) {
		k2, v2 := f(k, v)
		return k2, v2, nil
	}, opts...)
}

// TryGroupBy is [Table.GroupBy] with a context and an error.
func (t *Table[K, V]) TryGroupBy[K2, V2 any](f func(context.Context, K, V) (K2, V2, error), opts ...Option) *GroupedTable[K2, V2] {
	t.b.function("TryGroupBy", f)
	o := t.b.options("GroupBy", opts, nameOption|keyOption|valueOption)
	name := t.b.nameOr(o.name, "KTABLE-SELECT-")
	key := serdeFor(t.b, given(t.b, "GroupBy", o.key, carried[K, K2](t.key)), "key", "streams.WithKey")
	value := serdeFor(t.b, given(t.b, "GroupBy", o.value, carried[V, V2](t.value)), "value", "streams.WithValue")
	make := node.TableGroupBy(name, f, t.kept.isVersioned(), key)
	st := t.b.add(t.step, &step{name: name, write: func(tb *topology.Builder, parents []string) {
		tb.AddProcessor(name, make, parents...)
	}})
	t.kept.enableOld(true)
	return &GroupedTable[K2, V2]{b: t.b, step: st, key: key, value: value, topic: o.name}
}

// Count counts the rows of each group.
//
// Options as for [Grouped.Count]. Java: KGroupedTable.count. Names: KTABLE-AGGREGATE-STATE-STORE-n, KTABLE-AGGREGATE-n.
func (g *GroupedTable[K, V]) Count(opts ...Option) *Table[K, int64] {
	o := g.b.options("Count", opts, tableOptions)
	less := func(_ context.Context, _ K, _ V, n int64) (int64, error) { return n - 1, nil }
	return tableAggregate(g, "Count", "KTABLE-AGGREGATE-", o, serde.Int64, node.Aggregation[K, V, int64]{Init: zero, Add: countOne[K, V]}, less)
}

// Reduce combines the values of each group: add(result, value) takes a value in, subtract(result, value) takes the
// value that a row had out.
//
// Options as for [Grouped.Count]; WithValue sets the value's serde. Java: KGroupedTable.reduce. Names:
// KTABLE-AGGREGATE-STATE-STORE-n, KTABLE-REDUCE-n.
func (g *GroupedTable[K, V]) Reduce(add, subtract func(result, value V) V, opts ...Option) *Table[K, V] {
	g.b.function("Reduce", add, subtract)
	return g.TryReduce(
		func(_ context.Context, a, b V) (V, error) { return add(a, b), nil },
		func(_ context.Context, a, b V) (V, error) { return subtract(a, b), nil }, opts...)
}

// TryReduce is [GroupedTable.Reduce] with contexts and errors.
func (g *GroupedTable[K, V]) TryReduce(add, subtract func(ctx context.Context, result, value V) (V, error), opts ...Option) *Table[K, V] {
	g.b.function("TryReduce", add, subtract)
	o := g.b.options("Reduce", opts, tableOptions)
	less := func(ctx context.Context, _ K, v, result V) (V, error) { return subtract(ctx, result, v) }
	return tableAggregate(g, "Reduce", "KTABLE-REDUCE-", o, g.value, node.Aggregation[K, V, V]{Add: reducer[K](add)}, less)
}

// Aggregate folds the values of each group into a result, which starts as init(): add takes the value of a row in,
// subtract takes the value that a row had out.
//
// Options as for [Grouped.Count]; WithValue sets the result's serde. Java: KGroupedTable.aggregate. Names:
// KTABLE-AGGREGATE-STATE-STORE-n, KTABLE-AGGREGATE-n.
func (g *GroupedTable[K, V]) Aggregate[A any](init func() A, add, subtract func(key K, value V, result A) A, opts ...Option) *Table[K, A] {
	g.b.function("Aggregate", init, add, subtract)
	return g.TryAggregate(init,
		func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil },
		func(_ context.Context, k K, v V, a A) (A, error) { return subtract(k, v, a), nil }, opts...)
}

// TryAggregate is [GroupedTable.Aggregate] with contexts and errors.
func (g *GroupedTable[K, V]) TryAggregate[A any](init func() A, add, subtract func(ctx context.Context, key K, value V, result A) (A, error), opts ...Option) *Table[K, A] {
	g.b.function("Aggregate", init, add, subtract)
	o := g.b.options("Aggregate", opts, tableOptions)
	return tableAggregate(g, "Aggregate", "KTABLE-AGGREGATE-", o, nil, node.Aggregation[K, V, A]{Init: init, Add: adder(add)}, subtract)
}

func tableAggregate[K, V, A any](g *GroupedTable[K, V], verb, prefix string, o *settings, value serde.Serde[A], a node.Aggregation[K, V, A], subtract func(context.Context, K, V, A) (A, error)) *Table[K, A] {
	b := g.b
	a.Key = serdeFor(b, given(b, verb, o.key, g.key), "key", "streams.WithKey")
	a.Value = serdeFor(b, given(b, verb, o.value, value), "value", "streams.WithValue")
	a.Store = b.storeName(o.name, "KTABLE-AGGREGATE-")
	sink, source := b.nameOr(suffixed(o.node, "-sink"), "KSTREAM-SINK-"), b.nameOr(suffixed(o.node, "-source"), "KSTREAM-SOURCE-")
	name := b.nameOr(o.node, prefix)
	topic := g.topic
	if topic == "" {
		topic = a.Store
	}
	if g.repeated == nil || g.topic == "" {
		g.repeated = tableRepartition(topic+repartitionSuffix, sink, source, g.key, g.value)
	}
	b.add(g.step, g.repeated)
	kept := newKept(a.Store, o)
	a.SendOld = kept.sendsOld
	spec := o.spec(a.Store, state.KeyValue)
	st := b.add(g.repeated, aggregation(name, node.TableAggregate(name, a, subtract), func(t *topology.Builder, user string) { t.AddStore(spec, user) }))
	return &Table[K, A]{
		b: b, step: st, name: name, key: a.Key, value: a.Value, sources: []string{source}, kept: kept,
		getter: func() node.GetterFunc[K, A] { return node.StoreGetter(a.Store, a.Key, a.Value) },
	}
}

// tableRepartition is the step of the repartition topic of a grouped table, whose records are changes. It has no filter.
func tableRepartition[K, V any](topic, sink, source string, key serde.Serde[K], value serde.Serde[V]) *step {
	changes := node.ChangeSerde(value)
	return &step{name: source, write: func(t *topology.Builder, parents []string) {
		t.AddInternalTopic(topology.Internal{Name: topic})
		t.AddSink(sink, topic, node.Sink(sink, topic, key, changes, nil), parents...)
		t.AddSource(source, []string{topic}, node.Source(source, 1, key, changes, failOnNegative[K, node.Change[V]]))
	}}
}
