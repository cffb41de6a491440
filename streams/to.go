package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// To writes the stream to a topic, which must exist. Records go to the partition of their key, as the Java client's
// default partitioner chooses it (murmur2); windowed keys go by the key within, so that all windows of a key lie
// together. Null keys are spread.
//
// Options: As names the node; WithKey and WithValue set the serdes; Partitioner chooses partitions. Java: KStream.to. Names:
// KSTREAM-SINK-n.
func (s *Stream[K, V]) To(topic string, opts ...Option) {
	o := s.b.options("To", opts, nameOption|keyOption|valueOption|partitionerOption)
	s.b.checkTopics("To", []string{topic})
	key, value := s.serdes("To", o)
	name := s.b.nameOr(o.name, "KSTREAM-SINK-")
	make := node.Sink(name, topic, key, value, route[K, V](s.b, "To", o, key))
	s.b.add(s.step, &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddSink(name, topic, make, parents...)
	}})
}

// serdes returns the serdes that a verb writes the stream with.
func (s *Stream[K, V]) serdes(verb string, o *settings) (serde.Serde[K], serde.Serde[V]) {
	return serdeFor(s.b, given(s.b, verb, o.key, s.key), "key", "streams.WithKey"),
		serdeFor(s.b, given(s.b, verb, o.value, s.value), "value", "streams.WithValue")
}

// route says which partitions records are written to: those that the program chooses, or those of plain keys
// (WindowedStreamPartitioner).
func route[K, V any](b *Builder, verb string, o *settings, key serde.Serde[K]) *node.Route[K, V] {
	r := &node.Route[K, V]{Partitions: partitioner[K, V](b, verb, o)}
	if w, ok := key.(interface {
		Inner(dst []byte, k K) ([]byte, error)
	}); ok {
		r.ByKey = w.Inner
	}
	return r
}

// Partitioner lets a function choose which of the partitions of a topic, numbered from 0, a record is written to: each of
// those that it returns, once. With nil it is the one of the key, as without this option; with a slice that is empty the
// record is dropped, counted. A null comes to the function as the zero value, unless the type shows it. It is called with
// the topic's name in Kafka. (Java: StreamPartitioner, KIP-837)
func Partitioner[K, V any](f func(topic string, key K, value V, partitions int) []int) Option {
	return Option{partitionerOption, func(s *settings) { s.partitioner = f }}
}

func partitioner[K, V any](b *Builder, verb string, o *settings) func(string, K, V, int) []int {
	if o.partitioner == nil {
		return nil
	}
	f, ok := o.partitioner.(func(string, K, V, int) []int)
	if !ok {
		b.fail("%s: the Partitioner is for other types; %s are needed", verb, typesOf[K, V]())
	} else {
		b.function("Partitioner", f)
	}
	return f
}
