package streams

import (
	"context"
	"iter"

	"github.com/millrace/millrace/internal/node"
)

// FlatMap makes any number of records of each one, in the order of the sequence; nil is none. A null value is dropped,
// counted. An aggregation or join behind it repartitions the records first.
//
// Options: As names the node; WithKey and WithValue set the serdes of the new types. Java: KStream.flatMap. Names:
// KSTREAM-FLATMAP-n.
func (s *Stream[K, V]) FlatMap[K2, V2 any](f func(K, V) iter.Seq2[K2, V2], opts ...Option) *Stream[K2, V2] {
	s.b.function("FlatMap", f)
	return flatMap(s, "FlatMap", plain2(f), opts)
}

// TryFlatMap is [Stream.FlatMap] with a context and an error.
func (s *Stream[K, V]) TryFlatMap[K2, V2 any](f func(context.Context, K, V) (iter.Seq2[K2, V2], error), opts ...Option) *Stream[K2, V2] {
	s.b.function("TryFlatMap", f)
	return flatMap(s, "TryFlatMap", f, opts)
}

func flatMap[K, V, K2, V2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (iter.Seq2[K2, V2], error), opts []Option) *Stream[K2, V2] {
	o := s.b.options(verb, opts, nameOption|keyOption|valueOption)
	name := s.b.nameOr(o.name, "KSTREAM-FLATMAP-")
	st := s.then(name, node.FlatMap(name, f))
	s.b.changesKey(st)
	return made(s, st, given(s.b, verb, o.key, carried[K, K2](s.key)), given(s.b, verb, o.value, carried[V, V2](s.value)), true)
}

// FlatMapValues makes any number of records of the same key of each value, in the order of the sequence; nil is none. A
// null value makes none. strings.FieldsSeq and slices.Values fit.
//
// Options: As names the node; WithValue sets the serde of the new type. Java: KStream.flatMapValues. Names:
// KSTREAM-FLATMAPVALUES-n.
func (s *Stream[K, V]) FlatMapValues[V2 any](f func(V) iter.Seq[V2], opts ...Option) *Stream[K, V2] {
	s.b.function("FlatMapValues", f)
	return flatMapValues(s, "FlatMapValues", func(_ context.Context, _ K, v V) (iter.Seq[V2], error) { return f(v), nil }, opts)
}

// TryFlatMapValues is [Stream.FlatMapValues] with a context, the key and an error.
func (s *Stream[K, V]) TryFlatMapValues[V2 any](f func(context.Context, K, V) (iter.Seq[V2], error), opts ...Option) *Stream[K, V2] {
	s.b.function("TryFlatMapValues", f)
	return flatMapValues(s, "TryFlatMapValues", f, opts)
}

func flatMapValues[K, V, V2 any](s *Stream[K, V], verb string, f func(context.Context, K, V) (iter.Seq[V2], error), opts []Option) *Stream[K, V2] {
	o := s.b.options(verb, opts, nameOption|valueOption)
	name := s.b.nameOr(o.name, "KSTREAM-FLATMAPVALUES-")
	st := s.then(name, node.FlatMapValues(name, f))
	st.changesValue = true
	return made(s, st, s.key, given(s.b, verb, o.value, carried[V, V2](s.value)), s.repartition)
}
