package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Join joins the rows of two tables that have the same key: there is a row join(value, other) as long as both have one. A
// change of either makes a change of the result, with the greater of both timestamps. The tables must have the same
// number of partitions.
//
// Options: As names a store and keeps the result there, else it is computed; Named names the nodes; WithValue sets the
// result's serde. Java: KTable.join. Names: KTABLE-MERGE-n, KTABLE-JOINTHIS-n, KTABLE-JOINOTHER-n; with Named <name>,
// <name>-join-this, <name>-join-other; a store that is asked for without a name KTABLE-MERGE-STATE-STORE-n.
func (t *Table[K, V]) Join[V2, R any](other *Table[K, V2], join func(value V, other V2) R, opts ...Option) *Table[K, R] {
	t.b.function("Join", join)
	return tableJoin(t, other, "Join", node.TableJoin[K, V, V2, R]{NeedsA: true, NeedsB: true, Join: func(_ context.Context, _ K, a V, _ bool, b V2, _ bool) (R, error) {
		return join(a, b), nil
	}}, opts)
}

// TryJoin is [Table.Join] with a context, the key and an error.
func (t *Table[K, V]) TryJoin[V2, R any](other *Table[K, V2], join func(ctx context.Context, key K, value V, other V2) (R, error), opts ...Option) *Table[K, R] {
	t.b.function("TryJoin", join)
	return tableJoin(t, other, "Join", node.TableJoin[K, V, V2, R]{NeedsA: true, NeedsB: true, Join: func(ctx context.Context, k K, a V, _ bool, b V2, _ bool) (R, error) {
		return join(ctx, k, a, b)
	}}, opts)
}

// LeftJoin is [Table.Join] that has a row wherever the first table has one; without a row of the other it joins with null.
//
// Java: KTable.leftJoin.
func (t *Table[K, V]) LeftJoin[V2, R any, O OptValue[V2]](other *Table[K, V2], join func(value V, other O) R, opts ...Option) *Table[K, R] {
	t.b.function("LeftJoin", join)
	return tableJoin(t, other, "LeftJoin", node.TableJoin[K, V, V2, R]{NeedsA: true, Join: func(_ context.Context, _ K, a V, _ bool, b V2, has bool) (R, error) {
		return join(a, O(optional(b, has))), nil
	}}, opts)
}

// TryLeftJoin is [Table.LeftJoin] with a context, the key and an error.
func (t *Table[K, V]) TryLeftJoin[V2, R any, O OptValue[V2]](other *Table[K, V2], join func(ctx context.Context, key K, value V, other O) (R, error), opts ...Option) *Table[K, R] {
	t.b.function("TryLeftJoin", join)
	return tableJoin(t, other, "LeftJoin", node.TableJoin[K, V, V2, R]{NeedsA: true, Join: func(ctx context.Context, k K, a V, _ bool, b V2, has bool) (R, error) {
		return join(ctx, k, a, O(optional(b, has)))
	}}, opts)
}

// OuterJoin is [Table.Join] that has a row wherever one of the tables has one; what the other lacks is null.
//
// Java: KTable.outerJoin.
func (t *Table[K, V]) OuterJoin[V2, R any, O OptValue[V], O2 OptValue[V2]](other *Table[K, V2], join func(value O, other O2) R, opts ...Option) *Table[K, R] {
	t.b.function("OuterJoin", join)
	return tableJoin(t, other, "OuterJoin", node.TableJoin[K, V, V2, R]{Join: func(_ context.Context, _ K, a V, hasA bool, b V2, hasB bool) (R, error) {
		return join(O(optional(a, hasA)), O2(optional(b, hasB))), nil
	}}, opts)
}

// TryOuterJoin is [Table.OuterJoin] with a context, the key and an error.
func (t *Table[K, V]) TryOuterJoin[V2, R any, O OptValue[V], O2 OptValue[V2]](other *Table[K, V2], join func(ctx context.Context, key K, value O, other O2) (R, error), opts ...Option) *Table[K, R] {
	t.b.function("TryOuterJoin", join)
	return tableJoin(t, other, "OuterJoin", node.TableJoin[K, V, V2, R]{Join: func(ctx context.Context, k K, a V, hasA bool, b V2, hasB bool) (R, error) {
		return join(ctx, k, O(optional(a, hasA)), O2(optional(b, hasB)))
	}}, opts)
}

func tableJoin[K, V, V2, R any](t *Table[K, V], other *Table[K, V2], verb string, j node.TableJoin[K, V, V2, R], opts []Option) *Table[K, R] {
	b := t.b
	o := b.options(verb, opts, tableOptions)
	if other == nil || other.b != b {
		b.fail("%s takes a table of the same Builder", verb)
		return &Table[K, R]{b: b, step: t.step, name: t.name, key: t.key, sources: t.sources, kept: &kept{above: t.kept}}
	}
	key, value := given(b, verb, o.key, t.key), given[R](b, verb, o.value, nil)
	kept := joinedKept(t.kept, other.kept)
	kept.history = o.history
	j.VersionedA, j.VersionedB = t.kept.isVersioned(), other.kept.isVersioned()
	if o.store || o.name != "" {
		kept.store = b.storeName(o.name, "KTABLE-MERGE-")
		key, value = serdeFor(b, key, "key", "streams.WithKey"), serdeFor(b, value, "value", "streams.WithValue")
	}
	name := b.nameOr(o.node, "KTABLE-MERGE-")
	if !j.NeedsB {
		t.kept.enableOld(true)
	}
	if !j.NeedsA {
		other.kept.enableOld(true)
	}
	stores, otherStores := t.kept.readable(), other.kept.readable()
	this, that := b.nameOr(suffixed(o.node, "-join-this"), "KTABLE-JOINTHIS-"), b.nameOr(suffixed(o.node, "-join-other"), "KTABLE-JOINOTHER-")
	sources := union(t.sources, other.sources)
	b.together = append(b.together, sources)
	spec := o.spec(kept.store, state.KeyValue)
	makeThis := node.TableJoinThis(this, j, other.getter(), kept.sendsOld)
	makeThat := node.TableJoinOther(that, j, t.getter(), kept.sendsOld)
	merge := node.TableJoinMerge(name, node.TableStore[K, R]{Name: kept.storeName, Key: key, Value: value, SendOld: kept.sendsOld})
	st := b.add(t.step, &step{name: name, write: func(tb *topology.Builder, parents []string) {
		tb.AddProcessor(this, makeThis, parents[0])
		tb.AddProcessor(that, makeThat, parents[len(parents)-1]) // a table that is joined with itself is one parent
		tb.AddProcessor(name, merge, this, that)
		if kept.store != "" {
			tb.AddStore(spec, name)
		}
		connect(tb, this, otherStores)
		connect(tb, that, stores)
	}})
	b.add(other.step, st)
	return &Table[K, R]{
		b: b, step: st, name: name, key: key, value: value, sources: sources, kept: kept,
		getter: func() node.GetterFunc[K, R] {
			if kept.store != "" {
				return node.StoreGetter(kept.store, key, value)
			}
			return node.TableJoinGetter(j, t.getter(), other.getter())
		},
	}
}

// connect lets a processor use stores of others.
func connect(t *topology.Builder, processor string, stores []string) {
	for _, s := range stores {
		t.Connect(processor, s)
	}
}
