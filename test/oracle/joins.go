package oracle

import (
	"fmt"

	"github.com/millrace/millrace/streams"
)

// joined is what all joins of cases make.
func joined(a, b any) optString { return streams.Some(text(a) + "|" + text(b)) }

// orNull returns what an Opt of a value that may be null holds.
func orNull[T any](o streams.Opt[T]) any {
	if !o.Valid {
		return nil
	}
	return toAny(o.Value)
}

func streamJoin[K, V any](b *interpreter, f aStream[K, V], s *Step) (any, error) {
	if s.Kind == "stream-stream" {
		switch other := b.made[s.With].(type) {
		case aStream[K, optString]:
			return streamStreamJoin(f, other, s), nil
		case aStream[K, optLong]:
			return streamStreamJoin(f, other, s), nil
		}
	}
	if s.Kind == "stream-global" {
		switch table := b.made[s.With].(type) {
		case *streams.GlobalTable[optString, optString]:
			return streamGlobalJoin(f, table, s), nil
		case *streams.GlobalTable[optString, optLong]:
			return streamGlobalJoin(f, table, s), nil
		}
	}
	if s.Kind != "stream-table" {
		return nil, fmt.Errorf("%w: %s join", ErrUnsupported, s.Kind)
	}
	switch table := b.made[s.With].(type) {
	case aTable[K, optString]:
		return streamTableJoin(f, table, s), nil
	case aTable[K, optLong]:
		return streamTableJoin(f, table, s), nil
	}
	return nil, fmt.Errorf("%w: join with %T", ErrUnsupported, b.made[s.With])
}

func streamTableJoin[K, V, T any](f aStream[K, V], table aTable[K, T], s *Step) any {
	opts := s.as()
	if s.GraceMs != nil {
		opts = append(opts, streams.Grace(ms(*s.GraceMs)))
	}
	if s.Type == "left" {
		return aStream[K, optString]{f.LeftJoinTable(table.Table, func(v V, row streams.Opt[T]) optString {
			return joined(toAny(v), orNull(row))
		}, opts...)}
	}
	return aStream[K, optString]{f.JoinTable(table.Table, func(v V, row T) optString {
		return joined(toAny(v), toAny(row))
	}, opts...)}
}

func streamGlobalJoin[K, V, T any](f aStream[K, V], table *streams.GlobalTable[optString, T], s *Step) any {
	if s.Type == "left" {
		return aStream[K, optString]{f.LeftJoinGlobal(table, keyOf[K, V](s.Fn), func(v V, row streams.Opt[T]) optString {
			return joined(toAny(v), orNull(row))
		})}
	}
	return aStream[K, optString]{f.JoinGlobal(table, keyOf[K, V](s.Fn), func(v V, row T) optString { return joined(toAny(v), toAny(row)) })}
}

func joinOfTable[K, V any](b *interpreter, f aTable[K, V], s *Step, opts []streams.Option) (any, error) {
	if s.Kind == "foreign-key" {
		opts, err := s.store() // always given
		if err != nil {
			return nil, err
		}
		switch other := b.made[s.With].(type) {
		case aTable[optString, optString]:
			return foreignJoin(f, other, s, opts), nil
		case aTable[optString, optLong]:
			return foreignJoin(f, other, s, opts), nil
		}
	}
	if s.Kind != "table-table" {
		return nil, fmt.Errorf("%w: %s join", ErrUnsupported, s.Kind)
	}
	switch other := b.made[s.With].(type) {
	case aTable[K, optString]:
		return tableJoin(f, other, s, opts), nil
	case aTable[K, optLong]:
		return tableJoin(f, other, s, opts), nil
	}
	return nil, fmt.Errorf("%w: join with %T", ErrUnsupported, b.made[s.With])
}

func tableJoin[K, V, V2 any](f aTable[K, V], other aTable[K, V2], s *Step, opts []streams.Option) any {
	switch s.Type {
	case "left":
		return aTable[K, optString]{f.LeftJoin(other.Table, func(a V, b streams.Opt[V2]) optString { return joined(toAny(a), orNull(b)) }, opts...)}
	case "outer":
		return aTable[K, optString]{f.OuterJoin(other.Table, func(a streams.Opt[V], b streams.Opt[V2]) optString { return joined(orNull(a), orNull(b)) }, opts...)}
	}
	return aTable[K, optString]{f.Join(other.Table, func(a V, b V2) optString { return joined(toAny(a), toAny(b)) }, opts...)}
}

// streamStreamJoin interprets a join of two streams; the step's name is that of its nodes, the store's that of its stores.
func streamStreamJoin[K, V, V2 any](f aStream[K, V], other aStream[K, V2], s *Step) any {
	w := streams.Within(ms(s.BeforeMs)).After(ms(s.AfterMs)).Grace(ms(*s.GraceMs))
	var opts []streams.Option
	if s.Name != "" {
		opts = append(opts, streams.Named(s.Name))
	}
	if st := s.Store; st != nil {
		opts = append(opts, streams.As(st.Name))
		if st.Kind == "memory" {
			opts = append(opts, streams.InMemory())
		}
	}
	switch s.Type {
	case "left":
		return aStream[K, optString]{f.LeftJoin(other.Stream, w, func(a V, b streams.Opt[V2]) optString { return joined(toAny(a), orNull(b)) }, opts...)}
	case "outer":
		return aStream[K, optString]{f.OuterJoin(other.Stream, w, func(a streams.Opt[V], b streams.Opt[V2]) optString { return joined(orNull(a), orNull(b)) }, opts...)}
	}
	return aStream[K, optString]{f.Join(other.Stream, w, func(a V, b V2) optString { return joined(toAny(a), toAny(b)) }, opts...)}
}

// foreignJoin interprets a join of a table with the rows that its values name.
func foreignJoin[K, V, V2 any](f aTable[K, V], other aTable[optString, V2], s *Step, opts []streams.Option) any {
	if s.Name != "" {
		opts = append(opts, streams.Named(s.Name))
	}
	foreign := func(_ K, v V) optString { return fromAny[optString](newKey(s.Fn, nil, toAny(v))) }
	if s.Type == "left" {
		return aTable[K, optString]{f.LeftJoinOn(other.Table, foreign, func(a V, b streams.Opt[V2]) optString { return joined(toAny(a), orNull(b)) }, opts...)}
	}
	return aTable[K, optString]{f.JoinOn(other.Table, foreign, func(a V, b V2) optString { return joined(toAny(a), toAny(b)) }, opts...)}
}
