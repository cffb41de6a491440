package streams

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// VersionedReader reads a versioned store of a running application, as [Reader] does: of a table that keeps its history and was
// given a name, or a store of the program. It is made by [App.VersionedStore].
type VersionedReader[K, V any] struct{ reader[K, V] }

// VersionedStore returns a reader of a versioned store, by its name: see [App.Store].
func (a *App) VersionedStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...ReadOption) (*VersionedReader[K, V], error) {
	r, err := newReader(a, name, state.Versioned, key, value, opts)
	if err != nil {
		return nil, err
	}
	return &VersionedReader[K, V]{r}, nil
}

// A Version is a value that a key had from a time on, until before another; Until is the zero time where it is the latest.
type Version[V any] = state.Version[V]

// Get returns the latest value of a key and when it began; ok is false where it has none, or was deleted. (Java:
// VersionedKeyQuery)
func (r *VersionedReader[K, V]) Get(ctx context.Context, k K) (v V, from time.Time, ok bool, err error) {
	return r.at(ctx, k, math.MaxInt64)
}

// GetAt returns the value that a key had at a time, and when it began. More than the history before the latest time that
// the store has seen, there is only what is the latest still. (Java: VersionedKeyQuery.asOf)
func (r *VersionedReader[K, V]) GetAt(ctx context.Context, k K, at time.Time) (v V, from time.Time, ok bool, err error) {
	return r.at(ctx, k, at.UnixMilli())
}

func (r *VersionedReader[K, V]) at(ctx context.Context, k K, at int64) (v V, from time.Time, ok bool, err error) {
	row, ok, err := r.one(ctx, k, func(s *store.Store, key []byte) (store.Value, error) {
		found, err := s.GetVersion(key, at)
		return found.Value, err
	})
	return row.Value, row.Time, ok, err
}

// Versions returns the values that a key had between two times, both included, the earliest first: what began before and was
// still valid is one. VersionsBackward returns them in the opposite order. An error is the last that comes. (Java:
// MultiVersionedKeyQuery)
func (r *VersionedReader[K, V]) Versions(ctx context.Context, k K, from, to time.Time) iter.Seq2[Version[V], error] {
	return r.versions(ctx, k, from, to, false)
}

// VersionsBackward returns what Versions says.
func (r *VersionedReader[K, V]) VersionsBackward(ctx context.Context, k K, from, to time.Time) iter.Seq2[Version[V], error] {
	return r.versions(ctx, k, from, to, true)
}

func (r *VersionedReader[K, V]) versions(ctx context.Context, k K, from, to time.Time, backward bool) iter.Seq2[Version[V], error] {
	return func(yield func(Version[V], error) bool) {
		var found []store.Version
		key, err := r.bytes(k)
		if err == nil {
			err = r.of(ctx, key, func(s *store.Store) (err error) {
				found, err = s.Versions(key, millis(from), millis(to))
				return err
			})
		}
		if err != nil {
			yield(Version[V]{}, err)
			return
		}
		if backward {
			slices.Reverse(found)
		}
		for _, f := range found {
			v, err := r.value.Decode(f.Bytes)
			if err != nil {
				err = fmt.Errorf("streams: store %q: decoding a value: %w", r.name, err)
			}
			if !yield(state.VersionOf(v, f.Timestamp, f.End), err) || err != nil {
				return
			}
		}
	}
}
