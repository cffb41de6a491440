package store

// A forgetting store keeps so many keys at most: where there would be another, it removes the one that was used least
// recently. A key is used when it is written, and when it is read by Get below the record cache; ranges use nothing
// (Java: MemoryNavigableLRUCache).
type forgetting struct {
	most  int               // 0: nothing is forgotten
	keys  map[string]*entry // of what is below the record cache; keys alone
	order list              // of use, the least recent first
}

func (f *forgetting) init(most int) { *f = forgetting{most: most, keys: map[string]*entry{}} }

// use notes that a key was read or written, if it is there.
func (f *forgetting) use(key []byte) (there bool) {
	if f.most == 0 {
		return false
	}
	e := f.keys[string(key)]
	if e == nil {
		return false
	}
	f.order.remove(e)
	f.order.push(e)
	return true
}

// keep notes that a key was written, or deleted, and returns the one to be forgotten for it; !full: there is room.
func (f *forgetting) keep(key []byte, deleted bool) (forgotten []byte, full bool) {
	switch {
	case f.most == 0:
		return nil, false
	case deleted:
		f.drop(f.keys[string(key)])
		return nil, false
	case f.use(key):
		return nil, false
	}
	e := &entry{key: string(key)}
	f.keys[e.key] = e
	if f.order.push(e); f.order.n <= f.most {
		return nil, false
	}
	eldest := f.order.first
	f.drop(eldest)
	return eldest.keyBytes(), true
}

func (f *forgetting) drop(e *entry) {
	if e != nil {
		f.order.remove(e)
		delete(f.keys, e.key)
	}
}

// makeRoom removes the key that is to be forgotten for one that is about to be written. Java logs that of a plain store
// only, as its listener does not find the map below the others.
func (s *Store) makeRoom(key []byte, v Value) error {
	forgotten, full := s.keep(key, v.Bytes == nil)
	if !full {
		return nil
	}
	if spec := s.Config.Spec; !spec.Timestamped && !spec.Headers {
		if err := s.log(forgotten, Value{Timestamp: v.Timestamp}, nil); err != nil {
			return err
		}
	}
	e := s.find(forgotten)
	if e == nil || !e.dirty() {
		s.set(e, forgotten, Value{Timestamp: v.Timestamp})
		return nil
	}
	e.held.below, e.held.known = Value{}, true // what the record cache has of it comes later
	s.hold(e)
	return nil
}

// recall lets the order of use have what the engine has: what went since the last commit is there again, as the least
// recent.
func (s *Store) recall() error {
	if s.most == 0 {
		return nil
	}
	was, present := s.forgetting, map[string]bool{}
	s.forgetting.init(s.most)
	for p, err := range s.engine.scan([]byte{dataPrefix}, []byte{dataPrefix + 1}) {
		if err != nil {
			return err
		}
		key := p.key[1:]
		if present[string(key)] = true; was.keys[string(key)] == nil {
			s.keep(key, false)
		}
	}
	for e := was.order.first; e != nil; e = e.next {
		if present[e.key] {
			s.keep(e.keyBytes(), false)
		}
	}
	return nil
}
