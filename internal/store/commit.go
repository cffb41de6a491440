package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/topology"
)

// Position returns the offset in the changelog from which the store is to be restored; !ok: from the start.
func (s *Store) Position() (next int64, ok bool) { return max(s.position, 0), s.position >= 0 }

func (s *Store) readPosition() error {
	b, ok, err := s.engine.get(positionKey, nil)
	switch {
	case err != nil:
		return err
	case !ok:
	case len(b) != 8:
		return &CorruptError{s.Dir, fmt.Errorf("its position has %d bytes", len(b))}
	default:
		s.position = int64(binary.BigEndian.Uint64(b))
	}
	return nil
}

// Commit moves the overlay into the engine, in one batch with the position in the changelog that it corresponds to:
// the offset after the last change that was logged. -1 leaves the position as it is (of a store that is not logged).
//
// REQUIRES: the changes are acknowledged and what they belong to is committed.
func (s *Store) Commit(position int64) error {
	if len(s.overlay) == 0 && (position < 0 || position == s.position) {
		s.evict()
		return nil
	}
	slices.SortFunc(s.overlay, func(a, b *entry) int { return strings.Compare(a.key, b.key) }) // cheaper to insert
	b := s.engine.batch()
	for _, e := range s.overlay {
		if !e.pending {
			continue // removed meanwhile
		}
		v := e.value()
		if e.dirty() {
			v = e.held.below
		}
		s.key = s.engineKey(s.key[:0], []byte(e.key))
		if err := s.change(b, v); err != nil {
			return err
		}
		e.pending = false
		s.place(e)
	}
	s.overlay = s.overlay[:0]
	if err := s.advance(b, position); err != nil {
		return err
	}
	s.evict()
	return nil
}

// change writes a value of s.key into a batch.
func (s *Store) change(b batch, v Value) error {
	if v.Bytes == nil {
		return b.remove(s.key)
	}
	s.val = s.encode(s.val[:0], v)
	return b.set(s.key, s.val)
}

// advance completes a batch with the position, drops what is expired, and applies it.
func (s *Store) advance(b batch, position int64) error {
	if lo, hi, ok := s.expiredSegments(); ok {
		if err := b.removeRange(lo, hi); err != nil {
			return err
		}
		s.removeExpired()
	}
	if position >= 0 {
		if err := b.set(positionKey, binary.BigEndian.AppendUint64(nil, uint64(position))); err != nil {
			return err
		}
	}
	if err := b.apply(); err != nil {
		return err
	}
	if position >= 0 {
		s.position = position
	}
	s.committed = s.observed
	return nil
}

// Abandon throws away what is not committed: the record cache and the overlay.
func (s *Store) Abandon() {
	for _, e := range s.entries {
		if e.dirty() || e.pending {
			s.remove(e)
		}
	}
	s.overlay = nil
	s.observed = s.committed
}

// Restore applies records of the changelog, in their order, and takes over the position after them. It goes past the
// cache and the overlay, which are empty.
func (s *Store) Restore(records []topology.Record, next int64) error {
	if len(s.entries) > 0 {
		s.forget()
	}
	b := s.engine.batch()
	for i := range records {
		r := &records[i]
		if s.window && r.Key != nil && len(r.Key) < windowSuffix {
			return fmt.Errorf("%s: a key of %d bytes is not one of a window store; is this the changelog of another store?", r.Place(), len(r.Key))
		}
		if r.Key == nil || !s.restorable(r.Key) {
			continue
		}
		s.key = s.engineKey(s.key[:0], r.Key)
		if err := s.change(b, Value{r.Value, r.Timestamp}); err != nil {
			return err
		}
	}
	return s.advance(b, next)
}

// RestoreDone lets what was restored reach the disk, so that a crash soon after does not cost it.
func (s *Store) RestoreDone() error { return s.engine.settle() }
