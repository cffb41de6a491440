package streams

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// An Option sets something of the verb that it is given to. An option that a verb has no use for is an error of Build.
type Option struct {
	kind optionKind
	set  func(*settings)
}

type optionKind uint16

const (
	nameOption optionKind = 1 << iota
	nodeNameOption
	storeOption
	retentionOption
	partitionsOption
	keyOption
	valueOption
	timeOption
	otherOption
	usesOption
	timestampedOption
	versionedOption
	graceOption
	resetOption
	partitionerOption
	maxEntriesOption
)

var optionNames = map[optionKind]string{
	nameOption: "As", nodeNameOption: "Named", storeOption: "a store option", retentionOption: "Retention",
	partitionsOption: "Partitions", keyOption: "WithKey", valueOption: "WithValue", otherOption: "WithOther", timeOption: "a timestamp option",
	usesOption: "Uses", timestampedOption: "Timestamped", versionedOption: "Versioned", graceOption: "Grace", resetOption: "From",
	partitionerOption: "Partitioner", maxEntriesOption: "MaxEntries",
}

// settings are what the options of one call say.
type settings struct {
	name, node  string
	names       []string
	store       bool // an option of stores is given: Java's Materialized
	engine      state.EngineKind
	open        state.OpenEngine
	onDisk      bool // asked for
	maxEntries  *int
	noEngine    bool // asked for, but nil
	unlogged    bool
	uncached    bool
	cached      bool // asked for
	timestamped bool
	logConfig   map[string]string
	retention   *time.Duration
	history     *time.Duration // of a versioned store
	grace       *time.Duration // of a join with a versioned table
	partitions  *int
	key, value  any        // serdes
	other       any        // that of the other stream's values
	extract     any        // a node.Extractor
	stores      []AnyStore // that a processor uses
	uses        []string   // their names
	reset       ResetPolicy
	partitioner any // a function
}

// options applies the options of a verb, of the kinds that it takes.
func (b *Builder) options(verb string, opts []Option, takes optionKind) *settings {
	s := &settings{}
	for _, o := range opts {
		if o.kind&takes == 0 {
			b.fail("%s does not take %s", verb, optionNames[o.kind])
			continue
		}
		o.set(s)
	}
	for _, name := range s.names {
		if err := topology.CheckName(name); err != nil {
			b.fail("%s: %s", verb, strings.TrimPrefix(err.Error(), "topology: "))
		}
	}
	if s.history != nil && s.name == "" {
		b.fail("%s: a store that is versioned needs a name; give it streams.As", verb)
	}
	if h := s.history; h != nil && (*h < 0 || *h%time.Millisecond != 0) {
		b.fail("%s: the history of store %q is kept for %v; it can be 0 or more whole milliseconds", verb, s.name, *h)
	}
	if takes&nameOption != 0 {
		b.checkMaxEntries(verb, s.name, s)
	}
	if s.noEngine {
		b.fail("%s: InEngine is given no function that opens an engine", verb)
	}
	if s.reset != 0 && !s.reset.Valid() {
		b.fail("%s: From is given no policy; Past takes a millisecond or more", verb)
	}
	for _, store := range s.stores {
		if d, ok := b.of(store); !ok {
			b.fail("%s: Uses takes stores of the same Builder", verb)
		} else if name := d.spec.Name; !slices.Contains(s.uses, name) {
			s.uses = append(s.uses, name)
		}
	}
	return s
}

// checkMaxEntries says what is wrong with a store that forgets.
func (b *Builder) checkMaxEntries(verb, store string, s *settings) {
	switch most := s.maxEntries; {
	case most == nil:
	case store == "":
		b.fail("%s: a store that forgets needs a name; give it streams.As", verb)
	case *most < 1:
		b.fail("%s: store %q keeps %d entries; MaxEntries takes 1 or more", verb, store, *most)
	case s.onDisk:
		b.fail("%s: store %q is to forget and to be on disk; MaxEntries keeps it in memory, so leave OnDisk or InEngine away", verb, store)
	case s.history != nil:
		b.fail("%s: store %q is to forget and to keep its history; leave MaxEntries or Versioned away", verb, store)
	}
}

// From says where a source begins with topics of which nothing is committed, or what is not there any more, whatever
// [AutoOffsetReset] says. (Java: Consumed.withOffsetResetPolicy)
func From(p ResetPolicy) Option {
	return Option{resetOption, func(s *settings) { s.reset = p }}
}

// As names what a verb makes: the store of a stateful verb, and with it its changelog; the repartition topic of
// Repartition, GroupBy, GroupByKey and joins; else the node. A name has 1 to 249 of the characters a-z A-Z 0-9 . _ -.
// State is found by its name after a restart with a changed program, so name whatever has state.
func As(name string) Option {
	return Option{nameOption, func(s *settings) { s.name, s.names = name, append(s.names, name) }}
}

// Named names the node of a verb whose As names a store.
func Named(name string) Option {
	return Option{nodeNameOption, func(s *settings) { s.node, s.names = name, append(s.names, name) }}
}

// InMemory keeps a store in memory. It is restored in full after each restart.
func InMemory() Option {
	return Option{storeOption, func(s *settings) { s.store, s.engine, s.open, s.onDisk = true, state.Memory, nil, false }}
}

// OnDisk keeps a store in the state directory, which is the default. A restart restores what is missing only.
func OnDisk() Option {
	return Option{storeOption, func(s *settings) { s.store, s.engine, s.open, s.onDisk = true, state.Disk, nil, true }}
}

// InEngine keeps a store in the state directory in an engine of the program's choice: state/rocksdb has one, or one of your
// own, which package state/enginetest can test. (Java: StoreSupplier)
func InEngine(open state.OpenEngine) Option {
	return Option{storeOption, func(s *settings) {
		s.store, s.engine, s.open, s.onDisk, s.noEngine = true, state.Disk, open, true, open == nil
	}}
}

// MaxEntries keeps a store in memory, and lets it forget: with a new key beyond n it removes the one that was used least
// recently, in each partition by itself. A key is used when it is read by Get, also from outside, or written; ranges use
// nothing. It is for tables without windows and key-value stores, which need a name (As). Where changes are held back (Cached),
// what is held back counts when it is flushed. A [KeyValueStore] of plain values logs what it forgets as
// deleted; one with timestamps or headers does not, nor do tables: their changelog keeps all keys, and a restore takes the
// last ones. Nothing is sent on. Java: Materialized.as(Stores.lruMap), and Stores.lruMap.
func MaxEntries(n int) Option {
	return Option{maxEntriesOption, func(s *settings) { s.store, s.maxEntries = true, &n }}
}

// Uncached lets a store log and forward each change, where by default only the last change of a key between two
// commits counts.
func Uncached() Option {
	return Option{storeOption, func(s *settings) { s.store, s.uncached, s.cached = true, true, false }}
}

// Cached undoes Uncached.
func Cached() Option {
	return Option{storeOption, func(s *settings) { s.store, s.uncached, s.cached = true, false, true }}
}

// Timestamped lets a [KeyValueStore] keep a timestamp beside each value, as tables do.
func Timestamped() Option {
	return Option{timestampedOption, func(s *settings) { s.timestamped = true }}
}

// Unlogged lets a store do without a changelog: what it holds is lost with the state directory.
func Unlogged() Option {
	return Option{storeOption, func(s *settings) { s.store, s.unlogged = true, true }}
}

// LogConfig sets configs of a store's changelog topic, such as "segment.bytes", above the defaults of its kind.
func LogConfig(config map[string]string) Option {
	return Option{storeOption, func(s *settings) { s.store, s.logConfig = true, maps.Clone(config) }}
}

// Retention is how long a window store keeps a window, at least and by default the window's size plus its grace period.
func Retention(d time.Duration) Option {
	return Option{retentionOption, func(s *settings) { s.store, s.retention = true, &d }}
}

// Versioned lets a table keep, beside the latest value of each key, those that it had, each for history after the next
// one began. So the table's updates apply by their timestamps, whatever the order in which they come: one that is late
// takes its place in the history, and reaches the versioned tables that are made of this one by Filter and MapValues,
// but no aggregation and no join of tables, where it is dropped, counted by joins. One that is more than history behind
// the latest timestamp that the table has seen is dropped, counted. [Stream.JoinTable] joins a record with the row as it
// was at the record's timestamp.
//
// The store needs a name (As). It is never cached, and cannot be suppressed. A table made of a versioned one is versioned
// too, unless it is kept in a store that is not; a join of tables and an aggregation only where they say so. Java:
// Materialized.as(Stores.persistentVersionedKeyValueStore), KIP-889, KIP-914.
func Versioned(history time.Duration) Option {
	return Option{versionedOption, func(s *settings) { s.store, s.history = true, &history }}
}

// Grace lets the records of a stream wait for the rows that they are joined with: until the stream has come to a timestamp
// that is later by grace. So a row that comes late is found, with its timestamp. A record that is late itself, by more
// than grace, is joined at once. The table is versioned, with a history of grace at least. What waits is in a store of its
// own, on disk. Java: Joined.withGracePeriod, KIP-923.
func Grace(grace time.Duration) Option {
	return Option{graceOption, func(s *settings) { s.grace = &grace }}
}

// Partitions sets the number of partitions of a repartition topic; by default it has as many as the topics whose
// records it takes, at most.
func Partitions(n int) Option {
	return Option{partitionsOption, func(s *settings) { s.partitions = &n }}
}

// WithKey sets the serde of the keys that a verb makes or stores.
func WithKey[K any](key serde.Serde[K]) Option {
	return Option{keyOption, func(s *settings) { s.key = key }}
}

// WithValue sets the serde of the values that a verb makes or stores.
func WithValue[V any](value serde.Serde[V]) Option {
	return Option{valueOption, func(s *settings) { s.value = value }}
}

// WithOther sets the serde of the values of the other stream of a join.
func WithOther[V any](value serde.Serde[V]) Option {
	return Option{otherOption, func(s *settings) { s.other = value }}
}

// given returns the serde of an option, or fallback.
func given[T any](b *Builder, verb string, option any, fallback serde.Serde[T]) serde.Serde[T] {
	if option == nil {
		return fallback
	}
	s, ok := option.(serde.Serde[T])
	if !ok {
		var t T
		b.fail("%s is given a serde of another type: %T, where one of %T is needed", verb, option, t)
		return fallback
	}
	return s
}

// spec describes the store that the settings ask for.
func (s *settings) spec(name string, kind state.Kind) *state.Spec {
	spec := &state.Spec{
		Name: name, Kind: kind, Engine: s.engine, Open: s.open, Timestamped: true,
		Logged: !s.unlogged, LogConfig: s.logConfig, Cached: !s.uncached,
	}
	if s.history != nil {
		spec.Kind, spec.Retention, spec.Cached = state.Versioned, *s.history, false
	}
	if s.maxEntries != nil {
		spec.Engine, spec.Open, spec.MaxEntries = state.Memory, nil, *s.maxEntries
	}
	return spec
}
