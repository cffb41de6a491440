package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// StreamGlobalJoin looks up the row that key makes of each record in a global table, and sends the joined value on, with
// the record's own key and timestamp (KStreamGlobalKTableJoin). A null value is dropped, and one for which key returns a
// null as well unless the join is a left one, which joins it with no row. Without a row an inner join sends nothing.
func StreamGlobalJoin[K, V, GK, GV, R any](
	name string, table GetterFunc[GK, GV], left bool, key func(context.Context, K, V) (GK, error),
	join func(ctx context.Context, k K, v V, row GV, found bool) (R, error),
) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, R](name, children)
		if err != nil {
			return nil, err
		}
		get, err := table(task)
		return &streamGlobalJoin[K, V, GK, GV, R]{baseOf(name, task), get, left, key, join, nullsOf[GK](), nullsOf[R](), out}, err
	}
}

type streamGlobalJoin[K, V, GK, GV, R any] struct {
	base
	get      Getter[GK, GV]
	left     bool
	key      func(context.Context, K, V) (GK, error)
	join     func(context.Context, K, V, GV, bool) (R, error)
	nullKeys nulls[GK]
	nulls    nulls[R]
	out      Outputs[K, R]
}

func (n *streamGlobalJoin[K, V, GK, GV, R]) Receive(r Record[K, V]) error {
	const nothing = "null join key or value"
	if r.NullValue {
		return n.drop(nothing)
	}
	ctx := n.enter()
	key, err := n.key(ctx, r.Key, r.Value)
	if err != nil {
		return n.failed(err)
	}
	var row Entry[GV]
	switch {
	case !n.nullKeys.is(key):
		if row, err = n.get(key, latest); err != nil {
			return err
		}
	case !n.left:
		return n.drop(nothing)
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
