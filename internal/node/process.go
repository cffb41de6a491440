package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Processing is what a processor of the program may do: send records on, use stores, have itself called at times.
type Processing[K, V any] struct {
	base
	out    Outputs[K, V]
	names  []string // of out
	stores []string
	keeps  string // the store that it keeps and does nothing else; empty: it is free
	mute   bool   // it may not send

	// What is in process, and the first error of what the processor called: whatever it makes of that, it is not lost.
	time    int64
	headers []topology.Header
	broken  error
}

// A Processor is what a program makes of each record. Close may be nil.
type Processor[K, V any] struct {
	Process func(Record[K, V]) error
	Close   func() error
}

// Process lets the program process each record, with what it keeps in the stores. open is called once a task, when the
// stores are restored.
func Process[K, V, K2, V2 any](name string, stores []string, open func(*Processing[K2, V2]) (Processor[K, V], error)) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K2, V2](name, children)
		if err != nil {
			return nil, err
		}
		n := &process[K, V, K2, V2]{Processing: Processing[K2, V2]{base: baseOf(name, task), out: out, names: task.Children(name), stores: stores}}
		task.OnStart(func() error { return n.open(open) }, n.close)
		return n, nil
	}
}

// Keep lets the program keep a store that is global, or read-only for others. It sends nothing on, and is not called at
// times.
func Keep[K, V any](name, store string, open func(*Processing[struct{}, struct{}]) (Processor[K, V], error)) topology.NewFunc {
	make := Process(name, []string{store}, open)
	return func(task topology.Context, children []any) (any, error) {
		n, err := make(task, children)
		if err == nil {
			n.(*process[K, V, struct{}, struct{}]).keeps = store
		}
		return n, err
	}
}

type process[K, V, K2, V2 any] struct {
	Processing[K2, V2]
	processor Processor[K, V]
}

func (n *process[K, V, K2, V2]) open(open func(*Processing[K2, V2]) (Processor[K, V], error)) (err error) {
	n.enter()
	n.time = n.task.Wall()
	if n.processor, err = open(&n.Processing); err != nil || n.broken != nil {
		return fmt.Errorf("node %q: opening the processor: %w", n.name, errors.Join(err, n.broken))
	}
	return nil
}

func (n *process[K, V, K2, V2]) close() error {
	if n.processor.Close == nil {
		return nil
	}
	n.enter()
	if err := n.processor.Close(); err != nil {
		return fmt.Errorf("node %q: closing the processor: %w", n.name, err)
	}
	return nil
}

func (n *process[K, V, K2, V2]) Receive(r Record[K, V]) error {
	n.time, n.headers = r.Time, r.Headers
	n.enter()
	return n.done(n.processor.Process(r))
}

// done decides over an error of the program. One of what it called was decided already, or ends the task.
func (p *Processing[K, V]) done(err error) error {
	if broken := p.broken; broken != nil {
		p.broken = nil
		return broken
	}
	if err != nil {
		return p.failed(err)
	}
	return nil
}

// note keeps an error of what the processor called.
func (p *Processing[K, V]) note(err error) error {
	if err != nil && p.broken == nil {
		p.broken = err
	}
	return err
}

// Forward sends a record to all children.
func (p *Processing[K, V]) Forward(r Record[K, V]) error {
	if err := p.sendable(r.Time); err != nil {
		return err
	}
	err := p.note(p.out.Forward(r))
	p.enter()
	return err
}

// ForwardTo sends a record to the child of a name.
func (p *Processing[K, V]) ForwardTo(child string, r Record[K, V]) error {
	if err := p.sendable(r.Time); err != nil {
		return err
	}
	i := slices.Index(p.names, child)
	if i < 0 {
		return fmt.Errorf("node %q has no child %q to send to; it has %q", p.name, child, p.names)
	}
	err := p.note(p.out[i].Receive(r))
	p.enter()
	return err
}

func (p *Processing[K, V]) sendable(time int64) error {
	switch {
	case p.broken != nil:
		return p.broken
	case p.keeps != "":
		return p.note(fmt.Errorf("node %q keeps store %q: it cannot send records on", p.name, p.keeps))
	case p.mute:
		return p.note(fmt.Errorf("node %q makes values of rows: it returns them, and cannot send records", p.name))
	case time < 0:
		return fmt.Errorf("node %q sends a record with the negative timestamp %d", p.name, time) // api.Record refuses it
	}
	return nil
}

// Schedule calls f again and again.
func (p *Processing[K, V]) Schedule(clock topology.Clock, every int64, anchor *int64, f func(at int64) error) (cancel func(), err error) {
	if p.keeps != "" {
		return nil, p.note(fmt.Errorf("node %q keeps store %q: it cannot be called at times", p.name, p.keeps))
	}
	if every < 1 {
		return nil, fmt.Errorf("node %q asks to be called every %d ms; one millisecond is the least", p.name, every)
	}
	return p.task.Schedule(topology.Punctuation{Node: p.name, Clock: clock, Every: every, Anchor: anchor, Do: func(at int64) error {
		p.time, p.headers = at, nil
		p.enter()
		return p.done(f(at))
	}}), nil
}

// Task returns the task.
func (p *Processing[K, V]) Task() topology.Context { return p.task }

// Name returns the name of the node.
func (p *Processing[K, V]) Name() string { return p.name }

// A StoreUser is a [Processing] of any type, as stores see it.
type StoreUser interface {
	uses(store string) error
	note(error) error
	writes(*state.Spec) error
	inProcess() (task topology.Context, time int64, headers []topology.Header)
}

func (p *Processing[K, V]) uses(store string) error {
	if slices.Contains(p.stores, store) {
		return nil
	}
	if s, err := openStore(p.task, store); err != nil || !s.ReadOnly() { // a global one may be read by all
		return fmt.Errorf("node %q does not use store %q; connect it with the option Uses", p.name, store)
	}
	return nil
}

// writes refuses to change a store that another node fills.
func (p *Processing[K, V]) writes(s *state.Spec) error {
	if s.Filler != "" && s.Filler != p.name {
		return fmt.Errorf("node %q changes store %q, which only %q may: it is read-only for others", p.name, s.Name, s.Filler)
	}
	return nil
}

func (p *Processing[K, V]) inProcess() (topology.Context, int64, []topology.Header) {
	return p.task, p.time, p.headers
}
