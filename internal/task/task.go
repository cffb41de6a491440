// Package task runs one task: the nodes and stores of a sub-topology for one partition of its topics.
//
// A task owns no goroutine, clock, connection or lock: records, the time and the end of a commit come in, records to
// produce go out through [Output]. One goroutine owns it at any moment.
package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/topology"
)

// Output takes the records that a task produces. Send copies r; its bytes do not change afterwards. Partition -1
// lets the key choose. An error ends the task.
type Output interface {
	Send(r *topology.Record) error
}

// Config is what a task is made of. ID, Application, Topology and Output are needed.
type Config struct {
	ID          topology.TaskID
	Application string
	Topology    *topology.Topology
	Part        *topology.Subtopology // what to run; nil: the sub-topology that ID names
	Dir         string                // the task's state directory; its stores have one each in it
	Volatile    bool                  // keep all stores in memory
	Resources   *store.Resources
	Output      Output
	Partitions  func(topic string) (int32, error)

	// Globals returns a reader of a global store, which the task closes; nil: there are none.
	Globals func(store string) (*store.Store, error)

	// Undecodable, Failed and Unwritable decide what becomes of a record that cannot be decoded, processed, or written by a
	// sink; nil: Fail.
	Undecodable Handler
	Failed      Handler
	Unwritable  Handler

	// MaxIdle is how long the task waits for records of an empty input, so that records of several inputs are processed
	// in the order of their timestamps (max.task.idle.ms). 0: as long as the broker has some, or is not known to have
	// none (see [Task.Lag]); negative: never.
	MaxIdle time.Duration

	// Now is the wall clock when the task is opened.
	Now time.Time

	// Around returns what is called around each record that a node takes, or nil; nil: nothing is.
	Around func(task topology.TaskID, node string) func(process func() error) error

	// EmitInterval is how often windows that closed are looked for; nil: every second.
	EmitInterval *time.Duration

	// Dropped is called for each record that a node skipped; nil: not called.
	Dropped func(node, reason string)

	Log *slog.Logger
}

// Task is one task. It is made by Open; its stores are restored, if need be, before Start.
type Task struct {
	cfg    Config
	part   *topology.Subtopology
	stores []*store.Store
	named  map[string]*store.Store // and readers of global ones
	shared map[string]any          // what nodes have in common
	inputs []*input
	byName map[string]*input
	ready  heads
	log    *slog.Logger

	context  context.Context
	cancel   context.CancelFunc
	wall     int64            // the wall clock in milliseconds, as of the current step
	time     int64            // stream time: the greatest timestamp that was processed; -1: none
	hurry    bool             // a node asked for a commit
	starts   []lifecycle      // of nodes, the last one first
	running  []lifecycle      // those that were opened
	timers   [2]timers        // by clock
	current  *topology.Record // in process
	atWork   string           // the node that called a function of the program last
	marks    map[string]int64
	newMarks bool
	touched  bool      // something was processed since the last commit
	retry    retry     // the record that is processed again, also after a Rewind
	deadline time.Time // until when the task waits for records of an empty input, as of the last step
}

// Changelog is the topic from which a store is restored. Source says that it is an input of the program.
type Changelog struct {
	Topic  string
	Store  *store.Store
	Source bool
}

// Open makes a task: it opens the stores and builds the nodes.
func Open(cfg Config) (*Task, error) {
	part := cfg.Part
	if part == nil {
		subs := cfg.Topology.Subtopologies()
		if cfg.ID.Subtopology < 0 || cfg.ID.Subtopology >= len(subs) {
			return nil, fmt.Errorf("task %v: the topology has %d sub-topologies", cfg.ID, len(subs))
		}
		part = subs[cfg.ID.Subtopology]
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Task{
		cfg: cfg, part: part, named: map[string]*store.Store{}, byName: map[string]*input{}, marks: map[string]int64{},
		wall: cfg.Now.UnixMilli(), time: -1,
	}
	t.log = cfg.Log.With("task", cfg.ID.String())
	t.context, t.cancel = context.WithCancel(context.Background())
	err := t.openStores()
	if err == nil {
		err = t.build()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("task %v: %w", cfg.ID, err), t.Close(false))
	}
	return t, nil
}

func (t *Task) openStores() error {
	for _, s := range t.part.Stores {
		opened, err := store.Open(store.Config{
			Spec: s.Spec, Application: t.cfg.Application, Task: t.cfg.ID,
			Changelog: s.ChangelogName(t.cfg.Application), Partition: t.cfg.ID.Partition,
			Dir: filepath.Join(t.cfg.Dir, s.Name), Volatile: t.cfg.Volatile, Shared: s.Global, Resources: t.cfg.Resources, Log: t.logger(s),
			Expired: func([]byte, int64) { t.Drop(s.Name, "older than the store's retention") },
		})
		if err != nil {
			return err
		}
		t.stores = append(t.stores, opened)
		t.named[s.Name] = opened
	}
	return nil
}

// logger returns the function that writes a store's changes to its changelog, or nil.
func (t *Task) logger(s *topology.Store) func(key, value []byte, timestamp int64, headers []topology.Header) error {
	if !s.Logged {
		return nil
	}
	out := topology.Record{Topic: s.ChangelogName(t.cfg.Application), Partition: t.cfg.ID.Partition}
	return func(key, value []byte, timestamp int64, headers []topology.Header) error {
		out.Key, out.Value, out.Timestamp, out.Headers = key, value, timestamp, headers
		err := t.Send(&out)
		if refused(err) { // without it the store could not be restored: no handler is asked
			return fmt.Errorf("task %v: store %q: a change, its key of %d bytes, its value of %d, cannot be written to the changelog: %w",
				t.cfg.ID, s.Name, len(key), len(value), err)
		}
		return err
	}
}

// build makes the nodes, children first, and the queues of the sources.
func (t *Task) build() error {
	built := map[*topology.Node]any{}
	for i := len(t.part.Nodes) - 1; i >= 0; i-- { // parents were added before their children
		n := t.part.Nodes[i]
		children := make([]any, len(n.Children))
		for j, c := range n.Children {
			children[j] = built[c]
		}
		made, err := n.New(t, children)
		if err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		built[n] = made
	}
	for _, n := range t.part.Nodes {
		if n.Kind != topology.SourceNode {
			continue
		}
		for slot, topic := range n.Topics {
			in := &input{topic: t.TopicName(topic), source: built[n].(topology.Source), node: n.Name, slot: slot, time: -1, lag: -1}
			t.inputs = append(t.inputs, in)
			t.byName[in.topic] = in
		}
	}
	return nil
}

// Rewind takes a task back to where it was when it was opened, with its stores as of the last commit. What it has read,
// done and sent since is void. It is started again as at first.
func (t *Task) Rewind() error {
	if err := t.closeNodes(); err != nil {
		return err
	}
	for _, s := range t.stores {
		if err := s.Abandon(); err != nil {
			return fmt.Errorf("task %v: %w", t.cfg.ID, err)
		}
	}
	t.shared = nil
	t.inputs, t.byName, t.ready, t.marks = nil, map[string]*input{}, nil, map[string]int64{}
	t.current, t.atWork, t.newMarks, t.touched, t.deadline = nil, "", false, false, time.Time{}
	t.time, t.hurry = -1, false
	if err := t.build(); err != nil {
		return fmt.Errorf("task %v: %w", t.cfg.ID, err)
	}
	return nil
}

// ID returns the task's id.
func (t *Task) ID() topology.TaskID { return t.cfg.ID }

// Inputs returns the topics that the task reads, by their names in Kafka; it reads the partition of its id.
func (t *Task) Inputs() []string {
	topics := make([]string, len(t.inputs))
	for i, in := range t.inputs {
		topics[i] = in.topic
	}
	return topics
}

// Changelogs returns the topics from which the task's stores are restored.
func (t *Task) Changelogs() []Changelog {
	var logs []Changelog
	for i, s := range t.part.Stores {
		if s.Logged || s.SourceTopic != "" {
			logs = append(logs, Changelog{s.ChangelogName(t.cfg.Application), t.stores[i], s.SourceTopic != ""})
		}
	}
	return logs
}

// StateStore returns a store by name, or nil.
func (t *Task) StateStore(name string) *store.Store { return t.named[name] }

// Close closes the stores. What is not committed is thrown away unless clean, which says that everything is.
func (t *Task) Close(clean bool) error {
	errs := []error{t.closeNodes()}
	t.cancel()
	for _, s := range t.stores {
		if !clean {
			errs = append(errs, s.Abandon())
		}
		errs = append(errs, s.Close())
	}
	for _, s := range t.named {
		if s.ReadOnly() {
			errs = append(errs, s.Close())
		}
	}
	t.stores, t.named = nil, nil
	return errors.Join(errs...)
}
