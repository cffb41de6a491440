// Package state is the vocabulary of state stores: what a program says about a store and what it may ask of one.
package state

import (
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/serde"
)

// Kind says what shape of keys a store has.
type Kind uint8

// The kinds of stores.
const (
	KeyValue  Kind = iota // one value a key
	Window                // one value a key and window start
	Session               // one value a key and session: its start and end
	Buffer                // changes of a table that wait for their time
	Versioned             // the values that a key had, each with the time from which it was valid
)

func (k Kind) String() string {
	switch k {
	case KeyValue:
		return "key-value"
	case Window:
		return "window"
	case Session:
		return "session"
	case Buffer:
		return "buffer"
	case Versioned:
		return "versioned"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// EngineKind names where a store keeps its data.
type EngineKind uint8

// The engines.
const (
	Disk   EngineKind = iota // Pebble, in the state directory; survives a restart
	Memory                   // in memory; restored in full after a restart
)

// Spec describes one store of a topology; every task has its own partition of it. It is made by the DSL or a program
// and not changed once the topology is built.
type Spec struct {
	Name   string
	Kind   Kind
	Engine EngineKind

	// Open, where not nil, opens an engine that the program brings, in place of Pebble.
	Open OpenEngine

	// Timestamped stores keep a timestamp beside each value. In the changelog it is the record's timestamp, not part
	// of the value (KIP-258).
	Timestamped bool

	// Headers stores keep headers and a timestamp with each value, as [serde.AppendKept] puts them together. In the changelog they
	// are those of the record (KIP-1271).
	Headers bool

	// Logged stores write each change to a changelog topic and are restored from it. LogConfig holds topic configs
	// beside and above the defaults of the store's kind.
	Logged    bool
	LogConfig map[string]string

	// LogHeaders logs each change with the headers of the record that caused it, as Java does for some stores of joins. They are not
	// kept, and nobody reads them.
	LogHeaders bool

	// SourceTopic, where not empty, is the input topic that serves as changelog, so that the store writes none of its
	// own (topology.optimization reuse.ktable.source.topics).
	SourceTopic string

	// Filler, where not empty, is the node that fills the store from SourceTopic, and the only one that may change it.
	Filler string

	// Cached stores hold changes back until the cache is flushed (at commit, or when it is full), and log and forward
	// only the last change of each key.
	Cached bool

	// MaxEntries, where not 0, is how many keys a key-value store in memory has at most: it forgets what was used least
	// recently.
	MaxEntries int

	// Window, session and versioned stores only. WindowSize is the span of a window; Retention how long a window is kept behind the
	// store's stream time, at least the size, or the gap of sessions, plus the grace period; of versioned stores it is how
	// long a value is kept after the next one began, and how late one may come. TimeFirst stores are read by
	// time rather than by key (windows that emit on close) and lay their keys out so; TimeIndexed ones are read both ways
	// (sliding windows and sessions that emit on close).
	WindowSize  time.Duration
	Retention   time.Duration
	TimeFirst   bool
	TimeIndexed bool

	// Duplicates keeps all values of a key and window, each with a number of its own, as joins of streams need it.
	Duplicates bool
}

// SegmentInterval is the span of event time that one segment of a store holds: half the retention, at least one minute
// (Java: Stores.defaultSegmentInterval); less of versioned stores (RocksDbVersionedKeyValueBytesStoreSupplier). Expired
// data is dropped by whole segments.
func (s *Spec) SegmentInterval() time.Duration {
	switch r := s.Retention; {
	case s.Kind != Versioned:
		return max(r/2, time.Minute)
	case r <= time.Minute:
		return max(r/3, 2*time.Second)
	case r <= 5*time.Minute:
		return max(r/5, 20*time.Second)
	case r <= time.Hour:
		return max(r/12, time.Minute)
	default:
		return max(r/24, 5*time.Minute)
	}
}

// ChangelogConfig returns the configs of the store's changelog topic, by kind (InternalTopicManager,
// WindowedChangelogTopicConfig and VersionedChangelogTopicConfig): compacted; window stores also drop records older than
// their retention plus additionalRetention (windowstore.changelog.additional.retention.ms, one day by default); versioned
// ones are not compacted for their retention and a day.
func (s *Spec) ChangelogConfig(additionalRetention time.Duration) map[string]string {
	c := map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
	if s.Kind == Window || s.Kind == Session {
		c["cleanup.policy"] = "compact,delete"
		c["retention.ms"] = fmt.Sprint((s.Retention + additionalRetention).Milliseconds())
		if s.Retention > math.MaxInt64-additionalRetention {
			c["retention.ms"] = fmt.Sprint(math.MaxInt64)
		}
	}
	if s.Kind == Versioned {
		c["min.compaction.lag.ms"] = fmt.Sprint((s.Retention + min(24*time.Hour, math.MaxInt64-s.Retention)).Milliseconds())
	}
	for k, v := range s.LogConfig {
		c[k] = v
	}
	return c
}

// Reading returns the serde with which the values of a store are read: of one that keeps headers, with or without them.
func Reading[V any](s *Spec, value serde.Serde[V]) (serde.Serde[V], error) {
	switch keeps := serde.KeepsHeaders(value); {
	case keeps && !s.Headers:
		return nil, fmt.Errorf("store %q keeps no headers; read it with the serde of its plain values", s.Name)
	case s.Headers && !keeps:
		return serde.WithoutHeaders(value), nil
	}
	return value, nil
}

// A Version is a value that a key of a versioned store had from a time on, until before another; Until is the zero time
// where it is the latest.
type Version[V any] struct {
	Value       V
	From, Until time.Time
}

// VersionOf makes a version of times in milliseconds; that of math.MaxInt64 is no end.
func VersionOf[V any](v V, from, end int64) Version[V] {
	made := Version[V]{Value: v, From: time.UnixMilli(from)}
	if end < math.MaxInt64 {
		made.Until = time.UnixMilli(end)
	}
	return made
}
