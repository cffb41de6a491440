package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// windowed is what a window store knows beside its entries.
//
// In the changelog, and in the map, the key of a window is key, start (8 bytes) and a sequence number (4 bytes, 0). In
// the engine the number of its segment stands in front, so that expired windows are dropped by segments; behind it
// comes that key or, in stores that are read by time, start, key and sequence number.
type windowed struct {
	window    bool
	onDisk    bool
	timeFirst bool
	interval  int64 // milliseconds of a segment
	retention int64
	observed  int64 // the latest start of a window that was written; -1: none
	committed int64 // observed, as of the last commit
	dropped   int64 // the segments before this one are gone from the engine
	windowKey []byte
}

const windowSuffix = 12 // start and sequence number

func (w *windowed) init(spec *state.Spec) {
	*w = windowed{
		window: spec.Kind == state.Window, onDisk: spec.Engine == state.Disk, timeFirst: spec.TimeFirst,
		interval: spec.SegmentInterval().Milliseconds(), retention: spec.Retention.Milliseconds(), observed: -1, committed: -1,
	}
}

// layout says how keys lie in the engine.
func (w *windowed) layout() string {
	switch {
	case !w.window:
		return "key"
	case w.timeFirst:
		return fmt.Sprintf("segments of %d ms by time", w.interval)
	}
	return fmt.Sprintf("segments of %d ms by key", w.interval)
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
	if !w.window {
		return append(dst, key...)
	}
	k, start := SplitWindowKey(key)
	dst = binary.BigEndian.AppendUint64(dst, uint64(start/w.interval))
	if !w.timeFirst {
		return append(dst, key...)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(start))
	dst = append(dst, k...)
	return append(dst, key[min(len(key), len(k)+8):]...)
}

// mapKey returns the key of the map for a key of the engine.
func (w *windowed) mapKey(dst, key []byte) []byte {
	key = key[1:]
	if !w.window || len(key) < 8 {
		return append(dst, key...)
	}
	key = key[8:]
	if !w.timeFirst || len(key) < windowSuffix {
		return append(dst, key...)
	}
	start, k, seq := key[:8], key[8:len(key)-4], key[len(key)-4:]
	return append(append(append(dst, k...), start...), seq...)
}

// admits says whether the store still keeps the window of a key that is written to the engine
// (AbstractRocksDBSegmentedBytesStore.put, InMemoryWindowStore.put).
func (s *Store) admits(key []byte) bool {
	if !s.window || s.restorable(key) {
		return true
	}
	if s.Expired != nil {
		k, start := SplitWindowKey(key)
		s.Expired(k, start)
	}
	return false
}

// restorable advances the stream time of the store, and says whether it keeps the window of a key: on disk that of the
// segments not yet dropped, in memory exactly the retention.
func (w *windowed) restorable(key []byte) bool {
	if !w.window {
		return true
	}
	_, start := SplitWindowKey(key)
	w.observed = max(w.observed, start)
	if !w.onDisk {
		return start > w.observed-w.retention
	}
	return start/w.interval >= w.liveSegment()
}

// liveSegment returns the oldest segment that is kept.
func (w *windowed) liveSegment() int64 { return w.segmentAt(w.observed) }

func (w *windowed) segmentAt(time int64) int64 { return max(0, time-w.retention) / w.interval }

// hides says whether a window is older than the retention, though it may still lie in a segment: it is not read.
func (w *windowed) hides(key []byte) bool {
	if !w.window {
		return false
	}
	_, start := SplitWindowKey(key)
	return start < w.oldest()
}

// oldest returns the first start of a window that is read.
func (w *windowed) oldest() int64 {
	switch {
	case w.observed < 0:
		return math.MinInt64
	case w.onDisk && w.timeFirst: // one millisecond longer (AbstractDualSchemaRocksDBSegmentedBytesStore.getActualFrom)
		return w.observed - w.retention
	}
	return w.observed - w.retention + 1
}

// expiredSegments returns the range of the engine's keys that have expired, by what is committed, since it was last asked.
func (w *windowed) expiredSegments() (lo, hi []byte, ok bool) {
	if !w.window || w.segmentAt(w.committed) <= w.dropped {
		return nil, nil, false
	}
	w.dropped = w.segmentAt(w.committed)
	hi = binary.BigEndian.AppendUint64([]byte{dataPrefix}, uint64(w.dropped))
	return []byte{dataPrefix}, hi, true
}

// removeExpired takes windows of dropped segments out of the map.
func (s *Store) removeExpired() {
	for k, e := range s.entries {
		if _, start := SplitWindowKey([]byte(k)); start/s.interval < s.dropped && !e.dirty() && !e.pending {
			s.remove(e)
		}
	}
}

// GetWindow returns what a window store holds for a key and a window's start; see Get.
func (s *Store) GetWindow(key []byte, start int64) (Value, error) {
	s.windowKey = appendWindowKey(s.windowKey[:0], key, start)
	return s.Get(s.windowKey)
}

// PutWindow sets the value of a key and window; see Put.
func (s *Store) PutWindow(key []byte, start int64, v Value, origin *topology.Record) error {
	s.windowKey = appendWindowKey(s.windowKey[:0], key, start)
	return s.Put(s.windowKey, v, origin)
}
