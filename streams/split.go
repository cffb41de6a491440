package streams

import (
	"context"
	"strconv"

	"github.com/millrace/millrace/internal/node"
)

// A Splitter routes each record of a stream to the first branch whose predicate holds (Java: BranchedKStream). Make
// it with [Stream.Split].
type Splitter[K, V any] struct {
	from       *Stream[K, V]
	step       *step
	predicates *[]func(context.Context, K, V) (bool, error)
	defaulted  bool
}

// Split begins to split a stream into branches, each record going to one of them or, where no predicate holds and there
// is no default branch, to none. A null value fits no predicate.
//
// Options: As names the node, and is the prefix of the branches' names. Java: KStream.split. Names: KSTREAM-BRANCH-n.
func (s *Stream[K, V]) Split(opts ...Option) *Splitter[K, V] {
	o := s.b.options("Split", opts, nameOption)
	name := s.b.nameOr(o.name, "KSTREAM-BRANCH-")
	predicates := new([]func(context.Context, K, V) (bool, error))
	return &Splitter[K, V]{from: s, step: s.then(name, node.Branch(name, predicates)), predicates: predicates}
}

// Branch returns the stream of the records for which holds is the first predicate to return true.
//
// Options: As is appended to the splitter's name; by default it is the number of the branch, from 1.
func (b *Splitter[K, V]) Branch(holds func(K, V) bool, opts ...Option) *Stream[K, V] {
	b.from.b.function("Branch", holds)
	return b.TryBranch(plain2(holds), opts...)
}

// TryBranch is [Splitter.Branch] with a context and an error.
func (b *Splitter[K, V]) TryBranch(holds func(context.Context, K, V) (bool, error), opts ...Option) *Stream[K, V] {
	b.from.b.function("TryBranch", holds)
	if b.defaulted {
		b.from.b.fail("Branch is called after Default; the default branch comes last")
	}
	*b.predicates = append(*b.predicates, holds)
	return b.branch(len(*b.predicates), opts)
}

// Default returns the stream of the records that fit no branch. It is called last, and once.
//
// Options: As is appended to the splitter's name; by default it is 0.
func (b *Splitter[K, V]) Default(opts ...Option) *Stream[K, V] {
	if b.defaulted {
		b.from.b.fail("Default is called twice")
	}
	b.defaulted = true
	return b.branch(0, opts)
}

func (b *Splitter[K, V]) branch(number int, opts []Option) *Stream[K, V] {
	s := b.from
	o := s.b.options("Branch", opts, nameOption)
	suffix := o.name
	if suffix == "" {
		suffix = strconv.Itoa(number)
	}
	name := b.step.name + suffix
	s.b.newName(name) // a number is used up, as in Java
	below := *s
	below.step = b.step
	return made(s, below.then(name, node.Pass[K, V](name, nil)), s.key, s.value, s.repartition)
}
