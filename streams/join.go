package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// JoinTable looks up the row of each record's key in a table and sends join(value, row) on, with the record's
// timestamp; where there is no row it sends nothing. Changes of the table send nothing: the row is the one at the time
// of processing. A null key or value is dropped, counted. Stream and table must have the same number of partitions;
// where a verb before it changed the key, the stream is repartitioned to the table's.
//
// Options: As names the node and the repartition topic; WithKey and WithValue set the serdes of the stream, for the
// repartition. Java: KStream.join(KTable). Names: KSTREAM-JOIN-n.
func (s *Stream[K, V]) JoinTable[T, R any](table *Table[K, T], join func(value V, row T) R, opts ...Option) *Stream[K, R] {
	s.b.function("JoinTable", join)
	return joinTable(s, table, "JoinTable", false, func(_ context.Context, _ K, v V, row T, _ bool) (R, error) { return join(v, row), nil }, opts)
}

// TryJoinTable is [Stream.JoinTable] with a context, the key and an error.
func (s *Stream[K, V]) TryJoinTable[T, R any](table *Table[K, T], join func(ctx context.Context, key K, value V, row T) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryJoinTable", join)
	return joinTable(s, table, "TryJoinTable", false, func(ctx context.Context, k K, v V, row T, _ bool) (R, error) { return join(ctx, k, v, row) }, opts)
}

// LeftJoinTable is [Stream.JoinTable] that sends every record on: one without a row, or without a key, joins with null.
//
// Java: KStream.leftJoin(KTable). Names: KSTREAM-LEFTJOIN-n.
func (s *Stream[K, V]) LeftJoinTable[T, R any, O OptValue[T]](table *Table[K, T], join func(value V, row O) R, opts ...Option) *Stream[K, R] {
	s.b.function("LeftJoinTable", join)
	return joinTable(s, table, "LeftJoinTable", true, func(_ context.Context, _ K, v V, row T, found bool) (R, error) {
		return join(v, O(optional(row, found))), nil
	}, opts)
}

// TryLeftJoinTable is [Stream.LeftJoinTable] with a context, the key and an error.
func (s *Stream[K, V]) TryLeftJoinTable[T, R any, O OptValue[T]](table *Table[K, T], join func(ctx context.Context, key K, value V, row O) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryLeftJoinTable", join)
	return joinTable(s, table, "TryLeftJoinTable", true, func(ctx context.Context, k K, v V, row T, found bool) (R, error) {
		return join(ctx, k, v, O(optional(row, found)))
	}, opts)
}

// OptValue is the type of a row that may be missing: there is exactly one, so that it never needs to be written.
type OptValue[T any] interface{ serde.Opt[T] }

func optional[T any](v T, found bool) Opt[T] { return Opt[T]{Value: v, Valid: found} }

func joinTable[K, V, T, R any](s *Stream[K, V], table *Table[K, T], verb string, left bool, join func(context.Context, K, V, T, bool) (R, error), opts []Option) *Stream[K, R] {
	b := s.b
	o := b.options(verb, opts, nameOption|keyOption|valueOption)
	if table == nil || table.b != b {
		b.fail("%s takes a table of the same Builder", verb)
		return &Stream[K, R]{b: b, step: s.step, name: s.name, key: s.key, sources: s.sources}
	}
	if s.repartition {
		key := serdeFor(b, given(b, verb, o.key, s.key), "key", "streams.WithKey")
		value := serdeFor(b, given(b, verb, o.value, s.value), "value", "streams.WithValue")
		s = s.repartitionAs(orElse(o.name, s.name), key, value)
	}
	prefix := "KSTREAM-JOIN-"
	if left {
		prefix = "KSTREAM-LEFTJOIN-"
	}
	sources := union(s.sources, table.sources)
	b.together = append(b.together, sources)
	name := b.nameOr(o.name, prefix)
	stores := table.kept.readable()
	make := node.StreamTableJoin(name, table.getter(), left, join)
	st := b.add(s.step, &step{name: name, keepsNullKeys: left, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		connect(t, name, stores)
	}})
	j := made(s, st, s.key, serde.Serde[R](nil), false)
	j.sources = sources
	return j
}

// repartitionAs repartitions a stream for a join. Joins that name nothing share one repartition.
func (s *Stream[K, V]) repartitionAs(prefix string, key serde.Serde[K], value serde.Serde[V]) *Stream[K, V] {
	fresh := newRepartition(s.b, prefix, key, value, 0, true) // uses up names even where it is not needed
	if s.repeated == nil || prefix != s.name {
		s.repeated = s.b.add(s.step, fresh)
	}
	return &Stream[K, V]{b: s.b, step: s.repeated, name: s.repeated.name, key: key, value: value, sources: []string{s.repeated.name}}
}
