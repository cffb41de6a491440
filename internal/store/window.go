package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// windowed is what a window or session store knows beside its entries.
//
// In the changelog, and in the map, the key of a window is key, start (8 bytes) and a sequence number (4 bytes, 0); that
// of a session key, end and start (8 bytes each). In the engine the number of its segment stands in front, so that what
// is expired is dropped by segments; behind it comes that key or, in stores that are read by time, start, key and sequence
// number. Stores that are read both ways have a second entry, empty, for each: behind the segment come the time, the key,
// and what else the key of the map has. The time of a window is its start, that of a session its end.
type windowed struct {
	window    bool // or session
	session   bool
	versioned bool
	segmented bool // a window, session or versioned store
	suffix    int  // bytes of a key behind the plain key
	onDisk    bool
	timeFirst bool
	indexed   bool  // there is an index by time
	interval  int64 // milliseconds of a segment
	retention int64
	observed  int64 // the latest time of what was written; -1: none
	committed int64 // observed, as of the last commit
	dropped   int64 // the segments before this one are gone from the engine
	part      int64 // milliseconds of a part of a window, by which the filter knows duplicates; 0: it knows keys
	windowKey []byte
	partKey   []byte // scratch
	number    uint32 // of the last duplicate
	numbered  bool
	floor     int64 // the first time that was read after the restore
}

const (
	windowSuffix  = 12 // start and sequence number
	sessionSuffix = 16 // end and start
	versionSuffix = 8  // end
)

func (w *windowed) init(spec *state.Spec) {
	*w = windowed{
		window: spec.Kind == state.Window || spec.Kind == state.Session, session: spec.Kind == state.Session,
		versioned: spec.Kind == state.Versioned, suffix: windowSuffix,
		onDisk: spec.Engine == state.Disk, timeFirst: spec.TimeFirst, indexed: spec.TimeIndexed,
		interval: spec.SegmentInterval().Milliseconds(), retention: spec.Retention.Milliseconds(), observed: -1, committed: -1,
	}
	w.segmented = w.window || w.versioned
	if w.window && spec.Duplicates && !w.timeFirst {
		w.part = max(1, spec.WindowSize.Milliseconds()/windowParts)
	}
	switch {
	case w.session:
		w.suffix = sessionSuffix
	case w.versioned:
		w.suffix = versionSuffix
	}
}

// time returns the time of a key of the map; of one that is too short, 0.
func (w *windowed) time(key []byte) int64 {
	n := len(key) - w.suffix
	if n < 0 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(key[n:]))
}

// layout says how keys lie in the engine.
func (w *windowed) layout() string {
	switch {
	case !w.segmented:
		return "key"
	case w.timeFirst:
		return fmt.Sprintf("segments of %d ms by time", w.interval)
	}
	layout := fmt.Sprintf("segments of %d ms by key", w.interval)
	switch {
	case w.session:
		layout = "sessions in " + layout
	case w.versioned:
		layout = "versions in " + layout
	}
	if w.indexed {
		layout += " and time"
	}
	return layout
}

// SplitWindowKey returns the key and the window's start of a key as it is in the changelog of a window store. A key
// that is too short is returned as it is, with the start 0.
func SplitWindowKey(k []byte) (key []byte, start int64) {
	n := len(k) - windowSuffix
	if n < 0 {
		return k, 0
	}
	return k[:n], int64(binary.BigEndian.Uint64(k[n:]))
}

func appendWindowKey(dst, key []byte, start int64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, key...), uint64(start))
	return append(dst, 0, 0, 0, 0)
}

// engineKey appends the key of the engine for a key of the map.
func (w *windowed) engineKey(dst, key []byte) []byte {
	dst = append(dst, dataPrefix)
	if !w.segmented {
		return append(dst, key...)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(w.time(key)/w.interval))
	if !w.timeFirst {
		return append(dst, key...)
	}
	return w.appendByTime(dst, key)
}

// appendByTime appends a key of the map with its time in front.
func (w *windowed) appendByTime(dst, key []byte) []byte {
	n := len(key) - w.suffix
	if n < 0 {
		return append(dst, key...)
	}
	return append(append(append(dst, key[n:n+8]...), key[:n]...), key[n+8:]...)
}

// indexKey appends the key of the entry in the index by time for a key of the map.
func (w *windowed) indexKey(dst, key []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, indexPrefix), uint64(w.time(key)/w.interval))
	return w.appendByTime(dst, key)
}

// mapKey returns the key of the map for a key of the engine, or of its index.
func (w *windowed) mapKey(dst, key []byte) []byte {
	indexed := len(key) > 0 && key[0] == indexPrefix
	key = key[1:]
	if !w.segmented || len(key) < 8 {
		return append(dst, key...)
	}
	key = key[8:]
	if !w.timeFirst && !indexed || len(key) < w.suffix {
		return append(dst, key...)
	}
	rest := len(key) - w.suffix + 8
	return append(append(append(dst, key[8:rest]...), key[:8]...), key[rest:]...)
}

// admits says whether the store still keeps the window of a key that is written to the engine
// (AbstractRocksDBSegmentedBytesStore.put, InMemoryWindowStore.put, InMemorySessionStore.put).
func (s *Store) admits(key []byte) bool {
	if !s.window || s.restorable(key) {
		return true
	}
	if s.Expired != nil {
		s.Expired(key[:max(0, len(key)-s.suffix)], s.time(key))
	}
	return false
}

// restorable advances the stream time of the store, and says whether it keeps the window of a key: on disk that of the
// segments not yet dropped, in memory exactly the retention.
func (w *windowed) restorable(key []byte) bool {
	if !w.window {
		return true
	}
	t := w.time(key)
	w.observed = max(w.observed, t)
	if !w.onDisk {
		return t > w.observed-w.retention
	}
	return t/w.interval >= w.liveSegment()
}

// liveSegment returns the oldest segment that is kept.
func (w *windowed) liveSegment() int64 { return w.segmentAt(w.observed) }

func (w *windowed) segmentAt(time int64) int64 { return max(0, time-w.retention) / w.interval }

// hides says whether a window is older than the retention, though it may still lie in a segment: it is not read.
func (w *windowed) hides(key []byte) bool {
	if !w.window {
		return false
	}
	return w.time(key) < w.oldest()
}

// tooOld is hides for a store with a record cache: what is too old, but lies in a segment that is kept, is read, as Java
// finds it in its cache. What was too old after a restore stays so: deletions of such windows are not in the changelog.
func (s *Store) tooOld(key []byte) bool {
	if !s.cached || !s.window {
		return s.hides(key)
	}
	return s.time(key) < s.keptFrom()
}

// keptFrom returns the first time that is read in a store with a record cache.
func (w *windowed) keptFrom() int64 { return max(w.liveSegment()*w.interval, w.floor) }

// oldest returns the first time that is read.
func (w *windowed) oldest() int64 {
	switch {
	case w.observed < 0:
		return math.MinInt64
	case w.onDisk && (w.timeFirst || w.indexed && !w.session): // one millisecond longer (AbstractDualSchemaRocksDBSegmentedBytesStore.getActualFrom)
		return w.observed - w.retention
	}
	return w.observed - w.retention + 1
}

// expire says whether more segments have expired, by what is committed, since it was last asked.
func (w *windowed) expire() bool {
	if !w.segmented || w.segmentAt(w.committed) <= w.dropped {
		return false
	}
	w.dropped = w.segmentAt(w.committed)
	return true
}

// removeSegments removes what is expired from the engine.
func (w *windowed) removeSegments(b batch) error {
	for _, prefix := range []byte{dataPrefix, indexPrefix} {
		hi := binary.BigEndian.AppendUint64([]byte{prefix}, uint64(w.dropped))
		if err := b.removeRange([]byte{prefix}, hi); err != nil || !w.indexed {
			return err
		}
	}
	return nil
}

// removeExpired takes windows of dropped segments out of the map.
func (s *Store) removeExpired() {
	for k, e := range s.entries {
		if s.time([]byte(k))/s.interval < s.dropped && !e.dirty() && !e.pending {
			s.remove(e)
		}
	}
}

// GetWindow returns what a window store holds for a key and a window's start; see Get.
func (s *Store) GetWindow(key []byte, start int64) (Value, error) {
	s.windowKey = appendWindowKey(s.windowKey[:0], key, start)
	return s.Get(s.windowKey)
}

// PutDuplicate adds a value to those of a key and a window's start. Nothing is logged, and else without effect.
func (s *Store) PutDuplicate(key []byte, start int64, v Value, origin *topology.Record) error {
	if !s.numbered { // so that the numbers of an earlier run do not come again
		s.number, s.numbered = uint32(max(0, s.next)), true
	}
	s.number = (s.number + 1) & math.MaxInt32
	s.windowKey = binary.BigEndian.AppendUint64(append(s.windowKey[:0], key...), uint64(start))
	s.windowKey = binary.BigEndian.AppendUint32(s.windowKey, s.number)
	if v.Bytes == nil {
		if !s.onDisk {
			s.admits(s.windowKey) // Java's in-memory store looks at the time first
		}
		return s.log(s.windowKey, v, s.headersOf(origin))
	}
	return s.Put(s.windowKey, v, origin)
}

// PutWindow sets the value of a key and window; see Put.
func (s *Store) PutWindow(key []byte, start int64, v Value, origin *topology.Record) error {
	s.windowKey = appendWindowKey(s.windowKey[:0], key, start)
	return s.Put(s.windowKey, v, origin)
}
