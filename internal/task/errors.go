package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millrace/millrace/topology"
)

// A Decision is what becomes of a record that cannot be decoded, processed or written.
type Decision uint8

// The decisions.
const (
	Fail       Decision = iota // the application stops
	Skip                       // the record is dropped, counted
	DeadLetter                 // the record is dropped, counted, and written to the dead-letter topic
	Retry                      // the record is processed again, after all that was done since the last commit
)

// A Failure is a record that could not be decoded or processed, or from which one came that could not be written.
type Failure struct {
	Task   topology.TaskID
	Node   string
	Record *topology.Record // as it was read; nil where none is in process. Valid during the call
	Output *topology.Record // what could not be written, as far as it was encoded; else nil. Valid during the call
	Err    error
}

func (f *Failure) Error() string {
	if f.Record == nil {
		return fmt.Sprintf("task %v: node %q: %v", f.Task, f.Node, f.Err)
	}
	return fmt.Sprintf("task %v: node %q: %s: %v", f.Task, f.Node, f.Record.Place(), f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// A Handler decides over failures. Topic is where dead letters go, Patience how long a record may be tried again; where
// that is 0, to Retry is to Fail.
type Handler struct {
	Decide   func(*Failure) Decision
	Topic    string
	Patience time.Duration
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
	case Retry:
		return t.again(h, f)
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

// A retry is a record that is processed again, since when, by the wall clock.
type retry struct {
	topic     string
	partition int32
	offset    int64
	since     int64
}

// again is the error by which a record is processed again: all that was done since the last commit is.
type again struct{ *Failure }

func (again) StartOver()      {}
func (a again) Unwrap() error { return a.Failure }

// again has a record processed again, if it was not for too long.
func (t *Task) again(h Handler, f *Failure) error {
	if h.Patience <= 0 {
		return f
	}
	now := retry{since: t.wall}
	if r := f.Record; r != nil {
		now.topic, now.partition, now.offset = r.Topic, r.Partition, r.Offset
	}
	if before := t.retry; before.topic != now.topic || before.partition != now.partition || before.offset != now.offset {
		t.retry = now
	}
	if tried := time.Duration(t.wall-t.retry.since) * time.Millisecond; tried > h.Patience {
		return fmt.Errorf("%w (its handler asks to retry, which has gone on for %v; option TaskTimeout)", f, tried)
	}
	return again{f}
}

// undecodable asks what becomes of a record that cannot be decoded or stamped; errSkip says that it is skipped.
func (t *Task) undecodable(in *input, r *topology.Record, err error) error {
	kept := *r // the failure outlives the batch
	if err := t.decide(t.cfg.Undecodable, &Failure{Task: t.cfg.ID, Node: in.node, Record: &kept, Err: err}); err != nil {
		return err
	}
	return errSkip
}

// Failed asks what becomes of a record whose processing failed; nil says that it is skipped. What was decided already, or
// is trouble of the cluster, is no question.
func (t *Task) Failed(node string, err error) error {
	var decided *Failure
	var over interface{ StartOver() }
	if errors.As(err, &decided) || errors.As(err, &over) {
		return err
	}
	return t.decide(t.cfg.Failed, &Failure{Task: t.cfg.ID, Node: node, Record: t.inProcess(), Err: err})
}

// Unwritten asks what becomes of a record that a sink could not write; nil says that it is skipped.
func (t *Task) Unwritten(node string, out *topology.Record, err error) error {
	if !refused(err) {
		return err
	}
	kept := *out
	return t.decide(t.cfg.Unwritable, &Failure{Task: t.cfg.ID, Node: node, Record: t.inProcess(), Output: &kept, Err: err})
}

// refused says whether a record cannot be written because of itself.
func refused(err error) bool {
	if err == nil {
		return false
	}
	var r interface{ RecordRefused() }
	return errors.As(err, &r)
}

// inProcess returns the record in process, to be kept, or nil.
func (t *Task) inProcess() *topology.Record {
	if t.current == nil {
		return nil
	}
	kept := *t.current
	return &kept
}

// recovered makes a panic of the program an error, which names the node and the record in process. It is deferred where
// the task calls nodes. The application ends: what the program was about to do is not known, so no handler is asked.
func (t *Task) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = &Failure{Task: t.cfg.ID, Node: t.atWork, Record: t.inProcess(), Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
}

// deadLetter writes a failed record to a topic as it came, with headers that say where it came from and why it failed
// (KIP-1034). A failure of no record makes one without key and value, as of the wall clock, from no topic.
func (t *Task) deadLetter(topic string, f *Failure) error {
	r := f.Record
	if r == nil {
		r = &topology.Record{Partition: -1, Offset: -1, Timestamp: t.wall}
	}
	h := append([]topology.Header(nil), r.Headers...)
	for _, add := range [...]struct{ name, value string }{
		{"exception", fmt.Sprintf("%T", errors.Unwrap(f))}, {"message", f.Err.Error()}, {"stacktrace", f.Error()},
		{"topic", r.Topic}, {"partition", fmt.Sprint(r.Partition)}, {"offset", fmt.Sprint(r.Offset)},
	} {
		h = append(h, topology.Header{Key: "__streams.errors." + add.name, Value: []byte(add.value)})
	}
	err := t.Send(&topology.Record{Topic: topic, Partition: -1, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: h})
	if refused(err) {
		return fmt.Errorf("%w (its dead letter cannot be written either: %w)", f, err)
	}
	return err
}
