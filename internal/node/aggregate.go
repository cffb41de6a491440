package node

import (
	"context"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Aggregation is what an aggregating node computes and where it keeps it.
type Aggregation[K, V, A any] struct {
	Store string
	Key   serde.Serde[K]
	Value serde.Serde[A]

	// Init makes the aggregate that a key starts from; nil where it starts from nothing (reduce).
	Init func() A

	// Add returns the aggregate with a value added. absent says that there was none and Init is nil.
	Add func(ctx context.Context, k K, v V, old A, absent bool) (A, error)

	// CountNulls adds null values as well although the type does not show them: Add does not look at the value.
	CountNulls bool

	// SendOld is read when a task is made: whether a node below wants the old values.
	SendOld func() bool
}

// start returns the aggregate to add to, given what the store holds.
func (a *Aggregation[K, V, A]) start(e Entry[A], null nulls[A]) (old A, absent bool) {
	if e.Found {
		return e.Value, false
	}
	if a.Init == nil {
		return old, true
	}
	old = a.Init()
	return old, null.is(old)
}

// Aggregate keeps one aggregate a key (KStreamAggregate, KStreamReduce). A record with a null key or value is dropped.
// The result has the greater of the record's timestamp and that of the aggregate so far.
func Aggregate[K, V, A any](name string, a Aggregation[K, V, A]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[K, A](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openKeyValue(task, a.Store, a.Key, a.Value)
		if err != nil {
			return nil, err
		}
		n := &aggregate[K, V, A]{baseOf(name, task), a, s, nullsOf[A](), forwarder[K, A]{out: out, sendOld: a.SendOld()}}
		n.onFlush(task, s.Store, refer(a.Key), s.decode)
		return n, nil
	}
}

type aggregate[K, V, A any] struct {
	base
	Aggregation[K, V, A]
	store *keyValue[K, A]
	nulls nulls[A]
	forwarder[K, A]
}

func (n *aggregate[K, V, A]) Receive(r Record[K, V]) error {
	if r.NullKey || r.NullValue {
		return n.drop("null key or value")
	}
	e, err := n.store.get(r.Key)
	if err != nil {
		return err
	}
	time := r.Time
	if e.Found {
		time = max(time, e.Time)
	}
	ctx := n.enter()
	old, absent := n.start(e, n.nulls)
	now, err := n.Add(ctx, r.Key, r.Value, old, absent)
	if err != nil {
		return n.failed(err)
	}
	null := n.nulls.is(now)
	kept, late, err := n.store.put(n.task, r.Key, now, null, time, r.Time, r.Headers)
	if err != nil || !kept {
		return err
	}
	return n.forward(Record[K, Change[A]]{Key: r.Key, Value: Change[A]{now, old, null, absent, late}, Time: time, Headers: r.Headers})
}
