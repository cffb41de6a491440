package node

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/topology"
)

// A Transform makes a value of a row.
type Transform[K, V, V2 any] func(k K, v V) (V2, error)

// transforming is a function of the program that makes values of rows and may use the task, but not send anything.
type transforming[K, V, V2 any] struct {
	*Processing[K, V2]
	f          Transform[K, V, V2]
	made       nulls[V2]
	takesNulls bool
}

// openTransform has the function made when the stores are restored.
func openTransform[K, V, V2 any](name string, task topology.Context, stores []string, open func(*Processing[K, V2]) (Transform[K, V, V2], error)) *transforming[K, V, V2] {
	t := &transforming[K, V, V2]{
		Processing: &Processing[K, V2]{base: baseOf(name, task), stores: stores, mute: true},
		made:       nullsOf[V2](), takesNulls: nullsOf[V]().shown(),
	}
	task.OnStart(func() (err error) {
		t.enter()
		t.time = task.Wall()
		if t.f, err = open(t.Processing); err != nil || t.broken != nil {
			return fmt.Errorf("node %q: opening the function: %w", name, errors.Join(err, t.broken))
		}
		return nil
	}, func() error { return nil })
	return t
}

// of makes a value of a row. A deleted row stays deleted unless the function takes nulls. Its error is one of the program,
// or of what it called.
func (t *transforming[K, V, V2]) of(k K, v V, null bool) (v2 V2, isNull bool, err error) {
	if null && !t.takesNulls {
		return v2, true, nil
	}
	t.enter()
	v2, err = t.f(k, v)
	return v2, t.made.is(v2), err
}

// TableTransform makes a new value of each row with a function that may use stores (KTableTransformValues). Where the result
// is kept, the old value is read there, else it is made again of the old value above.
func TableTransform[K, V, V2 any](name string, stores []string, open func(*Processing[K, V2]) (Transform[K, V, V2], error), t TableStore[K, V2]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		m, err := materialize(name, task, children, t)
		return &tableTransform[K, V, V2]{m, openTransform(name, task, stores, open)}, err
	}
}

type tableTransform[K, V, V2 any] struct {
	materialized[K, V2]
	transform *transforming[K, V, V2]
}

func (n *tableTransform[K, V, V2]) Receive(r Record[K, Change[V]]) (err error) {
	t := n.transform
	t.time, t.headers = r.Time, r.Headers
	c := Change[V2]{NullOld: true, Late: r.Value.Late}
	if c.New, c.NullNew, err = t.of(r.Key, r.Value.New, r.Value.NullNew); err != nil || t.broken != nil {
		return t.done(err)
	}
	switch {
	case !n.sendOld:
	case n.store == nil:
		if c.Old, c.NullOld, err = t.of(r.Key, r.Value.Old, r.Value.NullOld); err != nil || t.broken != nil {
			return t.done(err)
		}
	default:
		if c.Old, c.NullOld, err = n.old(r.Key); err != nil {
			return err
		}
	}
	return n.change(r.Key, c, r.Time, r.Headers)
}

// TransformGetter reads a transformed table that is not kept, by the table above and a function of its own.
func TransformGetter[K, V, V2 any](name string, parent GetterFunc[K, V], stores []string, open func(*Processing[K, V2]) (Transform[K, V, V2], error)) GetterFunc[K, V2] {
	return func(task topology.Context) (Getter[K, V2], error) {
		get, err := parent(task)
		t := openTransform(name, task, stores, open)
		return func(k K, at int64) (e Entry[V2], _ error) {
			above, err := get(k, at)
			if err != nil {
				return e, err
			}
			if e.Time = above.Time; !above.Found {
				e.Time = -1
			}
			t.time, t.headers = e.Time, nil
			v, null, err := t.of(k, above.Value, !above.Found)
			if err == nil && t.broken != nil {
				err, t.broken = t.broken, nil
			}
			e.Value, e.Found = v, !null
			return e, err
		}, err
	}
}
