package streams

import (
	"time"

	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// A Failure is a record that could not be decoded or processed, or from which one came that could not be written: the
// Task and Node, the Record as it was read (nil where none is in process), the Output that could not be written, as far as
// it was encoded, and why, Err. The records are valid during the call.
type Failure = task.Failure

// Decision is what becomes of such a record.
type Decision = task.Decision

// The decisions. With each but Fail the application goes on.
const (
	Fail       = task.Fail       // the application stops
	Skip       = task.Skip       // the record is dropped and counted
	DeadLetter = task.DeadLetter // the record is dropped, counted, and written to the dead-letter topic
	Retry      = task.Retry      // the record is processed again; only for a ProcessingHandler, elsewhere it is Fail
)

// A Handler decides what becomes of a record that failed. It is called by the goroutine of the task. As work is done again
// after trouble, it may be called more than once for a record, and the last decision counts.
type Handler func(*Failure) Decision

// Always returns a handler that decides the same each time: Always(Skip), say.
func Always(d Decision) Handler { return func(*Failure) Decision { return d } }

// DeserializationHandler sets what becomes of a record whose key or value cannot be decoded. Default: the application
// stops. (Java: deserialization.exception.handler, KIP-161)
func DeserializationHandler(h Handler) AppOption { return func(c *appConfig) { c.undecodable = h } }

// ProcessingHandler sets what becomes of a record for which a function of the program returns an error. Default: the
// application stops.
//
// Retry is for what passes, such as a service that does not answer: the worker starts over from the last commit, so all
// that it did since is done again, with pauses that grow up to 10 s, and what is written meanwhile counts once with
// [ExactlyOnce]. After [TaskTimeout] it is Fail. (Java: processing.exception.handler, KIP-1033; it has no retry)
func ProcessingHandler(h Handler) AppOption { return func(c *appConfig) { c.failed = h } }

// ProductionHandler sets what becomes of a record that cannot be written to a topic, be it for repartition, because of
// itself: its key or value cannot be encoded; it is larger than a batch may be (1 MiB uncompressed); or the broker refuses
// it, as too large for the topic, for its timestamp, or as invalid. Default: the application stops. It is not asked when
// the cluster is in trouble, when the application may not write to the topic, or for a record of a changelog: without that
// a store could not be restored, so the application stops, and the error names the store.
//
// What a broker refuses is known only after other records were sent, and of a batch it is not known which it was. So the
// worker starts over from the last commit, sends the records of such a batch one by one, and asks the handler when the
// record comes that is refused alone: nothing else is lost, and with [ExactlyOnce] nothing is doubled. That takes a
// moment, so where large records are common, raise the topic's max.message.bytes. (Java: production.exception.handler,
// KIP-210)
func ProductionHandler(h Handler) AppOption { return func(c *appConfig) { c.unwritable = h } }

// DeadLetterTopic names the topic to which records are written for which a handler decides DeadLetter: as they were read,
// with headers named __streams.errors.* that say where they came from and what was wrong. With [ExactlyOnce] they are
// part of the transaction. The topic has to be there. Default: none. (Java: errors.dead.letter.queue.topic.name, KIP-1034)
func DeadLetterTopic(topic string) AppOption { return func(c *appConfig) { c.deadLetters = topic } }

// Around has a function of the program called around each record that a node takes, but for sources: to trace, to log, to
// measure. For each node of a task make returns that function, or nil for none; it may be called again for the same node. The
// function calls process, which returns when the node and all behind it are done with the record, and returns its error; where
// it does not call it, the node does not see the record. It costs an allocation a record. (Java: processor.wrapper.class,
// KIP-1112)
func Around(make func(task topology.TaskID, node string) func(process func() error) error) AppOption {
	return func(c *appConfig) { c.around = make }
}

// handler is the same in the task's terms; patience is how long it may retry.
func (c *appConfig) handler(h Handler, patience time.Duration) task.Handler {
	return task.Handler{Decide: h, Topic: c.deadLetters, Patience: patience}
}
