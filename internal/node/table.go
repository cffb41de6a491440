package node

import (
	"context"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A TableStore is where a table is kept, if it is: Name is empty where the table is computed from the one above.
// It is read when a task is made, as what stands further down decides over it.
type TableStore[K, V any] struct {
	Name    func() string
	Key     serde.Serde[K]
	Value   serde.Serde[V]
	SendOld func() bool
}

// materialized is the part of a table's node that keeps the table and sends its changes on.
type materialized[K, V any] struct {
	base
	store *keyValue[K, V] // nil: not kept
	nulls nulls[V]
	forwarder[K, V]
}

func materialize[K, V any](name string, task topology.Context, children []any, t TableStore[K, V]) (m materialized[K, V], err error) {
	out, err := wireChanges[K, V](name, children)
	if err != nil {
		return m, err
	}
	m = materialized[K, V]{base: baseOf(name, task), nulls: nullsOf[V](), forwarder: forwarder[K, V]{out: out, sendOld: t.SendOld()}}
	if store := t.Name(); store != "" {
		if m.store, err = openKeyValue(task, store, t.Key, t.Value); err != nil {
			return m, err
		}
		m.onFlush(task, m.store.Store, refer(t.Key), m.store.decode)
	}
	return m, nil
}

// old returns what the table holds for a key.
func (m *materialized[K, V]) old(k K) (v V, null bool, err error) {
	e, err := m.store.get(k)
	return e.Value, !e.Found, err
}

// change keeps the new value, where the table is kept, and sends the change on, unless it was too old to be kept.
func (m *materialized[K, V]) change(k K, c Change[V], time int64, headers []topology.Header) error {
	r := Record[K, Change[V]]{Key: k, Value: c, Time: time, Headers: headers}
	if m.store == nil {
		return m.out.Forward(r)
	}
	kept, late, err := m.store.put(m.task, k, c.New, c.NullNew, time, time, headers)
	if err != nil || !kept {
		return err
	}
	r.Value.Late = late
	return m.forward(r)
}

// TableSource makes a table of a stream (KTableSource): a null key is dropped, a null value deletes. Updates apply in
// the order of their offsets; one with an older timestamp is not refused. Those of a versioned table apply by their
// timestamps.
func TableSource[K, V any](name string, t TableStore[K, V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		m, err := materialize(name, task, children, t)
		return &tableSource[K, V]{m}, err
	}
}

type tableSource[K, V any] struct{ materialized[K, V] }

func (n *tableSource[K, V]) Receive(r Record[K, V]) error {
	if r.NullKey {
		return n.drop("null key")
	}
	c := Change[V]{New: r.Value, NullNew: r.NullValue, NullOld: true}
	if n.store != nil && n.sendOld && !n.cached {
		var err error
		if c.Old, c.NullOld, err = n.old(r.Key); err != nil {
			return err
		}
	}
	return n.change(r.Key, c, r.Time, r.Headers)
}

// TableFilter keeps the rows for which keep returns want; others are deleted (KTableFilter). Where old values are
// known, nothing is sent for a row that was not there and still is not, unless the table above is versioned: there may be
// a history.
func TableFilter[K, V any](name string, keep func(context.Context, K, V) (bool, error), want, versioned bool, t TableStore[K, V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		m, err := materialize(name, task, children, t)
		return &tableFilter[K, V]{m, keep, want, versioned}, err
	}
}

type tableFilter[K, V any] struct {
	materialized[K, V]
	keep            func(context.Context, K, V) (bool, error)
	want, versioned bool
}

func (n *tableFilter[K, V]) filter(k K, v V, null bool) (V, bool, error) {
	var none V
	if null {
		return none, true, nil
	}
	keep, err := n.keep(n.enter(), k, v)
	if err != nil || keep != n.want {
		return none, true, err
	}
	return v, false, nil
}

func (n *tableFilter[K, V]) Receive(r Record[K, Change[V]]) (err error) {
	c := Change[V]{NullOld: true, Late: r.Value.Late}
	if c.New, c.NullNew, err = n.filter(r.Key, r.Value.New, r.Value.NullNew); err != nil {
		return n.failed(err)
	}
	if n.sendOld {
		if n.store != nil {
			c.Old, c.NullOld, err = n.old(r.Key)
		} else if c.Old, c.NullOld, err = n.filter(r.Key, r.Value.Old, r.Value.NullOld); err != nil {
			return n.failed(err)
		}
		if err != nil {
			return err
		}
		if c.NullOld && c.NullNew && !n.versioned {
			return nil
		}
	}
	return n.change(r.Key, c, r.Time, r.Headers)
}

// FilterGetter reads a filtered table that is not kept, by the table above.
func FilterGetter[K, V any](parent GetterFunc[K, V], keep func(context.Context, K, V) (bool, error), want bool) GetterFunc[K, V] {
	return func(task topology.Context) (Getter[K, V], error) {
		get, err := parent(task)
		return func(k K, at int64) (Entry[V], error) {
			e, err := get(k, at)
			if err != nil || !e.Found {
				return e, err
			}
			if ok, err := keep(task.Context(), k, e.Value); err != nil || ok != want {
				return Entry[V]{}, err
			}
			return e, nil
		}, err
	}
}

// TableMapValues makes a new value of each row (KTableMapValues); a deleted row stays deleted.
func TableMapValues[K, V, V2 any](name string, f func(context.Context, K, V) (V2, error), t TableStore[K, V2]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		m, err := materialize(name, task, children, t)
		return &tableMapValues[K, V, V2]{m, f}, err
	}
}

type tableMapValues[K, V, V2 any] struct {
	materialized[K, V2]
	f func(context.Context, K, V) (V2, error)
}

func (n *tableMapValues[K, V, V2]) mapped(k K, v V, null bool) (v2 V2, _ bool, err error) {
	if null {
		return v2, true, nil
	}
	v2, err = n.f(n.enter(), k, v)
	return v2, n.nulls.is(v2), err
}

func (n *tableMapValues[K, V, V2]) Receive(r Record[K, Change[V]]) (err error) {
	c := Change[V2]{NullOld: true, Late: r.Value.Late}
	if c.New, c.NullNew, err = n.mapped(r.Key, r.Value.New, r.Value.NullNew); err != nil {
		return n.failed(err)
	}
	if n.sendOld {
		if n.store != nil {
			c.Old, c.NullOld, err = n.old(r.Key)
		} else if c.Old, c.NullOld, err = n.mapped(r.Key, r.Value.Old, r.Value.NullOld); err != nil {
			return n.failed(err)
		}
		if err != nil {
			return err
		}
	}
	return n.change(r.Key, c, r.Time, r.Headers)
}

// MapValuesGetter reads a mapped table that is not kept, by the table above.
func MapValuesGetter[K, V, V2 any](parent GetterFunc[K, V], f func(context.Context, K, V) (V2, error)) GetterFunc[K, V2] {
	return func(task topology.Context) (Getter[K, V2], error) {
		get, err := parent(task)
		null := nullsOf[V2]()
		return func(k K, at int64) (Entry[V2], error) {
			e, err := get(k, at)
			if err != nil || !e.Found {
				return Entry[V2]{}, err
			}
			v, err := f(task.Context(), k, e.Value)
			return Entry[V2]{v, e.Time, !null.is(v)}, err
		}, err
	}
}

// ToStream sends the new value of each change on as a record; a deletion is a null.
func ToStream[K, V any](name string) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		return &toStream[K, V]{baseOf(name, task), out}, err
	}
}

type toStream[K, V any] struct {
	base
	out Outputs[K, V]
}

func (n *toStream[K, V]) Receive(r Record[K, Change[V]]) error {
	return n.out.Forward(Record[K, V]{Key: r.Key, Value: r.Value.New, NullValue: r.Value.NullNew, Time: r.Time, Headers: r.Headers})
}
