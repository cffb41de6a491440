package streams

import (
	"bytes"
	"context"
	"iter"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// Reader reads a key-value store of a running application, from any goroutine: a table that was given a name, or a store of
// the program. It is made by [App.Store].
//
// A read is answered by the goroutine that owns the store's task, between two records. It sees what the task sees: what
// is held back in the record cache and, under exactly-once, what is not committed yet. Each process has all of a global
// store.
type Reader[K, V any] struct{ reader[K, V] }

// Store returns a reader of a key-value store, by its name. The options say which copies may be read; by default that is
// the task itself, and a read of a partition that is elsewhere fails with a [NotHereError], which says where. (Java:
// KafkaStreams.store and query)
//
// The error says that there is no such store, or that it is of another kind. A reader may be kept, and costs nothing.
func (a *App) Store[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...ReadOption) (*Reader[K, V], error) {
	r, err := newReader(a, name, state.KeyValue, key, value, opts)
	if err != nil {
		return nil, err
	}
	return &Reader[K, V]{r}, nil
}

// Get returns the value of a key; ok is false where there is none. (Java: KeyQuery)
func (r *Reader[K, V]) Get(ctx context.Context, k K) (v V, ok bool, err error) {
	row, ok, err := r.Row(ctx, k)
	return row.Value, ok, err
}

// Row is Get with the timestamp of the value, of a table or a store that keeps them. (Java: TimestampedKeyQuery)
func (r *Reader[K, V]) Row(ctx context.Context, k K) (row Row[K, V], ok bool, err error) {
	return r.one(ctx, k, func(s *store.Store, key []byte) (store.Value, error) { return s.Get(key) })
}

// All returns the rows of the partitions that are in this process, one partition after the other, each in the order of the
// keys' bytes. An error is the last that comes. The store is read piece by piece: what is changed ahead is seen. (Java:
// RangeQuery)
func (r *Reader[K, V]) All(ctx context.Context) iter.Seq2[Row[K, V], error] {
	return r.scan(ctx, nil, nil, false)
}

// Backward returns what All does, each partition in the opposite order.
func (r *Reader[K, V]) Backward(ctx context.Context) iter.Seq2[Row[K, V], error] {
	return r.scan(ctx, nil, nil, true)
}

// Range returns the rows from one key to another, both included, as All does; RangeBackward in the opposite order. For
// numbers below zero the order of the bytes is not that of the numbers.
func (r *Reader[K, V]) Range(ctx context.Context, from, to K) iter.Seq2[Row[K, V], error] {
	return r.between(ctx, from, to, false)
}

// RangeBackward returns what Range says.
func (r *Reader[K, V]) RangeBackward(ctx context.Context, from, to K) iter.Seq2[Row[K, V], error] {
	return r.between(ctx, from, to, true)
}

// Prefix returns the rows whose keys' bytes begin with those of prefix, as All does. (Java: prefixScan)
func (r *Reader[K, V]) Prefix(ctx context.Context, prefix []byte) iter.Seq2[Row[K, V], error] {
	return r.scan(ctx, bytes.Clone(prefix), behind(prefix), false)
}

func (r *Reader[K, V]) between(ctx context.Context, from, to K, backward bool) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		lo, err := r.bytes(from)
		hi, err2 := r.bytes(to)
		if err == nil {
			err = err2
		}
		if err != nil {
			yield(Row[K, V]{}, err)
			return
		}
		if bytes.Compare(lo, hi) <= 0 {
			r.scan(ctx, lo, append(hi, 0), backward)(yield)
		}
	}
}

// scan returns the rows from lo on and before hi; nil is no bound.
func (r *Reader[K, V]) scan(ctx context.Context, lo, hi []byte, backward bool) iter.Seq2[Row[K, V], error] {
	begin := func() func(*store.Store) ([]raw, bool, error) {
		lo, hi := lo, hi
		return func(s *store.Store) (chunk []raw, more bool, err error) {
			scan, size := s.Range, 0
			if backward {
				scan = s.RangeBackward
			}
			for e, err := range scan(lo, hi) {
				if err != nil {
					return nil, false, err
				}
				if more = len(chunk) == chunkRows || size >= chunkBytes; more {
					break
				}
				chunk = append(chunk, raw{key: bytes.Clone(e.Key), value: cloned(e.Value)})
				size += len(e.Key) + len(e.Value.Bytes)
			}
			if more {
				if last := chunk[len(chunk)-1].key; backward {
					hi = last
				} else {
					lo = append(bytes.Clone(last), 0)
				}
			}
			return chunk, more, nil
		}
	}
	return rows(ctx, r.reading, begin, r.row)
}
