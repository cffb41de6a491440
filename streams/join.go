package streams

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// JoinTable looks up the row of each record's key in a table and sends join(value, row) on, with the record's
// timestamp; where there is no row it sends nothing. Changes of the table send nothing: the row is the one at the time
// of processing. A null key or value is dropped, counted. Stream and table must have the same number of partitions;
// where a verb before it changed the key, the stream is repartitioned to the table's.
//
// With a table that is [Versioned] the row is the one at the record's timestamp, and with [Grace] the record waits for it.
//
// Options: As names the node and the repartition topic; WithKey and WithValue set the serdes of the stream, for the
// repartition and what waits. Java: KStream.join(KTable). Names: KSTREAM-JOIN-n, and with Grace the store <node>-Buffer.
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
	o := b.options(verb, opts, nameOption|keyOption|valueOption|graceOption)
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
	make := node.StreamTableJoin[K, V](name, table.getter(), left, join)
	var buffer *state.Spec
	if o.grace != nil {
		checkGrace(b, verb, *o.grace, table.kept)
		buffer = &state.Spec{Name: name + "-Buffer", Kind: state.KeyValue, Logged: true}
		make = node.GraceJoin(name, node.Wait[K, V]{
			Grace: o.grace.Milliseconds(), Buffer: buffer.Name,
			Key:   serdeFor(b, given(b, verb, o.key, s.key), "key", "streams.WithKey"),
			Value: serdeFor(b, given(b, verb, o.value, s.value), "value", "streams.WithValue"),
		}, table.getter(), left, join)
	}
	st := b.add(s.step, &step{name: name, keepsNullKeys: left, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		if buffer != nil {
			t.AddStore(buffer, name)
		}
		connect(t, name, stores)
	}})
	j := made(s, st, s.key, serde.Serde[R](nil), false)
	j.sources = sources
	return j
}

// checkGrace reports what is wrong with a join whose records wait.
func checkGrace(b *Builder, verb string, grace time.Duration, table *kept) {
	switch history, ok := table.versioned(); {
	case grace < 0 || grace%time.Millisecond != 0:
		b.fail("%s waits for %v; it can be 0 or more whole milliseconds", verb, grace)
	case !ok:
		b.fail("%s waits for %v with a table that is not versioned; keep the table with streams.Versioned", verb, grace)
	case grace > history:
		b.fail("%s waits for %v, but the table keeps its history for %v; keep it as long at least (streams.Versioned)", verb, grace, history)
	}
}

// repartitionAs repartitions a stream for a join. Joins that name nothing share one repartition.
func (s *Stream[K, V]) repartitionAs(prefix string, key serde.Serde[K], value serde.Serde[V]) *Stream[K, V] {
	fresh := newRepartition(s.b, prefix, key, value, 0, true) // uses up names even where it is not needed
	if s.repeated == nil || prefix != s.name {
		s.repeated = s.b.add(s.step, fresh)
	}
	return &Stream[K, V]{b: s.b, step: s.repeated, name: s.repeated.name, key: key, value: value, sources: []string{s.repeated.name}}
}
