package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// Map makes a new key and value of each record. A null value that the type does not show drops the record, counted.
func Map[K, V, K2, V2 any](name string, f func(context.Context, K, V) (K2, V2, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K2, V2](name, children)
		return &mapper[K, V, K2, V2]{baseOf(name, task), f, nullsOf[V]().shown(), nullsOf[K2](), nullsOf[V2](), out}, err
	}
}

type mapper[K, V, K2, V2 any] struct {
	base
	f         func(context.Context, K, V) (K2, V2, error)
	showNulls bool
	keys      nulls[K2]
	values    nulls[V2]
	out       Outputs[K2, V2]
}

func (m *mapper[K, V, K2, V2]) Receive(r Record[K, V]) error {
	if r.NullValue && !m.showNulls {
		return m.drop(nullValue)
	}
	k, v, err := m.f(m.enter(), r.Key, r.Value)
	if err != nil {
		return m.failed(err)
	}
	return m.out.Forward(Record[K2, V2]{k, v, m.keys.is(k), m.values.is(v), r.Time, r.Headers})
}

// nullValue is why a record is dropped whose null value the function does not see.
const nullValue = "null value; use serde.Optional to process it"

// SelectKey makes a new key. A null value that the type does not show drops the record, counted.
func SelectKey[K, V, K2 any](name string, f func(context.Context, K, V) (K2, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K2, V](name, children)
		return &keySelector[K, V, K2]{baseOf(name, task), f, nullsOf[V]().shown(), nullsOf[K2](), out}, err
	}
}

type keySelector[K, V, K2 any] struct {
	base
	f         func(context.Context, K, V) (K2, error)
	showNulls bool
	keys      nulls[K2]
	out       Outputs[K2, V]
}

func (s *keySelector[K, V, K2]) Receive(r Record[K, V]) error {
	if r.NullValue && !s.showNulls {
		return s.drop(nullValue)
	}
	k, err := s.f(s.enter(), r.Key, r.Value)
	if err != nil {
		return s.failed(err)
	}
	return s.out.Forward(Record[K2, V]{k, r.Value, s.keys.is(k), r.NullValue, r.Time, r.Headers})
}

// MapValues makes a new value. A null value that the type does not show stays null.
func MapValues[K, V, V2 any](name string, f func(context.Context, K, V) (V2, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V2](name, children)
		return &valueMapper[K, V, V2]{baseOf(name, task), f, nullsOf[V]().shown(), nullsOf[V2](), out}, err
	}
}

type valueMapper[K, V, V2 any] struct {
	base
	f         func(context.Context, K, V) (V2, error)
	showNulls bool
	values    nulls[V2]
	out       Outputs[K, V2]
}

func (m *valueMapper[K, V, V2]) Receive(r Record[K, V]) error {
	out := Record[K, V2]{Key: r.Key, NullKey: r.NullKey, NullValue: true, Time: r.Time, Headers: r.Headers}
	if !r.NullValue || m.showNulls {
		v, err := m.f(m.enter(), r.Key, r.Value)
		if err != nil {
			return m.failed(err)
		}
		out.Value, out.NullValue = v, m.values.is(v)
	}
	return m.out.Forward(out)
}
