package store

import "unsafe"

// entryPool makes entries, several at a time, and makes those anew that were removed: what is left of a few that were made
// together would keep the memory of all of them. An entry that was removed may be in use until the commit: by a range that
// is read, or as one of the overlay.
type entryPool struct {
	slab  []entry
	bytes []byte   // for keys and values of the slab
	gone  []*entry // since the last commit
	free  []*entry
}

const (
	slabEntries = 16
	slabBytes   = 48 * slabEntries
	slabItem    = 128 // key and value of more bytes have memory of their own

	mostGone = 64 << 10
)

// make makes an entry without a value, with room for one of so many bytes.
func (p *entryPool) make(key []byte, room int) *entry {
	e, b := p.next(len(key) + room)
	b = append(b, key...) // key and value, as long as it has no more bytes
	*e = entry{key: unsafeString(b), buf: b[len(key):], null: true}
	return e
}

func (p *entryPool) next(size int) (*entry, []byte) {
	if n := len(p.free) - 1; n >= 0 {
		e := p.free[n]
		p.free[n], p.free = nil, p.free[:n]
		if b := e.memory(); cap(b) >= size {
			return e, b
		}
		return e, p.take(size)
	}
	if len(p.slab) == 0 {
		p.slab = make([]entry, slabEntries)
	}
	e := &p.slab[0]
	p.slab = p.slab[1:]
	return e, p.take(size)
}

// take returns memory for a key and a value.
func (p *entryPool) take(size int) []byte {
	size = (size + 7) &^ 7 // so that the next one may be a little longer
	if size > slabItem {
		return make([]byte, 0, size)
	}
	if len(p.bytes) < size {
		p.bytes = make([]byte, slabBytes)
	}
	b := p.bytes[:0:size]
	p.bytes = p.bytes[size:]
	return b
}

// memory returns what the key has, and the value, if it is still behind it.
func (e *entry) memory() []byte {
	n := len(e.key)
	size := n
	if cap(e.buf) > 0 && unsafe.Pointer(unsafe.SliceData(e.buf)) == unsafe.Add(unsafe.Pointer(unsafe.StringData(e.key)), n) {
		size += cap(e.buf)
	}
	return unsafe.Slice(unsafe.StringData(e.key), size)[:0]
}

// remove takes notice of an entry that is not in the map any more.
func (p *entryPool) remove(e *entry) {
	if len(p.gone) < mostGone && cap(e.buf) <= slabItem {
		p.gone = append(p.gone, e)
	}
}

// committed frees what was removed, but not more than is in use.
func (p *entryPool) committed(used int) {
	n := min(len(p.gone), max(0, used-len(p.free)))
	p.free = append(p.free, p.gone[:n]...)
	clear(p.gone)
	p.gone = p.gone[:0]
}
