package node

import (
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A PartitionKey appends the bytes that choose the partition of a record instead of those of its key.
type PartitionKey[K any] func(dst []byte, k K) ([]byte, error)

// Sink encodes records and writes them to a topic, to the partition of their key or, where partition is not nil, of
// the bytes that it makes of the key.
func Sink[K, V any](name, topic string, key serde.Serde[K], value serde.Serde[V], partition PartitionKey[K]) topology.NewFunc {
	return func(task topology.Context, _ []any) (any, error) {
		return &sink[K, V]{base: baseOf(name, task), topic: task.TopicName(topic), key: key, value: value, partition: partition}, nil
	}
}

// SinkInto is Sink to the partition that the value says; -1 leaves it to the key.
func SinkInto[K, V any](name, topic string, key serde.Serde[K], value serde.Serde[V], into func(V) int32) topology.NewFunc {
	return func(task topology.Context, _ []any) (any, error) {
		return &sink[K, V]{base: baseOf(name, task), topic: task.TopicName(topic), key: key, value: value, into: into}, nil
	}
}

type sink[K, V any] struct {
	base
	topic     string
	key       serde.Serde[K]
	value     serde.Serde[V]
	partition PartitionKey[K]
	into      func(V) int32
	chooser   []byte // reused
	bytes     arena
	out       topology.Record // reused: Send copies it
}

func (s *sink[K, V]) Receive(r Record[K, V]) error {
	// Java: SinkNode.process
	if r.Time < 0 {
		return s.failed(fmt.Errorf("a record for topic %q has the negative timestamp %d", s.topic, r.Time))
	}
	s.enter()
	out := &s.out
	*out = topology.Record{Topic: s.topic, Partition: -1, Timestamp: r.Time, Headers: r.Headers}
	var err error
	if !r.NullKey {
		if out.Key, err = encode(&s.bytes, s.key, r.Key); err != nil {
			return s.unwritten(&topology.EncodeError{Topic: s.topic, Part: "key", Err: err})
		}
	}
	if !r.NullValue {
		if out.Value, err = encode(&s.bytes, s.value, r.Value); err != nil {
			return s.unwritten(&topology.EncodeError{Topic: s.topic, Part: "value", Err: err})
		}
	}
	if s.partition != nil && !r.NullKey {
		n, err := s.task.Partitions(s.topic)
		if err != nil {
			return err
		}
		if s.chooser, err = s.partition(s.chooser[:0], r.Key); err != nil {
			return s.unwritten(&topology.EncodeError{Topic: s.topic, Part: "key", Err: err})
		}
		out.Partition = topology.Partition(s.chooser, n)
	}
	if s.into != nil {
		out.Partition = s.into(r.Value)
	}
	if err := s.task.Send(out); err != nil {
		return s.unwritten(err)
	}
	return nil
}

func (s *sink[K, V]) unwritten(err error) error { return s.task.Unwritten(s.name, &s.out, err) }
