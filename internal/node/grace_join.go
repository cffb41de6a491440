package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A Wait is how long records wait for their rows: until stream time, that of the records that waited, has passed their
// timestamp by Grace milliseconds, in the store Buffer.
type Wait[K, V any] struct {
	Grace  int64
	Buffer string
	Key    serde.Serde[K]
	Value  serde.Serde[V]
}

// GraceJoin is [StreamTableJoin] of records that wait, with a versioned table (KIP-923). One that is late, by more than
// the grace, is joined at once. Each is joined in its own name, by time and then by key.
func GraceJoin[K, V, T, R any](name string, w Wait[K, V], table GetterFunc[K, T], left bool, join func(ctx context.Context, k K, v V, row T, found bool) (R, error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		j, err := newStreamTableJoin[K, V](name, task, children, table, left, join)
		if err != nil {
			return nil, err
		}
		s, err := openStore(task, w.Buffer)
		if err != nil {
			return nil, err
		}
		n := &graceJoin[K, V, T, R]{
			streamTableJoin: j, grace: w.Grace, codec: codec[K, V]{name: w.Buffer, key: w.Key, value: w.Value},
			waiting: store.NewWaiting(s), observed: -1,
		}
		n.emit = n.send
		return n, nil
	}
}

type graceJoin[K, V, T, R any] struct {
	*streamTableJoin[K, V, T, R]
	grace    int64
	codec    codec[K, V]
	waiting  *store.Waiting
	observed int64 // the greatest timestamp that waited; -1: none
	origin   topology.Record
	emit     func([]byte, store.Buffered) error
}

func (n *graceJoin[K, V, T, R]) Receive(r Record[K, V]) error {
	last, err := n.waiting.Load()
	n.observed = max(n.observed, last)
	switch {
	case err != nil:
		return err
	case n.drops(r):
		return n.drop(nullJoin)
	case r.NullKey: // Java fails as well
		return n.failed(errors.New("a record without a key cannot wait for the join; filter it out before"))
	case n.observed-n.grace > r.Time:
		return n.joined(r)
	}
	if err := n.put(r); err != nil {
		return err
	}
	n.observed = max(n.observed, r.Time)
	return n.waiting.Take(n.observed-n.grace, n.emit)
}

func (n *graceJoin[K, V, T, R]) put(r Record[K, V]) error {
	key, err := n.codec.encodeKey(r.Key)
	if err != nil {
		return err
	}
	value, err := n.codec.encodeValue(r.Value, false)
	if err != nil {
		return err
	}
	return n.waiting.Put(key, r.Time, store.Buffered{New: value, Origin: *n.codec.context(n.task, r.Time, r.Headers)})
}

// send joins a record whose time has come.
func (n *graceJoin[K, V, T, R]) send(key []byte, v store.Buffered) (err error) {
	r := Record[K, V]{Time: v.Origin.Timestamp, Headers: v.Origin.Headers}
	if r.Key, err = n.codec.key.Decode(key); err != nil {
		return fmt.Errorf("store %q: decoding a key: %w", n.codec.name, err)
	}
	e, err := n.codec.decode(store.Value{Bytes: v.New}, nil)
	if err != nil {
		return err
	}
	r.Value = e.Value
	n.origin = v.Origin
	before := n.task.Become(&n.origin)
	err = n.joined(r)
	n.task.Become(before) // not deferred: where it panics it is the origin that was in process
	return err
}
