package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
)

// ShowNulls returns the same stream with its nulls in the type: functions given to the verbs of the result see null
// values. It adds nothing to the topology.
func (s *Stream[K, V]) ShowNulls[O OptValue[V]]() *Stream[K, O] {
	return &Stream[K, O]{b: s.b, step: s.step, name: s.name, key: s.key, value: showing[V, O](s.value), sources: s.sources, repartition: s.repartition}
}

// ShowNulls returns the same table with nulls in its type: see [Stream.ShowNulls].
func (t *Table[K, V]) ShowNulls[O OptValue[V]]() *Table[K, O] {
	return &Table[K, O]{
		b: t.b, step: t.step, name: t.name, key: t.key, value: showing[V, O](t.value), sources: t.sources, kept: t.kept,
		getter: func() node.GetterFunc[K, O] { return any(node.OptGetter(t.getter())).(node.GetterFunc[K, O]) },
	}
}

// showing returns the serde of Opt[V], which O is.
func showing[V any, O OptValue[V]](s serde.Serde[V]) serde.Serde[O] {
	if s == nil {
		return nil
	}
	return any(serde.Optional(s)).(serde.Serde[O])
}
