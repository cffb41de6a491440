package streams

import (
	"context"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Grouped is a stream whose records are aggregated by key (Java: KGroupedStream).
type Grouped[K, V any] struct {
	b           *Builder
	step        *step
	key         serde.Serde[K]
	value       serde.Serde[V]
	sources     []string
	repartition bool
	topic       string // the repartition topic's name, where it was given
	repeated    *step  // the repartition that aggregations of a named group share
}

// GroupByKey groups the records by their key. Where a verb before it changed the key, the records are repartitioned
// first; otherwise they are as they lie.
//
// Options: As names the repartition topic, which aggregations of the group then share; by default it has the name of
// the aggregation's store. WithKey and WithValue set the serdes. Java: KStream.groupByKey.
func (s *Stream[K, V]) GroupByKey(opts ...Option) *Grouped[K, V] {
	o := s.b.options("GroupByKey", opts, nameOption|keyOption|valueOption)
	return &Grouped[K, V]{
		b: s.b, step: s.step, sources: s.sources, repartition: s.repartition, topic: o.name,
		key: given(s.b, "GroupByKey", o.key, s.key), value: given(s.b, "GroupByKey", o.value, s.value),
	}
}

// GroupBy groups the records by a new key; they are always repartitioned. A null value is dropped, counted.
//
// Options: As names the repartition topic and the node; WithKey and WithValue set the serdes. Java: KStream.groupBy.
// Names: KSTREAM-KEY-SELECT-n.
func (s *Stream[K, V]) GroupBy[K2 any](f func(K, V) K2, opts ...Option) *Grouped[K2, V] {
	s.b.function("GroupBy", f)
	return groupBy(s, "GroupBy", plain2(f), opts)
}

// TryGroupBy is [Stream.GroupBy] with a context and an error.
func (s *Stream[K, V]) TryGroupBy[K2 any](f func(context.Context, K, V) (K2, error), opts ...Option) *Grouped[K2, V] {
	s.b.function("TryGroupBy", f)
	return groupBy(s, "TryGroupBy", f, opts)
}

func groupBy[K, V, K2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (K2, error), opts []Option) *Grouped[K2, V] {
	o := s.b.options(verb, opts, nameOption|keyOption|valueOption)
	var keyOpts []Option
	if o.name != "" {
		keyOpts = append(keyOpts, As(o.name))
	}
	selected := selectKey(s, verb, f, keyOpts)
	return &Grouped[K2, V]{
		b: s.b, step: selected.step, sources: s.sources, repartition: true, topic: o.name,
		key: given(s.b, verb, o.key, selected.key), value: given(s.b, verb, o.value, s.value),
	}
}

// WindowedBy splits the groups by windows of event time.
func (g *Grouped[K, V]) WindowedBy(w TimeWindows) *TimeWindowed[K, V] {
	return &TimeWindowed[K, V]{group: g, windowed: windowed{windows: w.check(g.b)}}
}

// below adds an aggregation's step below the group, behind a repartition where one is needed, and returns the sources
// that feed it (GroupedStreamAggregateBuilder.build).
func (g *Grouped[K, V]) below(store string, s *step) []string {
	if !g.repartition {
		g.b.add(g.step, s)
		return g.sources
	}
	prefix := g.topic
	if prefix == "" {
		prefix = store
	}
	key, value := serdeFor(g.b, g.key, "key", "streams.WithKey"), serdeFor(g.b, g.value, "value", "streams.WithValue")
	fresh := newRepartition(g.b, prefix, key, value, 0, true) // uses up names even where it is not needed
	if g.repeated == nil || g.topic == "" {
		g.repeated = fresh
	}
	g.b.add(g.step, g.repeated)
	g.b.add(g.repeated, s)
	return []string{fresh.name}
}

// aggregation is the step of an aggregating node with its store.
func aggregation(name string, make topology.NewFunc, addStore func(t *topology.Builder, user string)) *step {
	return &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		addStore(t, name)
	}}
}
