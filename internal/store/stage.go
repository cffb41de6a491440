package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"
)

// stage gathers changes on their way to the engine. They are applied in one batch, in the order of their keys, which
// makes that much cheaper, and the last of each key only.
type stage struct {
	bytes   []byte // keys and values as in the engine, one after another
	changes []staged
	scratch []staged // for sorting
}

// staged is a change: where in the stage's bytes its key begins, and how long key and value are; -1: it is removed.
type staged struct {
	prefix uint64 // of the key, after what all keys have in common
	at     int
	key    uint32
	value  int32
}

// stageChange adds a change of a key of the map.
func (s *Store) stageChange(key []byte, v Value) {
	s.filter.add(s.segment(key), s.filterHash(key))
	g := &s.stage
	c := staged{at: len(g.bytes), value: -1}
	g.bytes = s.engineKey(g.bytes, key)
	c.key = uint32(len(g.bytes) - c.at)
	if v.Bytes != nil {
		start := len(g.bytes)
		g.bytes = s.encode(g.bytes, v)
		c.value = int32(len(g.bytes) - start)
	}
	g.changes = append(g.changes, c)
	if s.indexed {
		i := staged{at: len(g.bytes), value: min(c.value, 0)}
		g.bytes = s.indexKey(g.bytes, key)
		i.key = uint32(len(g.bytes) - i.at)
		g.changes = append(g.changes, i)
	}
}

// growStage makes room for the overlay, at once: it can be large, and growing step by step takes several times as much.
func (s *Store) growStage() {
	n := 0
	for _, e := range s.overlay {
		n += len(e.key) + len(e.buf) + 1 + 8 + 8 // with prefix, segment and timestamp
	}
	s.stage.bytes = slices.Grow(s.stage.bytes, n)
	s.stage.changes = slices.Grow(s.stage.changes, len(s.overlay))
}

// size is what the stage takes in memory.
func (g *stage) size() int64 {
	return int64(len(g.bytes)) + int64(len(g.changes))*int64(unsafe.Sizeof(staged{}))
}

func (g *stage) keyOf(c *staged) []byte { return g.bytes[c.at : c.at+int(c.key)] }

// sort brings the changes into the order of their keys, and those of one key into that of their coming.
func (g *stage) sort() {
	common := g.common()
	for i := range g.changes {
		g.changes[i].prefix = prefix(g.keyOf(&g.changes[i])[common:])
	}
	g.sortByPrefix()
	for from := 0; from < len(g.changes); {
		to := from + 1
		for to < len(g.changes) && g.changes[to].prefix == g.changes[from].prefix {
			to++
		}
		if to-from > 1 {
			slices.SortStableFunc(g.changes[from:to], func(a, b staged) int {
				return bytes.Compare(g.keyOf(&a)[common:], g.keyOf(&b)[common:])
			})
		}
		from = to
	}
}

// sortByPrefix is a radix sort, from the last byte to the first: it leaves those of one prefix in their order, and takes
// a quarter of the time of one that compares.
func (g *stage) sortByPrefix() {
	var counts [8][256]int
	for i := range g.changes {
		p := g.changes[i].prefix
		for b := range 8 {
			counts[b][byte(p>>(8*b))]++
		}
	}
	from, to := g.changes, slices.Grow(g.scratch, len(g.changes))[:len(g.changes)]
	for b := range 8 {
		count := &counts[b]
		if slices.Contains(count[:], len(from)) {
			continue // this byte is the same in all of them
		}
		at := 0
		for v, n := range count {
			count[v], at = at, at+n
		}
		for i := range from {
			v := byte(from[i].prefix >> (8 * b))
			to[count[v]] = from[i]
			count[v]++
		}
		from, to = to, from
	}
	g.changes, g.scratch = from, to[:0]
}

// common returns how many bytes all keys begin with.
func (g *stage) common() int {
	if len(g.changes) == 0 {
		return 0
	}
	first := g.keyOf(&g.changes[0])
	for i := range g.changes {
		k := g.keyOf(&g.changes[i])
		n := 0
		for n < len(first) && n < len(k) && first[n] == k[n] {
			n++
		}
		first = first[:n]
	}
	return len(first)
}

// prefix returns the first 8 bytes of a key as a number in the order of the keys; what is missing is 0.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// writeTo writes the position, if it is another than before, and the changes into a batch, in the order of their keys:
// that of the position is the first.
func (g *stage) writeTo(b batch, before, position int64) error {
	if position != before {
		if err := b.set(positionKey, binary.BigEndian.AppendUint64(nil, uint64(position))); err != nil {
			return err
		}
	}
	g.sort()
	for i := range g.changes {
		c := &g.changes[i]
		key := g.keyOf(c)
		if i+1 < len(g.changes) && g.changes[i+1].prefix == c.prefix && bytes.Equal(key, g.keyOf(&g.changes[i+1])) {
			continue
		}
		var err error
		if c.value < 0 {
			err = b.remove(key)
		} else {
			start := c.at + int(c.key)
			err = b.set(key, g.bytes[start:start+int(c.value)])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clear empties the stage. It keeps its memory for the next time, if that is little or keep says so.
func (g *stage) clear(keep bool) {
	if !keep && cap(g.bytes) > 256<<10 {
		*g = stage{}
		return
	}
	g.bytes, g.changes = g.bytes[:0], g.changes[:0]
}
