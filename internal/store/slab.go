package store

// slab is memory for entries that come and go together, several of which are made at a time: windows, sessions and versions
// go with their time, and so does what waits for its own. The memory of those that were made together is free when the last
// of them is gone. An entry that may stay for as long as its key does is made alone, so that it keeps no others.
//
// What was handed out is not handed out again, see entry.
type slab struct {
	entries []entry
	bytes   []byte // for keys and values
	helds   []held
}

const (
	slabEntries = 8
	slabItem    = 128 // key and value of more bytes have memory of their own
)

// entry hands out an entry, and memory for its key and value.
func (s *slab) entry(size int) (*entry, []byte) {
	if len(s.entries) == 0 {
		s.entries = make([]entry, slabEntries)
	}
	e := &s.entries[0]
	s.entries = s.entries[1:]
	if size > slabItem {
		return e, make([]byte, 0, size)
	}
	if len(s.bytes) < size {
		s.bytes = make([]byte, slabEntries*size)
	}
	b := s.bytes[:0:size]
	s.bytes = s.bytes[size:]
	return e, b
}

// held hands out one that is not in use. All are in use until the next flush, and are then given back by release.
func (s *slab) held() *held {
	if h, ok := spare.Get().(*held); ok {
		return h
	}
	if len(s.helds) == 0 {
		s.helds = make([]held, slabEntries)
	}
	h := &s.helds[0]
	s.helds = s.helds[1:]
	return h
}

// Passing says that what the store holds comes and goes, about in the order in which it comes, though it is read by key.
func (s *Store) Passing() { s.passing = true }
