package streams

import (
	"bytes"
	"iter"
	"math"
	"reflect"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// AnyStore is a store of the program, of any kind and types: what [Uses] takes.
type AnyStore interface{ stated() *declaration }

// declaration is a store as the program says it.
type declaration struct {
	b     *Builder
	spec  *state.Spec
	step  *step // that adds it
	taken bool  // by GlobalStore or ReadOnlyStore
}

// declared is a store with its types.
type declared[K, V any] struct {
	*declaration
	key   serde.Serde[K]
	value serde.Serde[V]
}

func (d *declared[K, V]) stated() *declaration {
	if d == nil {
		return nil
	}
	return d.declaration
}

// of returns what the program has said of a store, if it is one of this Builder.
func (b *Builder) of(s AnyStore) (d *declaration, ok bool) {
	if s == nil || reflect.ValueOf(s).IsNil() {
		return nil, false
	}
	d = s.stated()
	return d, d != nil && d.b == b
}

// addStore adds a store of its own to the program.
func addStore[K, V any](b *Builder, verb, name string, kind state.Kind, key serde.Serde[K], value serde.Serde[V], o *settings) *declared[K, V] {
	if err := topology.CheckName(name); err != nil {
		b.fail("%s: %q is no name of a store: 1 to 249 of a-z A-Z 0-9 . _ - are allowed", verb, name)
	}
	spec := o.spec(name, kind)
	spec.Headers = serde.KeepsHeaders(value)
	spec.Timestamped, spec.Cached = o.timestamped && !spec.Headers, o.cached
	if spec.Headers && kind == state.Versioned {
		b.fail("%s: store %q cannot keep headers, as no versioned store does; give it the plain serde", verb, name)
	}
	added := b.add(b.root, &step{name: name, write: func(t *topology.Builder, _ []string) { t.AddStore(spec) }})
	if !spec.Headers {
		value = serdeFor(b, value, "value", "the value serde")
	}
	return &declared[K, V]{&declaration{b: b, spec: spec, step: added}, serdeFor(b, key, "key", "the key serde"), value}
}

// take gives a store that the program has declared to a verb that fills it.
func (b *Builder) take(verb string, s AnyStore) (d *declaration, ok bool) {
	if d, ok = b.of(s); !ok || d.taken {
		b.fail("%s takes a store of the same Builder, which no other verb has taken", verb)
		return nil, false
	}
	d.taken = true
	return d, true
}

// A KeyValueStore is a store of the program with one value a key, made by [Builder.KeyValueStore].
type KeyValueStore[K, V any] struct{ *declared[K, V] }

// KeyValueStore adds a store to the program, for processors: see [Uses]. It keeps what they put there, and logs each
// change to a changelog topic, from which it is restored.
//
// Options: InMemory and OnDisk (the default) say where it is kept; Cached holds changes back, so that of several changes
// of a key between two commits one is logged (the default is Uncached); Unlogged and LogConfig are about the changelog;
// Timestamped keeps a timestamp beside each value; MaxEntries forgets keys. With [serde.KeepHeaders] around the value's serde the
// store keeps headers and a timestamp beside each value: it is of type [Kept] then. A change is logged with those headers,
// a deletion with those of the record in process. Java: StreamsBuilder.addStateStore with Stores.keyValueStoreBuilder,
// timestampedKeyValueStoreBuilder and timestampedKeyValueStoreWithHeadersBuilder.
func (b *Builder) KeyValueStore[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...Option) *KeyValueStore[K, V] {
	o := b.options("KeyValueStore", opts, storeOption|timestampedOption|maxEntriesOption)
	b.checkMaxEntries("KeyValueStore", name, o)
	return &KeyValueStore[K, V]{addStore(b, "KeyValueStore", name, state.KeyValue, key, value, o)}
}

// Open opens the store for a processor, which is to use it. It is for Init.
func (s *KeyValueStore[K, V]) Open(c StoreUser) (*KeyValues[K, V], error) {
	kv, err := node.OpenKeyValues(c.user(), s.spec.Name, s.key, s.value)
	return &KeyValues[K, V]{kv}, err
}

// KeyValues is the task's partition of a [KeyValueStore]. An error of its methods is not forgotten if the processor
// ignores it. Iterators may be left at any time, and the store may be changed meanwhile: a change ahead of the iterator is
// seen.
type KeyValues[K, V any] struct{ s *node.KeyValues[K, V] }

// Get returns the value of a key; ok is false where there is none.
func (s *KeyValues[K, V]) Get(k K) (v V, ok bool, err error) {
	e, err := s.s.Get(k)
	return e.Value, e.Found, err
}

// GetTimed is Get with the timestamp of the value, of a store that keeps them.
func (s *KeyValues[K, V]) GetTimed(k K) (v V, at time.Time, ok bool, err error) {
	e, err := s.s.Get(k)
	return e.Value, time.UnixMilli(e.Time), e.Found, err
}

// Put sets the value of a key, with the timestamp of the record in process. A null of a type that shows it deletes the key.
func (s *KeyValues[K, V]) Put(k K, v V) error { return s.s.Put(k, v, -1) }

// PutTimed is Put with a timestamp, for a store that keeps them; one that does not logs the change with it. One before
// 1970 is that of the record in process.
func (s *KeyValues[K, V]) PutTimed(k K, v V, at time.Time) error {
	return s.s.Put(k, v, at.UnixMilli())
}

// PutIfAbsent sets the value of a key that has none. It returns the value that the key has otherwise, and whether it does.
func (s *KeyValues[K, V]) PutIfAbsent(k K, v V) (old V, had bool, err error) {
	old, had, err = s.Get(k)
	if err == nil && !had {
		err = s.Put(k, v)
	}
	return old, had, err
}

// Delete removes a key.
func (s *KeyValues[K, V]) Delete(k K) error { return s.s.Delete(k) }

// All returns the keys and values in the order of the keys' bytes.
func (s *KeyValues[K, V]) All() iter.Seq2[K, V] { return entries(s.s.Scan(nil, nil, false)) }

// Backward returns what All does, in the opposite order.
func (s *KeyValues[K, V]) Backward() iter.Seq2[K, V] { return entries(s.s.Scan(nil, nil, true)) }

// Range returns the keys from one to another, both included, in the order of their bytes; RangeBackward in the opposite
// order. For numbers below zero that order is not that of the numbers.
func (s *KeyValues[K, V]) Range(from, to K) iter.Seq2[K, V] { return s.between(from, to, false) }

// RangeBackward returns what Range says.
func (s *KeyValues[K, V]) RangeBackward(from, to K) iter.Seq2[K, V] { return s.between(from, to, true) }

func (s *KeyValues[K, V]) between(from, to K, backward bool) iter.Seq2[K, V] {
	lo, err := s.s.Key(from)
	hi, err2 := s.s.Key(to)
	if err != nil || err2 != nil || bytes.Compare(lo, hi) > 0 {
		return func(func(K, V) bool) {}
	}
	return entries(s.s.Scan(lo, append(hi, 0), backward))
}

// Prefix returns the keys whose bytes begin with those of prefix, in their order. (Java: prefixScan)
func (s *KeyValues[K, V]) Prefix(prefix []byte) iter.Seq2[K, V] {
	return entries(s.s.Scan(bytes.Clone(prefix), behind(prefix), false))
}

// behind returns the first bytes behind all that begin with prefix; nil: there are none.
func behind(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < math.MaxUint8 {
			return append(bytes.Clone(prefix[:i]), prefix[i]+1)
		}
	}
	return nil
}

func entries[K, V any](all iter.Seq2[K, node.Entry[V]]) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, e := range all {
			if !yield(k, e.Value) {
				return
			}
		}
	}
}

// A VersionedStore is a store of the program with the values that each key had, made by [Builder.VersionedStore].
type VersionedStore[K, V any] struct{ *declared[K, V] }

// VersionedStore adds a store to the program, for processors. It keeps each value of a key from a time until the next one
// begins, and for history after that; the latest always.
//
// Options: as of [Builder.KeyValueStore], but for Timestamped, MaxEntries and Cached, which it cannot be, and without headers. Java:
// Stores.versionedKeyValueStoreBuilder, KIP-889.
func (b *Builder) VersionedStore[K, V any](name string, history time.Duration, key serde.Serde[K], value serde.Serde[V], opts ...Option) *VersionedStore[K, V] {
	o := b.options("VersionedStore", opts, storeOption)
	switch {
	case history < 0 || history%time.Millisecond != 0:
		b.fail("VersionedStore: store %q keeps its history for %v; it can be 0 or more whole milliseconds", name, history)
	case o.cached:
		b.fail("VersionedStore: store %q cannot be cached; leave Cached away", name)
	}
	d := addStore(b, "VersionedStore", name, state.Versioned, key, value, o)
	d.spec.Retention = history
	return &VersionedStore[K, V]{d}
}

// Open opens the store for a processor, which is to use it. It is for Init.
func (s *VersionedStore[K, V]) Open(c StoreUser) (*VersionedValues[K, V], error) {
	v, err := node.OpenVersionedValues(c.user(), s.spec.Name, s.key, s.value)
	return &VersionedValues[K, V]{v}, err
}

// VersionedValues is the task's partition of a [VersionedStore]. An error of its methods is not forgotten if the processor
// ignores it. Times are milliseconds since 1970, at least.
type VersionedValues[K, V any] struct{ s *node.VersionedValues[K, V] }

// Get returns the latest value of a key and when it began; ok is false where the key has none, or was deleted.
func (s *VersionedValues[K, V]) Get(k K) (v V, from time.Time, ok bool, err error) {
	return version(s.s.Get(k, math.MaxInt64))
}

// GetAt returns the value that a key had at a time, and when it began. More than the history before the latest time that
// the store has seen, there is only what is the latest still.
func (s *VersionedValues[K, V]) GetAt(k K, at time.Time) (v V, from time.Time, ok bool, err error) {
	return version(s.s.Get(k, at.UnixMilli()))
}

// Versions returns the values that a key had between two times, both included, the earliest first: what began before and
// was still valid is one. VersionsBackward returns them in the opposite order. (Java has this for queries only:
// MultiVersionedKeyQuery)
func (s *VersionedValues[K, V]) Versions(k K, from, to time.Time) iter.Seq[Version[V]] {
	return versions(s.s.Versions(k, millis(from), millis(to), false))
}

// VersionsBackward returns what Versions says.
func (s *VersionedValues[K, V]) VersionsBackward(k K, from, to time.Time) iter.Seq[Version[V]] {
	return versions(s.s.Versions(k, millis(from), millis(to), true))
}

func versions[V any](all iter.Seq2[node.Entry[V], int64]) iter.Seq[Version[V]] {
	return func(yield func(Version[V]) bool) {
		for e, end := range all {
			if !yield(state.VersionOf(e.Value, e.Time, end)) {
				return
			}
		}
	}
}

func version[V any](e node.Entry[V], err error) (v V, from time.Time, ok bool, _ error) {
	return e.Value, time.UnixMilli(e.Time), e.Found, err
}

// Put sets the value of a key from a time on, until the next one that there is begins: it returns when that is, the zero
// time if the value is the latest. kept is false, and nothing done but that it is counted as dropped, where the time is
// more than the history before the latest that the store has seen. A null of a type that shows it deletes the key.
func (s *VersionedValues[K, V]) Put(k K, v V, from time.Time) (until time.Time, kept bool, err error) {
	end, err := s.s.Put(k, v, from.UnixMilli())
	if end >= 0 {
		until = time.UnixMilli(end)
	}
	return until, err == nil && end != store.Refused, err
}

// Delete lets a key have no value from a time on, until the next one that there is begins. It returns the value that it had
// then; ok is false where it had none, or it is too late, as of Put.
func (s *VersionedValues[K, V]) Delete(k K, from time.Time) (was V, ok bool, err error) {
	e, err := s.s.Delete(k, from.UnixMilli())
	return e.Value, e.Found, err
}

// A WindowStore is a store of the program with one value a key and window, made by [Builder.WindowStore].
type WindowStore[K, V any] struct{ *declared[K, V] }

// WindowStore adds a store to the program, for processors. Windows have a fixed size, at least a millisecond; those that
// began longer than retention before the latest are dropped sooner or later, so retention is the size at least.
//
// Options, and headers: as of [Builder.KeyValueStore], but for Timestamped and MaxEntries. Java: Stores.windowStoreBuilder, and
// timestampedWindowStoreWithHeadersBuilder.
func (b *Builder) WindowStore[K, V any](name string, size, retention time.Duration, key serde.Serde[K], value serde.Serde[V], opts ...Option) *WindowStore[K, V] {
	if size < time.Millisecond || retention < size {
		b.fail("WindowStore: the windows of store %q have a size of %v and a retention of %v; the size is a millisecond at least, the retention the size",
			name, size, retention)
	}
	d := addStore(b, "WindowStore", name, state.Window, key, value, b.options("WindowStore", opts, storeOption))
	d.spec.WindowSize, d.spec.Retention = size, retention
	return &WindowStore[K, V]{d}
}

// Open opens the store for a processor, which is to use it. It is for Init.
func (s *WindowStore[K, V]) Open(c StoreUser) (*WindowValues[K, V], error) {
	w, err := node.OpenWindowValues(c.user(), s.spec.Name, s.key, s.value)
	return &WindowValues[K, V]{w}, err
}

// WindowValues is the task's partition of a [WindowStore]. An error of its methods is not forgotten if the processor
// ignores it. Iterators may be left at any time, and give what was there when they began.
type WindowValues[K, V any] struct{ s *node.WindowValues[K, V] }

// Get returns the value of a key and the window that begins at start; ok is false where there is none.
func (s *WindowValues[K, V]) Get(k K, start time.Time) (v V, ok bool, err error) {
	e, err := s.s.Get(k, start.UnixMilli())
	return e.Value, e.Found, err
}

// Put sets the value of a key and a window. A window older than the retention is dropped, counted.
func (s *WindowValues[K, V]) Put(k K, start time.Time, v V) error {
	return s.s.Put(k, start.UnixMilli(), v, false)
}

// Delete removes the value of a key and a window.
func (s *WindowValues[K, V]) Delete(k K, start time.Time) error {
	var none V
	return s.s.Put(k, start.UnixMilli(), none, true)
}

// Of returns the windows of a key that begin between two times, both included, by their beginning.
func (s *WindowValues[K, V]) Of(k K, from, to time.Time) iter.Seq2[time.Time, V] {
	return func(yield func(time.Time, V) bool) {
		for start, e := range s.s.Of(k, millis(from), millis(to)) {
			if !yield(time.UnixMilli(start), e.Value) {
				return
			}
		}
	}
}

// All returns the windows of all keys that begin between two times, both included, by their beginning and then by key.
func (s *WindowValues[K, V]) All(from, to time.Time) iter.Seq2[Windowed[K], V] {
	return entries(s.s.All(millis(from), millis(to)))
}

// millis is a time in milliseconds, from 1970 on and before the last one there is.
func millis(t time.Time) int64 {
	if t.After(time.UnixMilli(math.MaxInt64 - 1)) {
		return math.MaxInt64 - 1
	}
	return max(0, t.UnixMilli())
}

// A SessionStore is a store of the program with one value a key and session, made by [Builder.SessionStore].
type SessionStore[K, V any] struct{ *declared[K, V] }

// SessionStore adds a store to the program, for processors. Sessions that ended longer than retention before the latest
// are dropped sooner or later.
//
// Options, and headers: as of [Builder.KeyValueStore], but for Timestamped and MaxEntries; the timestamp of a session is one
// more than Java keeps. Java: Stores.sessionStoreBuilder, and sessionStoreBuilderWithHeaders.
func (b *Builder) SessionStore[K, V any](name string, retention time.Duration, key serde.Serde[K], value serde.Serde[V], opts ...Option) *SessionStore[K, V] {
	if retention < 0 {
		b.fail("SessionStore: store %q has the retention %v; it cannot be negative", name, retention)
	}
	d := addStore(b, "SessionStore", name, state.Session, key, value, b.options("SessionStore", opts, storeOption))
	d.spec.Retention = retention
	return &SessionStore[K, V]{d}
}

// Open opens the store for a processor, which is to use it. It is for Init.
func (s *SessionStore[K, V]) Open(c StoreUser) (*SessionValues[K, V], error) {
	v, err := node.OpenSessionValues(c.user(), s.spec.Name, s.key, s.value)
	return &SessionValues[K, V]{v}, err
}

// SessionValues is the task's partition of a [SessionStore]. An error of its methods is not forgotten if the processor
// ignores it. Iterators may be left at any time, and give what was there when they began.
type SessionValues[K, V any] struct{ s *node.SessionValues[K, V] }

// Get returns the value of a key and a session; ok is false where there is none.
func (s *SessionValues[K, V]) Get(k K, start, end time.Time) (v V, ok bool, err error) {
	e, err := s.s.Get(k, session(start, end))
	return e.Value, e.Found, err
}

// Put sets the value of a key and a session. A session older than the retention is dropped, counted.
func (s *SessionValues[K, V]) Put(k K, start, end time.Time, v V) error {
	return s.s.Put(k, session(start, end), v)
}

// Remove removes a session.
func (s *SessionValues[K, V]) Remove(k K, start, end time.Time) error {
	return s.s.Remove(k, session(start, end))
}

func session(start, end time.Time) serde.Window {
	return serde.Window{Start: start.UnixMilli(), End: end.UnixMilli()}
}

// Find returns the sessions of a key that overlap the time between two times, both included: that end at from or later
// and start at to or earlier. (Java: findSessions)
func (s *SessionValues[K, V]) Find(k K, from, to time.Time) iter.Seq2[Windowed[K], V] {
	return func(yield func(Windowed[K], V) bool) {
		for w, e := range s.s.Find(k, millis(from), millis(to)) {
			if !yield(Windowed[K]{Key: k, Window: w}, e.Value) {
				return
			}
		}
	}
}

// All returns the sessions of all keys that end between two times, both included.
func (s *SessionValues[K, V]) All(from, to time.Time) iter.Seq2[Windowed[K], V] {
	return entries(s.s.All(millis(from), millis(to)))
}
