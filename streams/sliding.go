package streams

import (
	"math"
	"time"

	"github.com/millrace/millrace/internal/node"
)

// SlidingWindows are windows around records instead of on the clock: two records of a key are in one window where they are
// close enough. Make them with [Apart].
type SlidingWindows struct{ difference, grace time.Duration }

// Apart returns the windows of records that are at most so far apart, at least a millisecond. Java:
// SlidingWindows.ofTimeDifferenceWithNoGrace.
func Apart(difference time.Duration) SlidingWindows { return SlidingWindows{difference: difference} }

// Grace lets windows take late records: a window is closed once a record has come whose timestamp is more than grace after
// the window's end. It is 0 by default.
func (w SlidingWindows) Grace(grace time.Duration) SlidingWindows {
	w.grace = grace
	return w
}

// check reports what is wrong with the windows, and returns windows that can be used.
func (w SlidingWindows) check(b *Builder) *node.SlidingWindows {
	n := node.SlidingWindows{Difference: w.difference.Milliseconds(), Grace: w.grace.Milliseconds()}
	switch {
	case w.difference%time.Millisecond != 0 || w.grace%time.Millisecond != 0:
		b.fail("sliding windows are given the difference %v and the grace period %v; they are measured in whole milliseconds", w.difference, w.grace)
	case n.Difference <= 0:
		b.fail("sliding windows have the difference %v; it needs at least 1ms", w.difference)
	case n.Grace < 0:
		b.fail("sliding windows have the grace period %v; it cannot be negative", w.grace)
	case w.difference > (math.MaxInt64-w.grace)/2:
		b.fail("sliding windows have the difference %v and the grace period %v; twice the first and the second together can be %v", w.difference, w.grace, time.Duration(math.MaxInt64))
	default:
		return &n
	}
	return &node.SlidingWindows{Difference: 1}
}

// Sliding splits the groups by sliding windows: one ends at each record, and one starts a millisecond after each record
// that another one follows within the difference. So for every set of records that lie within it there is one window
// that holds just these. Start and end both belong to a window. A record before the difference since the epoch ends no
// window; such records are in one that starts at 0.
//
// A record is dropped, counted, that has a null key or value, even by Count, or that is later than difference and grace
// period before the greatest timestamp seen. Java: KGroupedStream.windowedBy(SlidingWindows), KIP-450.
func (g *Grouped[K, V]) Sliding(w SlidingWindows) *TimeWindowed[K, V] {
	return &TimeWindowed[K, V]{group: g, windowed: windowed{unusable, w.check(g.b)}}
}
