package node

import (
	"iter"
	"math"
	"slices"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// KeyValues is a key-value store as a processor uses it.
type KeyValues[K, V any] struct {
	user  StoreUser
	store *keyValue[K, V]
	null  nulls[V]
}

// OpenKeyValues opens a store for a processor that is connected to it.
func OpenKeyValues[K, V any](user StoreUser, name string, key serde.Serde[K], value serde.Serde[V]) (*KeyValues[K, V], error) {
	if err := user.uses(name); err != nil {
		return nil, err
	}
	task, _, _ := user.inProcess()
	s, err := openKeyValue(task, name, key, value)
	return &KeyValues[K, V]{user, s, nullsOf[V]()}, err
}

// Get returns what the store holds for a key.
func (s *KeyValues[K, V]) Get(k K) (Entry[V], error) {
	e, err := s.store.get(k)
	return e, s.user.note(err)
}

// Put sets the value of a key. at is its timestamp where the store keeps them; negative: that of what is in process.
func (s *KeyValues[K, V]) Put(k K, v V, at int64) error {
	if err := s.user.writes(s.store.Spec()); err != nil {
		return s.user.note(err)
	}
	task, time, headers := s.user.inProcess()
	if at < 0 {
		at = time
	}
	_, _, err := s.store.put(task, k, v, s.null.is(v), at, time, headers)
	return s.user.note(err)
}

// Delete removes a key.
func (s *KeyValues[K, V]) Delete(k K) error {
	if err := s.user.writes(s.store.Spec()); err != nil {
		return s.user.note(err)
	}
	var none V
	task, time, headers := s.user.inProcess()
	_, _, err := s.store.put(task, k, none, true, time, time, headers)
	return s.user.note(err)
}

// Key returns the bytes of a key.
func (s *KeyValues[K, V]) Key(k K) ([]byte, error) {
	b, err := s.store.encodeKey(k)
	return append([]byte(nil), b...), s.user.note(err)
}

// scanned is how many entries a scan copies at a time: between two of them the store may be changed.
const (
	firstScanned = 16
	mostScanned  = 1024
)

// Scan returns the entries whose keys' bytes are at least lo and less than hi, in their order or backward; nil is no
// bound. The store may be changed meanwhile: what is ahead is seen as it is when the scan comes to it. An error ends it,
// and is what becomes of the record in process.
func (s *KeyValues[K, V]) Scan(lo, hi []byte, backward bool) iter.Seq2[K, Entry[V]] {
	return func(yield func(K, Entry[V]) bool) {
		part := scanPart{lo: lo, hi: hi, backward: backward}
		for size := firstScanned; ; size = min(2*size, mostScanned) {
			if s.user.note(part.read(s.store.Store, size)) != nil {
				return
			}
			for _, e := range part.entries {
				k, err := s.store.key.Decode(e.Key)
				var v Entry[V]
				if err == nil {
					v, err = s.store.decode(e.Value, nil)
				}
				if s.user.note(err) != nil || !yield(k, v) {
					return
				}
			}
			if len(part.entries) < size {
				return
			}
		}
	}
}

// A scanPart is the next entries of a scan, copied.
type scanPart struct {
	lo, hi   []byte
	backward bool
	entries  []store.Entry
	bytes    []byte
}

func (p *scanPart) read(s *store.Store, size int) error {
	p.entries, p.bytes = p.entries[:0], nil // decoded values may keep the bytes
	all := s.Range(p.lo, p.hi)
	if p.backward {
		all = s.RangeBackward(p.lo, p.hi)
	}
	for e, err := range all {
		if err != nil {
			return err
		}
		e.Key, e.Value.Bytes = p.copied(e.Key), p.copied(e.Value.Bytes)
		if p.entries = append(p.entries, e); len(p.entries) == size {
			break
		}
	}
	if n := len(p.entries); n > 0 {
		if last := p.entries[n-1].Key; p.backward {
			p.hi = last
		} else {
			p.lo = append(last[:len(last):len(last)], 0)
		}
	}
	return nil
}

func (p *scanPart) copied(b []byte) []byte {
	if len(b) == 0 {
		return b // an empty value is none that is missing
	}
	at := len(p.bytes)
	p.bytes = append(p.bytes, b...)
	return p.bytes[at:len(p.bytes):len(p.bytes)]
}

// VersionedValues is a versioned store as a processor uses it.
type VersionedValues[K, V any] struct {
	user  StoreUser
	store *keyValue[K, V]
	null  nulls[V]
}

// OpenVersionedValues opens a versioned store for a processor that is connected to it.
func OpenVersionedValues[K, V any](user StoreUser, name string, key serde.Serde[K], value serde.Serde[V]) (*VersionedValues[K, V], error) {
	if err := user.uses(name); err != nil {
		return nil, err
	}
	task, _, _ := user.inProcess()
	s, err := openKeyValue(task, name, key, value)
	return &VersionedValues[K, V]{user, s, nullsOf[V]()}, err
}

// Get returns the value of a key as of a time; the latest of all is at the last time there is.
func (s *VersionedValues[K, V]) Get(k K, at int64) (Entry[V], error) {
	e, err := s.store.getAt(k, at)
	return e, s.user.note(err)
}

// Versions gives what [store.Store.Versions] returns, each with its end, or in the opposite order.
func (s *VersionedValues[K, V]) Versions(k K, from, to int64, backward bool) iter.Seq2[Entry[V], int64] {
	return func(yield func(Entry[V], int64) bool) {
		kb, err := s.store.encodeKey(k)
		var found []store.Version
		if err == nil {
			found, err = s.store.Versions(kb, from, to)
		}
		if s.user.note(err) != nil {
			return
		}
		if backward {
			slices.Reverse(found)
		}
		for _, f := range found {
			e, err := s.store.decode(f.Value, nil)
			if s.user.note(err) != nil || !yield(e, f.End) {
				return
			}
		}
	}
}

// Put sets the value of a key from a time on. It returns what [store.Store.PutVersion] does.
func (s *VersionedValues[K, V]) Put(k K, v V, at int64) (end int64, err error) {
	kb, err := s.store.encodeKey(k)
	var vb []byte
	if err == nil {
		vb, err = s.store.encodeValue(v, s.null.is(v))
	}
	if err == nil {
		end, err = s.store.PutVersion(kb, store.Value{Bytes: vb, Timestamp: at})
	}
	return end, s.user.note(err)
}

// Delete deletes a key from a time on, and returns the value that it had then.
func (s *VersionedValues[K, V]) Delete(k K, at int64) (was Entry[V], err error) {
	kb, err := s.store.encodeKey(k)
	if err == nil {
		var v store.Version
		v, err = s.store.DeleteVersion(kb, at)
		was, err = s.store.decode(v.Value, err)
	}
	return was, s.user.note(err)
}

// WindowValues is a window store as a processor uses it.
type WindowValues[K, V any] struct {
	user  StoreUser
	store *windows[K, V]
	null  nulls[V]
}

// OpenWindowValues opens a window store for a processor that is connected to it.
func OpenWindowValues[K, V any](user StoreUser, name string, key serde.Serde[K], value serde.Serde[V]) (*WindowValues[K, V], error) {
	if err := user.uses(name); err != nil {
		return nil, err
	}
	task, _, _ := user.inProcess()
	s, err := openWindows(task, name, key, value)
	return &WindowValues[K, V]{user, s, nullsOf[V]()}, err
}

// Get returns what the store holds for a key and the window that starts then.
func (s *WindowValues[K, V]) Get(k K, start int64) (Entry[V], error) {
	e, err := s.store.get(k, start)
	return e, s.user.note(err)
}

// Put sets the value of a key and a window.
func (s *WindowValues[K, V]) Put(k K, start int64, v V, deleted bool) error {
	if err := s.user.writes(s.store.Spec()); err != nil {
		return s.user.note(err)
	}
	task, time, headers := s.user.inProcess()
	return s.user.note(s.store.put(task, k, start, v, deleted || s.null.is(v), time, time, headers))
}

// Of returns the windows of a key that start between from and to, both included, by start.
func (s *WindowValues[K, V]) Of(k K, from, to int64) iter.Seq2[int64, Entry[V]] {
	return func(yield func(int64, Entry[V]) bool) {
		b, err := s.store.encodeKey(k)
		var found []store.WindowEntry
		if err == nil {
			found, err = s.store.WindowsOf(nil, append([]byte(nil), b...), from, to)
		}
		if s.user.note(err) != nil {
			return
		}
		values := make([]Entry[V], len(found)) // the bytes are valid until the next call
		for i, f := range found {
			if values[i], err = s.store.decode(f.Value, nil); s.user.note(err) != nil {
				return
			}
		}
		for i, f := range found {
			if !yield(f.Start, values[i]) {
				return
			}
		}
	}
}

// All returns the windows of all keys that start between from and to, both included, by start and then by key.
func (s *WindowValues[K, V]) All(from, to int64) iter.Seq2[serde.Windowed[K], Entry[V]] {
	size := int64(math.MaxInt64)
	if d := s.store.Spec().WindowSize; d < math.MaxInt64 {
		size = d.Milliseconds()
	}
	return decodeWindows(s.user, s.store.Windows(from, to), &s.store.codec, func(e store.WindowEntry) serde.Window {
		if size == math.MaxInt64 || e.Start > math.MaxInt64-size {
			return serde.Window{Start: e.Start, End: math.MaxInt64}
		}
		return serde.Window{Start: e.Start, End: e.Start + size}
	})
}

func decodeWindows[K, V any](
	user StoreUser, all iter.Seq2[store.WindowEntry, error], c *codec[K, V], window func(store.WindowEntry) serde.Window,
) iter.Seq2[serde.Windowed[K], Entry[V]] {
	return func(yield func(serde.Windowed[K], Entry[V]) bool) {
		for e, err := range all {
			var k K
			var v Entry[V]
			if err == nil {
				k, err = c.key.Decode(e.Key)
			}
			if err == nil {
				v, err = c.decode(e.Value, nil)
			}
			if user.note(err) != nil || !yield(serde.Windowed[K]{Key: k, Window: window(e)}, v) {
				return
			}
		}
	}
}

// SessionValues is a session store as a processor uses it.
type SessionValues[K, V any] struct {
	user  StoreUser
	store *sessions[K, V]
	null  nulls[V]
}

// OpenSessionValues opens a session store for a processor that is connected to it.
func OpenSessionValues[K, V any](user StoreUser, name string, key serde.Serde[K], value serde.Serde[V]) (*SessionValues[K, V], error) {
	if err := user.uses(name); err != nil {
		return nil, err
	}
	task, _, _ := user.inProcess()
	s, err := openSessions(task, name, key, value)
	return &SessionValues[K, V]{user, s, nullsOf[V]()}, err
}

// Get returns what the store holds for a key and a session.
func (s *SessionValues[K, V]) Get(k K, w serde.Window) (e Entry[V], err error) {
	b, err := s.store.encodeKey(k)
	if err == nil {
		e, err = s.store.decode(s.store.GetSession(b, w.Start, w.End))
	}
	return e, s.user.note(err)
}

// Put sets the value of a key and a session.
func (s *SessionValues[K, V]) Put(k K, w serde.Window, v V) error {
	if err := s.user.writes(s.store.Spec()); err != nil {
		return s.user.note(err)
	}
	task, time, headers := s.user.inProcess()
	return s.user.note(s.store.put(task, k, w, v, s.null.is(v), time, headers))
}

// Remove removes a session.
func (s *SessionValues[K, V]) Remove(k K, w serde.Window) error {
	if err := s.user.writes(s.store.Spec()); err != nil {
		return s.user.note(err)
	}
	task, time, headers := s.user.inProcess()
	return s.user.note(s.store.remove(task, k, w, time, headers))
}

// Find returns the sessions of a key that end at from or later and start at to or earlier, by end and then by start.
func (s *SessionValues[K, V]) Find(k K, from, to int64) iter.Seq2[serde.Window, Entry[V]] {
	return func(yield func(serde.Window, Entry[V]) bool) {
		b, err := s.store.encodeKey(k)
		var found []store.WindowEntry
		if err == nil {
			found, err = s.store.SessionsOf(nil, append([]byte(nil), b...), from, to)
		}
		if s.user.note(err) != nil {
			return
		}
		values := make([]Entry[V], len(found))
		for i, f := range found {
			if values[i], err = s.store.decode(f.Value, nil); s.user.note(err) != nil {
				return
			}
		}
		for i, f := range found {
			if !yield(serde.Window{Start: f.Start, End: f.End}, values[i]) {
				return
			}
		}
	}
}

// All returns the sessions of all keys that end between from and to, both included.
func (s *SessionValues[K, V]) All(from, to int64) iter.Seq2[serde.Windowed[K], Entry[V]] {
	return decodeWindows(s.user, s.store.Sessions(from, to), &s.store.codec, func(e store.WindowEntry) serde.Window {
		return serde.Window{Start: e.Start, End: e.End}
	})
}

// Place returns where the record in process comes from; ok is false where none is, in a punctuation say.
func (p *Processing[K, V]) Place() (r *topology.Record, ok bool) {
	r = p.task.Input()
	return r, r != nil
}
