package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// StreamTableJoin looks up the key of each record in a table, a versioned one as of the record's timestamp, and sends the
// joined value on, with that timestamp (KStreamKTableJoin). A null value is dropped, and a null key as well unless the join is a left one, which joins it
// with no row. Without a row an inner join sends nothing.
func StreamTableJoin[K, V, T, R any](name string, table GetterFunc[K, T], left bool, join func(ctx context.Context, k K, v V, row T, found bool) (R, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		return newStreamTableJoin[K, V](name, task, children, table, left, join)
	}
}

func newStreamTableJoin[K, V, T, R any](name string, task topology.Context, children []any, table GetterFunc[K, T], left bool, join func(context.Context, K, V, T, bool) (R, error)) (*streamTableJoin[K, V, T, R], error) {
	out, err := wire[K, R](name, children)
	if err != nil {
		return nil, err
	}
	get, err := table(task)
	return &streamTableJoin[K, V, T, R]{baseOf(name, task), get, left, join, nullsOf[R](), out}, err
}

type streamTableJoin[K, V, T, R any] struct {
	base
	get   Getter[K, T]
	left  bool
	join  func(context.Context, K, V, T, bool) (R, error)
	nulls nulls[R]
	out   Outputs[K, R]
}

func (n *streamTableJoin[K, V, T, R]) Receive(r Record[K, V]) error {
	if n.drops(r) {
		return n.drop(nullJoin)
	}
	return n.joined(r)
}

const nullJoin = "null join key or value"

func (n *streamTableJoin[K, V, T, R]) drops(r Record[K, V]) bool {
	return r.NullValue || r.NullKey && !n.left
}

func (n *streamTableJoin[K, V, T, R]) joined(r Record[K, V]) error {
	ctx := n.enter() // the row may be computed by functions as well
	var row Entry[T]
	if !r.NullKey {
		var err error
		if row, err = n.get(r.Key, r.Time); err != nil {
			return err
		}
	}
	if !row.Found && !n.left {
		return nil
	}
	v, err := n.join(ctx, r.Key, r.Value, row.Value, row.Found)
	if err != nil {
		return n.failed(err)
	}
	return n.out.Forward(Record[K, R]{r.Key, v, r.NullKey, n.nulls.is(v), r.Time, r.Headers})
}
