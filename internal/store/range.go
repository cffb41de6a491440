package store

import (
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
		s.refresh()
		s.counts.now.Scans++
		if err := s.apply(); err != nil {
			yield(Entry{}, err)
			return
		}
		changed := s.changed(lo, hi)
		l, h := rangeBounds(lo, hi)
		merge(yield, s.engine.scan(l, h), changed, strings.Compare, s.decode)
	}
}

// RangeBackward returns what Range does, in the opposite order.
func (s *Store) RangeBackward(lo, hi []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s.refresh()
		s.counts.now.Scans++
		if err := s.apply(); err != nil {
			yield(Entry{}, err)
			return
		}
		changed := s.changed(lo, hi)
		slices.Reverse(changed)
		l, h := rangeBounds(lo, hi)
		merge(yield, s.engine.scanBackward(l, h), changed, func(a, b string) int { return strings.Compare(b, a) }, s.decode)
	}
}

// rangeBounds returns bounds in the engine.
func rangeBounds(lo, hi []byte) (l, h []byte) {
	b := append(append(make([]byte, 0, len(lo)+len(hi)+2), dataPrefix), lo...)
	n := len(b)
	if hi == nil {
		b = append(b, dataPrefix+1)
	} else {
		b = append(append(b, dataPrefix), hi...)
	}
	return b[:n:n], b[n:]
}

// merge gives the entries of a scan of the engine and the changed ones, which have precedence, both in the order of
// compare.
func merge(
	yield func(Entry, error) bool, scan iter.Seq2[pair, error], changed []*entry,
	compare func(a, b string) int, decode func([]byte) (Value, error),
) {
	for p, err := range scan {
		if err != nil {
			yield(Entry{}, err)
			return
		}
		key := p.key[1:]
		c := -1
		for len(changed) > 0 {
			if c = compare(changed[0].key, unsafeString(key)); c >= 0 {
				break
			}
			if !give(yield, changed[0]) {
				return
			}
			changed = changed[1:]
		}
		if c == 0 && len(changed) > 0 {
			continue // it comes with the next one, or at the end
		}
		v, err := decode(p.value)
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

func give(yield func(Entry, error) bool, e *entry) bool {
	return e.null || yield(Entry{e.keyBytes(), e.value()}, nil)
}
