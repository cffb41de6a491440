package store

import (
	"fmt"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Get returns what the store holds for a key. The bytes are valid until the next call and are not to be changed.
func (s *Store) Get(key []byte) (Value, error) {
	s.refresh()
	s.counts.now.Gets++
	if e := s.find(key); e != nil {
		s.counts.now.CacheHits++
		e.recent = true
		if !e.dirty() {
			s.use(key)
		}
		if e.null || !e.dirty() && s.tooOld(key) {
			return Value{}, nil
		}
		return e.value(), nil
	}
	s.use(key)
	v, err := s.loadUnless(key, s.tooOld)
	if err != nil {
		return Value{}, err
	}
	room := len(v.Bytes)
	if v.Bytes == nil {
		room = s.room // it is written next, mostly
	}
	e := s.newEntry(key, room)
	e.set(v)
	s.place(e)
	if err := s.evict(); err != nil {
		return Value{}, err
	}
	if e.null {
		return Value{}, nil
	}
	return e.value(), nil
}

// Peek is Get for a key that is not expected to be asked for again: nothing is kept for that.
func (s *Store) Peek(key []byte) (Value, error) {
	if s.find(key) != nil {
		return s.Get(key)
	}
	s.refresh()
	s.counts.now.Gets++
	return s.loadUnless(key, s.tooOld)
}

// find returns the entry of a key, or nil. What is written is mostly what was read just before.
func (s *Store) find(key []byte) *entry {
	if e := s.last; e != nil && e.key == string(key) {
		return e
	}
	e := s.entries[string(key)]
	if e != nil {
		s.last = e
	}
	return e
}

// load reads a key below the record cache, from the engine. The bytes are valid until the next call.
func (s *Store) load(key []byte) (Value, error) { return s.loadUnless(key, s.hides) }

func (s *Store) loadUnless(key []byte, hidden func(key []byte) bool) (v Value, err error) {
	if s.filter.absent(s.segment(key), s.filterHash(key)) {
		return Value{}, nil
	}
	s.key = s.engineKey(s.key[:0], key)
	b, ok, err := s.engine.get(s.key, s.val[:0])
	s.val = b
	if err != nil || !ok || hidden(key) {
		return Value{}, err
	}
	return s.decode(b)
}

// Put sets the value of a key, or deletes it where v.Bytes is nil; then v.Timestamp is the time of the record in
// process. origin is that record; of a cached store it goes with the change when that is sent on. What is kept is
// copied.
func (s *Store) Put(key []byte, v Value, origin *topology.Record) error {
	if s.reads {
		return fmt.Errorf("store %q is global: it is written by the processor that keeps it, and read by all others", s.Config.Spec.Name)
	}
	s.counts.now.Puts++
	if s.Config.Spec.Headers && v.Bytes != nil {
		if err := s.stamp(&v); err != nil {
			return err
		}
	}
	s.room = len(v.Bytes)
	e := s.find(key)
	if !s.cached {
		return s.write(e, key, v, origin)
	}
	switch {
	case e == nil:
		e = s.newEntry(key, len(v.Bytes))
		e.hold(s.slab.held(), false)
	case e.dirty() && e.held.number < s.turn:
		s.split(e)
	case e.dirty():
		s.dirty.remove(e) // to the end: the order is that of the last changes
		s.dirty.push(e)
	default:
		e.hold(s.slab.held(), true)
	}
	e.set(v)
	e.held.from(origin)
	s.puts++
	e.held.number = s.puts
	e.recent = true
	s.place(e)
	if limit := s.Resources.limits; s.Resources.dirty.Load() > s.mayHold(limit.RecordCache, limit.Overlay) {
		return s.FlushCache() // as in Java, where one dirty entry that is evicted takes all others of its store along
	}
	return nil
}

// mayHold returns how many bytes the record cache may hold back; a buffer does so even where there is none.
func (s *Store) mayHold(cache, overlay int64) int64 {
	if s.Config.Spec.Kind == state.Buffer {
		return max(cache, overlay)
	}
	return cache
}

// write logs a change and puts it into the overlay.
func (s *Store) write(e *entry, key []byte, v Value, origin *topology.Record) error {
	if err := s.makeRoom(key, v); err != nil {
		return err
	}
	if err := s.log(key, v, s.headersOf(origin)); err != nil {
		return err
	}
	if s.admits(key) {
		s.set(e, key, v)
	}
	return nil
}

// set puts a value that needs no log into the overlay.
func (s *Store) set(e *entry, key []byte, v Value) {
	if e == nil {
		e = s.newEntry(key, len(v.Bytes))
	}
	e.set(v)
	e.recent = true
	s.hold(e)
}

// hold puts an entry into the overlay.
func (s *Store) hold(e *entry) {
	if !e.pending {
		e.pending = true
		s.overlay = append(s.overlay, e)
	}
	s.place(e)
}

// headersOf returns the headers with which a change is logged that a record has caused.
func (s *Store) headersOf(origin *topology.Record) []topology.Header {
	if origin == nil || !s.Config.Spec.LogHeaders && !s.Config.Spec.Headers {
		return nil
	}
	return origin.Headers
}

// heldHeaders returns those of a change that was held back, which only what is deleted needs.
func (s *Store) heldHeaders(h *held) []topology.Header {
	if !s.Config.Spec.Headers {
		return nil
	}
	return h.headers
}

// log writes a change to the changelog, in bytes of its own.
func (s *Store) log(key []byte, v Value, headers []topology.Header) error {
	if s.Log == nil {
		return nil
	}
	s.counts.now.Logged++
	n := len(key) + len(v.Bytes)
	if s.logged == nil || cap(s.logged)-len(s.logged) < n {
		s.logged = make([]byte, 0, max(16<<10, n))
	}
	start, middle := len(s.logged), len(s.logged)+len(key)
	s.logged = append(append(s.logged, key...), v.Bytes...)
	var value []byte
	if v.Bytes != nil {
		if s.Config.Spec.Kind == state.Buffer {
			headers = bufferVersion
		}
		value = s.logged[middle : start+n : start+n]
		if s.Config.Spec.Headers {
			var err error
			if headers, value, err = s.plain(value); err != nil {
				return err
			}
		}
	}
	return s.Log(s.logged[start:middle:middle], value, v.Timestamp, headers)
}

// OnFlush sets what is called for each change that leaves the record cache, after it was logged. The bytes of the key are
// never changed, and may be kept. needOld says that it wants the value before. A change from nothing to nothing is neither logged nor sent on.
func (s *Store) OnFlush(f func(key []byte, newer, older Value, origin *topology.Record) error, needOld bool) {
	s.flush, s.needOld = f, needOld
}

// Dirty says whether the record cache holds anything back.
func (s *Store) Dirty() bool { return s.dirty.n > 0 }

// FlushCache logs and sends on what the record cache holds back, in the order of the last changes (NamedCache.flush,
// CachingKeyValueStore.putAndMaybeForward). What is put meanwhile is held back for the next flush; that of a key whose
// turn has not come yet takes nothing from this one.
func (s *Store) FlushCache() error {
	before := s.turn
	defer func() { s.turn = before }()
	s.turn = s.puts + 1
	for e := s.nextTurn(before); e != nil; e = s.nextTurn(before) {
		if err := s.flushOne(e); err != nil {
			return err
		}
	}
	return nil
}

// nextTurn returns the first dirty entry that was changed before this flush, and not before the one that it is part of,
// whose entries come first.
func (s *Store) nextTurn(before uint64) *entry {
	e := s.dirty.first
	if before > 0 {
		e = s.dirty.last
		for e != nil && e.prev != nil && e.prev.held.number >= before {
			e = e.prev
		}
	}
	if e == nil || e.held.number < before || e.held.number >= s.turn {
		return nil
	}
	return e
}

// split leaves a change that waits for its turn in a flush to an entry of its own, which the map does not have. The
// entry that the map has is free for the next change.
func (s *Store) split(e *entry) {
	waiting := &entry{key: e.key, buf: e.buf, time: e.time, null: e.null, held: e.held, at: e.at, counted: e.counted}
	waiting.held.split = true
	s.dirty.replace(e, waiting)
	e.buf, e.at, e.counted = nil, nowhere, 0
	e.hold(s.slab.held(), false)
	e.held.below, e.held.known = waiting.held.below, waiting.held.known
}

func (s *Store) flushOne(e *entry) (err error) {
	if e.held.split {
		return s.flushSplit(e)
	}
	key, h, newer := e.keyBytes(), e.held, e.value()
	older, err := s.older(key, h, e.null)
	if err != nil {
		return err
	}
	e.held = nil
	defer h.release()
	if s.flush != nil && e.null && older.Bytes == nil {
		if s.hides(key) { // it may be there, but below the cache it is too old to be seen
			s.hold(e)
		}
		s.place(e)
		return nil
	}
	if err := s.makeRoom(key, newer); err != nil {
		return err
	}
	if err := s.log(key, newer, s.heldHeaders(h)); err != nil {
		return err
	}
	if s.admits(key) || !s.onDisk { // Java's store in memory drops it at once, but it stays in the cache above
		s.hold(e)
	} else {
		s.remove(e)
	}
	return s.sendOn(key, newer, older, h)
}

// flushSplit flushes a change that was split off: what it leaves below the cache is below the change that came after it.
func (s *Store) flushSplit(e *entry) error {
	key, h, newer := e.keyBytes(), e.held, e.value()
	s.displace(e)
	later := s.find(key)
	if later == nil || !later.dirty() {
		return nil // a flush within this one went ahead with it
	}
	older, err := s.older(key, h, e.null)
	if err != nil || s.flush != nil && e.null && older.Bytes == nil {
		return err
	}
	if err := s.makeRoom(key, newer); err != nil {
		return err
	}
	if err := s.log(key, newer, s.heldHeaders(h)); err != nil {
		return err
	}
	if s.admits(key) || !s.onDisk {
		later.held.below, later.held.known = newer, true
		s.hold(later)
	}
	return s.sendOn(key, newer, older, h)
}

// sendOn calls what was given to OnFlush.
func (s *Store) sendOn(key []byte, newer, older Value, h *held) error {
	if s.flush == nil {
		return nil
	}
	var origin *topology.Record
	if n := len(s.origins); n > 0 {
		origin, s.origins = s.origins[n-1], s.origins[:n-1]
	} else {
		origin = &topology.Record{}
	}
	*origin = h.origin()
	err := s.flush(key, newer, older, origin)
	s.origins = append(s.origins, origin)
	return err
}

// older returns the value below the cache, where someone wants it.
func (s *Store) older(key []byte, h *held, deleted bool) (Value, error) {
	switch {
	case s.flush == nil || !s.needOld && !deleted:
		return Value{}, nil
	case !h.known:
		return s.load(key)
	case s.hides(key):
		return Value{}, nil
	}
	return h.below, nil
}

// newEntry adds an entry without a value to the map, with room for so many bytes: not for many, as whoever keeps the key
// keeps them too.
func (s *Store) newEntry(key []byte, room int) *entry {
	if room > mostRoom {
		room = 0
	}
	var e *entry
	var b []byte // key and value, as long as it has no more bytes
	if s.passing || s.versioned && s.time(key) < endless {
		e, b = s.slab.entry(len(key) + room)
	} else {
		e, b = &entry{}, make([]byte, 0, len(key)+room)
	}
	b = append(b, key...)
	*e = entry{key: unsafeString(b), buf: b[len(key):], null: true}
	s.entries[e.key] = e
	s.last = e
	return e
}

// place lists an entry where its state says, and counts it in the budget of that place, and nowhere else.
func (s *Store) place(e *entry) {
	to, size := e.state(), e.size()
	if e.at == to {
		if size != int64(e.counted) {
			s.count(e, size)
		}
		return
	}
	was := e.at
	s.displace(e)
	e.at = to
	if l := s.list(to); l != nil {
		l.push(e)
	}
	s.count(e, size)
	s.reorder(e, was)
}

// displace takes an entry out of its place.
func (s *Store) displace(e *entry) {
	if e.at == nowhere {
		return
	}
	if l := s.list(e.at); l != nil {
		l.remove(e)
	}
	s.count(e, 0)
	e.at = nowhere
}

// list returns the list of a place; what is in the overlay only is in none.
func (s *Store) list(p place) *list {
	switch p {
	case cache:
		return &s.dirty
	case clean:
		return &s.clean
	}
	return nil
}

// count counts a new size of an entry where it is.
func (s *Store) count(e *entry, size int64) {
	by := size - int64(e.counted)
	e.counted = uint32(size) // a value has 2 GiB at most
	switch e.at {
	case cache:
		s.Resources.dirty.Add(by)
	case overlay:
		s.Resources.overlay.Add(by)
	case clean:
		s.Resources.clean.Add(by)
		s.kept += by
	}
}

// remove takes an entry out of the map.
func (s *Store) remove(e *entry) {
	was := e.at
	s.displace(e)
	s.reorder(e, was)
	e.pending, e.held = false, nil
	delete(s.entries, e.key)
	if s.last == e {
		s.last = nil
	}
}

// forget empties the map.
func (s *Store) forget() {
	for s.dirty.first != nil {
		s.displace(s.dirty.first)
	}
	for _, e := range s.entries {
		s.displace(e)
		e.pending = false
	}
	s.entries, s.overlay, s.order, s.last = map[string]*entry{}, nil, nil, nil
}

// evict takes entries that are as in the engine out of the map while there are too many of them, those first that were
// not used for the longest time, about. A store may keep its share of the budget, and more as long as others leave it.
func (s *Store) evict() error {
	r := s.Resources
	room := r.readRoom()
	if r.clean.Load() > room && s.Staged() {
		if err := s.apply(); err != nil { // some of them are not in the engine yet
			return err
		}
	}
	for r.clean.Load() > room && s.kept > room/r.stores.Load() {
		e := s.clean.first
		if !e.recent {
			s.remove(e)
			continue
		}
		e.recent = false
		s.clean.remove(e)
		s.clean.push(e)
	}
	return nil
}
