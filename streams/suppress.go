package streams

import (
	"math"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Suppression says how long [Table.Suppress] holds changes back. Make it with [UntilWindowCloses] or [UntilTimeLimit].
type Suppression struct {
	final               bool
	wait                time.Duration
	records, bytes      int64 // 0: no bound
	failing, unbuffered bool
}

// UntilWindowCloses holds the result of a window back until it cannot change any more: until stream time has passed the
// window's end by the grace period. Of each window one result is sent on, and nothing where there is none. Java:
// Suppressed.untilWindowCloses.
func UntilWindowCloses() Suppression { return Suppression{final: true} }

// UntilTimeLimit holds the changes of a row back until wait has passed, by stream time, since the first of them; then the
// newest is sent on. Java: Suppressed.untilTimeLimit.
func UntilTimeLimit(wait time.Duration) Suppression { return Suppression{wait: wait} }

// MaxRecords bounds the rows that are held back, at least 1; by default there is no bound. Beyond it those that have
// waited the longest are sent on early; but results of windows are never sent on early, so that there processing fails.
func (s Suppression) MaxRecords(n int64) Suppression {
	s.records, s.unbuffered = n, s.unbuffered || n < 1
	return s
}

// MaxBytes bounds the bytes of the rows that are held back, at least 1, else it is as [Suppression.MaxRecords]. Counted are
// keys, values (the row's new one, its old one and the one that was sent on last), headers, the name of the input topic
// and 28 bytes a row.
func (s Suppression) MaxBytes(n int64) Suppression {
	s.bytes, s.unbuffered = n, s.unbuffered || n < 1
	return s
}

// FailWhenFull makes processing fail instead of sending rows on early. Java: shutDownWhenFull.
func (s Suppression) FailWhenFull() Suppression {
	s.failing = true
	return s
}

// Suppress holds changes of the table back, so that of several changes of a row only the last is sent on. Time is that of
// the records that reach it: without new records nothing is sent on. What is held back is in a store of its own, on disk.
//
// Options: As names the node, and with "-store" its store; InMemory, OnDisk, Unlogged and LogConfig are about the store.
// Java: KTable.suppress, KIP-328. Names: KTABLE-SUPPRESS-n, KTABLE-SUPPRESS-STATE-STORE-n.
func (t *Table[K, V]) Suppress(s Suppression, opts ...Option) *Table[K, V] {
	return t.suppress("Suppress", s, opts)
}

// Final is Suppress until the window closes: of each window the final result is sent on, once.
//
// Options and names as for Suppress.
func (t *Table[K, V]) Final(opts ...Option) *Table[K, V] {
	return t.suppress("Final", UntilWindowCloses(), opts)
}

func (t *Table[K, V]) suppress(verb string, s Suppression, opts []Option) *Table[K, V] {
	b := t.b
	o := b.options(verb, opts, nameOption|storeOption)
	n := s.check(b, verb)
	if t.kept.isVersioned() {
		b.fail("%s takes no table that is versioned, or made of one that is; keep the table in a store that is not", verb)
	}
	if s.final {
		n.Wait = t.step.windowGrace(b, verb)
	}
	name, store := o.name, suffixed(o.name, "-store")
	if name == "" {
		name = b.newName("KTABLE-SUPPRESS-")
		store = b.newName("KTABLE-SUPPRESS-STATE-STORE-")
	}
	key, value := serdeFor(b, t.key, "key", "streams.WithKey"), serdeFor(b, t.value, "value", "streams.WithValue")
	t.kept.enableOld(true) // what was sent on last is the old value of the first change that is held back
	spec := o.spec(store, state.Buffer)
	spec.Timestamped, spec.Cached = false, false
	kept := &kept{above: t.kept, sendOld: true, buffer: store}
	st := b.add(t.step, &step{name: name, write: func(tb *topology.Builder, parents []string) {
		tb.AddProcessor(name, node.Suppress(name, n, store, key, value), parents...)
		tb.AddStore(spec, name)
	}})
	return &Table[K, V]{
		b: b, step: st, name: name, key: key, value: value, sources: t.sources, kept: kept,
		getter: func() node.GetterFunc[K, V] { return node.SuppressGetter(t.getter(), store, key, value) },
	}
}

// check reports what is wrong with a suppression, and returns what the node is to do.
func (s Suppression) check(b *Builder, verb string) node.Suppression {
	n := node.Suppression{Final: s.final, Wait: s.wait.Milliseconds(), MaxRecords: math.MaxInt64, MaxBytes: math.MaxInt64, Fail: s.final || s.failing}
	if s.records > 0 {
		n.MaxRecords = s.records
	}
	if s.bytes > 0 {
		n.MaxBytes = s.bytes
	}
	switch {
	case s.unbuffered:
		b.fail("%s: the buffer is bounded by %d records and %d bytes; it needs at least 1", verb, s.records, s.bytes)
	case s.wait < 0 || s.wait%time.Millisecond != 0:
		b.fail("%s waits for %v; it can be 0 or more whole milliseconds", verb, s.wait)
	}
	return n
}

// windowGrace returns when the windows of the results of a step close, in milliseconds after their end: what the windowed
// aggregations above say, where several do the greatest (GraphGraceSearchUtil).
func (s *step) windowGrace(b *Builder, verb string) int64 {
	grace, ok := s.findGrace()
	if !ok {
		b.fail("%s waits for windows to close, but what is above it is not windowed", verb)
	}
	return grace
}

func (s *step) findGrace() (grace int64, ok bool) {
	if s.grace != nil {
		return *s.grace, true
	}
	for _, p := range s.parents {
		g, found := p.findGrace()
		if !found {
			return 0, false
		}
		grace, ok = max(grace, g), true
	}
	return grace, ok
}
