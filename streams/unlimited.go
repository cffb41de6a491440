package streams

import (
	"math"
	"time"

	"github.com/millrace/millrace/internal/node"
)

// Unlimited puts the records of each key with timestamps from start on into one window that never ends, and leaves out
// those before. It differs from no window at all in that results have the window in their key. Nothing expires. Java:
// KGroupedStream.windowedBy(UnlimitedWindows.of().startOn(start)).
func (g *Grouped[K, V]) Unlimited(start time.Time) *TimeWindowed[K, V] {
	w := node.TimeWindows{Size: math.MaxInt64, Advance: math.MaxInt64, Start: start.UnixMilli()}
	if w.Start < 0 {
		g.b.fail("unlimited windows start at %v; they can start at 1970 or later", start)
		w.Start = 0
	}
	return &TimeWindowed[K, V]{group: g, windowed: windowed{windows: w}}
}
