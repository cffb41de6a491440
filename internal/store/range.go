package store

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// Entry is what a key-value store holds for a key.
type Entry struct {
	Key   []byte
	Value Value
}

// Range returns the entries from lo on and before hi, in the order of the keys' bytes; nil is no bound. It sees changes
// that are not committed. The bytes are valid until the next entry; the store is not to be changed meanwhile.
func (s *Store) Range(lo, hi []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		changed := s.changed(lo, hi)
		engineHi := []byte{dataPrefix + 1}
		if hi != nil {
			engineHi = append([]byte{dataPrefix}, hi...)
		}
		for p, err := range s.engine.scan(append([]byte{dataPrefix}, lo...), engineHi) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			key := p.key[1:]
			for len(changed) > 0 && changed[0].key < string(key) {
				if !give(yield, changed[0]) {
					return
				}
				changed = changed[1:]
			}
			if len(changed) > 0 && changed[0].key == string(key) {
				continue // it comes with the next one, or at the end
			}
			v, err := s.decode(p.value)
			if !yield(Entry{key, v}, err) || err != nil {
				return
			}
		}
		for _, e := range changed {
			if !give(yield, e) {
				return
			}
		}
	}
}

func give(yield func(Entry, error) bool, e *entry) bool {
	return e.null || yield(Entry{[]byte(e.key), e.value()}, nil)
}

// changed returns the entries within bounds that the engine does not have as they are, in the order of their keys.
func (s *Store) changed(lo, hi []byte) []*entry {
	var found []*entry
	add := func(e *entry) {
		k := []byte(e.key)
		if bytes.Compare(k, lo) >= 0 && (hi == nil || bytes.Compare(k, hi) < 0) {
			found = append(found, e)
		}
	}
	for e := s.dirty.first; e != nil; e = e.next {
		add(e)
	}
	for _, e := range s.overlay {
		if e.pending && !e.dirty() {
			add(e)
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	return found
}
