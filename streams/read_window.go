package streams

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// WindowReader reads a window store of a running application, as [Reader] does: of a table of tumbling, hopping, sliding or
// unlimited windows that was given a name, or a store of the program. It is made by [App.WindowStore].
type WindowReader[K, V any] struct{ reader[K, V] }

// WindowStore returns a reader of a window store, by its name and with the serde of the plain key: see [App.Store].
func (a *App) WindowStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...ReadOption) (*WindowReader[K, V], error) {
	r, err := newReader(a, name, state.Window, key, value, opts)
	if err == nil && a.cfg.topology.Store(name).Duplicates {
		err = fmt.Errorf("streams: store %q keeps the records of a join, several a key and time; it is not to be read", name)
	}
	if err != nil {
		return nil, err
	}
	return &WindowReader[K, V]{r}, nil
}

// Get returns the value of a key and the window that begins at start; ok is false where there is none.
func (r *WindowReader[K, V]) Get(ctx context.Context, k K, start time.Time) (v V, ok bool, err error) {
	row, ok, err := r.one(ctx, k, func(s *store.Store, key []byte) (store.Value, error) { return s.GetWindow(key, start.UnixMilli()) })
	return row.Value, ok, err
}

// Of returns the windows of a key that begin between two times, both included, by their beginning. (Java: WindowKeyQuery)
func (r *WindowReader[K, V]) Of(ctx context.Context, k K, from, to time.Time) iter.Seq2[Row[Windowed[K], V], error] {
	return r.ofKey(ctx, k, r.window, func(s *store.Store, key []byte) ([]store.WindowEntry, error) {
		return s.WindowsOf(nil, key, millis(from), millis(to))
	})
}

// All returns the windows that begin between two times, both included, of the partitions that are in this process, one
// partition after the other, each by beginning and then by key. An error is the last that comes. A segment of the store is
// read at a time: half of its retention, at least a minute. (Java: WindowRangeQuery)
func (r *WindowReader[K, V]) All(ctx context.Context, from, to time.Time) iter.Seq2[Row[Windowed[K], V], error] {
	return rows(ctx, r.reading, segments(from, to, (*store.Store).Windows), r.window)
}

// window decodes a row of a window store.
func (r *WindowReader[K, V]) window(one raw) (Row[Windowed[K], V], error) {
	one.end = math.MaxInt64
	if size := r.app.cfg.topology.Store(r.name).WindowSize; size < math.MaxInt64 {
		one.end = one.start + size.Milliseconds()
	}
	return r.windowed(one)
}

// SessionReader reads a session store of a running application, as [Reader] does: of a table of sessions that was given a
// name, or a store of the program. It is made by [App.SessionStore].
type SessionReader[K, V any] struct{ reader[K, V] }

// SessionStore returns a reader of a session store, by its name and with the serde of the plain key: see [App.Store].
func (a *App) SessionStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...ReadOption) (*SessionReader[K, V], error) {
	r, err := newReader(a, name, state.Session, key, value, opts)
	if err != nil {
		return nil, err
	}
	return &SessionReader[K, V]{r}, nil
}

// Get returns the value of a key and the session from start to end; ok is false where there is none.
func (r *SessionReader[K, V]) Get(ctx context.Context, k K, start, end time.Time) (v V, ok bool, err error) {
	row, ok, err := r.one(ctx, k, func(s *store.Store, key []byte) (store.Value, error) {
		return s.GetSession(key, start.UnixMilli(), end.UnixMilli())
	})
	return row.Value, ok, err
}

// Find returns the sessions of a key that overlap the time between two times, both included: that end at from or later and
// start at to or earlier. (Java: findSessions)
func (r *SessionReader[K, V]) Find(ctx context.Context, k K, from, to time.Time) iter.Seq2[Row[Windowed[K], V], error] {
	return r.ofKey(ctx, k, r.windowed, func(s *store.Store, key []byte) ([]store.WindowEntry, error) {
		return s.SessionsOf(nil, key, millis(from), millis(to))
	})
}

// All returns the sessions that end between two times, both included, as [WindowReader.All] does, by their end.
func (r *SessionReader[K, V]) All(ctx context.Context, from, to time.Time) iter.Seq2[Row[Windowed[K], V], error] {
	return rows(ctx, r.reading, segments(from, to, (*store.Store).Sessions), r.windowed)
}

// windowed decodes a row of a session store, or of a window store whose end is known.
func (r reader[K, V]) windowed(one raw) (w Row[Windowed[K], V], err error) {
	row, err := r.row(one)
	if err != nil {
		return w, err
	}
	w.Key = Windowed[K]{Key: row.Key, Window: serde.Window{Start: one.start, End: one.end}}
	w.Value, w.Time = row.Value, row.Time
	return w, nil
}

// ofKey returns what the partition of a key has of it, which is read at once.
func (r reader[K, V]) ofKey(
	ctx context.Context, k K, decode func(raw) (Row[Windowed[K], V], error), find func(s *store.Store, key []byte) ([]store.WindowEntry, error),
) iter.Seq2[Row[Windowed[K], V], error] {
	return func(yield func(Row[Windowed[K], V], error) bool) {
		key, err := r.bytes(k)
		var found []raw
		if err == nil {
			err = r.of(ctx, key, func(s *store.Store) error {
				entries, err := find(s, key)
				for _, e := range entries {
					found = append(found, raw{key, e.Start, e.End, cloned(e.Value)})
				}
				return err
			})
		}
		if err != nil {
			yield(Row[Windowed[K], V]{}, err)
			return
		}
		for _, one := range found {
			row, err := decode(one)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// segments reads what lies between two times, a segment of the store at a time.
func segments(from, to time.Time, all func(s *store.Store, from, to int64) iter.Seq2[store.WindowEntry, error]) func() func(*store.Store) ([]raw, bool, error) {
	return func() func(*store.Store) ([]raw, bool, error) {
		at, last := millis(from), millis(to)
		return func(s *store.Store) (chunk []raw, more bool, err error) {
			first, end, ok, err := s.NextSegment(at)
			if err != nil || !ok || first > last {
				return nil, false, err
			}
			for e, err := range all(s, max(first, at), min(end, last)) {
				if err != nil {
					return nil, false, err
				}
				chunk = append(chunk, raw{e.Key, e.Start, e.End, e.Value})
			}
			at = end + 1
			return chunk, end < last, nil
		}
	}
}
