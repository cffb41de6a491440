package node

import (
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// An Extractor returns the timestamp of a record that was read, in milliseconds; r.Time is the one that it has in its
// topic, partitionTime the greatest seen so far in its partition (-1: none), now the wall clock. A negative result drops
// the record.
type Extractor[K, V any] func(r Record[K, V], partitionTime, now int64) (int64, error)

// Source decodes records and stamps them. topics is how many topics it reads.
func Source[K, V any](name string, topics int, key serde.Serde[K], value serde.Serde[V], extract Extractor[K, V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		if err != nil {
			return nil, err
		}
		return &source[K, V]{baseOf(name, task), key, value, extract, make([]Record[K, V], topics), out}, nil
	}
}

type source[K, V any] struct {
	base
	key     serde.Serde[K]
	value   serde.Serde[V]
	extract Extractor[K, V]
	heads   []Record[K, V] // by slot
	out     Outputs[K, V]
}

func (s *source[K, V]) Decode(slot int, rec *topology.Record, partitionTime int64) (int64, error) {
	r := Record[K, V]{NullKey: rec.Key == nil, NullValue: rec.Value == nil, Time: rec.Timestamp, Headers: rec.Headers}
	var err error
	if !r.NullKey {
		if r.Key, err = s.key.Decode(rec.Key); err != nil {
			return 0, &topology.DecodeError{Node: s.name, Part: "key", Err: err}
		}
	}
	if !r.NullValue {
		if r.Value, err = s.value.Decode(rec.Value); err != nil {
			return 0, &topology.DecodeError{Node: s.name, Part: "value", Err: err}
		}
	}
	if s.extract != nil {
		if r.Time, err = s.extract(r, partitionTime, s.task.Wall()); err != nil {
			return 0, err
		}
	}
	s.heads[slot] = r
	return r.Time, nil
}

func (s *source[K, V]) Process(slot int) error { return s.out.Forward(s.heads[slot]) }
