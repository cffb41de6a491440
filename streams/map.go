package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
)

// Map makes a new key and value of each record. A null value is dropped, counted. An aggregation or join behind it
// repartitions the records first, as the key may have changed.
//
// Options: As names the node; WithKey and WithValue set the serdes of the new types, where they are not those of the old
// types or of primitives. Java: KStream.map. Names: KSTREAM-MAP-n.
func (s *Stream[K, V]) Map[K2, V2 any](f func(K, V) (K2, V2), opts ...Option) *Stream[K2, V2] {
	s.b.function("Map", f)
	return mapStream(s, "Map", func(_ context.Context, k K, v V) (K2, V2, error) {
		k2, v2 := f(k, v)
		return k2, v2, nil
	}, opts)
}

// TryMap is [Stream.Map] with a context and an error.
func (s *Stream[K, V]) TryMap[K2, V2 any](f func(context.Context, K, V) (K2, V2, error), opts ...Option) *Stream[K2, V2] {
	s.b.function("TryMap", f)
	return mapStream(s, "TryMap", f, opts)
}

func mapStream[K, V, K2, V2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (K2, V2, error), opts []Option) *Stream[K2, V2] {
	o := s.b.options(verb, opts, nameOption|keyOption|valueOption)
	name := s.b.nameOr(o.name, "KSTREAM-MAP-")
	st := s.then(name, node.Map(name, f))
	s.b.changesKey(st)
	return made(s, st, given(s.b, verb, o.key, carried[K, K2](s.key)), given(s.b, verb, o.value, carried[V, V2](s.value)), true)
}

// MapValues makes a new value of each value; the key stays. A null value stays null.
//
// Options: As names the node; WithValue sets the serde of the new type. Java: KStream.mapValues. Names:
// KSTREAM-MAPVALUES-n.
func (s *Stream[K, V]) MapValues[V2 any](f func(V) V2, opts ...Option) *Stream[K, V2] {
	s.b.function("MapValues", f)
	return mapValues(s, "MapValues", func(_ context.Context, _ K, v V) (V2, error) { return f(v), nil }, opts)
}

// TryMapValues is [Stream.MapValues] with a context, the key and an error.
func (s *Stream[K, V]) TryMapValues[V2 any](f func(context.Context, K, V) (V2, error), opts ...Option) *Stream[K, V2] {
	s.b.function("TryMapValues", f)
	return mapValues(s, "TryMapValues", f, opts)
}

func mapValues[K, V, V2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (V2, error), opts []Option) *Stream[K, V2] {
	o := s.b.options(verb, opts, nameOption|valueOption)
	name := s.b.nameOr(o.name, "KSTREAM-MAPVALUES-")
	st := s.then(name, node.MapValues(name, f))
	st.changesValue = true
	return made(s, st, s.key, given(s.b, verb, o.value, carried[V, V2](s.value)), s.repartition)
}

// SelectKey makes a new key of each record. A null value is dropped, counted. An aggregation or join behind it
// repartitions the records first.
//
// Options: As names the node; WithKey sets the serde of the new type. Java: KStream.selectKey. Names:
// KSTREAM-KEY-SELECT-n.
func (s *Stream[K, V]) SelectKey[K2 any](f func(K, V) K2, opts ...Option) *Stream[K2, V] {
	s.b.function("SelectKey", f)
	return selectKey(s, "SelectKey", plain2(f), opts)
}

// TrySelectKey is [Stream.SelectKey] with a context and an error.
func (s *Stream[K, V]) TrySelectKey[K2 any](f func(context.Context, K, V) (K2, error), opts ...Option) *Stream[K2, V] {
	s.b.function("TrySelectKey", f)
	return selectKey(s, "TrySelectKey", f, opts)
}

func selectKey[K, V, K2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (K2, error), opts []Option) *Stream[K2, V] {
	o := s.b.options(verb, opts, nameOption|keyOption)
	name := s.b.nameOr(o.name, "KSTREAM-KEY-SELECT-")
	st := s.then(name, node.SelectKey(name, f))
	s.b.changesKey(st)
	var key serde.Serde[K2] = given(s.b, verb, o.key, carried[K, K2](s.key))
	return made(s, st, key, s.value, true)
}

// changesKey marks a step that was added as one that changes the key.
func (b *Builder) changesKey(s *step) {
	s.changesKey = true
	b.keyChangers = append(b.keyChangers, s)
}
