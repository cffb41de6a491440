package node

import (
	"context"
	"errors"

	"github.com/millrace/millrace/topology"
)

// TableAggregate keeps one aggregate a group of rows (KTableAggregate, KTableReduce): what a row was is subtracted, then
// what it is added. Init is nil for a reduction, which starts from the first value.
func TableAggregate[K, V, A any](name string, a Aggregation[K, V, A], subtract func(context.Context, K, V, A) (A, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[K, A](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openKeyValue(task, a.Store, a.Key, a.Value)
		if err != nil {
			return nil, err
		}
		n := &tableAggregate[K, V, A]{baseOf(name, task), a, subtract, s, nullsOf[A](), forwarder[K, A]{out: out, sendOld: a.SendOld()}}
		n.onFlush(task, s.Store, refer(a.Key), s.decode)
		return n, nil
	}
}

type tableAggregate[K, V, A any] struct {
	base
	Aggregation[K, V, A]
	subtract func(context.Context, K, V, A) (A, error)
	store    *keyValue[K, A]
	nulls    nulls[A]
	forwarder[K, A]
}

func (n *tableAggregate[K, V, A]) Receive(r Record[K, Change[V]]) error {
	if r.NullKey {
		return n.failed(errors.New("a change in the repartition topic of a grouped table has a null key"))
	}
	e, err := n.store.get(r.Key)
	if err != nil {
		return err
	}
	agg, null, time := e.Value, !e.Found, r.Time
	if !r.Value.NullOld && e.Found {
		if agg, err = n.subtract(n.enter(), r.Key, r.Value.Old, agg); err != nil {
			return n.failed(err)
		}
		null = n.nulls.is(agg)
		time = max(time, e.Time)
	}
	if !r.Value.NullNew {
		// Java takes the later timestamp here where there was an aggregate; a reduction that the subtraction left without
		// one starts anew, but keeps the time.
		if e.Found {
			time = max(time, e.Time)
		}
		if null && n.Init != nil {
			n.enter()
			agg = n.Init()
			null = n.nulls.is(agg)
		}
		if agg, err = n.Add(n.enter(), r.Key, r.Value.New, agg, null && n.Init == nil); err != nil {
			return n.failed(err)
		}
		null = n.nulls.is(agg)
	}
	kept, late, err := n.store.put(n.task, r.Key, agg, null, time, r.Time, r.Headers)
	if err != nil || !kept {
		return err
	}
	return n.forward(Record[K, Change[A]]{Key: r.Key, Value: Change[A]{agg, e.Value, null, !e.Found, late}, Time: time, Headers: r.Headers})
}
