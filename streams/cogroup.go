package streams

import (
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Cogrouped are groups of several streams, of one key type, whose values are aggregated into one result a key (Java:
// CogroupedKStream, KIP-150).
type Cogrouped[K, A any] struct {
	b     *Builder
	key   serde.Serde[K]
	parts []*cogroupPart[K, A]
}

// cogroupPart is one of the groups. Its functions close over the type of its values.
type cogroupPart[K, A any] struct {
	group any                                  // the *Grouped
	above func(store string) (*step, []string) // the step to aggregate below, behind a repartition where one is needed
	nodes func(node.Aggregation[K, any, A]) aggregators[K, A]
}

// aggregators make the node of a part.
type aggregators[K, A any] struct {
	plain    func(name string) topology.NewFunc
	windowed func(name string, w node.TimeWindows) topology.NewFunc
	sliding  func(name string, w node.SlidingWindows) topology.NewFunc
	sessions func(name string, w node.SessionWindows, merge func(context.Context, K, A, A, bool) (A, error)) topology.NewFunc
}

// Cogroup begins an aggregation of several streams: the values of this group are taken in by add, those of further ones
// as [Cogrouped.And] says. Java: KGroupedStream.cogroup.
func (g *Grouped[K, V]) Cogroup[A any](add func(key K, value V, result A) A) *Cogrouped[K, A] {
	g.b.function("Cogroup", add)
	return g.TryCogroup(func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil })
}

// TryCogroup is [Grouped.Cogroup] with a context and an error.
func (g *Grouped[K, V]) TryCogroup[A any](add func(ctx context.Context, key K, value V, result A) (A, error)) *Cogrouped[K, A] {
	return (&Cogrouped[K, A]{b: g.b, key: g.key}).TryAnd(g, add)
}

// And adds a group, whose values are taken in by add. A group that is there already gets the new function instead.
// Groups that have to be repartitioned need a name each. Java: CogroupedKStream.cogroup.
func (c *Cogrouped[K, A]) And[V any](g *Grouped[K, V], add func(key K, value V, result A) A) *Cogrouped[K, A] {
	c.b.function("And", add)
	return c.TryAnd(g, func(_ context.Context, k K, v V, a A) (A, error) { return add(k, v, a), nil })
}

// TryAnd is [Cogrouped.And] with a context and an error.
func (c *Cogrouped[K, A]) TryAnd[V any](g *Grouped[K, V], add func(ctx context.Context, key K, value V, result A) (A, error)) *Cogrouped[K, A] {
	c.b.function("TryAnd", add)
	if g == nil || g.b != c.b {
		c.b.fail("And takes a group of the same Builder")
		return c
	}
	part := &cogroupPart[K, A]{group: g, above: g.above(), nodes: cogroupNodes(add)}
	if i := slices.IndexFunc(c.parts, func(p *cogroupPart[K, A]) bool { return p.group == any(g) }); i >= 0 {
		part.above = c.parts[i].above
		c.parts[i] = part
	} else {
		c.parts = append(c.parts, part)
	}
	return c
}

// above returns a function that makes the repartition of the group where it needs one, once, and returns what to
// aggregate below, with its sources (CogroupedStreamAggregateBuilder.processRepartitions).
func (g *Grouped[K, V]) above() func(store string) (*step, []string) {
	var repeated *step
	return func(store string) (*step, []string) {
		if !g.repartition {
			return g.step, g.sources
		}
		prefix := g.topic
		if prefix == "" {
			prefix = store
		}
		key, value := serdeFor(g.b, g.key, "key", "streams.WithKey"), serdeFor(g.b, g.value, "value", "streams.WithValue")
		fresh := newRepartition(g.b, prefix, key, value, 0, true) // uses up names even where it is not needed
		if repeated == nil {
			repeated = g.b.add(g.step, fresh)
		}
		return repeated, []string{repeated.name}
	}
}

func cogroupNodes[K, V, A any](add func(context.Context, K, V, A) (A, error)) func(node.Aggregation[K, any, A]) aggregators[K, A] {
	return func(common node.Aggregation[K, any, A]) aggregators[K, A] {
		a := node.Aggregation[K, V, A]{Store: common.Store, Key: common.Key, Value: common.Value, Init: common.Init, SendOld: common.SendOld, Add: adder(add)}
		return aggregators[K, A]{
			plain:    func(name string) topology.NewFunc { return node.Aggregate(name, a) },
			windowed: func(name string, w node.TimeWindows) topology.NewFunc { return node.WindowAggregate(name, w, a, false) },
			sliding: func(name string, w node.SlidingWindows) topology.NewFunc {
				return node.SlidingAggregate(name, w, a, false)
			},
			sessions: func(name string, w node.SessionWindows, merge func(context.Context, K, A, A, bool) (A, error)) topology.NewFunc {
				return node.SessionAggregate(name, w, node.SessionAggregation[K, V, A]{Aggregation: a, Merge: merge}, false)
			},
		}
	}
}

// Aggregate folds the values of all groups into a result a key, which starts as init(). A null key or value is dropped.
//
// Options as for [Grouped.Count]; WithValue sets the result's serde. Java: CogroupedKStream.aggregate. Names:
// COGROUPKSTREAM-AGGREGATE-STATE-STORE-n, COGROUPKSTREAM-AGGREGATE-n for each group, COGROUPKSTREAM-MERGE-n; with Named
// <name>-cogroup-agg-i and <name>-cogroup-merge.
func (c *Cogrouped[K, A]) Aggregate(init func() A, opts ...Option) *Table[K, A] {
	c.b.function("Aggregate", init)
	o := c.b.options("Aggregate", opts, tableOptions)
	a, spec := cogroupStore(c, o, init, state.KeyValue)
	t := cogroupedTable[K, A, K](c, a, o, spec, nil, func(n aggregators[K, A], name string) topology.NewFunc { return n.plain(name) })
	t.key = a.Key
	t.getter = func() node.GetterFunc[K, A] { return node.StoreGetter(a.Store, a.Key, a.Value) }
	return t
}

// cogroupStore names and describes the store of the results, and what all parts have in common.
func cogroupStore[K, A any](c *Cogrouped[K, A], o *settings, init func() A, kind state.Kind) (node.Aggregation[K, any, A], *state.Spec) {
	a := node.Aggregation[K, any, A]{
		Init: init, Store: c.b.storeName(o.name, "COGROUPKSTREAM-AGGREGATE-"),
		Key:   serdeFor(c.b, given(c.b, "Aggregate", o.key, c.key), "key", "streams.WithKey"),
		Value: serdeFor(c.b, given[A](c.b, "Aggregate", o.value, nil), "value", "streams.WithValue"),
	}
	return a, o.spec(a.Store, kind)
}

// cogroupedTable makes an aggregating step a part and one that merges them. The caller sets the table's key and getter.
func cogroupedTable[K, A, W any](c *Cogrouped[K, A], a node.Aggregation[K, any, A], o *settings, spec *state.Spec, grace *int64,
	make func(aggregators[K, A], string) topology.NewFunc,
) *Table[W, A] {
	b := c.b
	kept := newKept(a.Store, o)
	a.SendOld = kept.sendsOld
	var parents, nodes []*step
	var sources []string
	for _, p := range c.parts {
		above, from := p.above(a.Store)
		parents = append(parents, above)
		sources = union(sources, from)
	}
	b.together = append(b.together, sources)
	for i, p := range c.parts {
		name := b.nameOr(suffixed(o.node, fmt.Sprint("-cogroup-agg-", i)), "COGROUPKSTREAM-AGGREGATE-")
		st := aggregation(name, make(p.nodes(a), name), func(t *topology.Builder, user string) { t.AddStore(spec, user) })
		st.grace = grace
		nodes = append(nodes, b.add(parents[i], st))
	}
	name := b.nameOr(suffixed(o.node, "-cogroup-merge"), "COGROUPKSTREAM-MERGE-")
	merge := &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, node.Pass[W, node.Change[A]](name, nil), parents...)
	}}
	for _, n := range nodes {
		b.add(n, merge)
	}
	return &Table[W, A]{b: b, step: merge, name: name, value: a.Value, sources: sources, kept: kept}
}

// TimeCogrouped are groups of several streams that are aggregated by key and window (Java: TimeWindowedCogroupedKStream).
type TimeCogrouped[K, A any] struct {
	all *Cogrouped[K, A]
	windowed
}

// WindowedBy splits the groups by windows of event time.
func (c *Cogrouped[K, A]) WindowedBy(w TimeWindows) *TimeCogrouped[K, A] {
	return &TimeCogrouped[K, A]{all: c, windowed: windowed{windows: w.check(c.b)}}
}

// Sliding splits the groups by sliding windows; see [Grouped.Sliding].
func (c *Cogrouped[K, A]) Sliding(w SlidingWindows) *TimeCogrouped[K, A] {
	return &TimeCogrouped[K, A]{all: c, windowed: windowed{unusable, w.check(c.b)}}
}

// Aggregate folds the values of all groups into a result a key and window. Which records count is as for [TimeWindowed].
//
// Options as for [TimeWindowed.Count]; WithValue sets the result's serde. Java: TimeWindowedCogroupedKStream.aggregate.
// Names as for [Cogrouped.Aggregate].
func (c *TimeCogrouped[K, A]) Aggregate[W WindowedKey[K]](init func() A, opts ...Option) *Table[W, A] {
	b := c.all.b
	b.function("Aggregate", init)
	o := b.options("Aggregate", opts, windowedOptions)
	a, spec := cogroupStore(c.all, o, init, state.Window)
	c.describe(b, "Aggregate", o, spec)
	t := cogroupedTable[K, A, W](c.all, a, o, spec, c.grace(), func(n aggregators[K, A], name string) topology.NewFunc {
		if c.sliding != nil {
			return n.sliding(name, *c.sliding)
		}
		return n.windowed(name, c.windows)
	})
	t.key = any(serde.TimeWindowed(a.Key, spec.WindowSize)).(serde.Serde[W])
	t.getter = func() node.GetterFunc[W, A] {
		return any(node.WindowGetter(a.Store, a.Key, a.Value)).(node.GetterFunc[W, A])
	}
	return t
}

// SessionCogrouped are groups of several streams that are aggregated by key and session (Java:
// SessionWindowedCogroupedKStream).
type SessionCogrouped[K, A any] struct {
	all     *Cogrouped[K, A]
	windows node.SessionWindows
}

// Sessions splits the groups by sessions.
func (c *Cogrouped[K, A]) Sessions(w SessionWindows) *SessionCogrouped[K, A] {
	return &SessionCogrouped[K, A]{c, w.check(c.b)}
}

// Aggregate folds the values of all groups into a result a key and session; merge(key, result, other) puts the results of
// two sessions together. Which records count is as for [SessionWindowed].
//
// Options as for [SessionWindowed.Count]; WithValue sets the result's serde. Java:
// SessionWindowedCogroupedKStream.aggregate. Names as for [Cogrouped.Aggregate].
func (c *SessionCogrouped[K, A]) Aggregate[W WindowedKey[K]](init func() A, merge func(key K, result, other A) A, opts ...Option) *Table[W, A] {
	b := c.all.b
	b.function("Aggregate", init, merge)
	o := b.options("Aggregate", opts, windowedOptions)
	a, spec := cogroupStore(c.all, o, init, state.Session)
	grace := c.windows.Gap + c.windows.Grace
	spec.Timestamped = false
	spec.Retention = b.retention("Aggregate", o, milliseconds(grace), "their gap plus grace period")
	try := func(_ context.Context, k K, a, b A, _ bool) (A, error) { return merge(k, a, b), nil }
	t := cogroupedTable[K, A, W](c.all, a, o, spec, &grace, func(n aggregators[K, A], name string) topology.NewFunc {
		return n.sessions(name, c.windows, try)
	})
	t.key = any(serde.SessionWindowed(a.Key)).(serde.Serde[W])
	t.getter = func() node.GetterFunc[W, A] {
		return any(node.SessionGetter(a.Store, a.Key, a.Value)).(node.GetterFunc[W, A])
	}
	return t
}
