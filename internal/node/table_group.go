package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// TableGroupBy makes a new key and value of the old and the new value of a row (KTableRepartitionMap): what the row was
// is to be subtracted from one group and what it is added to another. Where both are in the same group one change
// holds them, else the subtraction goes first. Rows with a null key or value are left out, and what is late in a
// versioned table, not counted.
func TableGroupBy[K, V, K2, V2 any](name string, f func(context.Context, K, V) (K2, V2, error), versioned bool, key serde.Serde[K2]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wireChanges[K2, V2](name, children)
		return &tableGroupBy[K, V, K2, V2]{base: baseOf(name, task), f: f, versioned: versioned, key: key, keys: nullsOf[K2](), values: nullsOf[V2](), out: out}, err
	}
}

type tableGroupBy[K, V, K2, V2 any] struct {
	base
	f         func(context.Context, K, V) (K2, V2, error)
	versioned bool
	key       serde.Serde[K2]
	keys      nulls[K2]
	values    nulls[V2]
	out       Outputs[K2, Change[V2]]
	a, b      []byte
}

func (n *tableGroupBy[K, V, K2, V2]) pair(k K, v V, null bool) (k2 K2, v2 V2, _ bool, err error) {
	if null {
		return k2, v2, true, nil
	}
	k2, v2, err = n.f(n.enter(), k, v)
	return k2, v2, n.keys.is(k2) || n.values.is(v2), err
}

func (n *tableGroupBy[K, V, K2, V2]) Receive(r Record[K, Change[V]]) error {
	if n.versioned && r.Value.Late {
		return nil
	}
	newKey, newValue, noNew, err := n.pair(r.Key, r.Value.New, r.Value.NullNew)
	if err != nil {
		return n.failed(err)
	}
	oldKey, oldValue, noOld, err := n.pair(r.Key, r.Value.Old, r.Value.NullOld)
	if err != nil {
		return n.failed(err)
	}
	if !noOld && !noNew {
		same, err := n.same(oldKey, newKey)
		if err != nil {
			return n.failed(err)
		}
		if same {
			return n.send(r, oldKey, Change[V2]{New: newValue, Old: oldValue})
		}
	}
	if !noOld {
		if err := n.send(r, oldKey, Change[V2]{Old: oldValue, NullNew: true}); err != nil {
			return err
		}
	}
	if !noNew {
		return n.send(r, newKey, Change[V2]{New: newValue, NullOld: true})
	}
	return nil
}

func (n *tableGroupBy[K, V, K2, V2]) send(r Record[K, Change[V]], k K2, c Change[V2]) error {
	return n.out.Forward(Record[K2, Change[V2]]{Key: k, Value: c, Time: r.Time, Headers: r.Headers})
}

// same says whether two keys are one: their bytes are equal.
func (n *tableGroupBy[K, V, K2, V2]) same(x, y K2) (_ bool, err error) {
	if n.a, err = n.key.Append(n.a[:0], x); err != nil {
		return false, err
	}
	n.b, err = n.key.Append(n.b[:0], y)
	return bytes.Equal(n.a, n.b), err
}

// ChangeSerde encodes the changes in the repartition topic of a grouped table (ChangedSerializer): the last byte says
// what stands before it: 1 the new value, 0 the old one, 2 the length of the new value as a zig-zag varint, the new and
// the old. 3, 4 and 5 are read as 0, 1 and 2 with a flag byte in front of the last one.
func ChangeSerde[V any](value serde.Serde[V]) serde.Serde[Change[V]] { return changeSerde[V]{value} }

type changeSerde[V any] struct{ value serde.Serde[V] }

func (s changeSerde[V]) Append(dst []byte, c Change[V]) (out []byte, err error) {
	switch {
	case c.NullNew && c.NullOld:
		return dst, errors.New("a change has neither a new nor an old value")
	case c.NullOld:
		if out, err = s.value.Append(dst, c.New); err != nil {
			return dst, err
		}
		return append(out, 1), nil
	case c.NullNew:
		if out, err = s.value.Append(dst, c.Old); err != nil {
			return dst, err
		}
		return append(out, 0), nil
	}
	newer, err := s.value.Append(nil, c.New)
	if err != nil {
		return dst, err
	}
	out = append(binary.AppendVarint(dst, int64(len(newer))), newer...)
	if out, err = s.value.Append(out, c.Old); err != nil {
		return dst, err
	}
	return append(out, 2), nil
}

func (s changeSerde[V]) Decode(data []byte) (c Change[V], err error) {
	if len(data) == 0 {
		return c, errors.New("a change is empty")
	}
	kind, data := data[len(data)-1], data[:len(data)-1]
	if kind >= 3 && kind <= 5 {
		if len(data) == 0 {
			return c, fmt.Errorf("a change of kind %d is cut short", kind)
		}
		kind, data = kind-3, data[:len(data)-1]
	}
	switch kind {
	case 0:
		c.NullNew = true
		c.Old, err = s.value.Decode(data)
	case 1:
		c.NullOld = true
		c.New, err = s.value.Decode(data)
	case 2:
		size, n := binary.Varint(data)
		if n <= 0 || size < 0 || size > int64(len(data)-n) {
			return c, errors.New("a change has a wrong length of its new value")
		}
		if c.New, err = s.value.Decode(data[n : n+int(size)]); err == nil {
			c.Old, err = s.value.Decode(data[n+int(size):])
		}
	default:
		err = fmt.Errorf("a change ends in the unknown kind %d", kind)
	}
	return c, err
}
