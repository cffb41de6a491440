package streamstest

import (
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// Store reads a key-value store of the topology.
type Store[K, V any] struct {
	d     *Driver
	s     *store.Store
	key   serde.Serde[K]
	value serde.Serde[V]
}

// Store returns a reader of a key-value store, by its name. A store that is not there, or of another kind, fails the
// test.
func (d *Driver) Store[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *Store[K, V] {
	d.t.Helper()
	return &Store[K, V]{d, d.store(name, state.KeyValue), key, value}
}

// store returns a store of a kind.
func (d *Driver) store(name string, kind state.Kind) *store.Store {
	d.t.Helper()
	s := d.task.StateStore(name)
	for _, g := range d.globals {
		if g.State().Spec().Name == name {
			s = g.State()
		}
	}
	if s == nil {
		d.t.Fatal(fmt.Errorf("the topology has no store %q", name))
	} else if s.Spec().Kind != kind {
		d.t.Fatal(fmt.Errorf("store %q is a %v store, not a %v store", name, s.Spec().Kind, kind))
	}
	return s
}

// Get returns the value of a key; ok is false where the store has none.
func (s *Store[K, V]) Get(k K) (v V, ok bool) {
	s.d.t.Helper()
	return stored(s.d, s.value)(s.s.Get(encoded(s.d.t, s.key, k)))
}

// stored decodes what a store answers.
func stored[V any](d *Driver, value serde.Serde[V]) func(store.Value, error) (V, bool) {
	return func(got store.Value, err error) (v V, ok bool) {
		d.t.Helper()
		if err == nil && got.Bytes != nil {
			ok = true
			v, err = value.Decode(got.Bytes)
		}
		if err != nil {
			d.t.Fatal(err)
		}
		return v, ok
	}
}

// All returns the keys and values, in the order of the keys' bytes.
func (s *Store[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		s.d.t.Helper()
		for e, err := range s.s.Range(nil, nil) {
			v, ok := stored(s.d, s.value)(e.Value, err)
			if ok && !yield(decoded(s.d, s.key, e.Key), v) {
				return
			}
		}
	}
}

func decoded[K any](d *Driver, key serde.Serde[K], b []byte) K {
	d.t.Helper()
	k, err := key.Decode(b)
	if err != nil {
		d.t.Fatal(err)
	}
	return k
}

// VersionedStore reads a versioned store of the topology.
type VersionedStore[K, V any] struct {
	d     *Driver
	s     *store.Store
	key   serde.Serde[K]
	value serde.Serde[V]
}

// VersionedStore returns a reader of a versioned store, by its name. A store that is not there, or of another kind, fails
// the test.
func (d *Driver) VersionedStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *VersionedStore[K, V] {
	d.t.Helper()
	return &VersionedStore[K, V]{d, d.store(name, state.Versioned), key, value}
}

// Get returns the latest value of a key and when it began; ok is false where the store has none.
func (s *VersionedStore[K, V]) Get(k K) (v V, from time.Time, ok bool) {
	s.d.t.Helper()
	return s.at(k, math.MaxInt64)
}

// GetAt returns the value that a key had at a time and when it began; ok is false where the store has none.
func (s *VersionedStore[K, V]) GetAt(k K, at time.Time) (v V, from time.Time, ok bool) {
	s.d.t.Helper()
	return s.at(k, at.UnixMilli())
}

func (s *VersionedStore[K, V]) at(k K, at int64) (v V, from time.Time, ok bool) {
	s.d.t.Helper()
	found, err := s.s.GetVersion(encoded(s.d.t, s.key, k), at)
	v, ok = stored(s.d, s.value)(found.Value, err)
	return v, time.UnixMilli(found.Timestamp), ok
}

// WindowStore reads a window store of the topology.
type WindowStore[K, V any] struct {
	d     *Driver
	s     *store.Store
	key   serde.Serde[K]
	value serde.Serde[V]
}

// WindowStore returns a reader of a window store, by its name and with the serde of the plain key. A store that is not
// there, or of another kind, fails the test.
func (d *Driver) WindowStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *WindowStore[K, V] {
	d.t.Helper()
	return &WindowStore[K, V]{d, d.store(name, state.Window), key, value}
}

// Get returns the value of a key and the window that starts at a time; ok is false where the store has none.
func (s *WindowStore[K, V]) Get(k K, start time.Time) (v V, ok bool) {
	s.d.t.Helper()
	return stored(s.d, s.value)(s.s.GetWindow(encoded(s.d.t, s.key, k), start.UnixMilli()))
}

// All returns the windows that the store still keeps with their values, by their start and then by the keys' bytes.
func (s *WindowStore[K, V]) All() iter.Seq2[serde.Windowed[K], V] {
	return func(yield func(serde.Windowed[K], V) bool) {
		s.d.t.Helper()
		for e, err := range s.s.Windows(0, math.MaxInt64-1) {
			v, ok := stored(s.d, s.value)(e.Value, err)
			if !ok {
				continue
			}
			w := serde.Windowed[K]{Key: decoded(s.d, s.key, e.Key), Window: serde.Window{Start: e.Start, End: math.MaxInt64}}
			if size := s.s.Spec().WindowSize; size < math.MaxInt64 {
				w.Window.End = e.Start + size.Milliseconds()
			}
			if !yield(w, v) {
				return
			}
		}
	}
}

// SessionStore reads a session store of the topology.
type SessionStore[K, V any] struct {
	d     *Driver
	s     *store.Store
	key   serde.Serde[K]
	value serde.Serde[V]
}

// SessionStore returns a reader of a session store, by its name and with the serde of the plain key. A store that is not
// there, or of another kind, fails the test.
func (d *Driver) SessionStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *SessionStore[K, V] {
	d.t.Helper()
	return &SessionStore[K, V]{d, d.store(name, state.Session), key, value}
}

// Get returns the value of a key and the session from start to end; ok is false where the store has none.
func (s *SessionStore[K, V]) Get(k K, start, end time.Time) (v V, ok bool) {
	s.d.t.Helper()
	return stored(s.d, s.value)(s.s.GetSession(encoded(s.d.t, s.key, k), start.UnixMilli(), end.UnixMilli()))
}

// All returns the sessions that the store still keeps with their values, by their end.
func (s *SessionStore[K, V]) All() iter.Seq2[serde.Windowed[K], V] {
	return func(yield func(serde.Windowed[K], V) bool) {
		s.d.t.Helper()
		for e, err := range s.s.Sessions(0, math.MaxInt64-1) {
			v, ok := stored(s.d, s.value)(e.Value, err)
			if !ok {
				continue
			}
			if !yield(serde.Windowed[K]{Key: decoded(s.d, s.key, e.Key), Window: serde.Window{Start: e.Start, End: e.End}}, v) {
				return
			}
		}
	}
}
