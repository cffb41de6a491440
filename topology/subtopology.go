package topology

import "slices"

// cut groups the nodes that are connected by edges or by a shared store, and numbers the groups in the order in which
// their first nodes were added (InternalTopologyBuilder.makeNodeGroups). A sink is not connected to the source that
// reads its topic: repartition topics are where sub-topologies end.
func (b *Builder) cut() []*Subtopology {
	root := map[*Node]*Node{}
	var find func(n *Node) *Node
	find = func(n *Node) *Node {
		if p, ok := root[n]; ok && p != n {
			root[n] = find(p)
			return root[n]
		}
		return n
	}
	for _, n := range b.nodes {
		for _, p := range n.Parents {
			root[find(p)] = find(n)
		}
	}
	for _, s := range b.stores {
		for _, user := range s.Users[1:] {
			root[find(user)] = find(s.Users[0])
		}
	}
	var subs []*Subtopology
	byRoot := map[*Node]*Subtopology{}
	for _, n := range b.nodes {
		sub := byRoot[find(n)]
		if sub == nil {
			sub = &Subtopology{ID: len(subs)}
			byRoot[find(n)] = sub
			subs = append(subs, sub)
		}
		b.join(sub, n)
	}
	for _, sub := range subs {
		if len(sub.Stores) == 1 && sub.Stores[0].Global {
			sub.Global, sub.Topics = sub.Topics[0], nil
		}
		slices.Sort(sub.Topics)
		slices.Sort(sub.Sinks)
		sub.Groups = b.groups(sub)
	}
	return subs
}

// join adds a node to a sub-topology, with its stores and topics.
func (b *Builder) join(sub *Subtopology, n *Node) {
	sub.Nodes = append(sub.Nodes, n)
	sub.Topics = append(sub.Topics, n.Topics...)
	if _, ok := b.internal[n.Topic]; ok && !slices.Contains(sub.Sinks, n.Topic) {
		sub.Sinks = append(sub.Sinks, n.Topic)
	}
	for _, name := range n.Stores {
		if s := b.stores[name]; !slices.Contains(sub.Stores, s) {
			sub.Stores = append(sub.Stores, s)
		}
	}
}

// groups returns the topics of a sub-topology that must be partitioned alike: the sets that were asked for, those that
// share a topic made one (InternalTopologyBuilder.copartitionGroups).
func (b *Builder) groups(sub *Subtopology) [][]string {
	var groups [][]string
	for _, sources := range b.together {
		var group []string
		for _, name := range sources {
			if n := b.byName[name]; n != nil && slices.Contains(sub.Nodes, n) {
				group = append(group, n.Topics...)
			}
		}
		if len(group) == 0 {
			continue
		}
		rest := groups[:0:0]
		for _, g := range groups {
			if slices.ContainsFunc(g, func(t string) bool { return slices.Contains(group, t) }) {
				group = append(group, g...)
			} else {
				rest = append(rest, g)
			}
		}
		slices.Sort(group)
		groups = append(rest, slices.Compact(group))
	}
	return groups
}

// Whole returns the graph, but for what keeps global stores, as if it were one sub-topology, as a test driver runs it.
func (t *Topology) Whole() *Subtopology {
	whole := &Subtopology{}
	global := map[*Node]bool{}
	for _, sub := range t.subtopologies {
		whole.Topics = append(whole.Topics, sub.Topics...)
		whole.Sinks = append(whole.Sinks, sub.Sinks...)
		for _, n := range sub.Nodes {
			global[n] = sub.Global != ""
		}
	}
	for _, n := range t.nodes {
		if global[n] {
			continue
		}
		whole.Nodes = append(whole.Nodes, n)
		for _, name := range n.Stores {
			if s := t.stores[name]; !slices.Contains(whole.Stores, s) {
				whole.Stores = append(whole.Stores, s)
			}
		}
	}
	slices.Sort(whole.Topics)
	return whole
}
