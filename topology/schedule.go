package topology

// Clock says by which time something falls due.
type Clock uint8

// The clocks.
const (
	StreamTime Clock = iota // the greatest timestamp of the records that the task has processed
	WallClock               // the time of day
)

// A Punctuation is what a node has the task do again and again (Java: ProcessorContext.schedule). It falls due, by
// stream time, as soon as that is known and at each multiple of Every; by the wall clock, when Every has passed since it
// was asked for. With Anchor it is due at Anchor and at whole numbers of Every after it, never before its first time
// (KIP-1146). Where several are overdue, one is done: the others are left out.
type Punctuation struct {
	Node   string
	Clock  Clock
	Every  int64  // milliseconds, at least 1
	Anchor *int64 // milliseconds since the epoch; nil: none

	// Do is called with the time of the clock. An error is that of a record's processing, but for the record.
	Do func(at int64) error
}
