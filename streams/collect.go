package streams

import "github.com/millrace/millrace/serde"

// ListOf is the type of a list of V: there is exactly one, so that it never needs to be written.
type ListOf[V any] interface{ []V }

// First is the function of a reduction that keeps the value that came first.
func First[V any](result, _ V) V { return result }

// Last is the function of a reduction that keeps the value that came last.
func Last[V any](_, value V) V { return value }

// Collect keeps the values of each key in a list, in the order in which they came. Each value makes the whole list be
// written anew: it is for short ones.
//
// Options and names as for [Grouped.Aggregate]; without WithValue the list is encoded by [serde.List]. Java has no such
// verb; it is an aggregate with a ListSerde.
func (g *Grouped[K, V]) Collect[L ListOf[V]](opts ...Option) *Table[K, L] {
	return g.Aggregate(func() L { return nil }, collect[K, V, L], append([]Option{WithValue(listSerde[K, V, L](g))}, opts...)...)
}

// Collect keeps the values of each key and window in a list; see [Grouped.Collect].
func (w *TimeWindowed[K, V]) Collect[L ListOf[V], W WindowedKey[K]](opts ...Option) *Table[W, L] {
	return w.Aggregate[L, W](func() L { return nil }, collect[K, V, L], append([]Option{WithValue(listSerde[K, V, L](w.group))}, opts...)...)
}

// Collect keeps the values of each key and session in a list; the lists of sessions that become one are put one after the
// other, the earlier first. See [Grouped.Collect].
func (w *SessionWindowed[K, V]) Collect[L ListOf[V], W WindowedKey[K]](opts ...Option) *Table[W, L] {
	join := func(_ K, a, b L) L { return append(a[:len(a):len(a)], b...) }
	return w.Aggregate[L, W](func() L { return nil }, collect[K, V, L], join, append([]Option{WithValue(listSerde[K, V, L](w.group))}, opts...)...)
}

func collect[K, V any, L ListOf[V]](_ K, v V, list L) L { return append(list[:len(list):len(list)], v) }

// listSerde is the serde of lists of a group's values, if that of the values is known.
func listSerde[K, V any, L ListOf[V]](g *Grouped[K, V]) serde.Serde[L] {
	value := serdeFor(g.b, g.value, "value", "streams.WithValue")
	return any(serde.List(value)).(serde.Serde[L])
}
