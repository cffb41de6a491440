package streams

import (
	"math"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
)

// Window is a span of event time; see [serde.Window].
type Window = serde.Window

// Windowed is a key with the window of an aggregate; see [serde.Windowed].
type Windowed[K any] = serde.Windowed[K]

// WindowedKey is the type of the keys of a windowed table: there is exactly one, so that it never needs to be written.
type WindowedKey[K any] interface{ serde.Windowed[K] }

// Opt is a value that may be null; see [serde.Opt].
type Opt[T any] = serde.Opt[T]

// Kept is a value with its timestamp and headers, of a store that keeps them; see [serde.KeepHeaders].
type Kept[V any] = serde.Kept[V]

// Some returns a value that is there, None the null.
func Some[T any](v T) Opt[T] { return serde.Some(v) }

// None returns the null of T.
func None[T any]() Opt[T] { return serde.None[T]() }

// TimeWindows are windows of one size that start at fixed steps since the epoch. Make them with [Tumbling] or [Hopping].
type TimeWindows struct{ size, advance, grace time.Duration }

// Tumbling returns windows that follow each other without gap or overlap: each timestamp is in one of them. The size is
// at least a millisecond, and windows start at its multiples since the epoch. Java: TimeWindows.ofSizeWithNoGrace.
func Tumbling(size time.Duration) TimeWindows { return TimeWindows{size: size, advance: size} }

// Hopping returns windows of a size that start every advance, and so overlap: each timestamp is in size/advance of them.
// Java: TimeWindows.advanceBy.
func Hopping(size, advance time.Duration) TimeWindows {
	return TimeWindows{size: size, advance: advance}
}

// Grace lets windows take late records: a window is closed once a record has come whose timestamp is grace after the
// window's end. It is 0 by default: the first record after its end closes a window.
func (w TimeWindows) Grace(grace time.Duration) TimeWindows {
	w.grace = grace
	return w
}

// check reports what is wrong with the windows, and returns windows that can be used.
func (w TimeWindows) check(b *Builder) node.TimeWindows {
	for _, d := range []time.Duration{w.size, w.advance, w.grace} {
		if d%time.Millisecond != 0 {
			b.fail("windows are given %v; they are measured in whole milliseconds", d)
			return unusable
		}
	}
	n := node.TimeWindows{Size: w.size.Milliseconds(), Advance: w.advance.Milliseconds(), Grace: w.grace.Milliseconds()}
	switch {
	case n.Size <= 0:
		b.fail("windows have the size %v; they need at least 1ms", w.size)
	case n.Advance <= 0 || n.Advance > n.Size:
		b.fail("windows of %v advance by %v; they can advance by 1ms up to their size", w.size, w.advance)
	case n.Grace < 0:
		b.fail("windows have the grace period %v; it cannot be negative", w.grace)
	case w.size > math.MaxInt64-w.grace:
		b.fail("windows of %v have the grace period %v; their size plus grace period can be %v", w.size, w.grace, time.Duration(math.MaxInt64))
	default:
		return n
	}
	return unusable
}

// unusable stands for windows that are reported.
var unusable = node.TimeWindows{Size: 1, Advance: 1}
