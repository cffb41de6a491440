package streams

import (
	"container/heap"
	"slices"

	"github.com/millrace/millrace/topology"
)

// A step is a node of the program as it was written: what a verb made, before optimization. Most steps become one node
// of the topology; a table source, a repartition or a join become several. Steps know no types: write closes over them.
type step struct {
	name              string
	place             string // of the call that made it
	parents, children []*step

	// priority is the order in which steps are written to the topology, where their parents allow it. It counts
	// additions, not steps: adding a step again, below another parent, gives it a later place (Java: buildPriority).
	priority int

	changesKey, changesValue bool
	merges                   bool

	// keepsNullKeys marks left joins, which take records without a key (KIP-962).
	keepsNullKeys bool

	// grace is how long after their end the windows of an aggregation close, in milliseconds; nil: it has none.
	grace *int64

	selfJoin    *selfJoin    // of a join of streams of one type
	source      *source      // of a stream's source
	repartition *repartition // of a repartition
	reuse       func()       // of a table's source: make its topic serve as changelog

	// repartitions are the optimizable repartitions below, where this step is what changed the key last.
	repartitions []*step

	write   func(t *topology.Builder, parents []string)
	written bool
}

// selfJoin is what makes a join of a stream with itself one node.
type selfJoin struct {
	this, other *step // that keep the records of the sides
	chosen      bool
}

// source is what makes two sources of the same topics one.
type source struct {
	topics []string
	types  string // the types it decodes to
	reset  ResetPolicy
}

// repartition is what can be changed of a repartition after it was written down.
type repartition struct {
	topic        string
	optimizable  bool // made by an aggregation or join, not by Repartition
	dropNullKeys bool
	named        func(sink, filter, source string) *step // the same with other names
}

// add puts a step below a parent.
func (b *Builder) add(parent, s *step) *step {
	if s.place == "" {
		s.place = caller()
	}
	s.under(parent)
	s.priority = b.nextPriority
	b.nextPriority++
	switch {
	case s.repartition != nil && s.repartition.optimizable:
		if p := s.lastKeyChange(); p != nil && !slices.Contains(p.repartitions, s) {
			p.repartitions = append(p.repartitions, s)
		}
	case s.merges:
		if !slices.Contains(b.merges, s) {
			b.merges = append(b.merges, s)
		}
	}
	return s
}

func (s *step) under(parent *step) {
	if !slices.Contains(parent.children, s) {
		parent.children = append(parent.children, s)
	}
	if !slices.Contains(s.parents, parent) {
		s.parents = append(s.parents, parent)
	}
}

func (s *step) notUnder(parent *step) {
	parent.children = slices.DeleteFunc(parent.children, func(c *step) bool { return c == s })
	s.parents = slices.DeleteFunc(s.parents, func(p *step) bool { return p == parent })
}

// above returns the nearest step, this one or one above it, for which match holds, depth first.
func (s *step) above(match func(*step) bool) *step {
	if match(s) {
		return s
	}
	for _, p := range s.parents {
		if match(p) {
			return p
		}
		if found := p.above(match); found != nil {
			return found
		}
	}
	return nil
}

// lastKeyChange returns the step above that changes the key, unless the value is changed between it and this one.
func (s *step) lastKeyChange() *step {
	either := s.above(func(p *step) bool { return p.changesKey || p.changesValue })
	if either != nil && either == s.above(func(p *step) bool { return p.changesKey }) {
		return either
	}
	return nil
}

// writeAll writes the steps to the topology: each after its parents, otherwise by priority
// (InternalStreamsBuilder.buildAndOptimizeTopology).
func (b *Builder) writeAll(t *topology.Builder) {
	queue := steps{b.root}
	for len(queue) > 0 {
		s := heap.Pop(&queue).(*step)
		if !s.written && !slices.ContainsFunc(s.parents, func(p *step) bool { return !p.written }) {
			if s.write != nil {
				names := make([]string, len(s.parents))
				for i, p := range s.parents {
					names[i] = p.name
				}
				t.At(s.place)
				s.write(t, names)
			}
			s.written = true
		}
		for _, c := range s.children {
			heap.Push(&queue, c)
		}
	}
}

// steps is a heap by priority; equal ones leave it as they leave a java.util.PriorityQueue, which sifts the same way.
type steps []*step

func (q steps) Len() int           { return len(q) }
func (q steps) Less(i, j int) bool { return q[i].priority < q[j].priority }
func (q steps) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *steps) Push(s any)        { *q = append(*q, s.(*step)) }
func (q *steps) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}
