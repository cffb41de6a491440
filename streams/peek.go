package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
)

// Peek calls f with each record and passes the record on unchanged. f is not called with a null value. Under a restart
// at least once f may see a record again.
//
// Options: As names the node. Java: KStream.peek. Names: KSTREAM-PEEK-n.
func (s *Stream[K, V]) Peek(f func(K, V), opts ...Option) *Stream[K, V] {
	s.b.function("Peek", f)
	return s.peek("Peek", plain(f), opts)
}

// TryPeek is [Stream.Peek] with a context and an error.
func (s *Stream[K, V]) TryPeek(f func(context.Context, K, V) error, opts ...Option) *Stream[K, V] {
	s.b.function("TryPeek", f)
	return s.peek("TryPeek", f, opts)
}

func (s *Stream[K, V]) peek(verb string, f func(context.Context, K, V) error, opts []Option) *Stream[K, V] {
	o := s.b.options(verb, opts, nameOption)
	name := s.b.nameOr(o.name, "KSTREAM-PEEK-")
	return made(s, s.then(name, node.Peek(name, f)), s.key, s.value, s.repartition)
}

// ForEach calls f with each record; the stream ends there. f is not called with a null value.
//
// Options: As names the node. Java: KStream.foreach. Names: KSTREAM-FOREACH-n.
func (s *Stream[K, V]) ForEach(f func(K, V), opts ...Option) {
	s.b.function("ForEach", f)
	s.forEach("ForEach", plain(f), opts)
}

// TryForEach is [Stream.ForEach] with a context and an error.
func (s *Stream[K, V]) TryForEach(f func(context.Context, K, V) error, opts ...Option) {
	s.b.function("TryForEach", f)
	s.forEach("TryForEach", f, opts)
}

func (s *Stream[K, V]) forEach(verb string, f func(context.Context, K, V) error, opts []Option) {
	o := s.b.options(verb, opts, nameOption)
	name := s.b.nameOr(o.name, "KSTREAM-FOREACH-")
	s.then(name, node.Peek(name, f))
}

func plain[K, V any](f func(K, V)) func(context.Context, K, V) error {
	return func(_ context.Context, k K, v V) error {
		f(k, v)
		return nil
	}
}
