package store

import (
	"bytes"
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
	r.shared = s.shared
	r.observed = r.shared.Load()
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
		s.observed = s.shared.Load()
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
		partition, next, err := parsePartition(p.key, p.value)
		if err != nil {
			return nil, &CorruptError{s.Dir, err}
		}
		positions[partition] = next
	}
	return positions, nil
}

// parsePartition reads what SetPosition has written.
func parsePartition(key, value []byte) (partition int32, next int64, err error) {
	number, ok := bytes.CutPrefix(key, []byte(partitionPrefix))
	if !ok || len(number) != 4 || len(value) != 8 {
		return 0, 0, fmt.Errorf("the position of a partition has a key of %d bytes and %d bytes", len(key), len(value))
	}
	return int32(binary.BigEndian.Uint32(number)), int64(binary.BigEndian.Uint64(value)), nil
}

// Publish shows readers what is committed.
func (s *Store) Publish() error {
	s.shared.Store(s.committed)
	return s.apply()
}
