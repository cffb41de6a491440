package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Position returns the offset in the changelog from which the store is to be restored; !ok: from the start.
func (s *Store) Position() (next int64, ok bool) { return max(s.next, 0), s.next >= 0 }

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
		s.next = s.position
	}
	return nil
}

// Commit moves the overlay towards the engine, together with the position in the changelog that it corresponds to: the
// offset after the last change that was logged. -1 leaves the position as it is (of a store that is not logged). What
// several commits in a row leave is written in one batch, soon: see [Store.Persist].
//
// REQUIRES: the changes are acknowledged and what they belong to is committed.
func (s *Store) Commit(position int64) error {
	s.publish()
	if !s.Staged() {
		s.since = time.Now()
	}
	s.growStage()
	s.order = nil
	for _, e := range s.overlay {
		if !e.pending {
			continue // removed meanwhile
		}
		v := e.value()
		if e.dirty() {
			v = e.held.below
		}
		s.stageChange(e.keyBytes(), v)
		e.pending = false
		s.place(e)
	}
	clear(s.overlay)
	s.overlay = s.overlay[:0]
	if position >= 0 {
		s.next = position
	}
	s.committed = s.observed
	return errors.Join(s.Persist(), s.evict())
}

// Staged says whether anything that is committed or restored is not in the engine yet.
func (s *Store) Staged() bool { return len(s.stage.changes) > 0 || s.next != s.position }

// Persist writes what is committed into the engine, if it has waited long enough or there is enough of it: it is called
// now and then. A crash before that costs a restore of so much.
func (s *Store) Persist() error {
	r := s.Resources
	enough := r.limits.Overlay / (8 * max(r.stores.Load(), 1))
	if !s.Staged() || s.stage.size() < enough && time.Since(s.since) < settleAfter {
		return nil
	}
	return s.apply()
}

// apply moves what is staged into the engine, in one batch with the position after it, and drops what is expired.
func (s *Store) apply() error {
	if begun, err := s.beginApply(); begun || err != nil {
		return errors.Join(err, s.ingested())
	}
	if err := s.ingested(); err != nil {
		return err
	}
	if !s.Staged() {
		return nil
	}
	b, err := s.fillBatch()
	if err != nil {
		return err
	}
	if err := b.apply(); err != nil {
		return err
	}
	s.stage.clear(s.restoring)
	s.position = s.next
	return nil
}

// beginApply begins to move what is restored into the engine, if it is much, see [Store.ingest]. Until that has ended it
// cannot be read.
func (s *Store) beginApply() (begun bool, err error) {
	if !s.restoring || s.stage.size() < ingestBytes {
		return false, nil
	}
	return s.ingest()
}

func (s *Store) fillBatch() (batch, error) {
	b := s.engine.batch(len(s.stage.bytes) + 4*len(s.stage.changes))
	if err := s.writeObserved(b); err != nil {
		return nil, err
	}
	if err := s.stage.writeTo(b, s.position, s.next); err != nil {
		return nil, err
	}
	if !s.expire() {
		return b, nil
	}
	s.removeExpired()
	s.filter.drop(s.dropped)
	return b, s.removeSegments(b)
}

// Abandon throws away what is not committed: the record cache and the overlay.
func (s *Store) Abandon() error {
	err := s.apply() // it may be what is below an entry
	s.order = nil
	for s.dirty.first != nil {
		s.remove(s.dirty.first)
	}
	for _, e := range s.overlay {
		if e.pending {
			s.remove(e)
		}
	}
	s.overlay = nil
	s.observed = s.committed
	return errors.Join(err, s.recall())
}

// Restore applies records of the changelog, in their order, and takes over the position after them. It goes past the
// cache and the overlay, which are empty. What was restored is gathered for a while, and read after RestoreDone or Readable only.
func (s *Store) Restore(records []topology.Record, next int64) error {
	if s.versioned {
		return s.restoreVersions(records, next)
	}
	if len(s.entries) > 0 {
		s.forget()
	}
	if !s.restoring {
		s.restoring = true
		s.Resources.restoring.Add(1)
	}
	if len(s.stage.changes) == 0 {
		s.since = time.Now()
	}
	for i := range records {
		r := &records[i]
		if err := s.readable(r); err != nil {
			return err
		}
		if r.Key != nil && s.restorable(r.Key) {
			s.stageChange(r.Key, s.restored(r))
			if forgotten, full := s.keep(r.Key, r.Value == nil); full {
				s.stageChange(forgotten, Value{})
			}
		}
	}
	s.counts.now.Restored += uint64(len(records))
	s.publish()
	s.next, s.committed = next, s.observed
	// Three quarters of what may be gathered at a time: the stage before may still be on its way.
	if s.stage.size() < 3*s.Resources.limits.Overlay/(4*s.Resources.restoring.Load()) && time.Since(s.since) < settleAfter {
		return nil
	}
	if begun, err := s.beginApply(); begun || err != nil {
		return err
	}
	return s.apply()
}

// readable says what is wrong with a record of the changelog, if anything is.
func (s *Store) readable(r *topology.Record) error {
	switch {
	case r.Key == nil:
	case s.window && len(r.Key) < s.suffix:
		return fmt.Errorf("%s: a key of %d bytes is not one of a %v store; is this the changelog of another store?", r.Place(), len(r.Key), s.Config.Spec.Kind)
	case s.Config.Spec.Kind == state.Buffer && r.Value != nil:
		if _, err := parseBuffered(r.Value); err != nil {
			return fmt.Errorf("%s: %w; is this the changelog of another store, or of Kafka Streams 2.5 or older? "+
				"Those wrote other versions: let a newer one take it over first", r.Place(), err)
		}
	}
	return nil
}

// Readable makes what was restored so far readable, of a store that is restored or a copy. The next Restore ends that.
func (s *Store) Readable() error { return s.apply() }

// RestoreDone ends a restore. What was restored can be read, and reaches the disk, so that a crash soon after does not
// cost it.
func (s *Store) RestoreDone() error {
	err := s.apply()
	s.endRestore()
	if s.window {
		s.floor = max(0, s.oldest())
	}
	return errors.Join(err, s.engine.settle())
}

func (s *Store) endRestore() {
	if s.restoring {
		s.restoring = false
		s.Resources.restoring.Add(-1)
	}
	s.spare = stage{}
	if len(s.stage.changes) == 0 { // otherwise applying has failed
		s.stage.clear(false)
	}
}
