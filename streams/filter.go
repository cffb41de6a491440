package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
)

// Filter keeps the records for which keep returns true. A null value is dropped, not counted.
//
// Options: As names the node. Java: KStream.filter. Names: KSTREAM-FILTER-n.
func (s *Stream[K, V]) Filter(keep func(K, V) bool, opts ...Option) *Stream[K, V] {
	s.b.function("Filter", keep)
	return s.filter("Filter", plain2(keep), true, opts)
}

// TryFilter is [Stream.Filter] with a context and an error.
func (s *Stream[K, V]) TryFilter(keep func(context.Context, K, V) (bool, error), opts ...Option) *Stream[K, V] {
	s.b.function("TryFilter", keep)
	return s.filter("TryFilter", keep, true, opts)
}

// FilterNot drops the records for which drop returns true. A null value is dropped as well, not counted.
//
// Options: As names the node. Java: KStream.filterNot. Names: KSTREAM-FILTER-n.
func (s *Stream[K, V]) FilterNot(drop func(K, V) bool, opts ...Option) *Stream[K, V] {
	s.b.function("FilterNot", drop)
	return s.filter("FilterNot", plain2(drop), false, opts)
}

// TryFilterNot is [Stream.FilterNot] with a context and an error.
func (s *Stream[K, V]) TryFilterNot(drop func(context.Context, K, V) (bool, error), opts ...Option) *Stream[K, V] {
	s.b.function("TryFilterNot", drop)
	return s.filter("TryFilterNot", drop, false, opts)
}

func (s *Stream[K, V]) filter(verb string, keep func(context.Context, K, V) (bool, error), want bool, opts []Option) *Stream[K, V] {
	o := s.b.options(verb, opts, nameOption)
	name := s.b.nameOr(o.name, "KSTREAM-FILTER-")
	return made(s, s.then(name, node.Filter(name, keep, want)), s.key, s.value, s.repartition)
}
