package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Outline is a topology as data, to be shown and to be compared: its sub-topologies, nodes, topics and stores, without the
// application's prefix. Its JSON is stable: fields may be added.
type Outline struct {
	Subtopologies []OutlinePart `json:"subtopologies"`
}

// An OutlinePart is a sub-topology. A global one has Global, the topic that its store is kept from, in place of tasks.
type OutlinePart struct {
	ID          int            `json:"id"`
	Sources     []string       `json:"sources,omitempty"`     // topics that it reads, and patterns of topics, sorted
	Sinks       []string       `json:"sinks,omitempty"`       // topics that it writes, sorted
	Repartition []string       `json:"repartition,omitempty"` // those of either that are the application's own, sorted
	Global      string         `json:"global,omitempty"`
	Stores      []OutlineStore `json:"stores,omitempty"` // by name
	Nodes       []OutlineNode  `json:"nodes"`            // in the order in which they were added
}

// An OutlineStore is a store. Changelog is the topic from which it is restored; where that is a topic of the program it is
// a Source too.
type OutlineStore struct {
	Name        string        `json:"name"`
	Kind        string        `json:"kind"`
	Timestamped bool          `json:"timestamped,omitempty"`
	Changelog   string        `json:"changelog,omitempty"`
	WindowSize  time.Duration `json:"windowSizeNanos,omitempty"`
	Retention   time.Duration `json:"retentionNanos,omitempty"`
}

// An OutlineNode is a step of the graph, with the names of those that follow it.
type OutlineNode struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // source, processor or sink
	Topics []string `json:"topics,omitempty"`
	Stores []string `json:"stores,omitempty"`
	Next   []string `json:"next,omitempty"`
}

// Outline returns the topology as data.
func (t *Topology) Outline() Outline {
	var o Outline
	for _, sub := range t.subtopologies {
		o.Subtopologies = append(o.Subtopologies, t.outline(sub))
	}
	return o
}

func (t *Topology) outline(sub *Subtopology) OutlinePart {
	part := OutlinePart{ID: sub.ID, Global: sub.Global}
	for _, n := range sub.Nodes {
		node := outlineNode(n)
		part.Nodes = append(part.Nodes, node)
		switch {
		case n.Kind == SinkNode:
			part.Sinks = append(part.Sinks, node.Topics...)
		case n.Kind == SourceNode && sub.Global == "":
			part.Sources = append(part.Sources, node.Topics...)
		}
	}
	slices.Sort(part.Sources)
	slices.Sort(part.Sinks)
	part.Sources, part.Sinks = slices.Compact(part.Sources), slices.Compact(part.Sinks)
	for _, topic := range slices.Concat(part.Sources, part.Sinks) {
		if _, own := t.internal[topic]; own {
			part.Repartition = append(part.Repartition, topic)
		}
	}
	slices.Sort(part.Repartition)
	part.Repartition = slices.Compact(part.Repartition)
	for _, s := range sub.Stores {
		part.Stores = append(part.Stores, outlineStore(sub, s))
	}
	slices.SortFunc(part.Stores, func(a, b OutlineStore) int { return strings.Compare(a.Name, b.Name) })
	return part
}

func outlineStore(sub *Subtopology, s *Store) OutlineStore {
	o := OutlineStore{Name: s.Name, Kind: s.Kind.String(), Timestamped: s.Timestamped, WindowSize: s.WindowSize, Retention: s.Retention}
	switch {
	case sub.Global != "":
		o.Changelog = sub.Global
	case s.SourceTopic != "":
		o.Changelog = s.SourceTopic
	case s.Logged:
		o.Changelog = s.Name + "-changelog"
	}
	return o
}

func outlineNode(n *Node) OutlineNode {
	o := OutlineNode{Name: n.Name, Kind: [...]string{SourceNode: "source", ProcessorNode: "processor", SinkNode: "sink"}[n.Kind], Stores: n.Stores}
	switch {
	case n.Pattern != "":
		o.Topics = []string{n.Pattern}
	case n.Topic != "":
		o.Topics = []string{n.Topic}
	default:
		o.Topics = n.Topics
	}
	for _, c := range n.Children {
		o.Next = append(o.Next, c.Name)
	}
	return o
}

// Hash names what of the topology outlives a process: two programs with the same hash can take each other's tasks and state
// over. Nodes do not count.
func (o Outline) Hash() string {
	lasting := Outline{Subtopologies: slices.Clone(o.Subtopologies)}
	for i := range lasting.Subtopologies {
		p := &lasting.Subtopologies[i]
		p.Nodes, p.Sinks = nil, nil
	}
	text, err := json.Marshal(lasting)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Breaks says what keeps a program with the outline next from going on where one with this outline is, with its tasks and its
// state, one process after the other; none if nothing does. Tasks are known by the number of their sub-topology, stores and
// repartition topics by their names: where a name comes from the steps' order, another step before it gives another name.
// What is new is no hindrance: it begins with what comes from then on.
func (o Outline) Breaks(next Outline) (breaks []string) {
	for i, p := range o.Subtopologies {
		if i >= len(next.Subtopologies) {
			breaks = append(breaks, fmt.Sprintf("sub-topology %d is gone, with its tasks", i))
			continue
		}
		breaks = append(breaks, p.breaks(next.Subtopologies[i])...)
	}
	return breaks
}

func (p OutlinePart) breaks(next OutlinePart) (breaks []string) {
	say := func(format string, args ...any) {
		breaks = append(breaks, fmt.Sprintf("sub-topology %d ", p.ID)+fmt.Sprintf(format, args...))
	}
	if !slices.Equal(p.Sources, next.Sources) || p.Global != next.Global {
		say("reads %s instead of %s", listed(next.Sources, next.Global), listed(p.Sources, p.Global))
	}
	if gone := missing(p.Repartition, next.Repartition); len(gone) > 0 {
		say("has no repartition topics %s any more; what waits in them would be left behind", listed(gone, ""))
	}
	stores := make(map[string]OutlineStore)
	for _, s := range next.Stores {
		stores[s.Name] = s
	}
	for _, old := range p.Stores {
		s, there := stores[old.Name]
		switch {
		case !there:
			say("has no store %q any more; its state would be left behind", old.Name)
		case s.Kind != old.Kind || s.Timestamped != old.Timestamped:
			say("has the store %q as %s instead of %s", s.Name, s.form(), old.form())
		case s.Changelog != old.Changelog:
			say("keeps the store %q in %q instead of %q", s.Name, s.Changelog, old.Changelog)
		case s.WindowSize != old.WindowSize:
			say("has windows of %v instead of %v in the store %q", s.WindowSize, old.WindowSize, s.Name)
		}
	}
	return breaks
}

// missing returns what of before is not there any more.
func missing(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(t string) bool { return slices.Contains(now, t) })
}

func (s OutlineStore) form() string {
	if s.Timestamped {
		return s.Kind + " with timestamps"
	}
	return s.Kind + " without timestamps"
}

func listed(topics []string, global string) string {
	if global != "" {
		return fmt.Sprintf("all of %q", global)
	}
	if len(topics) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", topics)
}
