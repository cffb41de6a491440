package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
)

// WindowEntry is what a window or session store holds for a key and a window.
type WindowEntry struct {
	Key        []byte
	Start, End int64 // End of sessions only
	Value      Value

	number uint32 // of duplicates
}

// Windows returns the windows that start between from and to, both included, by start and then by key. They are those
// of the moment of the call, whatever is changed meanwhile, and their bytes stay valid.
func (s *Store) Windows(from, to int64) iter.Seq2[WindowEntry, error] {
	return s.windows(windowQuery{from: from, to: to, expired: s.cached})
}

// WindowsOf appends the windows of a key that start between from and to, both included, by start. Their bytes are valid
// until the next call. A store that is read by time only looks at the windows of all keys for that.
func (s *Store) WindowsOf(found []WindowEntry, key []byte, from, to int64) ([]WindowEntry, error) {
	return s.windowsOf(found, windowQuery{key: key, from: from, to: to, expired: s.cached})
}

// NextSegment returns the first and the last time of the first segment that may have windows, or sessions, of that time or
// later; ok is false where there is none.
func (s *Store) NextSegment(from int64) (first, last int64, ok bool, err error) {
	if err := s.apply(); err != nil {
		return 0, 0, false, err
	}
	from = max(0, from)
	segment := int64(math.MaxInt64)
	for p, err := range s.engine.scan(binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(from/s.interval)), []byte{dataPrefix + 1}) {
		if err != nil {
			return 0, 0, false, err
		}
		segment = segmentOf(p.key)
		break
	}
	for k, e := range s.entries {
		if t := s.time([]byte(k)); t >= from && e.at.changed() {
			segment = min(segment, t/s.interval)
		}
	}
	if segment == math.MaxInt64 {
		return 0, 0, false, nil
	}
	return segment * s.interval, segment*s.interval + s.interval - 1, true, nil
}

func (s *Store) windows(q windowQuery) iter.Seq2[WindowEntry, error] {
	return func(yield func(WindowEntry, error) bool) {
		q.Store = s
		if err := q.run(); err != nil {
			yield(WindowEntry{}, err)
			return
		}
		for _, e := range q.found {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *Store) windowsOf(found []WindowEntry, asked windowQuery) ([]WindowEntry, error) {
	q := &s.query
	q.Store, q.one, q.found, q.rows = s, true, found, q.rows[:0]
	q.key, q.from, q.to, q.expired = asked.key, asked.from, asked.to, asked.expired
	err := q.run()
	found, q.found = q.found, nil
	return found, err
}

// windowQuery gathers windows or sessions: those of the engine, unless the map has another value, and those of the map
// that the engine does not have yet.
type windowQuery struct {
	*Store
	one      bool // only those of key; of sessions those that end at from or later and start at to or earlier
	key      []byte
	from, to int64 // of their times, both included
	expired  bool  // also those older than the retention, as long as their segment is kept
	found    []WindowEntry

	// What follows is memory, which the next query uses again.
	rows        []byte // what the entries that are found refer to
	changes     []*entry
	lo, hi, end []byte
	mapped, at  []byte // keys of the map and of the engine
	past        []byte // the key that ended a visit
}

func (q *windowQuery) run() error {
	q.refresh()
	q.counts.now.Scans++
	q.from = max(0, q.from)
	if q.from > q.to {
		return nil
	}
	from := max(q.from, q.oldest())
	if q.expired {
		from = max(q.from, q.keptFrom())
	}
	if err := q.scan(from, q.last()); err != nil {
		return err
	}
	lo, hi := q.bounds()
	q.changes = q.appendChanged(q.changes[:0], lo, hi)
	for _, e := range q.changes {
		if k := e.keyBytes(); e.dirty() || !q.skips(k) {
			q.add(k, e.value())
		}
	}
	clear(q.changes)
	if len(q.found) > 1 {
		slices.SortFunc(q.found, q.compareEntries)
	}
	return nil
}

// scan adds what the engine has.
func (q *windowQuery) scan(from, last int64) error {
	byKey := q.one && !q.timeFirst
	if from > last || byKey && q.unwritten(q.key, from, last) {
		return nil
	}
	if err := q.apply(); err != nil {
		return err
	}
	if byKey {
		return q.scanKey(from, last)
	}
	return q.scanTimes(from, last)
}

// last is the latest time that can be asked for.
func (q *windowQuery) last() int64 {
	if q.one && q.session {
		return math.MaxInt64
	}
	return q.to
}

func (q *windowQuery) compareEntries(a, b WindowEntry) int {
	starts, keys := cmp.Compare(a.Start, b.Start), bytes.Compare(a.Key, b.Key)
	if q.session && !q.onDisk {
		starts, keys = keys, starts
	}
	return cmp.Or(cmp.Compare(a.End, b.End), starts, keys, cmp.Compare(a.number, b.number))
}

// bounds returns the range of the map's keys, in the order of the map, in which all that is asked for lies.
func (q *windowQuery) bounds() (lo, hi []byte) {
	key := q.key
	switch {
	case q.timeFirst:
		key = nil
	case !q.one:
		return nil, nil
	}
	q.lo = binary.BigEndian.AppendUint64(append(q.lo[:0], key...), uint64(q.from))
	q.hi = binary.BigEndian.AppendUint64(append(q.hi[:0], key...), uint64(q.last())+1)
	if q.timeFirst { // they are compared as whole keys
		q.lo, q.hi = append(q.lo, 0, 0, 0, 0), append(q.hi, 0, 0, 0, 0)
	}
	return q.lo, q.hi
}

// scanKey adds what the engine has of one key. It jumps from one segment that there is to the next.
func (q *windowQuery) scanKey(from, last int64) error {
	q.end = binary.BigEndian.AppendUint64(append(q.end[:0], dataPrefix), uint64(last/q.interval)+1)
	for segment := from / q.interval; segment <= last/q.interval; {
		q.lo = appendSegmentKey(q.lo[:0], segment, q.key, uint64(from))
		q.hi = appendSegmentKey(q.hi[:0], segment, q.key, uint64(last)+1)
		q.past = q.past[:0]
		if err := q.engine.visit(q.lo, q.end, q); err != nil {
			return err
		}
		if len(q.past) == 0 {
			return nil
		}
		segment = max(segment+1, segmentOf(q.past))
	}
	return nil
}

// visited adds an entry of the key, and ends the visit behind the last.
func (q *windowQuery) visited(key, value []byte) (more bool, err error) {
	if bytes.Compare(key, q.hi) >= 0 {
		q.past = append(q.past, key...)
		return false, nil
	}
	return true, q.addPair(key, value)
}

// scanTimes adds what the engine has of some times, of all keys, by the index where there is one.
func (q *windowQuery) scanTimes(from, last int64) error {
	lo, hi := q.timeBounds(from, last)
	for p, err := range q.engine.scan(lo, hi) {
		if err != nil {
			return err
		}
		if q.indexed {
			err = q.addIndexed(p.key)
		} else {
			err = q.addPair(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addIndexed adds an entry that the index has, from the map where that has it as the engine does.
func (q *windowQuery) addIndexed(key []byte) error {
	q.mapped = q.mapKey(q.mapped[:0], key)
	if e := q.entries[string(q.mapped)]; e != nil {
		if !e.at.changed() && !q.skips(q.mapped) {
			q.add(q.mapped, e.value())
		}
		return nil
	}
	q.at = q.engineKey(q.at[:0], q.mapped)
	value, ok, err := q.engine.get(q.at, q.val[:0])
	switch q.val = value; {
	case err != nil:
		return err
	case !ok:
		return &CorruptError{q.Dir, fmt.Errorf("the index has key %x, which is not there", q.mapped)}
	}
	return q.addPair(key, value)
}

// timeBounds returns the range of the engine's keys, or of its index, in which the windows of some times lie.
func (w *windowed) timeBounds(from, last int64) (lo, hi []byte) {
	prefix := byte(dataPrefix)
	if w.indexed {
		prefix = indexPrefix
	}
	lo = binary.BigEndian.AppendUint64([]byte{prefix}, uint64(from/w.interval))
	if w.timeFirst || w.indexed {
		hi = binary.BigEndian.AppendUint64([]byte{prefix}, uint64(last/w.interval))
		return binary.BigEndian.AppendUint64(lo, uint64(from)), binary.BigEndian.AppendUint64(hi, uint64(last)+1)
	}
	return lo, binary.BigEndian.AppendUint64([]byte{prefix}, uint64(last/w.interval)+1)
}

// appendSegmentKey appends the key of the engine for a key and a time in a store that is read by key.
func appendSegmentKey(dst []byte, segment int64, key []byte, time uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, dataPrefix), uint64(segment))
	return binary.BigEndian.AppendUint64(append(dst, key...), time)
}

// segmentOf returns the segment of a key of the engine; of one that has none, 0.
func segmentOf(key []byte) int64 {
	if len(key) < 9 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(key[1:]))
}

// skips says whether a window is too old to be returned.
func (q *windowQuery) skips(key []byte) bool {
	if q.expired {
		return q.time(key) < q.keptFrom()
	}
	return q.hides(key)
}

// addPair adds an entry of the engine, or of its index, with its value.
func (q *windowQuery) addPair(key, value []byte) error {
	q.mapped = q.mapKey(q.mapped[:0], key)
	if e := q.entries[string(q.mapped)]; e != nil && e.at.changed() || q.skips(q.mapped) {
		return nil
	}
	v, err := q.decode(value)
	if err != nil {
		return err
	}
	q.add(q.mapped, v)
	return nil
}

func (q *windowQuery) add(key []byte, v Value) {
	if v.Bytes == nil {
		return
	}
	var w WindowEntry
	time := q.time(key)
	if q.session {
		w.Key, w.Start, w.End = SplitSessionKey(key)
	} else {
		w.Key, w.Start = SplitWindowKey(key)
		if len(key) >= windowSuffix {
			w.number = binary.BigEndian.Uint32(key[len(key)-4:])
		}
	}
	switch {
	case q.one && !bytes.Equal(w.Key, q.key), time < q.from, time > q.last(), q.one && q.session && w.Start > q.to:
		return
	case q.one:
		w.Key = q.key
	default:
		w.Key = q.copy(w.Key)
	}
	w.Value = Value{q.copy(v.Bytes), v.Timestamp}
	q.found = append(q.found, w)
}

// copy copies bytes, into as few allocations as it can. What it returns is not nil.
func (q *windowQuery) copy(b []byte) []byte {
	if q.rows == nil || cap(q.rows)-len(q.rows) < len(b) {
		q.rows = make([]byte, 0, max(1<<10, 2*cap(q.rows), len(b)))
	}
	n := len(q.rows)
	q.rows = append(q.rows, b...)
	return q.rows[n:len(q.rows):len(q.rows)]
}
