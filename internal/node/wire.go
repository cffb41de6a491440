// Package node holds the running nodes of a task: one operator a file, typed, connected by typed wires.
//
// A constructor such as [Filter] returns a [topology.NewFunc]; it is called once a task, with the running nodes of the
// children, and asserts the type of each wire there and then. From then on a record travels by value, depth first, on
// the task's goroutine: no boxing, no look-up, no allocation.
package node

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A Record is a record between two nodes. NullKey and NullValue say that the key or value is null; then Key or Value is
// the zero value, which of an Opt is null as well. Both flags hold for every type, so that operators need not know
// whether a type can show nulls.
type Record[K, V any] struct {
	Key                K
	Value              V
	NullKey, NullValue bool
	Time               int64 // milliseconds since the epoch
	Headers            []topology.Header
}

// A Change is an update of a table: the new value of a key and, where a node below asked for it, the old one.
type Change[V any] struct {
	New, Old         V
	NullNew, NullOld bool

	// Late says that the table is versioned, and the new value belongs to its history: the key has a later one (KIP-914).
	Late bool
}

// A Receiver takes records. An error ends the task; what a record's failure means was decided before it is returned.
type Receiver[K, V any] interface {
	Receive(r Record[K, V]) error
}

// Outputs are the children of a node.
type Outputs[K, V any] []Receiver[K, V]

// Forward sends a record to all children, in their order.
func (o Outputs[K, V]) Forward(r Record[K, V]) error {
	for _, child := range o {
		if err := child.Receive(r); err != nil {
			return err
		}
	}
	return nil
}

// wire asserts that each child takes what the node sends, or takes it with nulls shown.
func wire[K, V any](name string, children []any) (Outputs[K, V], error) {
	out := make(Outputs[K, V], len(children))
	for i, child := range children {
		switch r := child.(type) {
		case Receiver[K, V]:
			out[i] = r
		case Receiver[K, serde.Opt[V]]:
			out[i] = showNulls[K, V]{r}
		default:
			return nil, miswired[K, V](name, child)
		}
		out[i] = wrap(child, out[i])
	}
	return out, nil
}

// wireChanges is wire for the nodes of tables.
func wireChanges[K, V any](name string, children []any) (Outputs[K, Change[V]], error) {
	out := make(Outputs[K, Change[V]], len(children))
	for i, child := range children {
		switch r := child.(type) {
		case Receiver[K, Change[V]]:
			out[i] = r
		case Receiver[K, Change[serde.Opt[V]]]:
			out[i] = showChanges[K, V]{r}
		default:
			return nil, miswired[K, Change[V]](name, child)
		}
		out[i] = wrap(child, out[i])
	}
	return out, nil
}

// wrap puts what the program wants called around a node in front of it.
func wrap[K, V any](child any, r Receiver[K, V]) Receiver[K, V] {
	if b, ok := child.(interface {
		wrapper() func(func() error) error
	}); ok && b.wrapper() != nil {
		return wrapped[K, V]{r, b.wrapper()}
	}
	return r
}

type wrapped[K, V any] struct {
	to     Receiver[K, V]
	around func(process func() error) error
}

// Receive returns the node's own error, whatever becomes of it on the way: what it says of the transaction, say, must not be
// lost.
func (w wrapped[K, V]) Receive(r Record[K, V]) error {
	var own error
	err := w.around(func() error {
		own = w.to.Receive(r)
		return own
	})
	if own != nil {
		return own
	}
	return err
}

func miswired[K, V any](name string, child any) error {
	var sent Record[K, V]
	return fmt.Errorf("node: %q sends %T, which its child %T does not take", name, sent, child)
}

// showNulls and showChanges hand values on as Opts.
type (
	showNulls[K, V any]   struct{ to Receiver[K, serde.Opt[V]] }
	showChanges[K, V any] struct {
		to Receiver[K, Change[serde.Opt[V]]]
	}
)

func (s showNulls[K, V]) Receive(r Record[K, V]) error {
	v := serde.Opt[V]{Value: r.Value, Valid: !r.NullValue}
	return s.to.Receive(Record[K, serde.Opt[V]]{r.Key, v, r.NullKey, r.NullValue, r.Time, r.Headers})
}

func (s showChanges[K, V]) Receive(r Record[K, Change[V]]) error {
	c := r.Value
	shown := Change[serde.Opt[V]]{
		New: serde.Opt[V]{Value: c.New, Valid: !c.NullNew}, Old: serde.Opt[V]{Value: c.Old, Valid: !c.NullOld},
		NullNew: c.NullNew, NullOld: c.NullOld, Late: c.Late,
	}
	return s.to.Receive(Record[K, Change[serde.Opt[V]]]{r.Key, shown, r.NullKey, r.NullValue, r.Time, r.Headers})
}

// base is what every node has.
type base struct {
	name   string
	task   topology.Context
	ctx    context.Context
	atWork *string
	around func(process func() error) error
}

func (b *base) wrapper() func(process func() error) error { return b.around }

func baseOf(name string, task topology.Context) base {
	return base{name, task, task.Context(), task.AtWork(), task.Around(name)}
}

// enter is called before a function of the program is, and returns what that gets; a panic is then told with the node's
// name.
func (b *base) enter() context.Context {
	*b.atWork = b.name
	return b.ctx
}

// failed asks the task what becomes of a record on which a user function returned err.
func (b *base) failed(err error) error { return b.task.Failed(b.name, err) }

// drop counts a skipped record.
func (b *base) drop(reason string) error {
	b.task.Drop(b.name, reason)
	return nil
}

// nulls knows which values of a type are null. A type that shows nulls (Opt) lets user functions see them.
type nulls[T any] struct{ test func(T) bool }

func nullsOf[T any]() nulls[T] { return nulls[T]{serde.NullTest[T]()} }

func (n nulls[T]) shown() bool { return n.test != nil }
func (n nulls[T]) is(v T) bool { return n.test != nil && n.test(v) }
