package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Process lets a processor of the program process each record, null keys and null values too, and makes a stream of what
// it sends on. The key may have changed: a verb that goes by the key repartitions first. make is called for each task; it
// returns a new processor each time.
//
// Options: As names the node; Uses connects it with stores; WithKey and WithValue set the serdes of what it sends on,
// which primitive types do not need. Java: KStream.process (KIP-820). Names: KSTREAM-PROCESSOR-n.
func (s *Stream[K, V]) Process[K2, V2 any](make func() Processor[K, V, K2, V2], opts ...Option) *Stream[K2, V2] {
	s.b.function("Process", make)
	o := s.b.options("Process", opts, nameOption|usesOption|keyOption|valueOption)
	name := o.name // a name that is given uses up no number here, unlike elsewhere
	if name == "" {
		name = s.b.newName("KSTREAM-PROCESSOR-")
	}
	key := given(s.b, "Process", o.key, carried[K, K2](s.key))
	return made(s, s.process(name, newProcess(name, o.uses, make), o.uses), key, given(s.b, "Process", o.value, carried[V, V2](s.value)), true)
}

// ProcessValues is [Stream.Process] with a processor that sends records on with the keys that they came with, so that
// nothing has to be repartitioned. That it does so is not checked.
//
// Options: As names the node; Uses connects it with stores; WithValue sets the serde of what it sends on. Java:
// KStream.processValues (KIP-820). Names: KSTREAM-PROCESSVALUES-n.
func (s *Stream[K, V]) ProcessValues[V2 any](make func() Processor[K, V, K, V2], opts ...Option) *Stream[K, V2] {
	s.b.function("ProcessValues", make)
	o := s.b.options("ProcessValues", opts, nameOption|usesOption|valueOption)
	name := o.name // a name that is given uses up no number here, unlike elsewhere
	if name == "" {
		name = s.b.newName("KSTREAM-PROCESSVALUES-")
	}
	return made(s, s.process(name, newProcess(name, o.uses, make), o.uses), s.key, given(s.b, "ProcessValues", o.value, carried[V, V2](s.value)), s.repartition)
}

// process adds a processor that uses stores.
func (s *Stream[K, V]) process(name string, make topology.NewFunc, uses []string) *step {
	return s.b.add(s.step, &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		for _, store := range uses {
			t.Connect(name, store)
		}
	}})
}

func newProcess[K, V, K2, V2 any](name string, uses []string, make func() Processor[K, V, K2, V2]) topology.NewFunc {
	return node.Process(name, uses, opener(make))
}

// opener makes and opens the processor of a task.
func opener[K, V, K2, V2 any](make func() Processor[K, V, K2, V2]) func(*node.Processing[K2, V2]) (node.Processor[K, V], error) {
	return func(p *node.Processing[K2, V2]) (n node.Processor[K, V], err error) {
		made := make()
		n.Process = func(r node.Record[K, V]) error { return made.Process(fromNode(r)) }
		if c, ok := any(made).(interface{ Close() error }); ok {
			n.Close = c.Close
		}
		return n, made.Init(&Context[K2, V2]{p})
	}
}

// Uses connects a processor with stores of the program. One that is not connected cannot be opened. Processors that use
// the same store are parts of the same task.
func Uses(stores ...AnyStore) Option {
	return Option{usesOption, func(s *settings) { s.stores = append(s.stores, stores...) }}
}

// isNull says whether a value is a null of a type that shows it.
func isNull[T any](v T) bool {
	test := serde.NullTest[T]()
	return test != nil && test(v)
}
