package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Window is a span of event time in milliseconds since the epoch, from Start to End. Time windows (tumbling, hopping)
// leave End out; sliding and session windows hold it.
type Window struct{ Start, End int64 }

// Windowed is a key together with the window that an aggregate of it belongs to.
type Windowed[K any] struct {
	Key    K
	Window Window
}

// Start returns when the window starts.
func (w Windowed[K]) Start() time.Time { return time.UnixMilli(w.Window.Start) }

// End returns when the window ends: of time windows the first time behind it, of others the last one in it.
func (w Windowed[K]) End() time.Time { return time.UnixMilli(w.Window.End) }

// String prints as Java does: [key@start/end].
func (w Windowed[K]) String() string {
	return fmt.Sprintf("[%v@%d/%d]", w.Key, w.Window.Start, w.Window.End)
}

// TimeWindowed returns the serde of keys windowed by time windows of the given size: the key, then the window's start in
// 8 bytes (Java's TimeWindowedSerializer). The end is not stored; it is the start plus the size. Windows of the largest
// size never end.
func TimeWindowed[K any](key Serde[K], size time.Duration) Serde[Windowed[K]] {
	if size == math.MaxInt64 {
		return timeWindowed[K]{key, math.MaxInt64}
	}
	return timeWindowed[K]{key, size.Milliseconds()}
}

type timeWindowed[K any] struct {
	key    Serde[K]
	sizeMs int64
}

func (s timeWindowed[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	out, err := s.key.Append(dst, v.Key)
	if err != nil {
		return dst, err
	}
	return binary.BigEndian.AppendUint64(out, uint64(v.Window.Start)), nil
}

func (s timeWindowed[K]) Decode(data []byte) (w Windowed[K], err error) {
	n := len(data) - 8
	if n < 0 {
		return w, fmt.Errorf("serde: windowed key: %d bytes are too few for a window's start (8)", len(data))
	}
	if w.Key, err = s.key.Decode(data[:n]); err != nil {
		return w, err
	}
	w.Window.Start = int64(binary.BigEndian.Uint64(data[n:]))
	w.Window.End = addClamped(w.Window.Start, s.sizeMs)
	return w, nil
}

// Inner returns the serde of the plain key: a sink partitions windowed records by it, so that the results of a key lie
// together (Java's WindowedStreamPartitioner).
func (s timeWindowed[K]) Inner(dst []byte, v Windowed[K]) ([]byte, error) {
	return s.key.Append(dst, v.Key)
}

// SessionWindowed returns the serde of keys windowed by sessions: the key, then the session's end and start in 8 bytes
// each, in this order (Java's SessionWindowedSerializer).
func SessionWindowed[K any](key Serde[K]) Serde[Windowed[K]] { return sessionWindowed[K]{key} }

type sessionWindowed[K any] struct{ key Serde[K] }

func (s sessionWindowed[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	out, err := s.key.Append(dst, v.Key)
	if err != nil {
		return dst, err
	}
	out = binary.BigEndian.AppendUint64(out, uint64(v.Window.End))
	return binary.BigEndian.AppendUint64(out, uint64(v.Window.Start)), nil
}

func (s sessionWindowed[K]) Decode(data []byte) (w Windowed[K], err error) {
	n := len(data) - 16
	if n < 0 {
		return w, fmt.Errorf("serde: session key: %d bytes are too few for a session's end and start (16)", len(data))
	}
	if w.Key, err = s.key.Decode(data[:n]); err != nil {
		return w, err
	}
	w.Window.End = int64(binary.BigEndian.Uint64(data[n:]))
	w.Window.Start = int64(binary.BigEndian.Uint64(data[n+8:]))
	return w, nil
}

func (s sessionWindowed[K]) Inner(dst []byte, v Windowed[K]) ([]byte, error) {
	return s.key.Append(dst, v.Key)
}

// addClamped adds two times; what would overflow is the greatest time.
func addClamped(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
