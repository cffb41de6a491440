package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Describe prints the graph in the text of Java's Topology.describe(), internal topics without the application's
// prefix.
//
// Java orders nodes by the size of the tree below them, largest first, then by name; sizes grow while a java.util.HashMap
// of the names is walked, so that the order of a graph with several paths between two nodes depends on hash codes.
// The walk is the same here.
func (t *Topology) Describe() string {
	var b strings.Builder
	b.WriteString("Topologies:\n ")
	for _, sub := range t.subtopologies {
		kind, end := "", "\n"
		if sub.Global != "" {
			kind, end = " for global store (will not generate tasks)", ""
		}
		fmt.Fprintf(&b, "  Sub-topology: %d%s\n", sub.ID, kind)
		for _, d := range describe(sub.Nodes) {
			d.print(&b)
		}
		b.WriteString(end)
	}
	return b.String()
}

// described is a node with what its description needs.
type described struct {
	*Node
	size                     int
	predecessors, successors []*described
}

func describe(nodes []*Node) []*described {
	byNode := make(map[*Node]*described, len(nodes))
	names := make([]string, len(nodes))
	byName := make(map[string]*described, len(nodes))
	for i, n := range nodes {
		d := &described{Node: n, size: 1}
		byNode[n], byName[n.Name], names[i] = d, d, n.Name
	}
	for _, name := range hashOrder(names) {
		d := byName[name]
		for _, parent := range d.Parents {
			p := byNode[parent]
			d.predecessors = insert(d.predecessors, p)
			p.successors = insert(p.successors, d)
			p.grow(d.size)
		}
	}
	var sorted []*described
	for _, n := range nodes {
		sorted = insert(sorted, byNode[n])
	}
	return sorted
}

func (d *described) grow(by int) {
	d.size += by
	for _, p := range d.predecessors {
		p.grow(by)
	}
}

func insert(in []*described, d *described) []*described {
	i, _ := slices.BinarySearchFunc(in, d, func(a, b *described) int {
		if a.size != b.size {
			return b.size - a.size
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Insert(in, i, d)
}

func (d *described) print(b *strings.Builder) {
	switch d.Kind {
	case SourceNode:
		topics := d.Pattern
		if topics == "" {
			topics = "[" + strings.Join(hashOrder(d.Topics), ", ") + "]"
		}
		fmt.Fprintf(b, "    Source: %s (topics: %s)\n", d.Name, topics)
	case ProcessorNode:
		fmt.Fprintf(b, "    Processor: %s (stores: [%s])\n", d.Name, strings.Join(hashOrder(d.Stores), ", "))
	case SinkNode:
		if d.Router == "" {
			fmt.Fprintf(b, "    Sink: %s (topic: %s)\n", d.Name, d.Topic)
		} else {
			fmt.Fprintf(b, "    Sink: %s (extractor class: %s)\n", d.Name, d.Router)
		}
	}
	if d.Kind != SinkNode {
		fmt.Fprintf(b, "      --> %s\n", join(d.successors))
	}
	if d.Kind != SourceNode {
		fmt.Fprintf(b, "      <-- %s\n", join(d.predecessors))
	}
}

func join(nodes []*described) string {
	if len(nodes) == 0 {
		return "none"
	}
	names := make([]string, len(nodes))
	for i, d := range nodes {
		names[i] = d.Name
	}
	return strings.Join(names, ", ")
}

// hashOrder returns names in the order in which a java.util.HashSet that they were added to, one by one, is walked: by
// bucket, and by arrival within one. The table starts with 16 buckets and doubles when it is over three quarters full.
func hashOrder(names []string) []string {
	buckets := 16
	for len(names) > buckets*3/4 {
		buckets *= 2
	}
	out := slices.Clone(names)
	slices.SortStableFunc(out, func(a, b string) int { return bucket(a, buckets) - bucket(b, buckets) })
	return out
}

// bucket is where HashMap puts a string: names are ASCII, so that bytes are Java's chars.
func bucket(s string, buckets int) int {
	var h uint32
	for i := range len(s) {
		h = h*31 + uint32(s[i])
	}
	return int(h^h>>16) & (buckets - 1)
}
