package task

import (
	"errors"
	"log/slog"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/topology"
)

// A Global keeps a global store: a task that processes all partitions of one topic, sends nothing, and commits nothing
// but to its store, which names how far it has each partition. What is restored goes the same way as what comes later:
// each record is decoded and given to the processor.
//
// One goroutine owns it. Readers of its store are made by any, and are closed before it is.
type Global struct {
	*Task
	store *store.Store
}

// GlobalID is the id of tasks that keep global stores (as in Java).
var GlobalID = topology.TaskID{Subtopology: -1, Partition: -1}

// batchSize is how many records are processed, at most, before they are committed.
const batchSize = 1000

// OpenGlobal makes the task of a part of the topology that keeps a global store.
func OpenGlobal(cfg Config, part *topology.Subtopology) (*Global, error) {
	cfg.ID, cfg.Part, cfg.MaxIdle, cfg.Output = GlobalID, part, -1, nowhere{cfg.Log}
	t, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.Start(nil, cfg.Now); err != nil {
		return nil, errors.Join(err, t.Close(false))
	}
	return &Global{t, t.stores[0]}, nil
}

// Topic returns the topic.
func (g *Global) Topic() string { return g.part.Global }

// State returns the store.
func (g *Global) State() *store.Store { return g.store }

// Apply processes records of a partition, in the order of their offsets, and commits them to the store with next, the
// offset after them. Readers see it after [store.Store.Publish].
func (g *Global) Apply(partition int32, records []topology.Record, next int64, now time.Time) error {
	for len(records) > batchSize {
		batch := records[:batchSize:batchSize]
		if err := g.Apply(partition, batch, batch[batchSize-1].Offset+1, now); err != nil {
			return err
		}
		records = records[batchSize:]
	}
	if len(records) > 0 {
		if err := g.Add(g.Topic(), records); err != nil {
			return err
		}
	}
	for n := 1; n > 0; {
		var err error
		if n, err = g.Process(batchSize, now); err != nil {
			return err
		}
	}
	g.store.SetPosition(partition, next)
	return g.Committed(nil)
}

// Wipe empties the store, so that it is kept from the beginning of the topic.
func (g *Global) Wipe() error { return g.store.Wipe() }

// nowhere takes the dead letters of global stores: as in Java, they are not written.
type nowhere struct{ log *slog.Logger }

func (n nowhere) Send(r *topology.Record) error {
	if n.log != nil {
		n.log.Warn("a dead letter of a global store is not written", "topic", r.Topic)
	}
	return nil
}
