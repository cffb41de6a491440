package streams

import (
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/topology"
)

// A Header is one header of a record.
type Header = topology.Header

// A Record is what a [Processor] takes and sends on. NullKey and NullValue say that the key or the value is null: Key or
// Value is the zero value then. A processor sees nulls whatever the types are. Time is the record's timestamp, in
// milliseconds, and not before 1970.
type Record[K, V any] struct {
	Key                K
	Value              V
	NullKey, NullValue bool
	Time               time.Time
	Headers            []Header
}

// With returns the record with another value, which is not null.
func (r Record[K, V]) With[V2 any](v V2) Record[K, V2] {
	return Record[K, V2]{Key: r.Key, Value: v, NullKey: r.NullKey, Time: r.Time, Headers: r.Headers}
}

// WithKey returns the record with another key, which is not null.
func (r Record[K, V]) WithKey[K2 any](k K2) Record[K2, V] {
	return Record[K2, V]{Key: k, Value: r.Value, NullValue: r.NullValue, Time: r.Time, Headers: r.Headers}
}

// A Processor makes what it likes of each record, with stores and timers of its own (Java: api.Processor). Each task has
// one: it is used from one goroutine at a time.
//
// A processor that has a method Close() error has it called when the task is given up or taken back to its last commit,
// after which there is another. What it holds outside its stores is lost then.
type Processor[K, V, K2, V2 any] interface {
	// Init is called before the first record, when the stores are restored. An error ends the application.
	Init(*Context[K2, V2]) error

	// Process is called with each record. What becomes of one for which it returns an error is decided by the processing
	// handler of the application. An error of what it called of the context or a store is not forgotten, whatever it makes
	// of that: most of those take the task back to its last commit.
	Process(Record[K, V]) error
}

// Clock says by which time a processor is called: StreamTime or WallClock.
type Clock = topology.Clock

// The clocks.
const (
	// StreamTime is the greatest timestamp of the records that the task has processed: it stands still without records.
	StreamTime = topology.StreamTime

	// WallClock is the time of day.
	WallClock = topology.WallClock
)

// A Context is what a processor has of its task (Java: api.ProcessorContext). It is to be used in Init, in Process and in
// what was scheduled, and nowhere else.
type Context[K, V any] struct{ p *node.Processing[K, V] }

// Forward sends a record on to all steps behind the processor. It returns when they are done with it.
func (c *Context[K, V]) Forward(r Record[K, V]) error { return c.p.Forward(toNode(r)) }

// ForwardTo sends a record on to one of the steps behind the processor, by the name of its node; one that is not there is
// an error.
func (c *Context[K, V]) ForwardTo(child string, r Record[K, V]) error {
	return c.p.ForwardTo(child, toNode(r))
}

// Every calls f again and again, until stop is called: by StreamTime as soon as there is one and then at each whole
// number of intervals since 1970; by WallClock each time that an interval has passed. f gets the time of that clock. Where
// it is late for several times it is called once. An interval is one millisecond at least. f is called between two
// records; an error is one of Process, of no record. (Java: ProcessorContext.schedule)
func (c *Context[K, V]) Every(interval time.Duration, clock Clock, f func(at time.Time) error) (stop func(), err error) {
	return c.p.Schedule(clock, interval.Milliseconds(), nil, timed(f))
}

// EveryFrom is Every with times that are whole numbers of intervals after start, and not before it. Those that have passed
// are left out. (Java: KIP-1146)
func (c *Context[K, V]) EveryFrom(start time.Time, interval time.Duration, clock Clock, f func(at time.Time) error) (stop func(), err error) {
	anchor := start.UnixMilli()
	return c.p.Schedule(clock, interval.Milliseconds(), &anchor, timed(f))
}

func timed(f func(time.Time) error) func(int64) error {
	return func(at int64) error { return f(time.UnixMilli(at)) }
}

// Commit asks for a commit before the interval is over. It is done soon, not at once. (Java: ProcessorContext.commit)
func (c *Context[K, V]) Commit() { c.p.Task().RequestCommit() }

// Application returns the application's id.
func (c *Context[K, V]) Application() string { return c.p.Task().Application() }

// Task returns the id of the task.
func (c *Context[K, V]) Task() topology.TaskID { return c.p.Task().Task() }

// Name returns the name of the processor's node.
func (c *Context[K, V]) Name() string { return c.p.Name() }

// Now returns the wall clock, and StreamTime the greatest timestamp of the records that the task has processed; ok is
// false where it has none yet. (Java: currentSystemTimeMs, currentStreamTimeMs)
func (c *Context[K, V]) Now() time.Time { return time.UnixMilli(c.p.Task().Wall()) }

// StreamTime returns what Now says.
func (c *Context[K, V]) StreamTime() (t time.Time, ok bool) {
	at := c.p.Task().StreamTime()
	return time.UnixMilli(at), at >= 0
}

// A Place is where a record of an input topic is.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Place returns where the record in process comes from; ok is false where none is in process, as when a scheduled
// function is called. (Java: recordMetadata)
func (c *Context[K, V]) Place() (p Place, ok bool) {
	r, ok := c.p.Place()
	if !ok {
		return p, false
	}
	return Place{r.Topic, r.Partition, r.Offset}, true
}

func (c *Context[K, V]) user() node.StoreUser { return c.p }

// A StoreUser is the [Context] of a processor, of any types, as a store is given it.
type StoreUser interface{ user() node.StoreUser }

func toNode[K, V any](r Record[K, V]) node.Record[K, V] {
	n := node.Record[K, V]{Key: r.Key, Value: r.Value, NullKey: r.NullKey, NullValue: r.NullValue, Time: r.Time.UnixMilli(), Headers: r.Headers}
	if !n.NullKey {
		n.NullKey = isNull(r.Key)
	}
	if !n.NullValue {
		n.NullValue = isNull(r.Value)
	}
	return n
}

func fromNode[K, V any](n node.Record[K, V]) Record[K, V] {
	return Record[K, V]{n.Key, n.Value, n.NullKey, n.NullValue, time.UnixMilli(n.Time), n.Headers}
}
