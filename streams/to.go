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
// Options: As names the node; WithKey and WithValue set the serdes. Java: KStream.to. Names: KSTREAM-SINK-n.
func (s *Stream[K, V]) To(topic string, opts ...Option) {
	o := s.b.options("To", opts, nameOption|keyOption|valueOption)
	s.b.checkTopics("To", []string{topic})
	key := serdeFor(s.b, given(s.b, "To", o.key, s.key), "key", "streams.WithKey")
	value := serdeFor(s.b, given(s.b, "To", o.value, s.value), "value", "streams.WithValue")
	name := s.b.nameOr(o.name, "KSTREAM-SINK-")
	make := node.Sink(name, topic, key, value, byInnerKey[K, V](key))
	s.b.add(s.step, &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddSink(name, topic, make, parents...)
	}})
}

// byInnerKey partitions windowed records by the bytes of the plain key (WindowedStreamPartitioner); nil for others.
func byInnerKey[K, V any](key serde.Serde[K]) node.PartitionKey[K] {
	if w, ok := key.(interface {
		Inner(dst []byte, k K) ([]byte, error)
	}); ok {
		return w.Inner
	}
	return nil
}
