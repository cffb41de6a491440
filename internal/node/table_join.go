package node

import (
	"context"

	"github.com/millrace/millrace/topology"
)

// TableJoin joins rows of two tables that have the same key: a of the first, b of the second. hasA and hasB say whether
// there is one; those that the kind of join needs are there. Of a versioned table what is late is dropped, counted.
type TableJoin[K, A, B, R any] struct {
	NeedsA, NeedsB         bool
	VersionedA, VersionedB bool
	Join                   func(ctx context.Context, k K, a A, hasA bool, b B, hasB bool) (R, error)
}

const lateChange = "out of order in a versioned table"

// reversed returns the join as the second table sees it.
func (j TableJoin[K, A, B, R]) reversed() TableJoin[K, B, A, R] {
	return TableJoin[K, B, A, R]{j.NeedsB, j.NeedsA, j.VersionedB, j.VersionedA, func(ctx context.Context, k K, b B, hasB bool, a A, hasA bool) (R, error) {
		return j.Join(ctx, k, a, hasA, b, hasB)
	}}
}

// TableJoinThis joins each change of the first table with the row of the second (KTableKTableInnerJoin, -LeftJoin,
// -OuterJoin, and -RightJoin for the second table of a left join). The result has the greater of both timestamps. A change
// for which there is no result and was none is not sent on.
func TableJoinThis[K, A, B, R any](name string, j TableJoin[K, A, B, R], other GetterFunc[K, B], sendOld func() bool) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[K, R](name, children)
		if err != nil {
			return nil, err
		}
		get, err := other(task)
		return &tableJoin[K, A, B, R]{baseOf(name, task), j, get, nullsOf[R](), out, sendOld()}, err
	}
}

// TableJoinOther is TableJoinThis for the changes of the second table.
func TableJoinOther[K, A, B, R any](name string, j TableJoin[K, A, B, R], other GetterFunc[K, A], sendOld func() bool) topology.NewFunc {
	return TableJoinThis(name, j.reversed(), other, sendOld)
}

type tableJoin[K, A, B, R any] struct {
	base
	TableJoin[K, A, B, R]
	get     Getter[K, B]
	nulls   nulls[R]
	out     Outputs[K, Change[R]]
	sendOld bool
}

func (n *tableJoin[K, A, B, R]) Receive(r Record[K, Change[A]]) error {
	if r.NullKey {
		return n.drop("null key")
	}
	if n.VersionedA && r.Value.Late {
		return n.drop(lateChange)
	}
	n.enter() // the row may be computed by functions as well
	row, err := n.get(r.Key, latest)
	if err != nil {
		return err
	}
	if !row.Found && (n.NeedsB || r.Value.NullNew && r.Value.NullOld) {
		return nil
	}
	c := Change[R]{NullNew: true, NullOld: true, Late: r.Value.Late}
	if c.New, c.NullNew, err = n.joined(r.Key, r.Value.New, r.Value.NullNew, row); err != nil {
		return n.failed(err)
	}
	if n.sendOld {
		if c.Old, c.NullOld, err = n.joined(r.Key, r.Value.Old, r.Value.NullOld, row); err != nil {
			return n.failed(err)
		}
	}
	time := r.Time
	if row.Found {
		time = max(time, row.Time)
	}
	return n.out.Forward(Record[K, Change[R]]{Key: r.Key, Value: c, Time: time, Headers: r.Headers})
}

func (n *tableJoin[K, A, B, R]) joined(k K, a A, null bool, row Entry[B]) (result R, _ bool, err error) {
	if null && (n.NeedsA || !row.Found) {
		return result, true, nil
	}
	result, err = n.Join(n.enter(), k, a, !null, row.Value, row.Found)
	return result, n.nulls.is(result), err
}

// TableJoinMerge brings the results of both sides together, and keeps them where the table is kept (KTableKTableJoinMerger).
func TableJoinMerge[K, R any](name string, t TableStore[K, R]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		m, err := materialize(name, task, children, t)
		return &tableJoinMerge[K, R]{m}, err
	}
}

type tableJoinMerge[K, R any] struct{ materialized[K, R] }

func (n *tableJoinMerge[K, R]) Receive(r Record[K, Change[R]]) error {
	if n.store == nil {
		return n.forward(r)
	}
	return n.change(r.Key, r.Value, r.Time, r.Headers)
}

// TableJoinGetter reads a join that is not kept, by the tables above.
func TableJoinGetter[K, A, B, R any](j TableJoin[K, A, B, R], first GetterFunc[K, A], second GetterFunc[K, B]) GetterFunc[K, R] {
	return func(task topology.Context) (Getter[K, R], error) {
		getA, err := first(task)
		if err != nil {
			return nil, err
		}
		getB, err := second(task)
		null := nullsOf[R]()
		return func(k K, _ int64) (e Entry[R], err error) { // it has no history, whatever the tables have
			a, err := getA(k, latest)
			if err != nil || !a.Found && j.NeedsA {
				return e, err
			}
			b, err := getB(k, latest)
			if err != nil || !b.Found && (j.NeedsB || !a.Found) {
				return e, err
			}
			if e.Value, err = j.Join(task.Context(), k, a.Value, a.Found, b.Value, b.Found); err != nil {
				return e, err
			}
			e.Time, e.Found = a.Time, !null.is(e.Value)
			if !a.Found || b.Found {
				e.Time = max(e.Time, b.Time)
			}
			return e, nil
		}, err
	}
}
