package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// Filter passes the records for which keep returns want. A null value that the type does not show is dropped.
func Filter[K, V any](name string, keep func(context.Context, K, V) (bool, error), want bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		return &filter[K, V]{baseOf(name, task), keep, want, nullsOf[V]().shown(), out}, err
	}
}

type filter[K, V any] struct {
	base
	keep      func(context.Context, K, V) (bool, error)
	want      bool
	showNulls bool
	out       Outputs[K, V]
}

func (f *filter[K, V]) Receive(r Record[K, V]) error {
	if r.NullValue && !f.showNulls {
		return nil
	}
	keep, err := f.keep(f.enter(), r.Key, r.Value)
	if err != nil {
		return f.failed(err)
	}
	if keep != f.want {
		return nil
	}
	return f.out.Forward(r)
}

// Pass passes every record on: merges, and the children of a split. Where *dropNullKeys holds when a task is made it
// drops null keys: the filter in front of a repartition topic.
func Pass[K, V any](name string, dropNullKeys *bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		return &pass[K, V]{dropNullKeys != nil && *dropNullKeys, out}, err
	}
}

type pass[K, V any] struct {
	dropNullKeys bool
	out          Outputs[K, V]
}

func (p *pass[K, V]) Receive(r Record[K, V]) error {
	if p.dropNullKeys && r.NullKey {
		return nil // not counted, as in Java
	}
	return p.out.Forward(r)
}
