package store

import (
	"cmp"
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// order is the changed entries of the map, those that the engine does not have as they are, in the order in which the
// engine would have them. It is made when a range is read for the first time since the last commit, and kept up from
// then on: most stores are only read by key, and are not to pay for it.
type order struct {
	*btree.BTreeG[*entry]
	pivot entry
}

func (p place) changed() bool { return p > clean }

// ordered returns the changed entries in order.
func (s *Store) ordered() *order {
	if s.order != nil {
		return s.order
	}
	less := func(a, b *entry) bool { return s.compare(a.key, b.key) < 0 }
	s.order = &order{BTreeG: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
	for e := s.dirty.first; e != nil; e = e.next {
		s.order.Set(e)
	}
	for _, e := range s.overlay {
		if e.pending {
			s.order.Set(e)
		}
	}
	return s.order
}

// reorder takes notice of an entry that was in another place.
func (s *Store) reorder(e *entry, was place) {
	if s.order == nil || was.changed() == e.at.changed() {
		return
	}
	if e.at.changed() {
		s.order.Set(e)
	} else {
		s.order.Delete(e)
	}
}

// appendChanged appends the changed entries from lo on and before hi, which are keys of the map; hi nil is no bound.
func (s *Store) appendChanged(found []*entry, lo, hi []byte) []*entry {
	o, end := s.ordered(), unsafeString(hi)
	o.pivot.key = unsafeString(lo)
	o.Ascend(&o.pivot, func(e *entry) bool {
		if hi != nil && s.compare(e.key, end) >= 0 {
			return false
		}
		found = append(found, e)
		return true
	})
	o.pivot.key = ""
	return found
}

// unsafeString returns bytes as a string that is not used any longer than they stay as they are.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// compare orders keys of the map as the engine does.
func (w *windowed) compare(a, b string) int {
	i, j := len(a)-w.suffix, len(b)-w.suffix
	if !w.timeFirst || i < 0 || j < 0 {
		return strings.Compare(a, b)
	}
	return cmp.Or(strings.Compare(a[i:i+8], b[j:j+8]), strings.Compare(a[:i], b[:j]), strings.Compare(a[i+8:], b[j+8:]))
}
