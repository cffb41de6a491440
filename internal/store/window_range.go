package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
)

// WindowEntry is what a window store holds for a key and a window.
type WindowEntry struct {
	Key   []byte
	Start int64
	Value Value
}

// Windows returns the windows that start between from and to, both included, by start and then by key. They are those
// of the moment of the call, whatever is changed meanwhile, and their bytes stay valid.
func (s *Store) Windows(from, to int64) iter.Seq2[WindowEntry, error] {
	return s.query(windowQuery{Store: s, from: max(0, from), to: to})
}

// WindowsOf returns the windows of a key that start between from and to, both included, by start; else it is as Windows.
// A store that is read by time looks at the windows of all keys for that.
func (s *Store) WindowsOf(key []byte, from, to int64) iter.Seq2[WindowEntry, error] {
	return s.query(windowQuery{Store: s, one: true, key: key, from: max(0, from), to: to})
}

func (s *Store) query(q windowQuery) iter.Seq2[WindowEntry, error] {
	return func(yield func(WindowEntry, error) bool) {
		s.counts.now.Scans++
		found, err := q.run()
		if err != nil {
			yield(WindowEntry{}, err)
			return
		}
		for _, e := range found {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// windowQuery gathers windows: those of the engine, unless the map has another value, and those of the map that the
// engine does not have yet.
type windowQuery struct {
	*Store
	one      bool // only those of key
	key      []byte
	from, to int64
	found    []WindowEntry
	buf      []byte
}

func (q windowQuery) run() ([]WindowEntry, error) {
	if q.from > q.to {
		return nil, nil
	}
	if err := q.apply(); err != nil {
		return nil, err
	}
	scan := q.scan
	if q.one && !q.timeFirst {
		scan = q.scanSegments
	}
	if from := max(q.from, q.oldest()); from <= q.to {
		if err := scan(from); err != nil {
			return nil, err
		}
	}
	for _, e := range q.changed(q.bounds()) {
		k := []byte(e.key)
		if e.dirty() || !q.hides(k) {
			q.add(k, e.value())
		}
	}
	slices.SortFunc(q.found, func(a, b WindowEntry) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.Key, b.Key))
	})
	return q.found, nil
}

// bounds returns the range of the map's keys, in the order of the engine, in which all that is asked for lies.
func (q *windowQuery) bounds() (lo, hi []byte) {
	switch {
	case q.timeFirst:
		return appendWindowKey(nil, nil, q.from), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(q.to)+1), 0)
	case q.one:
		return appendWindowKey(nil, q.key, q.from), binary.BigEndian.AppendUint64(bytes.Clone(q.key), uint64(q.to)+1)
	}
	return nil, nil
}

// scan adds the windows of the engine in one go.
func (q *windowQuery) scan(from int64) error {
	lo, hi := q.windowBounds(from, q.to)
	for p, err := range q.engine.scan(lo, hi) {
		if err != nil {
			return err
		}
		if err := q.addPair(p); err != nil {
			return err
		}
	}
	return nil
}

// scanSegments adds the windows that the engine has of one key. It jumps from one segment that there is to the next.
func (q *windowQuery) scanSegments(from int64) error {
	_, end := q.windowBounds(from, q.to)
	for segment, last := from/q.interval, q.to/q.interval; segment <= last; {
		lo := segmentKey(segment, q.key, uint64(from))
		hi := segmentKey(segment, q.key, uint64(q.to)+1)
		next := last + 1
		for p, err := range q.engine.scan(lo, end) {
			if err != nil {
				return err
			}
			if bytes.Compare(p.key, hi) >= 0 {
				next = max(segment+1, segmentOf(p.key))
				break
			}
			if err := q.addPair(p); err != nil {
				return err
			}
		}
		segment = next
	}
	return nil
}

// segmentKey returns the key of the engine for a window of a store that is read by key, without the sequence number.
func segmentKey(segment int64, key []byte, start uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(segment))
	return binary.BigEndian.AppendUint64(append(b, key...), start)
}

// segmentOf returns the segment of a key of the engine; of one that has none, 0.
func segmentOf(key []byte) int64 {
	if len(key) < 9 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(key[1:]))
}

// addPair adds an entry of the engine.
func (q *windowQuery) addPair(p pair) error {
	q.buf = q.mapKey(q.buf[:0], p.key)
	if e := q.entries[string(q.buf)]; e != nil && e.at.changed() || q.hides(q.buf) {
		return nil
	}
	v, err := q.decode(p.value)
	if err != nil {
		return err
	}
	q.add(q.buf, v)
	return nil
}

func (q *windowQuery) add(key []byte, v Value) {
	k, start := SplitWindowKey(key)
	if start < q.from || start > q.to || v.Bytes == nil || q.one && !bytes.Equal(k, q.key) {
		return
	}
	q.found = append(q.found, WindowEntry{bytes.Clone(k), start, Value{append([]byte{}, v.Bytes...), v.Timestamp}})
}

// windowBounds returns the range of the engine's keys in which the windows of a span of starts lie.
func (w *windowed) windowBounds(from, to int64) (lo, hi []byte) {
	lo = binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(from/w.interval))
	if w.timeFirst {
		hi = binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(to/w.interval))
		return binary.BigEndian.AppendUint64(lo, uint64(from)), binary.BigEndian.AppendUint64(hi, uint64(to)+1)
	}
	return lo, binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(to/w.interval)+1)
}
