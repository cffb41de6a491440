package topology

import (
	"maps"
	"regexp"
	"slices"
)

// AddPattern adds a source that reads the topics whose names match a pattern as a whole, those that there are when the graph is
// resolved: see [Topology.Resolve]. It must not match a topic that another source names. make makes the running node for so many
// topics.
func (b *Builder) AddPattern(name string, pattern *regexp.Regexp, make func(topics int) NewFunc) {
	whole, err := regexp.Compile("^(?:" + pattern.String() + ")$")
	if err != nil {
		b.fail("source %q has the pattern %q, which cannot match whole names: %v", name, pattern, err)
		return
	}
	for _, t := range slices.Sorted(maps.Keys(b.topics)) {
		if whole.MatchString(t) {
			b.fail("the pattern %q of source %q matches topic %q, which source %q reads", pattern, name, t, b.topics[t])
		}
	}
	b.add(&Node{Name: name, Kind: SourceNode, Pattern: pattern.String(), matches: whole, newFor: make, New: make(0)})
}

// matched reports a topic that a pattern matches, too.
func (b *Builder) matched(source, topic string) {
	for _, n := range b.nodes {
		if n.matches != nil && n.matches.MatchString(topic) {
			b.fail("topic %q of source %q is matched by the pattern %q of source %q", topic, source, n.Pattern, n.Name)
		}
	}
}

// HasPatterns says whether a source reads the topics that match a pattern.
func (t *Topology) HasPatterns() bool {
	return slices.ContainsFunc(t.nodes, func(n *Node) bool { return n.matches != nil })
}

// Matching returns those of some topics that a pattern of a source matches, sorted.
func (t *Topology) Matching(topics []string) (matching []string) {
	for _, topic := range topics {
		if slices.ContainsFunc(t.nodes, func(n *Node) bool { return n.matches != nil && n.matches.MatchString(topic) }) {
			matching = append(matching, topic)
		}
	}
	slices.Sort(matching)
	return slices.Compact(matching)
}

// Resolve returns the graph with the topics that sources with patterns read, of those that there are. One that several patterns
// match is read by the first. Names, sub-topologies and stores stay as they are.
func (t *Topology) Resolve(topics []string) *Topology {
	b := &Builder{internal: t.internal, together: t.together, stores: map[string]*Store{}, byName: map[string]*Node{}}
	taken := map[string]bool{}
	for _, n := range t.nodes {
		c := *n
		c.Parents, c.Children = nil, nil
		if n.matches != nil {
			c.Topics = nil
			for _, topic := range slices.Sorted(slices.Values(topics)) {
				if n.matches.MatchString(topic) && !taken[topic] {
					taken[topic] = true
					c.Topics = append(c.Topics, topic)
				}
			}
			c.New = n.newFor(len(c.Topics))
		}
		for _, p := range n.Parents {
			c.Parents = append(c.Parents, b.byName[p.Name])
		}
		b.nodes = append(b.nodes, &c)
		b.byName[c.Name] = &c
	}
	for _, n := range t.nodes {
		for _, child := range n.Children {
			c := b.byName[n.Name]
			c.Children = append(c.Children, b.byName[child.Name])
		}
	}
	for name, s := range t.stores {
		c := *s
		c.Users = nil
		for _, u := range s.Users {
			c.Users = append(c.Users, b.byName[u.Name])
		}
		b.stores[name] = &c
	}
	resolved := &Topology{nodes: b.nodes, stores: b.stores, internal: t.internal, together: t.together}
	resolved.subtopologies = b.cut()
	return resolved
}
