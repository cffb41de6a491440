package streams

import (
	"math"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Repartition writes the stream to a topic of the application's own and reads it back, so that records of one key lie in
// one partition: <application id>-<name>-repartition. Aggregations and joins do so by themselves where the key was
// changed; this is for a number of partitions of one's own, or before code that relies on keys.
//
// Options: As names the topic; Partitions sets its number of partitions; Partitioner chooses among them; WithKey and
// WithValue set the serdes.
// Java: KStream.repartition. Names: KSTREAM-REPARTITION-n.
func (s *Stream[K, V]) Repartition(opts ...Option) *Stream[K, V] {
	o := s.b.options("Repartition", opts, nameOption|partitionsOption|keyOption|valueOption|partitionerOption)
	partitions := int32(0)
	if n := o.partitions; n != nil {
		if *n < 1 || *n > math.MaxInt32 {
			s.b.fail("Partitions(%d): a topic has at least one partition, and at most %d", *n, math.MaxInt32)
		}
		partitions = int32(*n)
	}
	name := o.name
	if name == "" {
		name = s.b.newName("KSTREAM-REPARTITION-")
	}
	key := serdeFor(s.b, given(s.b, "Repartition", o.key, s.key), "key", "streams.WithKey")
	value := serdeFor(s.b, given(s.b, "Repartition", o.value, s.value), "value", "streams.WithValue")
	st := repartitionBy(s.b, name, key, value, partitions, false, &node.Route[K, V]{Partitions: partitioner[K, V](s.b, "Repartition", o)})
	s.b.add(s.step, st)
	return &Stream[K, V]{b: s.b, step: st, name: st.name, key: key, value: value, sources: []string{st.name}}
}

// newRepartition makes the step of a repartition topic: a filter, a sink, and the source that reads the topic back,
// after which the step is named.
func newRepartition[K, V any](b *Builder, prefix string, key serde.Serde[K], value serde.Serde[V], partitions int32, optimizable bool) *step {
	return repartitionBy(b, prefix, key, value, partitions, optimizable, nil)
}

// repartitionBy is newRepartition with a route.
func repartitionBy[K, V any](
	b *Builder, prefix string, key serde.Serde[K], value serde.Serde[V], partitions int32, optimizable bool, route *node.Route[K, V],
) *step {
	topic := repartitionTopic(prefix)
	var named func(sink, filter, source string) *step
	named = func(sink, filter, source string) *step {
		r := &repartition{topic: topic, optimizable: optimizable, named: named}
		return &step{name: source, repartition: r, write: func(t *topology.Builder, parents []string) {
			t.AddInternalTopic(topology.Internal{Name: topic, Partitions: partitions})
			t.AddProcessor(filter, node.Pass[K, V](filter, &r.dropNullKeys), parents...)
			t.AddSink(sink, topic, node.Sink(sink, topic, key, value, route), filter)
			t.AddSource(source, []string{topic}, node.Source(source, 1, key, value, failOnNegative[K, V]))
		}}
	}
	return named(b.repartitionNames(prefix))
}
