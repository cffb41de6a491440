package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// Branch sends each record to the child of the first predicate that holds, else to the last child where there is one
// more of them. It reads *predicates when a task is made, as branches are added after the split. A null value that the
// type does not show fits no predicate.
func Branch[K, V any](name string, predicates *[]func(context.Context, K, V) (bool, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		return &branch[K, V]{baseOf(name, task), *predicates, nullsOf[V]().shown(), out}, err
	}
}

type branch[K, V any] struct {
	base
	predicates []func(context.Context, K, V) (bool, error)
	showNulls  bool
	out        Outputs[K, V]
}

func (b *branch[K, V]) Receive(r Record[K, V]) error {
	if !r.NullValue || b.showNulls {
		for i, holds := range b.predicates {
			ok, err := holds(b.enter(), r.Key, r.Value)
			if err != nil {
				return b.failed(err)
			}
			if ok {
				return b.out[i].Receive(r)
			}
		}
	}
	if len(b.out) > len(b.predicates) {
		return b.out[len(b.predicates)].Receive(r)
	}
	return nil
}
