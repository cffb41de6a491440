package task

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/topology"
)

// A Task is the topology.Context of its nodes.
var _ topology.Context = (*Task)(nil)

// Application returns the application's id.
func (t *Task) Application() string { return t.cfg.Application }

// Task returns the task's id.
func (t *Task) Task() topology.TaskID { return t.cfg.ID }

// Store returns the task's partition of a store, or a reader of a global one.
func (t *Task) Store(name string) (any, error) {
	s, ok := t.named[name]
	if !ok {
		if g := t.cfg.Topology.Store(name); g == nil || !g.Global || t.cfg.Globals == nil {
			return nil, fmt.Errorf("store %q is not of sub-topology %d", name, t.part.ID)
		}
		var err error
		if s, err = t.cfg.Globals(name); err != nil {
			return nil, err
		}
		t.named[name] = s
	}
	return s, nil
}

// TopicName returns a topic's name in Kafka.
func (t *Task) TopicName(name string) string {
	return t.cfg.Topology.TopicName(t.cfg.Application, name)
}

// Partitions returns how many partitions a topic has, by its name in Kafka.
func (t *Task) Partitions(topic string) (int32, error) {
	if t.cfg.Partitions == nil {
		return 1, nil
	}
	return t.cfg.Partitions(topic)
}

// Input returns the record in process.
func (t *Task) Input() *topology.Record { return t.current }

// Shared returns what nodes have in common.
func (t *Task) Shared(name string, make func() any) any {
	if t.shared == nil {
		t.shared = map[string]any{}
	}
	if _, ok := t.shared[name]; !ok {
		t.shared[name] = make()
	}
	return t.shared[name]
}

// Become puts another record in process, and returns the one that was.
func (t *Task) Become(origin *topology.Record) (before *topology.Record) {
	before, t.current = t.current, origin
	return before
}

// Send hands a record to the output.
func (t *Task) Send(r *topology.Record) error { return t.cfg.Output.Send(r) }

// Drop counts a skipped record.
func (t *Task) Drop(node, reason string) {
	if t.cfg.Dropped != nil {
		t.cfg.Dropped(node, reason)
	}
	if t.current == nil {
		t.log.Warn("record dropped", "node", node, "reason", reason)
	} else {
		t.log.Warn("record dropped", "node", node, "reason", reason, "topic", t.current.Topic, "partition", t.current.Partition, "offset", t.current.Offset)
	}
}

// Context returns what user functions get; it ends when the task is closed.
func (t *Task) Context() context.Context { return t.context }

// Around returns what is called around each record that a node takes.
func (t *Task) Around(node string) func(process func() error) error {
	if t.cfg.Around == nil {
		return nil
	}
	return t.cfg.Around(t.cfg.ID, node)
}

// AtWork is where nodes leave their names.
func (t *Task) AtWork() *string { return &t.atWork }

// Wall returns the wall clock as of the current step.
func (t *Task) Wall() int64 { return t.wall }

// StreamTime returns the greatest timestamp that was processed.
func (t *Task) StreamTime() int64 { return t.time }

// Children returns the names of a node's children.
func (t *Task) Children(node string) (names []string) {
	for _, n := range t.part.Nodes {
		if n.Name == node {
			for _, c := range n.Children {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// RequestCommit asks for a commit before its time.
func (t *Task) RequestCommit() { t.hurry = true }

// EmitInterval returns how often closed windows are looked for, in milliseconds.
func (t *Task) EmitInterval() int64 {
	if t.cfg.EmitInterval == nil {
		return time.Second.Milliseconds()
	}
	return t.cfg.EmitInterval.Milliseconds()
}

// Mark returns a number that is kept in the metadata of the committed offsets.
func (t *Task) Mark(name string) (int64, bool) {
	v, ok := t.marks[name]
	return v, ok
}

// SetMark sets such a number.
func (t *Task) SetMark(name string, value int64) {
	t.marks[name], t.newMarks = value, true
}
