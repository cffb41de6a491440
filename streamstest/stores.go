package streamstest

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Store reads a key-value store of the topology.
type Store[K, V any] struct{ reader[K, V] }

// reader is what readers of all kinds of stores have.
type reader[K, V any] struct {
	d     *Driver
	parts []*store.Store // by partition
	key   serde.Serde[K]
	value serde.Serde[V]
}

func newReader[K, V any](d *Driver, name string, kind state.Kind, key serde.Serde[K], value serde.Serde[V]) reader[K, V] {
	d.t.Helper()
	parts := d.stores(name, kind)
	value, err := state.Reading(parts[0].Spec(), value)
	if err != nil {
		d.t.Fatal(err)
	}
	return reader[K, V]{d, parts, key, value}
}

// of returns the bytes of a key, and the partition that it is in.
func (r reader[K, V]) of(k K) ([]byte, *store.Store) {
	r.d.t.Helper()
	key := encoded(r.d.t, r.key, k)
	return key, r.parts[topology.Partition(key, int32(len(r.parts)))]
}

// Store returns a reader of a key-value store, by its name. A store that is not there, or of another kind, fails the
// test.
func (d *Driver) Store[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *Store[K, V] {
	d.t.Helper()
	return &Store[K, V]{newReader(d, name, state.KeyValue, key, value)}
}

// stores returns the partitions of a store of a kind.
func (d *Driver) stores(name string, kind state.Kind) (parts []*store.Store) {
	d.t.Helper()
	for _, t := range d.tasks {
		if s := t.StateStore(name); s != nil {
			parts = append(parts, s)
		}
	}
	for _, g := range d.globals {
		if g.State().Spec().Name == name {
			parts = append(parts, g.State())
		}
	}
	if len(parts) == 0 {
		d.t.Fatal(fmt.Errorf("the topology has no store %q", name))
	} else if have := parts[0].Spec().Kind; have != kind {
		d.t.Fatal(fmt.Errorf("store %q is a %v store, not a %v store", name, have, kind))
	}
	return parts
}

// Get returns the value of a key; ok is false where the store has none.
func (s *Store[K, V]) Get(k K) (v V, ok bool) {
	s.d.t.Helper()
	key, part := s.of(k)
	return stored(s.d, s.value)(part.Get(key))
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

// All returns the keys and values, in the order of the keys' bytes, one partition after the other.
func (s *Store[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		s.d.t.Helper()
		for _, part := range s.parts {
			for e, err := range part.Range(nil, nil) {
				v, ok := stored(s.d, s.value)(e.Value, err)
				if ok && !yield(decoded(s.d, s.key, e.Key), v) {
					return
				}
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
type VersionedStore[K, V any] struct{ reader[K, V] }

// VersionedStore returns a reader of a versioned store, by its name. A store that is not there, or of another kind, fails
// the test.
func (d *Driver) VersionedStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *VersionedStore[K, V] {
	d.t.Helper()
	return &VersionedStore[K, V]{newReader(d, name, state.Versioned, key, value)}
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
	key, part := s.of(k)
	found, err := part.GetVersion(key, at)
	v, ok = stored(s.d, s.value)(found.Value, err)
	return v, time.UnixMilli(found.Timestamp), ok
}

// Versions returns the values that a key had between two times, both included, the earliest first: what began before and
// was still valid is one. VersionsBackward returns them in the opposite order.
func (s *VersionedStore[K, V]) Versions(k K, from, to time.Time) iter.Seq[state.Version[V]] {
	return s.versions(k, from, to, false)
}

// VersionsBackward returns what Versions says.
func (s *VersionedStore[K, V]) VersionsBackward(k K, from, to time.Time) iter.Seq[state.Version[V]] {
	return s.versions(k, from, to, true)
}

func (s *VersionedStore[K, V]) versions(k K, from, to time.Time, backward bool) iter.Seq[state.Version[V]] {
	return func(yield func(state.Version[V]) bool) {
		s.d.t.Helper()
		key, part := s.of(k)
		found, err := part.Versions(key, from.UnixMilli(), to.UnixMilli())
		if err != nil {
			s.d.t.Fatal(err)
		}
		if backward {
			slices.Reverse(found)
		}
		for _, f := range found {
			v, _ := stored(s.d, s.value)(f.Value, nil)
			if !yield(state.VersionOf(v, f.Timestamp, f.End)) {
				return
			}
		}
	}
}

// WindowStore reads a window store of the topology.
type WindowStore[K, V any] struct{ reader[K, V] }

// WindowStore returns a reader of a window store, by its name and with the serde of the plain key. A store that is not
// there, or of another kind, fails the test.
func (d *Driver) WindowStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *WindowStore[K, V] {
	d.t.Helper()
	return &WindowStore[K, V]{newReader(d, name, state.Window, key, value)}
}

// Get returns the value of a key and the window that starts at a time; ok is false where the store has none.
func (s *WindowStore[K, V]) Get(k K, start time.Time) (v V, ok bool) {
	s.d.t.Helper()
	key, part := s.of(k)
	return stored(s.d, s.value)(part.GetWindow(key, start.UnixMilli()))
}

// All returns the windows that the store still keeps with their values, by their start and then by the keys' bytes.
func (s *WindowStore[K, V]) All() iter.Seq2[serde.Windowed[K], V] {
	return func(yield func(serde.Windowed[K], V) bool) {
		s.d.t.Helper()
		s.all((*store.Store).Windows, func(part *store.Store, e store.WindowEntry) (end int64) {
			if size := part.Spec().WindowSize; size < math.MaxInt64 {
				return e.Start + size.Milliseconds()
			}
			return math.MaxInt64
		}, yield)
	}
}

// SessionStore reads a session store of the topology.
type SessionStore[K, V any] struct{ reader[K, V] }

// SessionStore returns a reader of a session store, by its name and with the serde of the plain key. A store that is not
// there, or of another kind, fails the test.
func (d *Driver) SessionStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) *SessionStore[K, V] {
	d.t.Helper()
	return &SessionStore[K, V]{newReader(d, name, state.Session, key, value)}
}

// Get returns the value of a key and the session from start to end; ok is false where the store has none.
func (s *SessionStore[K, V]) Get(k K, start, end time.Time) (v V, ok bool) {
	s.d.t.Helper()
	key, part := s.of(k)
	return stored(s.d, s.value)(part.GetSession(key, start.UnixMilli(), end.UnixMilli()))
}

// All returns the sessions that the store still keeps with their values, by their end.
func (s *SessionStore[K, V]) All() iter.Seq2[serde.Windowed[K], V] {
	return func(yield func(serde.Windowed[K], V) bool) {
		s.d.t.Helper()
		s.all((*store.Store).Sessions, func(_ *store.Store, e store.WindowEntry) int64 { return e.End }, yield)
	}
}

// all gives the windows or sessions of all partitions, one after the other.
func (r reader[K, V]) all(
	scan func(s *store.Store, from, to int64) iter.Seq2[store.WindowEntry, error], end func(*store.Store, store.WindowEntry) int64,
	yield func(serde.Windowed[K], V) bool,
) {
	r.d.t.Helper()
	for _, part := range r.parts {
		for e, err := range scan(part, 0, math.MaxInt64-1) {
			v, ok := stored(r.d, r.value)(e.Value, err)
			if !ok {
				continue
			}
			w := serde.Window{Start: e.Start, End: end(part, e)}
			if !yield(serde.Windowed[K]{Key: decoded(r.d, r.key, e.Key), Window: w}, v) {
				return
			}
		}
	}
}
