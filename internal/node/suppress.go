package node

import (
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Suppression says how long the changes of a table wait.
type Suppression struct {
	Final      bool  // until the window of their key closes, and deletions are left out; else from the first change's time
	Wait       int64 // milliseconds of stream time; of a final one the grace period
	MaxRecords int64
	MaxBytes   int64
	Fail       bool // when there are more, instead of sending on those that are next
}

// Suppress holds back the changes of a table, of each key the newest (KTableSuppressProcessorSupplier). After each
// change it sends on those that have waited long enough by the greatest timestamp that it has seen, in the order of
// their time and then of their keys, each in the name of the record that made it.
func Suppress[K, V any](name string, s Suppression, buffer string, key serde.Serde[K], value serde.Serde[V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[K, V](name, children)
		if err != nil {
			return nil, err
		}
		n := &suppress[K, V]{base: baseOf(name, task), Suppression: s, out: out, codec: codec[K, V]{name: buffer, key: key, value: value}, streamTime: -1}
		if n.buffer, err = openBuffer(task, buffer); err != nil {
			return nil, err
		}
		n.emit = n.send
		if s.Final {
			var ok bool
			if n.ends, ok = any(&n.key).(interface{ End() time.Time }); !ok {
				return nil, fmt.Errorf("node %q waits for windows to close, but %T has none", name, n.key)
			}
			n.buffer.Passing()
		}
		return n, nil
	}
}

func openBuffer(task topology.Context, name string) (*store.Buffer, error) {
	s, err := openStore(task, name)
	if err != nil {
		return nil, err
	}
	return store.NewBuffer(s)
}

type suppress[K, V any] struct {
	base
	Suppression
	codec      codec[K, V]
	out        Outputs[K, Change[V]]
	buffer     *store.Buffer
	streamTime int64 // the greatest timestamp seen; -1: none
	key        K     // of the change in process
	ends       interface{ End() time.Time }
	older      []byte // scratch
	origin     topology.Record
	emit       func([]byte, store.Buffered) error
}

func (n *suppress[K, V]) Receive(r Record[K, Change[V]]) error {
	n.streamTime = max(n.streamTime, r.Time)
	if err := n.put(r); err != nil {
		return err
	}
	for {
		first, ok, err := n.buffer.First()
		if err != nil {
			return err
		}
		if !ok || first > n.streamTime-n.Wait {
			break
		}
		if err := n.buffer.Take(n.emit); err != nil {
			return err
		}
	}
	for n.full() {
		if n.Fail {
			records, bytes := n.buffer.Size()
			return n.failed(fmt.Errorf("the buffer of node %q is full: it holds %d records (of %s at most) and %d bytes (of %s)",
				n.name, records, bound(n.MaxRecords), bytes, bound(n.MaxBytes)))
		}
		if err := n.buffer.Take(n.emit); err != nil {
			return err
		}
	}
	return nil
}

func bound(n int64) string {
	if n == math.MaxInt64 {
		return "any number"
	}
	return fmt.Sprint(n)
}

func (n *suppress[K, V]) full() bool {
	records, bytes := n.buffer.Size()
	return records > n.MaxRecords || bytes > n.MaxBytes
}

func (n *suppress[K, V]) put(r Record[K, Change[V]]) error {
	key, err := n.codec.encodeKey(r.Key)
	if err != nil {
		return err
	}
	old, err := n.codec.encodeValue(r.Value.Old, r.Value.NullOld)
	if err != nil {
		return err
	}
	if old != nil {
		n.older = append(append(n.older[:0], 0), old...)[:1+len(old)] // never nil
		old = n.older[1:]
	}
	now, err := n.codec.encodeValue(r.Value.New, r.Value.NullNew)
	if err != nil {
		return err
	}
	time := r.Time
	if n.Final {
		n.key = r.Key
		time = n.ends.End().UnixMilli()
	}
	return n.buffer.Put(key, store.Buffered{Time: time, Old: old, New: now, Origin: *n.codec.context(n.task, r.Time, r.Headers)})
}

// send sends a change on.
func (n *suppress[K, V]) send(key []byte, v store.Buffered) error {
	if v.New == nil && n.Final {
		return nil // nothing was ever sent of its window
	}
	r := Record[K, Change[V]]{Time: v.Origin.Timestamp, Headers: v.Origin.Headers}
	var err error
	if r.Key, err = n.codec.key.Decode(key); err != nil {
		return fmt.Errorf("store %q: decoding a key: %w", n.codec.name, err)
	}
	now, err := n.codec.decode(store.Value{Bytes: v.New}, nil)
	if err != nil {
		return err
	}
	old, err := n.codec.decode(store.Value{Bytes: v.Old}, nil)
	if err != nil {
		return err
	}
	r.Value = Change[V]{New: now.Value, Old: old.Value, NullNew: !now.Found, NullOld: !old.Found}
	n.origin = v.Origin
	before := n.task.Become(&n.origin)
	err = n.out.Forward(r)
	n.task.Become(before) // not deferred: where it panics it is the origin that was in process
	return err
}

// SuppressGetter reads a table as it was sent on: while a change of a key waits, the value before it.
func SuppressGetter[K, V any](parent GetterFunc[K, V], buffer string, key serde.Serde[K], value serde.Serde[V]) GetterFunc[K, V] {
	return func(task topology.Context) (Getter[K, V], error) {
		get, err := parent(task)
		if err != nil {
			return nil, err
		}
		b, err := openBuffer(task, buffer)
		if err != nil {
			return nil, err
		}
		c := codec[K, V]{name: buffer, key: key, value: value}
		return func(k K, _ int64) (e Entry[V], err error) {
			kb, err := c.encodeKey(k)
			if err != nil {
				return e, err
			}
			v, waits, err := b.Get(kb)
			if err != nil {
				return e, err
			}
			if !waits {
				return get(k, latest)
			}
			return c.decode(store.Value{Bytes: v.Prior, Timestamp: -1}, nil) // when that was is not known
		}, nil
	}
}
