package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/restore"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// globals keeps the global stores of an instance, all of them whole. The main loop brings them up to what their topics
// have when the instance begins; a goroutine of their own goes on with it. Tasks read them meanwhile, see store.Reader.
type globals struct {
	i      *Instance
	kept   map[string]*task.Global // by store; does not change any more once they are open
	inputs []*globalInput
	inbox  queue[globalFetched]
	lend   chan func() // see lend.go
}

// globalInput is a partition that a global store is kept from.
type globalInput struct {
	of   *task.Global
	part assign.TopicPartition
	feed interface {
		Done(n int)
		Close()
	}
	start, next, end, records int64
	begun                     time.Time
	full, done                bool // done: the end was reached
}

type globalFetched struct {
	in        *globalInput
	records   []topology.Record
	next, end int64
	err       error
}

// openGlobals opens the global stores, and waits until they have what their topics have now.
func (i *Instance) openGlobals(ctx context.Context) error {
	g := &globals{i: i, kept: make(map[string]*task.Global), inbox: newQueue[globalFetched](), lend: make(chan func())}
	i.globals = g
	for _, part := range i.cfg.Topology.Globals() {
		if err := g.open(part); err != nil {
			return err
		}
	}
	if err := g.begin(ctx); err != nil {
		return err
	}
	return g.catchUp(ctx)
}

// open opens a global store. One whose files cannot be read is put aside, to be made again of its topic.
func (g *globals) open(part *topology.Subtopology) error {
	i, name := g.i, part.Stores[0].Name
	dir := ""
	if i.dir.Path != "" {
		dir = filepath.Join(i.dir.Path, globalDir)
	}
	for {
		t, err := task.OpenGlobal(task.Config{
			Application: i.cfg.Application, Topology: i.cfg.Topology, Dir: dir, Resources: i.stores, Partitions: i.partitions(),
			Undecodable: i.cfg.Undecodable, Failed: task.Handler{Decide: i.cfg.Failed.Decide}, Now: time.Now(), Around: i.cfg.Around, // without patience: there is no commit to go back to
			Dropped: func(node, reason string) { i.metrics.Dropped(task.GlobalID, node) }, Log: i.log,
		}, part)
		var corrupt *store.CorruptError
		if errors.As(err, &corrupt) {
			i.log.Error("a global store cannot be read; it is put aside and made again of its topic", "store", name, "directory", corrupt.Dir, "error", err)
			if err := putAside(corrupt.Dir); err != nil {
				return &store.DiskError{Dir: corrupt.Dir, Err: err}
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("runtime: the global store %q: %w", name, err)
		}
		g.kept[name] = t
		return nil
	}
}

// begin starts to read each partition where the store is, or from its beginning where the store has nothing that the
// partition still begins with.
func (g *globals) begin(ctx context.Context) error {
	for name, t := range g.kept {
		var parts []assign.TopicPartition
		for p := range g.i.layout.Partitions[t.Topic()] {
			parts = append(parts, assign.TopicPartition{Topic: t.Topic(), Partition: p})
		}
		starts, ends, err := g.i.logEnds(ctx, parts)
		if err != nil {
			return err
		}
		at, err := t.State().Positions()
		if err != nil {
			return err
		}
		for _, p := range parts {
			next, ok := at[p.Partition]
			if ok && (next < starts[p] || next > ends[p]) {
				g.i.log.Warn("the global store does not match its topic, which was truncated or made anew, or has deleted what the store "+
					"has not read; it is thrown away and made again in full", "store", name, "partition", p, "position", next, "log_start", starts[p], "log_end", ends[p])
				if err := t.Wipe(); err != nil {
					return err
				}
				at = nil
				break
			}
		}
		for _, p := range parts {
			in := &globalInput{of: t, part: p, end: ends[p], begun: time.Now()}
			next, ok := at[p.Partition]
			if in.full = !ok; in.full {
				next = starts[p]
			}
			in.start, in.next = next, next
			g.inputs = append(g.inputs, in)
		}
	}
	return nil
}

func (g *globals) subscribe(in *globalInput) {
	in.feed = g.i.ports.Inputs.Subscribe(in.part, in.next, func(records []topology.Record, next, end int64, err error) {
		g.inbox.put(globalFetched{in, records, next, end, err})
	})
}

// catchUp reads until each partition was read to where it ended when this began, or, of what is read committed, up to the
// first open transaction. Where nothing comes for too long it fails.
func (g *globals) catchUp(ctx context.Context) error {
	patience := max(g.i.cfg.TaskTimeout, g.i.cfg.StartTimeout)
	waiting := 0
	for _, in := range g.inputs {
		g.subscribe(in)
		if in.next >= in.end {
			in.done = true
			continue
		}
		waiting++
		g.observe(in, restore.Begin)
	}
	for waiting > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return g.stuck(patience)
		case <-g.inbox.filled:
		}
		for _, f := range g.inbox.take(nil) {
			if err := g.apply(f); err != nil {
				return err
			}
			if in := f.in; !in.done && in.next >= min(in.end, f.end) {
				in.done = true
				waiting--
				g.observe(in, restore.End)
			} else if !in.done {
				g.observe(in, restore.Going)
			}
		}
	}
	for name, t := range g.kept {
		if err := t.State().RestoreDone(); err != nil { // it reaches the disk
			return fmt.Errorf("runtime: the global store %q: %w", name, err)
		}
	}
	return nil
}

func (g *globals) stuck(after time.Duration) error {
	var behind []assign.TopicPartition
	for _, in := range g.inputs {
		if !in.done {
			behind = append(behind, in.part)
		}
	}
	return fmt.Errorf("runtime: nothing has come of %v for %v, which global stores are kept from; see what is wrong with their leaders, or "+
		"wait for longer (option TaskTimeout)", behind, after)
}

// follow keeps the stores up to date until ctx ends. An error is the end of the instance.
func (g *globals) follow(ctx context.Context) {
	ended := make(chan struct{})
	defer close(ended)
	for _, part := range g.i.cfg.Topology.Globals() {
		t := g.kept[part.Stores[0].Name].Task
		defer g.i.lenders.put(globalTask(part), &lender{role: Active, lend: g.lend, ended: ended, task: func() *task.Task { return t }})()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case read := <-g.lend:
			read()
			continue
		case <-g.inbox.filled:
		}
		if err := guard(func() error { return g.update(g.inbox.take(nil)) }); err != nil {
			g.i.events.put(failed{err: err})
			return
		}
	}
}

// update applies what came, and shows it to readers.
func (g *globals) update(came []globalFetched) error {
	for _, f := range came {
		if err := g.apply(f); err != nil {
			return err
		}
	}
	for name, t := range g.kept {
		if err := t.State().Publish(); err != nil {
			return fmt.Errorf("runtime: the global store %q: %w", name, err)
		}
	}
	return nil
}

func (g *globals) apply(f globalFetched) error {
	in := f.in
	name := in.of.State().Spec().Name
	if f.err != nil {
		if _, outOfRange := asOutOfRange(f.err); outOfRange {
			return fmt.Errorf("runtime: the global store %q cannot go on, as its topic has deleted records that it has not read, or was "+
				"truncated; start again, and it is made again in full: %w", name, f.err)
		}
		return fmt.Errorf("runtime: the global store %q: %w", name, f.err)
	}
	if err := in.of.Apply(in.part.Partition, f.records, f.next, time.Now()); err != nil {
		return fmt.Errorf("runtime: the global store %q: %w", name, err)
	}
	in.next, in.records = f.next, in.records+int64(len(f.records))
	in.feed.Done(len(f.records))
	g.i.metrics.Lag(in.part, max(0, f.end-f.next))
	return nil
}

func (g *globals) observe(in *globalInput, phase restore.Phase) {
	p := restore.Progress{
		Task: task.GlobalID, Store: in.of.State().Spec().Name, From: in.part, Phase: phase, Full: in.full,
		Start: in.start, Position: in.next, End: in.end, Records: in.records, Duration: time.Since(in.begun),
	}
	left, over := int64(0), true // of all its partitions
	for _, o := range g.inputs {
		if o.of == in.of && !o.done && phase != restore.Left {
			left, over = left+max(0, o.end-o.next), false
		}
	}
	g.i.metrics.Restoring(p.Task, p.Store, left, over)
	if g.i.cfg.OnRestore != nil {
		g.i.cfg.OnRestore(p)
	}
}

// globalTask is the id by which the store of a part of the topology is read from outside.
func globalTask(part *topology.Subtopology) topology.TaskID {
	return topology.TaskID{Subtopology: part.ID, Partition: -1}
}

// reader returns a reader of a global store, for a task.
func (g *globals) reader(name string) (*store.Store, error) {
	if t := g.kept[name]; t != nil {
		return t.State().Reader(), nil
	}
	return nil, fmt.Errorf("runtime: there is no global store %q", name)
}

// close closes the stores, after all that read them.
func (g *globals) close() error {
	var errs []error
	for _, in := range g.inputs {
		if in.feed != nil {
			in.feed.Close()
			g.i.metrics.NoLag(in.part)
			if !in.done {
				g.observe(in, restore.Left)
			}
		}
	}
	for _, t := range g.kept {
		errs = append(errs, t.Close(true))
	}
	return errors.Join(errs...)
}
