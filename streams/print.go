package streams

import (
	"io"

	"github.com/millrace/millrace/internal/node"
)

// Print writes a line for each record, "[label]: key, value", nulls as null; the stream ends there. The label is the name of
// the node that made the stream. to is used from the goroutines of all tasks; each line is one Write.
//
// Options: As names the node. Java: KStream.print. Names: KSTREAM-PRINTER-n.
func (s *Stream[K, V]) Print(to io.Writer, opts ...Option) {
	if to == nil {
		s.b.fail("Print is given nothing to write to")
	}
	o := s.b.options("Print", opts, nameOption)
	name := s.b.nameOr(o.name, "KSTREAM-PRINTER-")
	s.then(name, node.Print[K, V](name, to, s.name))
}
