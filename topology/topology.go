// Package topology holds the graph of a stream processing program as data: sources, processors, sinks, stores and
// the topics between them, without type parameters. A Topology is made by [Builder], checked and cut into
// sub-topologies once, and never changed afterwards; tasks make their processors from it.
package topology

import (
	"context"
	"fmt"
	"regexp"

	"github.com/millrace/millrace/state"
)

// Kind says what a node does.
type Kind uint8

// The kinds of nodes.
const (
	SourceNode Kind = iota
	ProcessorNode
	SinkNode
)

// A Node is one step of the graph.
type Node struct {
	Name     string
	Kind     Kind
	Topics   []string // of a source: what it reads, without the application's prefix
	Topic    string   // of a sink: what it writes, without the application's prefix; empty: what Router says
	Router   string   // of a sink that chooses the topic record by record: the name of the function that does
	Pattern  string   // of a source that reads what matches it
	Reset    Reset    // of a source: where to begin, if it says so
	Stores   []string // of a processor: the stores it uses
	Parents  []*Node
	Children []*Node

	// New makes the running node of one task. It is called once a task, children first; children are the running nodes
	// of Children in the same order. The running node of a source is a [Source].
	New func(ctx Context, children []any) (any, error)

	matches *regexp.Regexp           // the pattern, of whole names; nil: there is none
	newFor  func(topics int) NewFunc // makes New for so many
}

// A Source is the running node of a source. A task has one input queue for each topic it reads; slot is the number
// of the topic in the node's Topics.
type Source interface {
	// Decode makes rec the head of its queue: it decodes it, keeps it, and returns its timestamp by the source's
	// timestamp extractor, to which partitionTime is the greatest timestamp seen so far in that queue (-1: none).
	// A negative timestamp means that the record is to be dropped. The error is a *[DecodeError], or what the
	// extractor returned.
	Decode(slot int, rec *Record, partitionTime int64) (timestamp int64, err error)

	// Process sends the head of the queue through the graph.
	Process(slot int) error
}

// Context is what a running node may ask of its task.
type Context interface {
	Application() string
	Task() TaskID

	// Store returns the task's partition of a store (of package internal/store).
	Store(name string) (any, error)

	// TopicName returns the name that a topic of the graph has in Kafka: internal topics carry the application's
	// prefix. Partitions returns how many partitions it has.
	TopicName(name string) string
	Partitions(topic string) (int32, error)

	// Input is the record that is being processed. It is valid until the next one.
	Input() *Record

	// Shared returns what nodes of the task have in common under a name; the first that asks makes it.
	Shared(name string, make func() any) any

	// Become puts another record in process, and returns the one that was, to be put back: what was held back is sent on
	// in the name of the record that caused it.
	Become(origin *Record) (before *Record)

	// Send hands a record to the producer. Partition -1 lets the key choose, as Kafka's default partitioner does. The
	// record itself is copied, its bytes are not: they must not be changed afterwards.
	Send(*Record) error

	// Drop counts a record that a node skipped, and says why in the log.
	Drop(node, reason string)

	// Failed asks what becomes of a record whose processing by the node failed with err: nil says that it is skipped.
	// What it returns otherwise ends the task, and names the node and the place of the record.
	Failed(node string, err error) error

	// Unwritten asks what becomes of a record that the node could not write because of err: nil says that it is skipped.
	// Only what is the record's own fault is a question: it cannot be encoded, or whoever takes it refuses it. Any other
	// error is returned.
	Unwritten(node string, out *Record, err error) error

	// Context is passed to user functions; it ends when the task is closed.
	Context() context.Context

	// AtWork is where a node leaves its name before it calls a function of the program, so that a panic of the function
	// can be told with the name.
	AtWork() *string

	// Around returns what the program wants called around each record that a node takes; nil: nothing.
	Around(node string) func(process func() error) error

	// Wall is the wall clock in milliseconds, as of the task's current step; StreamTime is the greatest timestamp of the
	// records that the task has processed, -1 where it has none.
	Wall() int64
	StreamTime() int64

	// Children returns the names of a node's children, in their order.
	Children(node string) []string

	// OnStart has open called when the stores are restored, in the order of the nodes, and close when the task gives the
	// node up. It is for New to call, once a node.
	OnStart(open, close func() error)

	// Schedule has something done again and again, until cancel. It is not for New to call, but from open on.
	Schedule(Punctuation) (cancel func())

	// RequestCommit asks for a commit before its time.
	RequestCommit()

	// EmitInterval is how often, in milliseconds of the wall clock, windows that closed are looked for: 1000 (Java's
	// internal config __emit.interval.ms.kstreams.windowed.aggregation__).
	EmitInterval() int64

	// Mark and SetMark keep numbers by name in the metadata of the committed offsets (Java: ProcessorMetadata).
	Mark(name string) (int64, bool)
	SetMark(name string, value int64)
}

// A DecodeError says that a record's key or value could not be decoded.
type DecodeError struct {
	Node string // the source
	Part string // "key" or "value"
	Err  error
}

func (e *DecodeError) Error() string { return "decoding the " + e.Part + ": " + e.Err.Error() }
func (e *DecodeError) Unwrap() error { return e.Err }

// An EncodeError says that the key or value of a record could not be encoded to be written.
type EncodeError struct {
	Topic string // for which it is
	Part  string // "key" or "value"
	Err   error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("encoding the %s for topic %q: %v", e.Part, e.Topic, e.Err)
}
func (e *EncodeError) Unwrap() error { return e.Err }

// RecordRefused says that it is the record's fault.
func (e *EncodeError) RecordRefused() {}

// A Topology is a program's graph, frozen.
type Topology struct {
	nodes         []*Node // in the order in which they were added
	stores        map[string]*Store
	internal      map[string]Internal
	together      [][]string // sources whose topics must be partitioned alike
	subtopologies []*Subtopology
}

// A Store is a state store of the graph and the nodes that use it. A global one is kept whole by each process, from all
// partitions of a topic; its only user is the node that writes it, and every other node may read it.
type Store struct {
	*state.Spec
	Users  []*Node
	Global bool
}

// Internal is a topic that belongs to the application: a repartition topic. Its name in Kafka is the application's
// id, a dash, and Name. Partitions is the number asked for, or 0: as many as what is written to it comes from.
type Internal struct {
	Name       string
	Partitions int32
}

// A Subtopology is a part of the graph that is connected by edges and shared stores; each of its tasks runs it for
// one partition. Topics carry no application prefix.
type Subtopology struct {
	ID     int
	Nodes  []*Node    // in the order in which they were added
	Stores []*Store   // in the order in which their first user was added
	Topics []string   // what it reads, repartition topics included, sorted
	Sinks  []string   // the repartition topics it writes, sorted
	Groups [][]string // the topics that must have equal partition counts, sorted
	Global string     // the topic that it keeps a global store from; then it has no Topics, and no tasks
}

// Nodes returns all nodes in the order in which they were added.
func (t *Topology) Nodes() []*Node { return t.nodes }

// Subtopologies returns the parts of the graph in the order of their ids.
func (t *Topology) Subtopologies() []*Subtopology { return t.subtopologies }

// Globals returns the parts of the graph that keep global stores, in the order of their ids.
func (t *Topology) Globals() (global []*Subtopology) {
	for _, sub := range t.subtopologies {
		if sub.Global != "" {
			global = append(global, sub)
		}
	}
	return global
}

// Store returns a store by name, or nil.
func (t *Topology) Store(name string) *Store { return t.stores[name] }

// Internal returns the repartition topic of that name; ok is false where the topic is not the application's own.
func (t *Topology) Internal(topic string) (in Internal, ok bool) {
	in, ok = t.internal[topic]
	return in, ok
}

// TopicName returns the name that a topic of the graph has in Kafka.
func (t *Topology) TopicName(application, topic string) string {
	if _, ok := t.internal[topic]; ok {
		return application + "-" + topic
	}
	return topic
}

// ChangelogName returns the name of a store's changelog topic in Kafka, or of the input topic that serves as one.
func (s *Store) ChangelogName(application string) string {
	if s.SourceTopic != "" {
		return s.SourceTopic
	}
	return application + "-" + s.Name + "-changelog"
}
