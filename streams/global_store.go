package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// GlobalStore makes a store of the program global: each process has it whole, kept by a processor that is given the
// records of all partitions of a topic. The processor opens the store in Init and writes what it likes of each record; it
// can neither send records on nor be called at times. All other processors may read the store, without [Uses]; that they
// write it is an error.
//
// Nothing else is processed until the processor was given all that the topic had at the start. It is given each record
// once, as far as the state directory is kept: the store knows how far it is, also after a kill. A store in memory is made
// again of the whole topic.
//
// Options: As names the processor's node. Java: StreamsBuilder.addGlobalStore, which restores by the processor too. Names:
// KSTREAM-SOURCE-n, KTABLE-SOURCE-n.
func (b *Builder) GlobalStore[K, V any](store AnyStore, topic string, key serde.Serde[K], value serde.Serde[V],
	make func() Processor[K, V, struct{}, struct{}], opts ...Option,
) {
	o := b.options("GlobalStore", opts, nameOption)
	b.checkTopics("GlobalStore", []string{topic})
	b.function("GlobalStore", make)
	key, value = serdeFor(b, key, "key", "the key serde"), serdeFor(b, value, "value", "the value serde")
	d, ok := b.take("GlobalStore", store)
	if !ok {
		return
	}
	d.step.write = nil // it is added below
	spec := d.spec
	b.addGlobal(spec, topic, o.name,
		func(name string) topology.NewFunc { return node.Source(name, 1, key, value, node.Extractor[K, V](nil)) },
		func(name string) topology.NewFunc {
			return node.Keep(name, spec.Name, opener(make))
		})
}
