package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// JoinGlobal looks up the row with the key that key makes of each record in a global table and sends join(value, row) on,
// with the record's key and timestamp; where there is no row it sends nothing. Changes of the table send nothing: the row
// is the one at the time of processing. A null value is dropped, counted, and so is a record for which key returns a null
// of a type that shows it. A null key of the stream comes to key as the zero value. Nothing is repartitioned.
//
// Options: As names the node. Java: KStream.join(GlobalKTable). Names: KSTREAM-LEFTJOIN-n, of both.
func (s *Stream[K, V]) JoinGlobal[GK, GV, R any](table *GlobalTable[GK, GV], key func(K, V) GK, join func(value V, row GV) R, opts ...Option) *Stream[K, R] {
	s.b.function("JoinGlobal", key, join)
	return joinGlobal(s, table, "JoinGlobal", false, plain2(key), func(_ context.Context, _ K, v V, row GV, _ bool) (R, error) { return join(v, row), nil }, opts)
}

// TryJoinGlobal is [Stream.JoinGlobal] with contexts, the key and errors.
func (s *Stream[K, V]) TryJoinGlobal[GK, GV, R any](table *GlobalTable[GK, GV], key func(context.Context, K, V) (GK, error), join func(ctx context.Context, key K, value V, row GV) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryJoinGlobal", key, join)
	return joinGlobal(s, table, "TryJoinGlobal", false, key, func(ctx context.Context, k K, v V, row GV, _ bool) (R, error) { return join(ctx, k, v, row) }, opts)
}

// LeftJoinGlobal is [Stream.JoinGlobal] that sends every record with a value on: one without a row, or for which key
// returns a null, joins with null.
//
// Java: KStream.leftJoin(GlobalKTable). Names: KSTREAM-LEFTJOIN-n.
func (s *Stream[K, V]) LeftJoinGlobal[GK, GV, R any, O OptValue[GV]](table *GlobalTable[GK, GV], key func(K, V) GK, join func(value V, row O) R, opts ...Option) *Stream[K, R] {
	s.b.function("LeftJoinGlobal", key, join)
	return joinGlobal(s, table, "LeftJoinGlobal", true, plain2(key), func(_ context.Context, _ K, v V, row GV, found bool) (R, error) {
		return join(v, O(optional(row, found))), nil
	}, opts)
}

// TryLeftJoinGlobal is [Stream.LeftJoinGlobal] with contexts, the key and errors.
func (s *Stream[K, V]) TryLeftJoinGlobal[GK, GV, R any, O OptValue[GV]](table *GlobalTable[GK, GV], key func(context.Context, K, V) (GK, error), join func(ctx context.Context, key K, value V, row O) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryLeftJoinGlobal", key, join)
	return joinGlobal(s, table, "TryLeftJoinGlobal", true, key, func(ctx context.Context, k K, v V, row GV, found bool) (R, error) {
		return join(ctx, k, v, O(optional(row, found)))
	}, opts)
}

func joinGlobal[K, V, GK, GV, R any](
	s *Stream[K, V], table *GlobalTable[GK, GV], verb string, left bool, key func(context.Context, K, V) (GK, error),
	join func(context.Context, K, V, GV, bool) (R, error), opts []Option,
) *Stream[K, R] {
	b := s.b
	o := b.options(verb, opts, nameOption)
	if table == nil || table.b != b {
		b.fail("%s takes a global table of the same Builder", verb)
		return &Stream[K, R]{b: b, step: s.step, name: s.name, key: s.key, sources: s.sources}
	}
	name := b.nameOr(o.name, "KSTREAM-LEFTJOIN-")
	rows := node.StoreGetter(table.spec.Name, table.key, table.value)
	make := node.StreamGlobalJoin(name, rows, left, key, join)
	st := b.add(s.step, &step{name: name, keepsNullKeys: left, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
	}})
	return made(s, st, s.key, serde.Serde[R](nil), s.repartition)
}
