package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// ReadOnlyStore lets one processor fill a store of the program from a topic, which serves as its changelog too, so that it
// needs no other. Processors that are connected with it by [Uses] read it; that they write it is an error. Each task has
// the partition of its number: what is looked up there must be partitioned alike.
//
// The processor opens the store in Init, and puts each record there as it is, for a restore puts the topic's records into
// the store without asking it; it can neither send records on nor be called at times. The topic is read from its
// beginning, whatever the reset policy.
//
// Options: As names the processor's node; EventTime and the other timestamp options say what the records' timestamps are.
// Java: Topology.addReadOnlyStateStore (KIP-813), which StreamsBuilder does not have. Names: KSTREAM-SOURCE-n, KTABLE-SOURCE-n.
func (b *Builder) ReadOnlyStore[K, V any](store AnyStore, topic string, key serde.Serde[K], value serde.Serde[V],
	make func() Processor[K, V, struct{}, struct{}], opts ...Option,
) {
	o := b.options("ReadOnlyStore", opts, nameOption|timeOption)
	b.checkTopics("ReadOnlyStore", []string{topic})
	b.function("ReadOnlyStore", make)
	key, value = serdeFor(b, key, "key", "the key serde"), serdeFor(b, value, "value", "the value serde")
	s, ok := b.take("ReadOnlyStore", store)
	if !ok {
		return
	}
	source, name := b.nameOr(suffixed(o.name, "-source"), "KSTREAM-SOURCE-"), b.nameOr(o.name, "KTABLE-SOURCE-")
	spec := s.spec
	spec.Logged, spec.Cached, spec.SourceTopic, spec.Filler = false, false, topic, name
	read := node.Source(source, 1, key, value, extractor[K, V](b, o.extract))
	b.add(b.root, &step{name: name, write: func(t *topology.Builder, _ []string) {
		t.AddSource(source, []string{topic}, read)
		t.SetReset(source, topology.ResetEarliest)
		t.AddProcessor(name, node.Keep(name, spec.Name, opener(make)), source)
		t.AddStore(spec, name)
	}})
}
