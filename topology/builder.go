package topology

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/state"
)

// Builder collects the nodes, stores and topics of a graph. Its methods never fail: what is wrong is kept, and Build
// returns all of it. The zero Builder is ready to use.
//
// The order of calls matters: sub-topologies are numbered, and stores opened and flushed, in it.
type Builder struct {
	nodes    []*Node
	byName   map[string]*Node
	stores   map[string]*Store
	internal map[string]Internal
	topics   map[string]string // input topic → the source that reads it
	together [][]string        // sources whose topics must be partitioned alike
	errs     []error
	at       string // where the calls come from
	wrong    bool   // that something is wrong there is reported
}

// At says where in a program the calls that follow come from. Of what is wrong with them the first is reported, with the
// place.
func (b *Builder) At(place string) { b.at, b.wrong = place, false }

// NewFunc makes the running node of one task; see [Node].
type NewFunc = func(ctx Context, children []any) (any, error)

// AddSource adds a source that reads the topics. A topic may have one source only.
func (b *Builder) AddSource(name string, topics []string, make NewFunc) {
	if len(topics) == 0 {
		b.fail("source %q reads no topic", name)
	}
	for _, t := range topics {
		if other, ok := b.topics[t]; ok {
			b.fail("topic %q is read by source %q already; source %q cannot read it too", t, other, name)
		}
		b.matched(name, t)
		set(&b.topics, t, name)
	}
	b.add(&Node{Name: name, Kind: SourceNode, Topics: slices.Clone(topics), New: make})
}

// AddProcessor adds a node behind its parents.
func (b *Builder) AddProcessor(name string, make NewFunc, parents ...string) {
	b.add(&Node{Name: name, Kind: ProcessorNode, New: make}, parents...)
}

// AddSink adds a node that writes to a topic.
func (b *Builder) AddSink(name, topic string, make NewFunc, parents ...string) {
	if topic == "" {
		b.fail("sink %q writes to no topic", name)
	}
	b.add(&Node{Name: name, Kind: SinkNode, Topic: topic, New: make}, parents...)
}

// AddRouter adds a node that writes to topics which the function of that name chooses.
func (b *Builder) AddRouter(name, function string, make NewFunc, parents ...string) {
	b.add(&Node{Name: name, Kind: SinkNode, Router: function, New: make}, parents...)
}

// AddStore adds a store, unless it is there, and connects it to the nodes that use it. Two different stores of one
// name are an error.
func (b *Builder) AddStore(spec *state.Spec, users ...string) {
	if old, ok := b.stores[spec.Name]; ok && old.Spec != spec {
		b.fail("two stores have the name %q; give one of them another name", spec.Name)
		return
	} else if !ok {
		set(&b.stores, spec.Name, &Store{Spec: spec})
	}
	for _, user := range users {
		b.Connect(user, spec.Name)
	}
}

// AddGlobalStore adds a global store: a source that reads the topic, and a processor that keeps the store.
func (b *Builder) AddGlobalStore(spec *state.Spec, source, topic string, read NewFunc, processor string, keep NewFunc) {
	if b.stores[spec.Name] != nil {
		b.fail("two stores have the name %q; give one of them another name", spec.Name)
		return
	}
	b.AddSource(source, []string{topic}, read)
	b.AddProcessor(processor, keep, source)
	b.AddStore(spec, processor)
	b.stores[spec.Name].Global = true
}

// Connect lets a processor use a store that was added.
func (b *Builder) Connect(processor, store string) {
	n, s := b.byName[processor], b.stores[store]
	switch {
	case n == nil:
		b.fail("store %q is connected to %q, which is no node", store, processor)
	case s == nil:
		b.fail("processor %q uses store %q, which is not there; add it first", processor, store)
	case n.Kind != ProcessorNode:
		b.fail("store %q cannot be used by %q: sources and sinks have no state", store, processor)
	case s.Global:
		b.fail("processor %q is connected with the global store %q; every processor can read it without that", processor, store)
	case !slices.Contains(n.Stores, store):
		n.Stores = append(n.Stores, store)
		s.Users = append(s.Users, n)
	}
}

// AddInternalTopic declares a topic that belongs to the application.
func (b *Builder) AddInternalTopic(in Internal) {
	if old, ok := b.internal[in.Name]; ok && old != in {
		b.fail("repartition topic %q is asked for with %d and with %d partitions", in.Name, old.Partitions, in.Partitions)
	}
	set(&b.internal, in.Name, in)
}

// Copartition says that the topics of these sources must have the same number of partitions, for they are joined.
func (b *Builder) Copartition(sources []string) {
	b.together = append(b.together, slices.Clone(sources))
}

// Build checks the graph, cuts it into sub-topologies and returns it, or all that is wrong with it.
func (b *Builder) Build() (*Topology, error) {
	b.At("")
	for _, s := range b.stores {
		if len(s.Users) == 0 {
			b.fail("store %q is used by no node; connect it or leave it out", s.Name)
		}
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	t := &Topology{nodes: b.nodes, stores: b.stores, internal: b.internal, together: b.together}
	t.subtopologies = b.cut()
	return t, nil
}

func (b *Builder) add(n *Node, parents ...string) {
	if err := CheckName(n.Name); err != nil {
		b.fail("%s", strings.TrimPrefix(err.Error(), "topology: "))
	}
	if _, ok := b.byName[n.Name]; ok {
		b.fail("two nodes have the name %q; give one of them another name", n.Name)
		return
	}
	if n.Kind != SourceNode && len(parents) == 0 {
		b.fail("node %q has no parent", n.Name)
	}
	for _, name := range parents {
		p := b.byName[name]
		switch {
		case p == nil:
			b.fail("node %q has the parent %q, which is not there", n.Name, name)
			continue
		case p.Kind == SinkNode:
			b.fail("sink %q cannot be the parent of %q", name, n.Name)
			continue
		}
		n.Parents = append(n.Parents, p)
		p.Children = append(p.Children, n)
	}
	b.nodes = append(b.nodes, n)
	set(&b.byName, n.Name, n)
}

func (b *Builder) fail(format string, args ...any) {
	if b.at != "" {
		if b.wrong {
			return
		}
		format, args = format+" (%s)", append(args, b.at)
		b.wrong = true
	}
	b.errs = append(b.errs, fmt.Errorf("topology: "+format, args...))
}

func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// CheckName says what is wrong with the name of a node, store or topic: it has 1 to 249 of the characters
// a-z, A-Z, 0-9, '.', '_' and '-', and is neither "." nor ".." (Java: Named.validate).
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("topology: a name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("topology: the name %q is not allowed", name)
	case len(name) > 249:
		return fmt.Errorf("topology: the name %q has %d characters; 249 are allowed", name, len(name))
	}
	if i := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}); i >= 0 {
		return fmt.Errorf("topology: the name %q has a character that is none of a-z A-Z 0-9 . _ -", name)
	}
	return nil
}
