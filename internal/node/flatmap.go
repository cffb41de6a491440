package node

import (
	"context"
	"iter"

	"github.com/millrace/millrace/topology"
)

// FlatMap makes any number of records of each one. A null value that the type does not show drops the record, counted.
func FlatMap[K, V, K2, V2 any](name string, f func(context.Context, K, V) (iter.Seq2[K2, V2], error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K2, V2](name, children)
		return &flatMapper[K, V, K2, V2]{baseOf(name, task), f, nullsOf[V]().shown(), nullsOf[K2](), nullsOf[V2](), out}, err
	}
}

type flatMapper[K, V, K2, V2 any] struct {
	base
	f         func(context.Context, K, V) (iter.Seq2[K2, V2], error)
	showNulls bool
	keys      nulls[K2]
	values    nulls[V2]
	out       Outputs[K2, V2]
}

func (m *flatMapper[K, V, K2, V2]) Receive(r Record[K, V]) error {
	if r.NullValue && !m.showNulls {
		return m.drop(nullValue)
	}
	seq, err := m.f(m.enter(), r.Key, r.Value)
	if err != nil {
		return m.failed(err)
	}
	if seq == nil {
		return nil
	}
	for k, v := range seq {
		if err := m.out.Forward(Record[K2, V2]{k, v, m.keys.is(k), m.values.is(v), r.Time, r.Headers}); err != nil {
			return err
		}
		m.enter() // seq goes on
	}
	return nil
}

// FlatMapValues makes any number of records of the same key of each one. A null value that the type does not show makes
// none.
func FlatMapValues[K, V, V2 any](name string, f func(context.Context, K, V) (iter.Seq[V2], error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V2](name, children)
		return &flatValueMapper[K, V, V2]{baseOf(name, task), f, nullsOf[V]().shown(), nullsOf[V2](), out}, err
	}
}

type flatValueMapper[K, V, V2 any] struct {
	base
	f         func(context.Context, K, V) (iter.Seq[V2], error)
	showNulls bool
	values    nulls[V2]
	out       Outputs[K, V2]
}

func (m *flatValueMapper[K, V, V2]) Receive(r Record[K, V]) error {
	if r.NullValue && !m.showNulls {
		return nil
	}
	seq, err := m.f(m.enter(), r.Key, r.Value)
	if err != nil {
		return m.failed(err)
	}
	if seq == nil {
		return nil
	}
	for v := range seq {
		if err := m.out.Forward(Record[K, V2]{r.Key, v, r.NullKey, m.values.is(v), r.Time, r.Headers}); err != nil {
			return err
		}
		m.enter() // seq goes on
	}
	return nil
}
