package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A gate lets through while it is open. It is open at first.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // closed when the gate opens; nil while it is open
	shut   atomic.Bool
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
		g.shut.Store(true)
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
		g.shut.Store(false)
	}
}

// wait waits until the gate is open or ctx ends.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return ctx.Err()
	}
	select {
	case <-closed:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause makes all tasks stop to process, to be restored and to follow as standbys. The instance stays in the group, and
// what was processed is committed.
func (i *Instance) Pause() {
	i.gate.close()
	i.log.Info("paused")
}

// Resume ends a pause.
func (i *Instance) Resume() {
	i.gate.open()
	i.events.put(resumed{})
	i.log.Info("resumed")
}

// Paused says whether the instance is paused.
func (i *Instance) Paused() bool { return i.gate.shut.Load() }

// What the main loop is asked from outside.
type (
	// resumed: the workers have something to do again.
	resumed struct{}
	// resize: there shall be so many workers. The answer comes when all tasks are where they belong.
	resize struct {
		workers int
		done    chan error
	}
	// opened: a worker that was added can write, or cannot.
	opened struct {
		w   *worker
		err error
		of  resize
	}
	// handedLate: a worker let go of a task that was to move, after that was given up.
	handedLate struct{ run *running }
	// inspect: what is where.
	inspect struct{ answer chan []TaskStatus }
)

var (
	errNotThere   = errors.New("runtime: the instance does not run")
	errDrainEnded = errors.New("runtime: the drain was ended before the instance had nothing left")
)

// ask hands something to the main loop and waits for its answer.
func ask[T any](ctx context.Context, i *Instance, e any, answer chan T) (none T, err error) {
	if !i.serving.Load() {
		return none, errNotThere
	}
	i.events.put(e)
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-i.background.Done():
		return none, errNotThere
	}
}

// SetWorkers changes the number of workers, and returns when tasks have moved accordingly.
func (i *Instance) SetWorkers(ctx context.Context, n int) error {
	done := make(chan error, 1)
	failed, err := ask(ctx, i, resize{n, done}, done)
	return errors.Join(err, failed)
}

// resize makes workers or ends them.
func (i *Instance) resize(e resize) error {
	switch have := len(i.workers); {
	case e.workers == have:
		e.done <- nil
	case e.workers > have:
		i.addWorker(e)
	default:
		return i.removeWorkers(e)
	}
	return nil
}

// addWorker makes one worker; when it can write there is the next one.
func (i *Instance) addWorker(e resize) {
	number := 1
	for slices.ContainsFunc(i.workers, func(w *worker) bool { return w.number == number }) {
		number++ // the first that is free, as in Java: what it left open before is ended
	}
	w, err := newWorker(i, number)
	if err != nil {
		e.done <- err
		return
	}
	i.background.wg.Go(func() {
		ctx, cancel := context.WithTimeout(i.background.Context, i.cfg.StartTimeout)
		defer cancel()
		i.events.put(opened{w, w.producer.Open(ctx), e})
	})
}

func (i *Instance) opened(e opened) {
	if e.err != nil {
		e.w.producer.Close()
		e.of.done <- fmt.Errorf("runtime: worker %d cannot be added: %w", e.w.number, e.err)
		return
	}
	i.workers = append(i.workers, e.w)
	go e.w.run()
	i.log.Info("added a worker", "worker", e.w.number, "workers", len(i.workers))
	i.member.SetWorkers(len(i.workers))
	i.settle()
	i.events.put(e.of)
}

// removeWorkers ends the last ones; their tasks go to the others. One that does not hand a task over in time stays.
func (i *Instance) removeWorkers(e resize) error {
	all, leaving := i.workers, i.workers[e.workers:]
	i.workers = slices.Clone(i.workers[:e.workers])
	for n, w := range leaving {
		if err := i.handAll(w); err != nil {
			i.workers = append(i.workers, all[e.workers+n:]...)
			e.done <- err
			return nil
		}
		w.orders.put(order{stop: true, done: make(chan struct{})})
		select {
		case <-w.ended:
		case <-i.background.Done():
			return errNotThere
		}
		i.log.Info("removed a worker", "worker", w.number, "workers", len(i.workers))
	}
	i.member.SetWorkers(len(i.workers))
	e.done <- nil
	return nil
}

// handAll moves all tasks of a worker to others. What it cannot hand over comes as events.
func (i *Instance) handAll(w *worker) error {
	for _, id := range sorted(i.slots) {
		s := i.slots[id]
		if s.worker != w {
			continue
		}
		if moved, err := i.hand(s); !moved {
			return err
		}
	}
	return nil
}

// hand moves a task from its worker to another one. It does not move where the worker has failed, or lost the task: an
// event says so then. An error says that the worker does not answer; if it does later, the task moves then.
func (i *Instance) hand(s *slot) (moved bool, err error) {
	o := order{hand: s.id, done: make(chan struct{}), handed: new(*running)}
	s.worker.orders.put(o)
	late := time.NewTimer(i.cfg.RevokeTimeout)
	defer late.Stop()
	select {
	case <-o.done:
	case <-late.C:
		i.background.wg.Go(func() {
			select {
			case <-o.done:
				i.events.put(handedLate{*o.handed})
			case <-i.background.Done():
			}
		})
		return false, fmt.Errorf("runtime: worker %d did not hand task %v over within %v: a function of the program, or the cluster, keeps it",
			s.worker.number, s.id, i.cfg.RevokeTimeout)
	}
	if *o.handed == nil {
		return false, nil
	}
	s.worker.load--
	i.place(s)
	return true, nil
}

// handedLate places a task that a worker let go of when nobody waited for it any more.
func (i *Instance) handedLate(r *running) {
	if r == nil {
		return
	}
	s := i.slots[r.id]
	if s == nil || s.run != r { // given up meanwhile
		i.abandon(r, nil)
		return
	}
	s.worker.load--
	i.place(s)
	i.settle()
}

// Role is what an instance does with a task.
type Role string

// The roles.
const (
	Active    Role = "active"    // it is processed
	Restoring Role = "restoring" // it will be when its stores are restored
	Standby   Role = "standby"   // its stores are kept up to date
)

// TaskStatus is what an instance does with a task.
type TaskStatus struct {
	ID     topology.TaskID
	Role   Role
	Worker int // that processes it, from 1; 0: none
	Inputs []InputStatus
	Stores []StoreStatus // those with a changelog
}

// StoreStatus is how far a store is behind its changelog: by how many offsets, when that was last heard. One of an active
// task is not.
type StoreStatus struct {
	Name string
	Lag  int64
}

// InputStatus is how far an input of an active task is.
type InputStatus struct {
	assign.TopicPartition
	Committed int64 // the offset that was committed last
	Lag       int64 // records that are not processed yet, as far as the broker has said
}

// Status returns what is where, by tasks.
func (i *Instance) Status(ctx context.Context) ([]TaskStatus, error) {
	answer := make(chan []TaskStatus, 1)
	return ask(ctx, i, inspect{answer}, answer)
}

func (i *Instance) status() (all []TaskStatus) {
	for _, id := range sorted(i.slots) {
		s := i.slots[id]
		t := TaskStatus{ID: id, Role: Restoring}
		switch {
		case s.standby:
			t.Role = Standby
		case s.worker != nil:
			t.Role, t.Worker = Active, s.worker.number
			for _, in := range s.run.inputs {
				t.Inputs = append(t.Inputs, InputStatus{in.part, in.stored.Load(), in.lag.Load() + in.held.Load()})
			}
		}
		t.Stores = i.storeStatus(t)
		all = append(all, t)
	}
	return all
}

func (i *Instance) storeStatus(t TaskStatus) (all []StoreStatus) {
	i.sums.Lock()
	defer i.sums.Unlock()
	for _, s := range i.cfg.Topology.Subtopologies()[t.ID.Subtopology].Stores {
		if s.Logged || s.SourceTopic != "" {
			st := StoreStatus{Name: s.Name}
			if t.Role != Active {
				st.Lag = i.sums.positions[t.ID][s.Name].lag
			}
			all = append(all, st)
		}
	}
	return all
}

// Known returns the process's id, and how many tasks the whole application has, once that is known.
func (i *Instance) Known() (process string, tasks int) {
	layout := i.known.Load()
	if layout == nil {
		return "", 0
	}
	return i.dir.ID.String(), len(layout.Tasks)
}

// A Lag is how far a store is behind its changelog.
type Lag struct {
	Task     topology.TaskID
	Store    string
	Role     Role
	Position int64 // the offset in the changelog that it goes up to
	End      int64 // where the changelog ends
}

// Lags asks the cluster how far the stores that are here are behind their changelogs. A store of an active task is not:
// what is in its changelog comes from it.
func (i *Instance) Lags(ctx context.Context) ([]Lag, error) {
	tasks, err := i.Status(ctx)
	if err != nil {
		return nil, err
	}
	var lags []Lag
	var logs []assign.TopicPartition
	for _, t := range tasks {
		sub := i.cfg.Topology.Subtopologies()[t.ID.Subtopology]
		for _, s := range sub.Stores {
			if s.Logged || s.SourceTopic != "" {
				lags = append(lags, Lag{Task: t.ID, Store: s.Name, Role: t.Role})
				logs = append(logs, assign.TopicPartition{Topic: s.ChangelogName(i.cfg.Application), Partition: t.ID.Partition})
			}
		}
	}
	ends, err := i.ports.Cluster.Offsets(ctx, logs, latest)
	if err != nil {
		return nil, err
	}
	i.sums.Lock()
	defer i.sums.Unlock()
	for n := range lags {
		l := &lags[n]
		l.End = ends[logs[n]]
		if l.Position = i.sums.positions[l.Task][l.Store].next; l.Role == Active {
			l.Position = l.End
		}
	}
	return lags, nil
}
