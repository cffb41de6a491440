package node

import (
	"fmt"
	"io"

	"github.com/millrace/millrace/topology"
)

// Print writes a line for each record (KStreamPrint). It has no children.
func Print[K, V any](name string, to io.Writer, label string) topology.NewFunc {
	return func(task topology.Context, _ []any) (any, error) {
		return &printer[K, V]{baseOf(name, task), to, label}, nil
	}
}

type printer[K, V any] struct {
	base
	to    io.Writer
	label string
}

func (p *printer[K, V]) Receive(r Record[K, V]) error {
	p.enter()
	var k, v any = r.Key, r.Value
	if r.NullKey {
		k = "null"
	}
	if r.NullValue {
		v = "null"
	}
	if _, err := fmt.Fprintf(p.to, "[%s]: %v, %v\n", p.label, k, v); err != nil {
		return p.failed(err)
	}
	return nil
}
