package task

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/millrace/millrace/topology"
)

// A Decision is what becomes of a record that cannot be decoded or processed.
type Decision uint8

// The decisions.
const (
	Fail       Decision = iota // the application stops
	Skip                       // the record is dropped, counted
	DeadLetter                 // the record is dropped, counted, and written to the dead-letter topic
)

// A Failure is a record that could not be decoded or processed.
type Failure struct {
	Task   topology.TaskID
	Node   string
	Record *topology.Record // valid during the call
	Err    error
}

func (f *Failure) Error() string {
	if f.Record == nil {
		return fmt.Sprintf("task %v: node %q: %v", f.Task, f.Node, f.Err)
	}
	return fmt.Sprintf("task %v: node %q: %s: %v", f.Task, f.Node, f.Record.Place(), f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// A Handler decides over failures. Topic is where dead letters go.
type Handler struct {
	Decide func(*Failure) Decision
	Topic  string
}

// errSkip says that a record is to be skipped.
var errSkip = errors.New("skip the record")

// decide asks a handler, and returns nil where the record is skipped.
func (t *Task) decide(h Handler, f *Failure) error {
	decision := Fail
	if h.Decide != nil {
		decision = h.Decide(f)
	}
	switch decision {
	case Skip:
	case DeadLetter:
		if h.Topic == "" {
			return fmt.Errorf("%w (its handler asks for a dead-letter topic, but none is named)", f)
		}
		if err := t.deadLetter(h.Topic, f); err != nil {
			return err
		}
	default:
		return f
	}
	t.Drop(f.Node, f.Err.Error())
	return nil
}

// undecodable asks what becomes of a record that cannot be decoded or stamped; errSkip says that it is skipped.
func (t *Task) undecodable(in *input, r *topology.Record, err error) error {
	kept := *r // the failure outlives the batch
	if err := t.decide(t.cfg.Undecodable, &Failure{t.cfg.ID, in.node, &kept, err}); err != nil {
		return err
	}
	return errSkip
}

// Failed asks what becomes of a record whose processing failed; nil says that it is skipped.
func (t *Task) Failed(node string, err error) error {
	var r *topology.Record
	if t.current != nil {
		kept := *t.current
		r = &kept
	}
	return t.decide(t.cfg.Failed, &Failure{t.cfg.ID, node, r, err})
}

// recovered makes a panic of the program an error, which names the node and the record in process. It is deferred where
// the task calls nodes. The application ends: what the program was about to do is not known, so no handler is asked.
func (t *Task) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	f := &Failure{Task: t.cfg.ID, Node: t.atWork, Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
	if t.current != nil {
		kept := *t.current
		f.Record = &kept
	}
	*err = f
}

// deadLetter writes a failed record to a topic as it came, with headers that say where it came from and why it failed
// (KIP-1034).
func (t *Task) deadLetter(topic string, f *Failure) error {
	r := f.Record
	if r == nil {
		return fmt.Errorf("%w (it comes from no record that could be written to %q)", f, topic)
	}
	h := append([]topology.Header(nil), r.Headers...)
	for _, add := range [...]struct{ name, value string }{
		{"exception", fmt.Sprintf("%T", errors.Unwrap(f))}, {"message", f.Err.Error()}, {"stacktrace", f.Error()},
		{"topic", r.Topic}, {"partition", fmt.Sprint(r.Partition)}, {"offset", fmt.Sprint(r.Offset)},
	} {
		h = append(h, topology.Header{Key: "__streams.errors." + add.name, Value: []byte(add.value)})
	}
	return t.Send(&topology.Record{Topic: topic, Partition: -1, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: h})
}
