package store

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync/atomic"
)

// filter knows of keys that were never written, so that reading one does not go to the engine, which would look into
// each of its files. A window's first record reads such a key, and in a windowed aggregation that is often every other
// read.
//
// It knows that of segments that were empty when the store was opened, as everything that went into those went through
// its stage; of a store without segments, if all of it was empty. REQUIRES: the hash of each key that is staged is added.
type filter struct {
	from     int64 // the first segment that was empty
	segments map[int64]*bloomFilter
	used     *atomic.Int64 // bytes, of all filters of the process
}

// Sizes in bytes. A segment's tables grow fourfold, by 10 bits a key: the last is full after some 1.1 million keys.
const (
	firstTable  = 16 << 10
	lastTable   = 1 << 20
	filterLimit = 16 << 20 // of all filters of a process
)

// begin makes the filter of an engine that holds nothing from a segment on.
func (f *filter) begin(from int64, used *atomic.Int64) {
	f.end()
	*f = filter{from: from, segments: map[int64]*bloomFilter{}, used: used}
}

// end gives its memory back.
func (f *filter) end() { f.drop(math.MaxInt64) }

// drop forgets the segments before one.
func (f *filter) drop(before int64) {
	for n, b := range f.segments {
		if n < before {
			f.used.Add(-b.size())
			delete(f.segments, n)
		}
	}
}

// add says that a key is written.
func (f *filter) add(segment int64, h uint64) {
	if segment < f.from {
		return
	}
	b := f.segments[segment]
	if b == nil {
		b = &bloomFilter{}
		f.segments[segment] = b
	}
	if before := b.size(); b.add(h, f.used.Load() < filterLimit) {
		f.used.Add(b.size() - before)
	}
}

// absent says that a key was surely not written.
func (f *filter) absent(segment int64, h uint64) bool {
	if segment < f.from {
		return false
	}
	b := f.segments[segment]
	return b == nil || !b.full && !b.has(h)
}

var seed = maphash.MakeSeed()

func hash(key []byte) uint64 { return maphash.Bytes(seed, key) }

// bloomFilter is a Bloom filter that grows by tables. In a table a key sets bits of one line of the processor's cache only.
type bloomFilter struct {
	tables [][]line
	room   int  // keys that the last table still takes
	full   bool // it has given up
}

type line [8]uint64

const lineSize = 64

// add adds a key, and says whether its size has changed. What needs more memory than it may have makes it give up.
func (b *bloomFilter) add(h uint64, mayGrow bool) (resized bool) {
	if b.full || b.has(h) {
		return false
	}
	if b.room == 0 {
		next := firstTable << (2 * len(b.tables))
		if !mayGrow || next > lastTable {
			b.tables, b.full = nil, true
			return true
		}
		b.tables = append(b.tables, make([]line, next/lineSize))
		b.room, resized = next*8/10, true
	}
	b.room--
	l, bits := place7(b.tables[len(b.tables)-1], h)
	for i := range 7 {
		bit := bits >> (9 * i) & 511
		l[bit>>6] |= 1 << (bit & 63)
	}
	return resized
}

func (b *bloomFilter) has(h uint64) bool {
next:
	for _, t := range b.tables {
		l, bits := place7(t, h)
		for i := range 7 {
			if bit := bits >> (9 * i) & 511; l[bit>>6]&(1<<(bit&63)) == 0 {
				continue next
			}
		}
		return true
	}
	return false
}

// place7 returns the line of a hash and seven numbers of 9 bits.
func place7(t []line, h uint64) (l *line, bits uint64) {
	return &t[h%uint64(len(t))], (h ^ h>>32) * 0x9E3779B97F4A7C15
}

func (b *bloomFilter) size() (n int64) {
	for _, t := range b.tables {
		n += int64(len(t)) * lineSize
	}
	return n
}

// beginFilter begins the filter of what the engine holds.
func (s *Store) beginFilter() error {
	from := int64(0)
	for p, err := range s.engine.scanBackward([]byte{dataPrefix}, []byte{dataPrefix + 1}) {
		if err != nil {
			return err
		}
		if from = math.MaxInt64; s.segmented && len(p.key) >= 9 {
			from = int64(binary.BigEndian.Uint64(p.key[1:])) + 1
		}
		break
	}
	s.filter.begin(from, &s.Resources.filters)
	return nil
}

// filterHash returns what the filter knows of a key of the map by. A store of duplicates is read by key and times: there it
// is the plain key and a part of the time, of which a window has few.
func (s *Store) filterHash(key []byte) uint64 {
	if s.part == 0 {
		return hash(key)
	}
	return s.partHash(key[:max(0, len(key)-s.suffix)], s.time(key)/s.part)
}

func (s *Store) partHash(key []byte, part int64) uint64 {
	s.partKey = binary.BigEndian.AppendUint64(append(s.partKey[:0], key...), uint64(part))
	return hash(s.partKey)
}

// unwritten says that surely nothing was written of a plain key and some times.
func (s *Store) unwritten(key []byte, from, last int64) bool {
	if s.part == 0 || last/s.part-from/s.part > 2*windowParts {
		return false
	}
	for part := from / s.part; part <= last/s.part; part++ {
		h := s.partHash(key, part)
		first, end := max(from, part*s.part)/s.interval, min(last, part*s.part+s.part-1)/s.interval
		if !s.filter.absent(first, h) || end != first && !s.filter.absent(end, h) {
			return false
		}
	}
	return true
}

// windowParts is how many parts a window has.
const windowParts = 4

// segment returns the segment of a key of the map; 0 in a store without.
func (w *windowed) segment(key []byte) int64 {
	if !w.segmented {
		return 0
	}
	return w.time(key) / w.interval
}
