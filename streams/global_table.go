package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// A GlobalTable is a table that each process has whole (Java: GlobalKTable): any record of a stream can be joined with any
// of its rows, see [Stream.JoinGlobal], and every processor can read it.
type GlobalTable[K, V any] struct {
	declared[K, V]
}

// GlobalTable reads all partitions of a topic as a table, in each process: each record is the new value of its key, a null
// value deletes it, a null key is dropped, counted. Nothing is processed until the table has what the topic had at the
// start; after that it is kept up to date, and what is joined with it depends on how far it is.
//
// The topic serves as changelog: it should be compacted. What a process has of it is kept in its state directory, so that
// a restart reads what is new. Under exactly-once committed records only are read.
//
// Options: As names the store; Named names the nodes; InMemory, OnDisk and MaxEntries say where it is kept; the other
// options of stores have nothing to act on. Java: StreamsBuilder.globalTable; timestamp extractors have no effect there either. Names:
// <topic>-STATE-STORE-n, KSTREAM-SOURCE-n, KTABLE-SOURCE-n.
func (b *Builder) GlobalTable[K, V any](topic string, key serde.Serde[K], value serde.Serde[V], opts ...Option) *GlobalTable[K, V] {
	o := b.options("GlobalTable", opts, nameOption|nodeNameOption|storeOption|maxEntriesOption)
	b.checkTopics("GlobalTable", []string{topic})
	store := o.name
	if store == "" {
		store = b.newName(topic + "-STATE-STORE-")
	}
	key, value = serdeFor(b, key, "key", "the key serde"), serdeFor(b, value, "value", "the value serde")
	spec := o.spec(store, state.KeyValue)
	st := b.addGlobal(spec, topic, o.node,
		func(name string) topology.NewFunc { return node.Source(name, 1, key, value, node.Extractor[K, V](nil)) },
		func(name string) topology.NewFunc {
			return node.TableSource(name, node.TableStore[K, V]{
				Name: func() string { return store }, Key: key, Value: value, SendOld: func() bool { return false },
			})
		})
	return &GlobalTable[K, V]{declared[K, V]{&declaration{b: b, spec: spec, step: st, taken: true}, key, value}}
}

// Open opens the table for a processor, to read it. It is for Init.
func (t *GlobalTable[K, V]) Open(c StoreUser) (*KeyValues[K, V], error) {
	return (&KeyValueStore[K, V]{&t.declared}).Open(c)
}

// addGlobal adds a source and a node that keep a global store. Names are used up as in Java:
// InternalStreamsBuilder.globalTable and addGlobalStore.
func (b *Builder) addGlobal(spec *state.Spec, topic, named string, read, keep func(name string) topology.NewFunc) *step {
	source, name := b.nameOr(suffixed(named, "-source"), "KSTREAM-SOURCE-"), b.nameOr(named, "KTABLE-SOURCE-")
	spec.Logged, spec.Cached = false, false
	return b.add(b.root, &step{name: name, write: func(t *topology.Builder, _ []string) {
		t.AddGlobalStore(spec, source, topic, read(source), name, keep(name))
	}})
}
