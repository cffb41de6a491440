package store

import (
	"unsafe"

	"github.com/millrace/millrace/topology"
)

// Get returns what the store holds for a key. The bytes are valid until the next call and are not to be changed.
func (s *Store) Get(key []byte) (Value, error) {
	if e := s.entries[string(key)]; e != nil {
		e.recent = true
		if !e.dirty && s.hides(key) {
			return Value{}, nil
		}
		return e.value, nil
	}
	v, err := s.load(key)
	if err != nil {
		return Value{}, err
	}
	e := s.newEntry(key)
	e.set(v)
	s.count(e)
	return e.value, nil
}

// load reads a key from the engine. The bytes are valid until the next call.
func (s *Store) load(key []byte) (v Value, err error) {
	s.key = s.engineKey(s.key[:0], key)
	b, ok, err := s.engine.get(s.key, s.val[:0])
	s.val = b
	if err != nil || !ok || s.hides(key) {
		return Value{}, err
	}
	return s.decode(b)
}

// Put sets the value of a key, or deletes it where v.Bytes is nil; then v.Timestamp is the time of the record in
// process. origin is that record; of a cached store it goes with the change when that is sent on. What is kept is
// copied.
func (s *Store) Put(key []byte, v Value, origin *topology.Record) error {
	e := s.entries[string(key)]
	if !s.cached {
		return s.write(e, key, v)
	}
	switch {
	case e == nil:
		e = s.newEntry(key)
	case e.dirty:
		s.dirty.remove(e) // to the end: the order is that of the last changes
	default:
		e.keepBelow()
	}
	e.set(v)
	e.origin = *origin
	e.origin.Key, e.origin.Value, e.origin.Headers = nil, nil, cloneHeaders(origin.Headers)
	e.dirty, e.recent = true, true
	s.dirty.push(e)
	s.count(e)
	if s.Resources.dirty.Load() > s.Resources.limits.RecordCache {
		return s.FlushCache() // as in Java, where one dirty entry that is evicted takes all others of its store along
	}
	return nil
}

// write logs a change and puts it into the overlay.
func (s *Store) write(e *entry, key []byte, v Value) error {
	if err := s.log(key, v, nil); err != nil {
		return err
	}
	if !s.admits(key) {
		return nil
	}
	if e == nil {
		e = s.newEntry(key)
	}
	e.set(v)
	e.recent = true
	s.hold(e)
	return nil
}

// hold puts an entry into the overlay.
func (s *Store) hold(e *entry) {
	if !e.pending {
		e.pending = true
		s.overlay = append(s.overlay, e)
	}
	s.count(e)
}

// log writes a change to the changelog, in bytes of its own.
func (s *Store) log(key []byte, v Value, headers []topology.Header) error {
	if s.Log == nil {
		return nil
	}
	n := len(key) + len(v.Bytes)
	if s.logged == nil || cap(s.logged)-len(s.logged) < n {
		s.logged = make([]byte, 0, max(16<<10, n))
	}
	start, middle := len(s.logged), len(s.logged)+len(key)
	s.logged = append(append(s.logged, key...), v.Bytes...)
	var value []byte
	if v.Bytes != nil {
		value = s.logged[middle : start+n : start+n]
	}
	return s.Log(s.logged[start:middle:middle], value, v.Timestamp, headers)
}

// OnFlush sets what is called for each change that leaves the record cache, after it was logged. needOld says that it
// wants the value before. A change from nothing to nothing is neither logged nor sent on.
func (s *Store) OnFlush(f func(key []byte, newer, older Value, origin *topology.Record) error, needOld bool) {
	s.flush, s.needOld = f, needOld
}

// Dirty says whether the record cache holds anything back.
func (s *Store) Dirty() bool { return s.dirty.n > 0 }

// FlushCache logs and sends on what the record cache holds back, in the order of the last changes
// (CachingKeyValueStore.putAndMaybeForward). What is put meanwhile is held back for the next flush.
func (s *Store) FlushCache() error {
	for n := s.dirty.n; n > 0 && s.dirty.n > 0; n-- {
		if err := s.flushOne(s.dirty.first); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) flushOne(e *entry) (err error) {
	key := unsafe.Slice(unsafe.StringData(e.key), len(e.key)) // read only
	older := e.below
	switch {
	case e.belowKnown && s.hides(key):
		older = Value{}
	case s.flush != nil && !e.belowKnown && (s.needOld || e.value.Bytes == nil):
		if older, err = s.load(key); err != nil {
			return err
		}
	}
	s.dirty.remove(e)
	e.dirty, e.belowKnown = false, false
	if s.flush != nil && e.value.Bytes == nil && older.Bytes == nil {
		s.count(e)
		return nil
	}
	if err := s.log(key, e.value, nil); err != nil {
		return err
	}
	if s.admits(key) {
		s.hold(e)
	} else {
		s.remove(e)
	}
	if s.flush == nil {
		return nil
	}
	origin := e.origin
	e.origin = topology.Record{}
	return s.flush(key, e.value, older, &origin)
}

// newEntry adds an entry without a value to the map.
func (s *Store) newEntry(key []byte) *entry {
	e := &entry{key: string(key)}
	s.entries[e.key] = e
	return e
}

// count counts an entry in the budget of its state, and nowhere else.
func (s *Store) count(e *entry) {
	budget := &s.Resources.clean
	switch {
	case e.dirty:
		budget = &s.Resources.dirty
	case e.pending:
		budget = &s.Resources.overlay
	}
	size := e.size()
	if e.budget == budget {
		if size != e.counted {
			budget.Add(size - e.counted)
			e.counted = size
		}
		return
	}
	if e.budget != nil {
		e.budget.Add(-e.counted)
	}
	e.budget, e.counted = budget, size
	budget.Add(size)
}

// remove takes an entry out of the map.
func (s *Store) remove(e *entry) {
	if e.budget != nil {
		e.budget.Add(-e.counted)
		e.budget = nil
	}
	e.pending = false
	delete(s.entries, e.key)
}

// forget empties the map.
func (s *Store) forget() {
	for _, e := range s.entries {
		s.remove(e)
	}
	s.dirty, s.overlay = list{}, nil
}

// evict takes entries that are as in the engine out of the map, those first that were not used since the last time,
// until the values kept for reads take three quarters of their budget.
func (s *Store) evict() {
	limit := s.Resources.limits.ReadCache
	if s.Resources.clean.Load() <= limit {
		return
	}
	for range 2 {
		for _, e := range s.entries {
			switch {
			case e.dirty || e.pending:
			case e.recent:
				e.recent = false
			default:
				s.remove(e)
				if s.Resources.clean.Load() <= limit/4*3 {
					return
				}
			}
		}
	}
}
