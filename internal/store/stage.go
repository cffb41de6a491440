package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unsafe"
)

// stage gathers changes on their way to the engine. They are applied in one batch, in the order of their keys, which
// makes that much cheaper, and the last of each key only.
type stage struct {
	bytes   []byte // keys and values as in the engine, one after another
	changes []staged
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
	s.filter.add(s.segment(key), key)
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
	slices.SortFunc(g.changes, func(a, b staged) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(bytes.Compare(g.keyOf(&a)[common:], g.keyOf(&b)[common:]), cmp.Compare(a.at, b.at))
	})
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

// writeTo writes the changes into a batch.
func (g *stage) writeTo(b batch) error {
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
