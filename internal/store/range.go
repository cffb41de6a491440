package store

import (
	"iter"
	"slices"
)

// Entry is what a key-value store holds for a key.
type Entry struct {
	Key   []byte
	Value Value
}

// Range returns the entries from lo on and before hi, in the order of the keys' bytes; nil is no bound. It sees changes
// that are not committed. The bytes are valid until the next entry; the store is not to be changed meanwhile.
func (s *Store) Range(lo, hi []byte) iter.Seq2[Entry, error] { return s.entriesOf(lo, hi, false) }

// RangeBackward returns what Range does, in the opposite order.
func (s *Store) RangeBackward(lo, hi []byte) iter.Seq2[Entry, error] {
	return s.entriesOf(lo, hi, true)
}

func (s *Store) entriesOf(lo, hi []byte, backward bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		more := true
		err := s.visit(lo, hi, backward, func(e Entry) (bool, error) {
			more = yield(e, nil)
			return more, nil
		})
		if err != nil && more {
			yield(Entry{}, err)
		}
	}
}

// Visit hands the entries that Range returns to f, until that wants no more or fails. It allocates nothing.
func (s *Store) Visit(lo, hi []byte, f func(Entry) (more bool, err error)) error {
	return s.visit(lo, hi, false, f)
}

func (s *Store) visit(lo, hi []byte, backward bool, f func(Entry) (more bool, err error)) error {
	s.refresh()
	s.counts.now.Scans++
	if err := s.apply(); err != nil {
		return err
	}
	m := s.merger
	s.merger = nil // f may visit the store too
	if m == nil {
		m = &merger{Store: s}
	}
	err := m.run(lo, hi, backward, f)
	clear(m.changed)
	m.f = nil
	s.merger = m
	return err
}

// merger gives the entries of the engine and the changed ones, which have precedence, in the order of the keys or in the
// opposite one.
type merger struct {
	*Store
	f             func(Entry) (more bool, err error)
	backward      bool
	changed, left []*entry // all of them, and those that were not given yet
	bounds        []byte
}

func (m *merger) run(lo, hi []byte, backward bool, f func(Entry) (more bool, err error)) (err error) {
	m.f, m.backward = f, backward
	m.changed = m.appendChanged(m.changed[:0], lo, hi)
	m.left = m.changed
	l, h := m.rangeBounds(lo, hi)
	more := true
	if !backward {
		if err = m.engine.visit(l, h, m); err == nil && m.f != nil {
			_, err = m.giveChanged(nil)
		}
		return err
	}
	slices.Reverse(m.changed)
	for p, err := range m.engine.scanBackward(l, h) {
		if err == nil {
			more, err = m.visited(p.key, p.value)
		}
		if !more || err != nil {
			return err
		}
	}
	_, err = m.giveChanged(nil)
	return err
}

// rangeBounds returns bounds in the engine.
func (m *merger) rangeBounds(lo, hi []byte) (l, h []byte) {
	m.bounds = append(append(m.bounds[:0], dataPrefix), lo...)
	n := len(m.bounds)
	if hi == nil {
		m.bounds = append(m.bounds, dataPrefix+1)
	} else {
		m.bounds = append(append(m.bounds, dataPrefix), hi...)
	}
	return m.bounds[:n:n], m.bounds[n:]
}

// visited gives an entry of the engine, and the changed ones before it.
func (m *merger) visited(key, value []byte) (more bool, err error) {
	key = key[1:]
	if more, err = m.giveChanged(key); !more || err != nil {
		return more, err
	}
	if len(m.left) > 0 && m.left[0].key == string(key) {
		return true, nil // it comes with the next one, or at the end
	}
	v, err := m.decode(value)
	if err != nil {
		return false, err
	}
	return m.give(Entry{key, v})
}

// giveChanged gives the changed entries before a key; nil: all that are left.
func (m *merger) giveChanged(key []byte) (more bool, err error) {
	for len(m.left) > 0 {
		e := m.left[0]
		if key != nil && (m.backward && e.key <= string(key) || !m.backward && e.key >= string(key)) {
			break
		}
		if m.left = m.left[1:]; e.null {
			continue
		}
		if more, err = m.give(Entry{e.keyBytes(), e.value()}); !more || err != nil {
			return more, err
		}
	}
	return true, nil
}

func (m *merger) give(e Entry) (more bool, err error) {
	if more, err = m.f(e); !more {
		m.f = nil // nothing is given behind it
	}
	return more, err
}
