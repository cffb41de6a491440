package streams

import "github.com/millrace/millrace/internal/node"

// Merge returns the records of both streams. Records of one stream keep their order; there is none between the two.
//
// Options: As names the node. Java: KStream.merge. Names: KSTREAM-MERGE-n.
func (s *Stream[K, V]) Merge(other *Stream[K, V], opts ...Option) *Stream[K, V] {
	o := s.b.options("Merge", opts, nameOption)
	if other == nil || other.b != s.b {
		s.b.fail("Merge takes a stream of the same Builder")
		return s
	}
	name := s.b.nameOr(o.name, "KSTREAM-MERGE-")
	st := s.then(name, node.Pass[K, V](name, nil))
	st.merges = true
	s.b.add(other.step, st)
	m := made(s, st, s.key, s.value, s.repartition || other.repartition)
	m.sources = union(s.sources, other.sources)
	return m
}
