package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A Route says where records of a sink go, record by record.
type Route[K, V any] struct {
	// ByKey appends the bytes that choose the partition of a record instead of those of its key; nil: none do.
	ByKey func(dst []byte, k K) ([]byte, error)

	// Topic returns the topic of a record, by its name in Kafka; nil: the sink has one. in is the record in process; nil:
	// there is none.
	Topic func(ctx context.Context, r Record[K, V], in *topology.Record) (string, error)

	// Partitions returns the partitions, of so many, that a record is written to; nil leaves that to the key, and where
	// there are none the record is dropped (StreamPartitioner).
	Partitions func(topic string, k K, v V, partitions int) []int
}

// Sink encodes records and writes them to a topic, to the partition of their key unless route says otherwise, which may be
// nil.
func Sink[K, V any](name, topic string, key serde.Serde[K], value serde.Serde[V], route *Route[K, V]) topology.NewFunc {
	return func(task topology.Context, _ []any) (any, error) {
		s := &sink[K, V]{base: baseOf(name, task), topic: task.TopicName(topic), key: key, value: value, known: map[string]int32{}}
		if route != nil {
			s.Route = *route
		}
		return s, nil
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
	Route[K, V]
	topic   string
	key     serde.Serde[K]
	value   serde.Serde[V]
	into    func(V) int32
	known   map[string]int32 // partitions of topics
	chooser []byte           // reused
	bytes   arena
	out     topology.Record // reused: Send copies it
}

func (s *sink[K, V]) Receive(r Record[K, V]) (err error) {
	// Java: SinkNode.process and RecordCollectorImpl.send
	topic, ctx := s.topic, s.enter()
	if s.Topic != nil {
		if topic, err = s.Topic(ctx, r, s.task.Input()); err == nil && topic == "" {
			err = errors.New("the function returns no name of a topic")
		}
		if err != nil {
			return s.failed(err)
		}
		if _, err = s.partitions(topic); err != nil { // it must be there
			return err
		}
	}
	if r.Time < 0 {
		return s.failed(fmt.Errorf("a record for topic %q has the negative timestamp %d", topic, r.Time))
	}
	out := &s.out
	*out = topology.Record{Topic: topic, Partition: -1, Timestamp: r.Time, Headers: r.Headers}
	if s.Partitions != nil {
		return s.choose(r)
	}
	if err = s.encode(r); err != nil {
		return s.unwritten(err)
	}
	if s.ByKey != nil && !r.NullKey {
		n, err := s.task.Partitions(s.out.Topic)
		if err != nil {
			return err
		}
		if s.chooser, err = s.ByKey(s.chooser[:0], r.Key); err != nil {
			return s.unwritten(&topology.EncodeError{Topic: topic, Part: "key", Err: err})
		}
		out.Partition = topology.Partition(s.chooser, n)
	}
	if s.into != nil {
		out.Partition = s.into(r.Value)
	}
	return s.send()
}

// choose writes the record to each partition that the program chooses.
func (s *sink[K, V]) choose(r Record[K, V]) error {
	n, err := s.partitions(s.out.Topic)
	if err != nil {
		return err
	}
	chosen := s.Partitions(s.out.Topic, r.Key, r.Value, int(n))
	switch {
	case chosen == nil:
		chosen = byKey
	case len(chosen) == 0:
		return s.drop("the partitioner returns no partition")
	}
	for _, p := range chosen {
		if p >= int(n) || p < 0 && &chosen[0] != &byKey[0] {
			return s.failed(fmt.Errorf("the partitioner returns partition %d for topic %q, which has %d", p, s.out.Topic, n))
		}
	}
	if err := s.encode(r); err != nil {
		return s.unwritten(err)
	}
	for i, p := range chosen {
		if slices.Contains(chosen[:i], p) {
			continue
		}
		s.out.Partition = int32(p)
		if err := s.send(); err != nil {
			return err
		}
	}
	return nil
}

var byKey = []int{-1} // the key chooses

// partitions returns how many partitions a topic has, which must exist.
func (s *sink[K, V]) partitions(topic string) (n int32, err error) {
	n, ok := s.known[topic]
	if !ok {
		if n, err = s.task.Partitions(topic); err == nil {
			s.known[topic] = n
		}
	}
	return n, err
}

func (s *sink[K, V]) encode(r Record[K, V]) (err error) {
	if !r.NullKey {
		if s.out.Key, err = encode(&s.bytes, s.key, r.Key); err != nil {
			return &topology.EncodeError{Topic: s.out.Topic, Part: "key", Err: err}
		}
	}
	if !r.NullValue {
		if s.out.Value, err = encode(&s.bytes, s.value, r.Value); err != nil {
			return &topology.EncodeError{Topic: s.out.Topic, Part: "value", Err: err}
		}
	}
	return nil
}

func (s *sink[K, V]) send() error {
	if err := s.task.Send(&s.out); err != nil {
		return s.unwritten(err)
	}
	return nil
}

func (s *sink[K, V]) unwritten(err error) error { return s.task.Unwritten(s.name, &s.out, err) }
