package streams

import "slices"

// mergeSources makes sources of the same topics one. Sources that share some topics but not all are an error.
func (b *Builder) mergeSources() {
	first := map[string]*step{}
	for _, s := range slices.Clone(b.root.children) {
		if s.source == nil {
			continue
		}
	topics:
		for _, topic := range s.source.topics {
			main, ok := first[topic]
			switch {
			case !ok:
				first[topic] = s
			case main == s:
			case !slices.Equal(main.source.topics, s.source.topics):
				b.failAt(s.place, "topic %q is read by two sources, of the topics %q (%s) and of %q; read it alone, or the same topics in both", topic, main.source.topics, main.place, s.source.topics)
				break topics
			case main.source.reset != s.source.reset:
				b.failAt(s.place, "topic %q is to be begun at %v (%s) and at %v; say the same with From", topic, main.source.reset, main.place, s.source.reset)
			case main.source.types != s.source.types:
				b.failAt(s.place, "topic %q is read as %s (%s) and as %s; read it once and map it", topic, main.source.types, main.place, s.source.types)
				break topics
			default:
				for _, c := range slices.Clone(s.children) {
					c.notUnder(s)
					c.under(main)
				}
				s.notUnder(b.root)
				b.rename(s.name, main.name)
			}
		}
	}
}

// rename lets joins that were written against one source go by another.
func (b *Builder) rename(from, to string) {
	for _, group := range b.together {
		for i, name := range group {
			if name == from {
				group[i] = to
			}
		}
	}
}

// reuseSourceTopics lets the topics of tables serve as changelogs (reuse.ktable.source.topics).
func (b *Builder) reuseSourceTopics() {
	for _, s := range b.root.children {
		if s.reuse != nil {
			s.reuse()
		}
	}
}

// mergeRepartitions moves the repartitions below a change of key up to it and makes them one, named after the first
// (merge.repartition.topics; InternalStreamsBuilder.mergeRepartitionTopics).
func (b *Builder) mergeRepartitions() {
	b.moveToMerges()
	for _, changer := range b.keyChangers {
		if len(changer.repartitions) == 0 {
			continue
		}
		first := changer.repartitions[0].repartition
		sink, filter, source := b.repartitionNames(first.topic)
		one := first.named(sink, filter, source)
		one.place, one.priority = changer.repartitions[0].place, changer.priority
		for _, old := range changer.repartitions {
			below := old.above(func(s *step) bool { return slices.Contains(s.parents, changer) })
			if below == nil { // it was moved away with another change of key
				b.failAt(old.place, "Optimize cannot make one repartition of those below %q (%s): %q is not below it alone; leave Optimize away, as in Java", changer.name, changer.place, old.name)
				return
			}
			below.under(one)
			below.notUnder(changer)
			parents, children := slices.Clone(old.parents), slices.Clone(old.children)
			for _, c := range children {
				for _, p := range parents {
					c.under(p)
				}
			}
			for _, p := range parents {
				old.notUnder(p)
			}
			for _, c := range children {
				c.notUnder(old)
			}
			b.rename(old.name, one.name)
		}
		one.under(changer)
	}
}

// joinOnce lets joins of a stream with itself do with one store (single.store.self.join).
func (b *Builder) joinOnce() {
	seen := map[*step]bool{}
	var visit func(s *step)
	visit = func(s *step) {
		seen[s] = true
		if j := s.selfJoin; j != nil && len(s.parents) == 1 {
			j.chosen = true
			j.other.notUnder(s.parents[0])
		}
		for _, c := range slices.Clone(s.children) {
			if !seen[c] {
				visit(c)
			}
		}
	}
	visit(b.root)
}

// moveToMerges lets a merge stand for the changes of key above it whose repartitions all lie below the merge.
func (b *Builder) moveToMerges() {
	var gone []*step
	moved := map[*step][]*step{}
	for _, m := range b.merges {
		for _, changer := range b.keyChangers {
			allBelow := !slices.ContainsFunc(changer.repartitions, func(r *step) bool {
				return r.above(func(s *step) bool { return slices.Contains(s.parents, m) }) == nil
			})
			if allBelow && m.above(func(s *step) bool { return slices.Contains(s.parents, changer) }) != nil {
				moved[m] = append(moved[m], changer)
			}
		}
	}
	for _, m := range b.merges {
		m.repartitions = nil
		for _, changer := range moved[m] {
			for _, r := range changer.repartitions {
				if !slices.Contains(m.repartitions, r) {
					m.repartitions = append(m.repartitions, r)
				}
			}
			gone = append(gone, changer)
		}
		b.keyChangers = append(b.keyChangers, m)
	}
	b.keyChangers = slices.DeleteFunc(b.keyChangers, func(s *step) bool { return slices.Contains(gone, s) })
}

// dropNullKeys lets repartitions drop records without a key, unless a left join below takes them
// (InternalStreamsBuilder.rewriteRepartitionNodes, KIP-962).
func (b *Builder) dropNullKeys() {
	seen := map[*step]bool{}
	needed := map[*step]bool{} // a step below takes null keys
	var visit func(s *step)
	visit = func(s *step) {
		if seen[s] {
			return
		}
		for _, c := range s.children {
			visit(c)
			if c.keepsNullKeys || needed[c] {
				needed[s] = true
			}
		}
		seen[s] = true
	}
	visit(b.root)
	for s := range seen {
		if s.repartition != nil && !needed[s] {
			s.repartition.dropNullKeys = true
		}
	}
}
