package store

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A global store is kept whole by each process, from all partitions of a topic. One goroutine writes it, as any store;
// others read it, each by a [Store.Reader] of its own, which sees what the writer has applied to the engine: whole
// batches. Nobody waits for anybody: engines can be read while they are written.

// Reader returns a store for another goroutine, which reads what this one, to be closed later, has applied. It cannot be
// changed.
//
// REQUIRES: Config.Shared.
func (s *Store) Reader() *Store {
	r := &Store{Config: s.Config, engine: s.engine.reader(), reads: true, entries: map[string]*entry{}, position: -1, next: -1}
	r.Log = nil
	r.windowed.init(s.Config.Spec)
	r.filter.from = math.MaxInt64 // it does not see what is written
	s.Resources.stores.Add(1)
	return r
}

func (s *Store) closeReader() error {
	s.forget()
	s.Resources.stores.Add(-1)
	return s.engine.close()
}

// ReadOnly says whether the store is a reader of another.
func (s *Store) ReadOnly() bool { return s.reads }

// refresh lets a reader see what was applied: what it has kept is of the past then.
func (s *Store) refresh() {
	if s.reads && s.engine.refresh() {
		s.forget()
	}
}

// partitionPrefix begins the keys of an engine that hold the positions of a global store, one a partition.
const partitionPrefix = "\x00partition"

// SetPosition stages the offset up to which a global store has a partition of its topic. It goes into the engine in one
// batch with what is committed next.
func (s *Store) SetPosition(partition int32, next int64) {
	g := &s.stage
	c := staged{at: len(g.bytes), key: uint32(len(partitionPrefix)) + 4, value: 8}
	g.bytes = binary.BigEndian.AppendUint32(append(g.bytes, partitionPrefix...), uint32(partition))
	g.bytes = binary.BigEndian.AppendUint64(g.bytes, uint64(next))
	g.changes = append(g.changes, c)
}

// Positions returns the offsets that SetPosition has set, as they are in the engine.
func (s *Store) Positions() (map[int32]int64, error) {
	positions := map[int32]int64{}
	for p, err := range s.engine.scan([]byte(partitionPrefix), []byte{dataPrefix}) {
		if err != nil {
			return nil, err
		}
		key := p.key[len(partitionPrefix):]
		if len(key) != 4 || len(p.value) != 8 {
			return nil, &CorruptError{s.Dir, fmt.Errorf("the position of a partition has %d bytes", len(p.value))}
		}
		positions[int32(binary.BigEndian.Uint32(key))] = int64(binary.BigEndian.Uint64(p.value))
	}
	return positions, nil
}

// Publish shows readers what is committed.
func (s *Store) Publish() error { return s.apply() }
