package streams

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// A Table is a value for each key, which changes with the records behind it (Java: KTable). A null value deletes the
// row of its key. It is a handle on a step of a [Builder]'s program; it may be used any number of times.
type Table[K, V any] struct {
	b       *Builder
	step    *step
	name    string
	key     serde.Serde[K]
	value   serde.Serde[V]
	sources []string
	kept    *kept
	getter  func() node.GetterFunc[K, V]
}

// kept says where a table is kept and what it sends on. It is settled by what stands below the table, and read when a
// task is made.
type kept struct {
	store    string // empty: computed from the table above
	ifNeeded string // the store that a source table gets once somebody needs one
	sendOld  bool
	above    *kept          // of a table that is computed
	inherits bool           // it is versioned if the one above is
	history  *time.Duration // that a versioned table keeps; nil: it is not versioned
	joined   []*kept        // of a join
	buffer   string         // of a table that is suppressed: what it holds back
}

func joinedKept(first, second *kept) *kept { return &kept{joined: []*kept{first, second}} }

func newKept(store string, o *settings) *kept { return &kept{store: store, history: o.history} }

// versioned returns how long the table keeps its history, if it is versioned or made of one that is
// (InternalStreamsBuilder.isVersionedOrVersionedUpstream).
func (k *kept) versioned() (history time.Duration, ok bool) {
	for k.inherits {
		k = k.above
	}
	if k.history == nil {
		return 0, false
	}
	return *k.history, true
}

func (k *kept) isVersioned() bool {
	_, ok := k.versioned()
	return ok
}

func (k *kept) storeName() string { return k.store }
func (k *kept) sendsOld() bool    { return k.sendOld }

// enableOld lets the table send old values on, if it is kept or can be; force makes a source table be kept for it
// (KTableImpl.enableSendingOldValues).
func (k *kept) enableOld(force bool) bool {
	if k.sendOld {
		return true
	}
	switch {
	case k.joined != nil:
		for _, t := range k.joined {
			t.enableOld(true)
		}
	case k.store != "":
	case k.ifNeeded != "":
		if !force {
			return false
		}
		k.store = k.ifNeeded
	case !k.above.enableOld(force):
		return false
	}
	k.sendOld = true
	return true
}

// readable makes sure that the table can be read by key, and returns the stores that are read.
func (k *kept) readable() []string {
	switch {
	case k.store != "":
		return []string{k.store}
	case k.ifNeeded != "":
		k.store = k.ifNeeded
		return []string{k.store}
	case k.joined != nil:
		return union(k.joined[0].readable(), k.joined[1].readable())
	case k.buffer != "":
		return append([]string{k.buffer}, k.above.readable()...)
	}
	return k.above.readable()
}

// Table reads a topic as a table: each record is the new value of its key, a null value deletes it, a null key is
// dropped, counted. Updates apply in the order of their offsets, with Versioned by their timestamps.
//
// Options: As names the store and keeps the table there; without it the table is kept only where something needs it.
// Named names the nodes. Versioned keeps its history; InMemory, OnDisk, Uncached, Unlogged and LogConfig are about the store;
// EventTime and the other timestamp options say what the records' timestamps are, From where to begin. Java:
// StreamsBuilder.table. Names: <topic>-STATE-STORE-n, KSTREAM-SOURCE-n, KTABLE-SOURCE-n.
func (b *Builder) Table[K, V any](topic string, key serde.Serde[K], value serde.Serde[V], opts ...Option) *Table[K, V] {
	o := b.options("Table", opts, nameOption|nodeNameOption|storeOption|versionedOption|maxEntriesOption|timeOption|resetOption)
	b.checkTopics("Table", []string{topic})
	kept := &kept{store: o.name, ifNeeded: o.name, history: o.history}
	if o.name == "" {
		kept.ifNeeded = b.newName(topic + "-STATE-STORE-")
	}
	source, name := b.nameOr(suffixed(o.node, "-source"), "KSTREAM-SOURCE-"), b.nameOr(o.node, "KTABLE-SOURCE-")
	key, value = serdeFor(b, key, "key", "the key serde"), serdeFor(b, value, "value", "the value serde")
	spec := o.spec(kept.ifNeeded, state.KeyValue)
	read := node.Source(source, 1, key, value, extractor[K, V](b, o.extract))
	make := node.TableSource(name, node.TableStore[K, V]{Name: kept.storeName, Key: key, Value: value, SendOld: kept.sendsOld})
	st := b.add(b.root, &step{
		name:  name,
		reuse: func() { spec.SourceTopic, spec.Logged = topic, false },
		write: func(t *topology.Builder, _ []string) {
			t.AddSource(source, []string{topic}, read)
			t.SetReset(source, o.reset)
			t.AddProcessor(name, make, source)
			if kept.store != "" {
				t.AddStore(spec, name)
			}
		},
	})
	return &Table[K, V]{
		b: b, step: st, name: name, key: key, value: value, sources: []string{source}, kept: kept,
		getter: func() node.GetterFunc[K, V] { return node.StoreGetter(kept.readable()[0], key, value) },
	}
}

func suffixed(name, suffix string) string {
	if name == "" {
		return ""
	}
	return name + suffix
}

// ToTable makes a table of the stream: each record is the new value of its key, a null value deletes it, a null key is
// dropped. Where a verb before it changed the key, the records are repartitioned first.
//
// Options: As names the store and keeps the table there; without it the table is kept only where something needs it.
// Named names the node and the repartition topic, Versioned keeps the history. Java: KStream.toTable. Names: KSTREAM-TOTABLE-n,
// KSTREAM-TOTABLE-STATE-STORE-n.
func (s *Stream[K, V]) ToTable(opts ...Option) *Table[K, V] {
	b := s.b
	o := b.options("ToTable", opts, tableOptions)
	name := b.nameOr(o.node, "KSTREAM-TOTABLE-")
	kept := &kept{store: o.name, ifNeeded: b.storeName(o.name, "KSTREAM-TOTABLE-"), history: o.history}
	key := serdeFor(b, given(b, "ToTable", o.key, s.key), "key", "streams.WithKey")
	value := serdeFor(b, given(b, "ToTable", o.value, s.value), "value", "streams.WithValue")
	parent, sources := s.step, s.sources
	if s.repartition {
		parent = b.add(s.step, newRepartition(b, name, key, value, 0, true))
		sources = []string{parent.name}
	}
	spec := o.spec(kept.ifNeeded, state.KeyValue)
	make := node.TableSource(name, node.TableStore[K, V]{Name: kept.storeName, Key: key, Value: value, SendOld: kept.sendsOld})
	st := b.add(parent, tableStep(name, make, spec, kept))
	return &Table[K, V]{
		b: b, step: st, name: name, key: key, value: value, sources: sources, kept: kept,
		getter: func() node.GetterFunc[K, V] { return node.StoreGetter(kept.readable()[0], key, value) },
	}
}

// tableStep is the step of a table that is kept in the spec's store where kept says so when the program is built.
func tableStep(name string, make topology.NewFunc, spec *state.Spec, kept *kept) *step {
	return &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		if kept.store != "" {
			t.AddStore(spec, name)
		}
	}}
}

// Filter keeps the rows for which keep returns true; a row that stops to fit is deleted.
//
// Options: As names a store and keeps the result there, else it is computed; Named names the node. Java: KTable.filter.
// Names: KTABLE-FILTER-n.
func (t *Table[K, V]) Filter(keep func(K, V) bool, opts ...Option) *Table[K, V] {
	t.b.function("Filter", keep)
	return t.filter("Filter", plain2(keep), true, opts)
}

// TryFilter is [Table.Filter] with a context and an error.
func (t *Table[K, V]) TryFilter(keep func(context.Context, K, V) (bool, error), opts ...Option) *Table[K, V] {
	t.b.function("TryFilter", keep)
	return t.filter("TryFilter", keep, true, opts)
}

// FilterNot drops the rows for which drop returns true; a row that begins to fit is deleted.
//
// Options as for Filter. Java: KTable.filterNot. Names: KTABLE-FILTER-n.
func (t *Table[K, V]) FilterNot(drop func(K, V) bool, opts ...Option) *Table[K, V] {
	t.b.function("FilterNot", drop)
	return t.filter("FilterNot", plain2(drop), false, opts)
}

// TryFilterNot is [Table.FilterNot] with a context and an error.
func (t *Table[K, V]) TryFilterNot(drop func(context.Context, K, V) (bool, error), opts ...Option) *Table[K, V] {
	t.b.function("TryFilterNot", drop)
	return t.filter("TryFilterNot", drop, false, opts)
}

func (t *Table[K, V]) filter(verb string, keep func(context.Context, K, V) (bool, error), want bool, opts []Option) *Table[K, V] {
	o := t.b.options(verb, opts, tableOptions)
	key, value := given(t.b, verb, o.key, t.key), given(t.b, verb, o.value, t.value)
	return derived(t, verb, "KTABLE-FILTER-", o, key, value,
		func(name string, s node.TableStore[K, V]) topology.NewFunc {
			return node.TableFilter(name, keep, want, t.kept.isVersioned(), s)
		},
		func(parent node.GetterFunc[K, V]) node.GetterFunc[K, V] { return node.FilterGetter(parent, keep, want) },
		true)
}

// MapValues makes a new value of each row; a deleted row stays deleted.
//
// Options: As names a store and keeps the result there, else it is computed; Named names the node; WithValue sets the
// serde of the new type. Java: KTable.mapValues. Names: KTABLE-MAPVALUES-n.
func (t *Table[K, V]) MapValues[V2 any](f func(V) V2, opts ...Option) *Table[K, V2] {
	t.b.function("MapValues", f)
	return t.TryMapValues(func(_ context.Context, _ K, v V) (V2, error) { return f(v), nil }, opts...)
}

// TryMapValues is [Table.MapValues] with a context, the key and an error.
func (t *Table[K, V]) TryMapValues[V2 any](f func(context.Context, K, V) (V2, error), opts ...Option) *Table[K, V2] {
	t.b.function("TryMapValues", f)
	o := t.b.options("MapValues", opts, tableOptions)
	key, value := given(t.b, "MapValues", o.key, t.key), given(t.b, "MapValues", o.value, carried[V, V2](t.value))
	return derived(t, "MapValues", "KTABLE-MAPVALUES-", o, key, value,
		func(name string, s node.TableStore[K, V2]) topology.NewFunc {
			return node.TableMapValues[K, V](name, f, s)
		},
		func(parent node.GetterFunc[K, V]) node.GetterFunc[K, V2] { return node.MapValuesGetter(parent, f) },
		false)
}

// derived makes a table of another one, row by row. filter lets the table above send old values where it is kept, so
// that no deletions are sent for rows that were not there.
func derived[K, V, V2 any](t *Table[K, V], verb, prefix string, o *settings, key serde.Serde[K], value serde.Serde[V2],
	make func(string, node.TableStore[K, V2]) topology.NewFunc, computed func(node.GetterFunc[K, V]) node.GetterFunc[K, V2], filter bool,
) *Table[K, V2] {
	b := t.b
	if o.store && o.name == "" {
		b.newName(prefix + "STATE-STORE-") // a store without a name is not made, but uses up a number
	}
	name := b.nameOr(o.node, prefix)
	kept := &kept{store: o.name, above: t.kept, inherits: !o.store && o.name == "", history: o.history}
	if o.name != "" {
		key, value = serdeFor(b, key, "key", "streams.WithKey"), serdeFor(b, value, "value", "streams.WithValue")
	}
	if filter {
		kept.sendOld = t.kept.enableOld(false)
	}
	spec := o.spec(o.name, state.KeyValue)
	st := b.add(t.step, tableStep(name, make(name, node.TableStore[K, V2]{Name: kept.storeName, Key: key, Value: value, SendOld: kept.sendsOld}), spec, kept))
	return &Table[K, V2]{
		b: b, step: st, name: name, key: key, value: value, sources: t.sources, kept: kept,
		getter: func() node.GetterFunc[K, V2] {
			if kept.store != "" {
				return node.StoreGetter(kept.store, key, value)
			}
			return computed(t.getter())
		},
	}
}

// ToStream returns the changes of the table as a stream: the new value of a row, or null where it was deleted.
//
// Options: As names the node. Java: KTable.toStream. Names: KTABLE-TOSTREAM-n.
func (t *Table[K, V]) ToStream(opts ...Option) *Stream[K, V] {
	o := t.b.options("ToStream", opts, nameOption)
	name := t.b.nameOr(o.name, "KTABLE-TOSTREAM-")
	make := node.ToStream[K, V](name)
	st := t.b.add(t.step, &step{name: name, write: func(tb *topology.Builder, parents []string) {
		tb.AddProcessor(name, make, parents...)
	}})
	return &Stream[K, V]{b: t.b, step: st, name: name, key: t.key, value: t.value, sources: t.sources}
}
