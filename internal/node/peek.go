package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// Peek calls f with each record and passes the record on. f is not called with a null value that the type does not
// show. It is ForEach as well: that one has no children.
func Peek[K, V any](name string, f func(context.Context, K, V) error) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		return &peek[K, V]{baseOf(name, task), f, nullsOf[V]().shown(), out}, err
	}
}

type peek[K, V any] struct {
	base
	f         func(context.Context, K, V) error
	showNulls bool
	out       Outputs[K, V]
}

func (p *peek[K, V]) Receive(r Record[K, V]) error {
	if !r.NullValue || p.showNulls {
		if err := p.f(p.enter(), r.Key, r.Value); err != nil {
			return p.failed(err)
		}
	}
	return p.out.Forward(r)
}
