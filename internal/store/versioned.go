package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millrace/millrace/topology"
)

// A versioned store keeps, of each key, the values that it had: its versions, each valid from a time until the next one
// begins. The key of a version, in the map, is key and the time at which it ends (8 bytes), the latest version's being
// endless; with it is kept when it begins, and its value. In the engine the number of a segment stands in front, that of
// the time at which it ends. So the versions of a segment expire together, the latest never, and the first version of a
// key that ends after a time is the one of that time, unless it begins later.
//
// A key that is deleted has no version from then on: the one before ends there. Where none ends, the deletion is a
// version without a value that ends there, a mark, as it ends what may be put before it later.

const (
	endless = math.MaxInt64 // the end of the latest version
	noBegin = -1            // of a mark, whose value is empty
)

// What [Store.PutVersion] may return beside the end of a version.
const (
	Latest  = -1            // it is the latest of its key
	Refused = math.MinInt64 // it is older than the retention, and not kept
)

// A Version is the value that a key had from its timestamp on, until before End. Where there is none, its bytes are nil.
type Version struct {
	Value
	End int64 // of the latest math.MaxInt64
}

func mark() Value            { return Value{Bytes: []byte{}, Timestamp: noBegin} }
func (v Value) isMark() bool { return v.Timestamp == noBegin }

// GetLatest returns the latest version of a key. Its bytes are valid until the next call.
func (s *Store) GetLatest(key []byte) (Version, error) {
	v, err := s.version(key, endless)
	return Version{v, endless}, err
}

// GetVersion returns the version of a key at a time. Before the retention there is only the latest. Its bytes are valid
// until the next call. (RocksDBVersionedStore.get)
func (s *Store) GetVersion(key []byte, at int64) (v Version, err error) {
	latest, err := s.GetLatest(key)
	switch {
	case err != nil:
		return v, err
	case latest.Bytes != nil && latest.Timestamp <= at:
		return latest, nil
	case at < 0 || at < s.observed-s.retention || at >= s.observed: // nothing ends after what was observed
		return v, nil
	}
	found, err := s.versionAfter(key, at)
	if err != nil || found.isMark() || found.Timestamp > at {
		return v, err
	}
	return found, nil
}

// Versions returns the versions of a key that were valid at some time between from and to, both included, by their times.
// Before the retention there is only the latest; where to is later, also what ended in a segment that is kept still.
// (RocksDBVersionedStore.get, LogicalSegmentIterator)
func (s *Store) Versions(key []byte, from, to int64) (found []Version, err error) {
	s.refresh()
	at := max(0, from, s.liveSegment()*s.interval-1)
	if to < s.observed-s.retention {
		at = endless - 1 // which only the latest is behind
	}
	for at < endless && from <= to {
		v, err := s.versionAfter(key, at)
		if err != nil || v.Bytes == nil || v.Timestamp > to {
			return found, err
		}
		if at = v.End; !v.isMark() {
			v.Bytes = append([]byte{}, v.Bytes...)
			found = append(found, v)
		}
	}
	return found, nil
}

// PutVersion lets a key have a value, or none where v.Bytes is nil, from v's timestamp on until its next version begins.
// It returns when that is, or Latest, or Refused. Refused ones are logged too, as in Java.
func (s *Store) PutVersion(key []byte, v Value) (end int64, err error) {
	s.counts.now.Puts++
	if end, err = s.putVersion(key, v); err != nil {
		return end, err
	}
	if end == Refused && s.Expired != nil {
		s.Expired(key, v.Timestamp)
	}
	return end, s.log(key, v, nil)
}

// DeleteVersion is PutVersion of nothing. It returns the version that the key had at that time; none if it is refused.
func (s *Store) DeleteVersion(key []byte, at int64) (was Version, err error) {
	if at >= s.observed-s.retention {
		if was, err = s.GetVersion(key, at); err != nil {
			return was, err
		}
		was.Bytes = bytes.Clone(was.Bytes)
	}
	_, err = s.PutVersion(key, Value{Timestamp: at})
	return was, err
}

// putVersion is PutVersion without the changelog (RocksDBVersionedStore.doPut).
func (s *Store) putVersion(key []byte, v Value) (end int64, err error) {
	begin := v.Timestamp
	switch {
	case begin < 0:
		return Refused, fmt.Errorf("store %q: a version begins at %d ms; none can before 1970", s.Config.Spec.Name, begin)
	case begin < s.observed-s.retention:
		return Refused, nil
	}
	inOrder := begin >= s.observed
	s.observed = max(s.observed, begin)
	latest, err := s.version(key, endless)
	switch {
	case err != nil:
		return Refused, err
	case latest.Bytes != nil && latest.Timestamp <= begin:
		if latest.Timestamp < begin {
			s.setVersion(key, begin, latest)
		}
		s.setVersion(key, endless, v) // a deletion at the time of the latest leaves no mark, as in Java
		return Latest, nil
	case inOrder: // no version ends later
		if v.Bytes == nil {
			return Latest, s.markEnd(key, begin)
		}
		s.setVersion(key, endless, v)
		return Latest, nil
	}
	after, err := s.versionAfter(key, begin)
	if err != nil {
		return Refused, err
	}
	return s.insertVersion(key, v, after)
}

// insertVersion puts a version before the one that is the first to end after its beginning, if there is one: where that
// begins later the new one ends there, else it takes over the rest of its time.
func (s *Store) insertVersion(key []byte, v Value, after Version) (end int64, err error) {
	begin := v.Timestamp
	switch {
	case after.Bytes == nil && v.Bytes != nil:
		s.setVersion(key, endless, v)
		return Latest, nil
	case after.Bytes == nil:
		return Latest, s.markEnd(key, begin)
	case after.Timestamp > begin:
		if end = after.Timestamp; v.Bytes != nil {
			s.setVersion(key, end, v)
			return end, nil
		}
		if after.End == endless { // so that the end is known when the latest is gone, as in Java
			if err := s.markEnd(key, end); err != nil {
				return end, err
			}
		}
		return end, s.markEnd(key, begin)
	}
	if !after.isMark() && after.Timestamp < begin {
		s.setVersion(key, begin, after.Value)
	}
	if v.Bytes != nil {
		s.setVersion(key, after.End, v)
		return after.End, nil
	}
	s.setVersion(key, after.End, mark())
	return after.End, s.markEnd(key, begin)
}

// markEnd marks that nothing is valid from a time on, unless a version ends there.
func (s *Store) markEnd(key []byte, end int64) error {
	there, err := s.version(key, end)
	if err == nil && there.Bytes == nil {
		s.setVersion(key, end, mark())
	}
	return err
}

func (s *Store) version(key []byte, end int64) (Value, error) {
	s.windowKey = appendVersionKey(s.windowKey[:0], key, end)
	return s.Get(s.windowKey)
}

func (s *Store) setVersion(key []byte, end int64, v Value) {
	s.windowKey = appendVersionKey(s.windowKey[:0], key, end)
	s.set(s.find(s.windowKey), s.windowKey, v)
}

func appendVersionKey(dst, key []byte, end int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, key...), uint64(end))
}

// versionSearch looks for the first version of a key that ends after a time.
type versionSearch struct {
	*Store
	key         []byte
	found       Version
	lo, hi, end []byte
	mapped      []byte // the key of the map
	value       []byte // of what was found
	past        []byte // the key that ended a visit
}

// versionAfter returns the first version of a key that ends after a time, which is not endless; it may be a mark.
func (s *Store) versionAfter(key []byte, at int64) (Version, error) {
	s.counts.now.Scans++
	if err := s.apply(); err != nil {
		return Version{}, err
	}
	q := &s.search
	q.Store, q.key, q.found = s, key, Version{}
	err := q.scan(at + 1)
	q.changed(at + 1)
	return q.found, err
}

// scan looks in the engine. It jumps from one segment that there is to the next.
func (q *versionSearch) scan(from int64) error {
	q.end = append(q.end[:0], dataPrefix+1)
	for segment := from / q.interval; ; {
		q.lo = appendSegmentKey(q.lo[:0], segment, q.key, uint64(from))
		q.hi = appendSegmentKey(q.hi[:0], segment, q.key, uint64(endless)+1)
		q.past = q.past[:0]
		if err := q.engine.visit(q.lo, q.end, q); err != nil || q.found.Bytes != nil || len(q.past) == 0 {
			return err
		}
		next := segmentOf(q.past)
		if next < segment {
			return &CorruptError{q.Dir, fmt.Errorf("the key %x is not that of a version", q.past)}
		}
		segment = max(segment+1, next)
	}
}

// visited takes the first version of the key that the map does not have another value for.
func (q *versionSearch) visited(key, value []byte) (more bool, err error) {
	if bytes.Compare(key, q.hi) >= 0 {
		q.past = append(q.past, key...)
		return false, nil
	}
	q.mapped = q.mapKey(q.mapped[:0], key)
	if !q.isOf(q.mapped) {
		return true, nil
	}
	if e := q.entries[string(q.mapped)]; e != nil && e.at.changed() {
		return true, nil
	}
	v, err := q.decode(value)
	q.value = append(q.value[:0], v.Bytes...)
	if v.Bytes = q.value; v.Bytes == nil {
		v.Bytes = []byte{} // an empty value is one
	}
	q.found = Version{v, q.time(q.mapped)}
	return false, err
}

// isOf says whether a key of the map is that of a version of the key.
func (q *versionSearch) isOf(mapped []byte) bool {
	return len(mapped) == len(q.key)+versionSuffix && bytes.HasPrefix(mapped, q.key)
}

// changed looks in the map for one that ends before what was found.
func (q *versionSearch) changed(from int64) {
	o, end := q.ordered(), uint64(endless)+1
	if q.found.Bytes != nil {
		end = uint64(q.found.End)
	}
	q.lo = binary.BigEndian.AppendUint64(append(q.lo[:0], q.key...), uint64(from))
	q.hi = binary.BigEndian.AppendUint64(append(q.hi[:0], q.key...), end)
	o.pivot.key = unsafeString(q.lo)
	last := unsafeString(q.hi)
	o.Ascend(&o.pivot, func(e *entry) bool {
		if e.key >= last {
			return false
		}
		if e.null || !q.isOf(e.keyBytes()) {
			return true
		}
		q.found = Version{e.value(), q.time(e.keyBytes())}
		return false
	})
	o.pivot.key = ""
}

// restoreVersions puts what is in the changelog as it was put before: the same is kept, and refused.
func (s *Store) restoreVersions(records []topology.Record, next int64) error {
	for i := range records {
		r := &records[i]
		if r.Key == nil {
			continue
		}
		if _, err := s.putVersion(r.Key, Value{r.Value, r.Timestamp}); err != nil {
			return fmt.Errorf("%s: %w", r.Place(), err)
		}
	}
	s.counts.now.Restored += uint64(len(records))
	return s.Commit(next)
}

// observedKey is where the engine has the latest time of what was written, so that after a restart the same is refused.
var observedKey = []byte("\x00observed")

func (s *Store) readObserved() error {
	if !s.versioned {
		return nil
	}
	b, ok, err := s.engine.get(observedKey, nil)
	switch {
	case err != nil || !ok:
		return err
	case len(b) != 8:
		return &CorruptError{s.Dir, errors.New("the time that it has observed is not one")}
	}
	s.observed = int64(binary.BigEndian.Uint64(b))
	s.committed = s.observed
	return nil
}

func (s *Store) writeObserved(b batch) error {
	if !s.versioned {
		return nil
	}
	return b.set(observedKey, binary.BigEndian.AppendUint64(nil, uint64(s.committed)))
}
