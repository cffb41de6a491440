package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// A store is read from outside by the goroutine that owns its task: it takes a function from its channel between two
// records, or two batches of a restore, or while it waits for a commit, and calls it. So nothing is locked for reads, a
// reader sees what the task sees, and it holds the task up for as long as one function takes.

// A lender is a task that can be read.
type lender struct {
	role  Role
	lend  chan<- func()      // taken by the goroutine that owns the task
	ended <-chan struct{}    // closed when that has ended
	task  func() *task.Task  // for that goroutine; nil: it does not have the task yet, or any more
	lag   func(string) int64 // of a store of a copy; nil: it has none
}

// lenders are the tasks that can be read now.
type lenders struct {
	mu sync.Mutex
	of map[topology.TaskID]*lender
}

// put makes a task readable until the function that it returns is called, or another lender has it.
func (l *lenders) put(id topology.TaskID, how *lender) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[topology.TaskID]*lender)
	}
	l.of[id] = how
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.of[id] == how {
			delete(l.of, id)
		}
	}
}

func (l *lenders) get(id topology.TaskID) *lender {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[id]
}

// A Reading is a store that is lent, and what is known of it.
type Reading struct {
	Store   *store.Store
	Role    Role
	Lag     int64            // offsets of its changelog that a copy lacks, as far as is known; 0 of an active task
	Reached map[string]int64 // by input topic, the offset after the last record that the task processed; of a copy none
}

// ErrNotHere says that a task is not in this process, or not in a role that may be read.
var ErrNotHere = errors.New("the task is not here")

// Read has f called with a store of a task, by the goroutine that owns the task. copies lets it be a standby, or one that is
// restored. The store is f's for as long as f runs.
func (i *Instance) Read(ctx context.Context, id topology.TaskID, name string, copies bool, f func(Reading) error) error {
	for {
		l := i.lenders.get(id)
		if l == nil || l.role != Active && !copies {
			return ErrNotHere
		}
		var err error
		moved := false
		done := make(chan struct{})
		read := func() {
			defer close(done)
			t := l.task()
			if t == nil { // not yet, or no longer
				moved = true
				return
			}
			err = guard(func() error { return l.read(t, name, f) })
		}
		select {
		case l.lend <- read:
			<-done // it is called now
		case <-l.ended:
			moved = true
		case <-ctx.Done():
			return fmt.Errorf("waiting for task %v to be readable: %w", id, ctx.Err())
		case <-i.background.Done():
			return errNotThere
		}
		if !moved {
			return err
		}
	}
}

func (l *lender) read(t *task.Task, name string, f func(Reading) error) error {
	r := Reading{Store: t.StateStore(name), Role: l.role}
	if r.Store == nil {
		return fmt.Errorf("task %v has no store %q", t.ID(), name)
	}
	if l.role == Active {
		r.Reached = t.Reached()
	} else {
		r.Lag = l.lag(name)
		if err := r.Store.Readable(); err != nil {
			return err
		}
	}
	return f(r)
}

// lendSlot makes a task readable that is restored, or a standby, as long as the goroutine is at it.
func (i *Instance) lendSlot(s *slot, role Role) (lend <-chan func(), kept func()) {
	c, over := make(chan func()), make(chan struct{})
	t := s.run.Task
	remove := i.lenders.put(s.id, &lender{
		role: role, lend: c, ended: over, task: func() *task.Task { return t },
		lag: func(store string) int64 {
			i.sums.Lock()
			defer i.sums.Unlock()
			return i.sums.positions[s.id][store].lag
		},
	})
	return c, func() { remove(); close(over) }
}

// lendRunning makes a task readable that a worker has, or is about to take.
func (i *Instance) lendRunning(w *worker, r *running) (unlend func()) {
	return i.lenders.put(r.id, &lender{role: Active, lend: w.lend, ended: w.ended, task: func() *task.Task {
		if w.tasks[r.id] != r {
			return nil
		}
		return r.Task
	}})
}

// serve calls what readers want of the worker's tasks, as far as they wait.
func (w *worker) serve() {
	for range mostReads {
		select {
		case read := <-w.lend:
			read()
		default:
			return
		}
	}
}

// mostReads is how many reads a worker answers before it goes on with its records.
const mostReads = 64

// Readable returns those of some tasks that can be read here.
func (i *Instance) Readable(ids []topology.TaskID, copies bool) (here []topology.TaskID) {
	for _, id := range ids {
		if l := i.lenders.get(id); l != nil && (copies || l.role == Active) {
			here = append(here, id)
		}
	}
	return here
}

// Located is where the partitions of a store are.
type Located struct {
	Subtopology int
	Tasks       []topology.TaskID // in order
	Global      bool              // each process has it; Tasks has an id that stands for it
}

// Locate returns the tasks that have a store of that name.
func (i *Instance) Locate(name string) (Located, error) {
	layout := i.known.Load()
	if layout == nil || !i.serving.Load() {
		return Located{}, errNotThere
	}
	at := Located{Subtopology: -1}
	for _, sub := range i.cfg.Topology.Subtopologies() {
		if slices.ContainsFunc(sub.Stores, func(s *topology.Store) bool { return s.Name == name }) {
			at.Subtopology = sub.ID
			if at.Global = sub.Global != ""; at.Global {
				at.Tasks = []topology.TaskID{globalTask(sub)}
			}
		}
	}
	for _, t := range layout.Tasks {
		if t.ID.Subtopology == at.Subtopology {
			at.Tasks = append(at.Tasks, t.ID)
		}
	}
	return at, nil
}

// A Host is a process of the application that says where it can be asked, and what it has by the group's last assignment.
type Host struct {
	assign.Endpoint
	Active, Standby []topology.TaskID
}

// Hosts returns the processes of the application that said where they can be asked, in the order of their endpoints.
func (i *Instance) Hosts() ([]Host, error) {
	layout := i.known.Load()
	if layout == nil || !i.serving.Load() {
		return nil, errNotThere
	}
	active, standby := i.member.Hosts()
	var hosts []Host
	for e := range active {
		h := Host{Endpoint: e}
		for _, t := range layout.Tasks {
			has := func(inputs []assign.TopicPartition) bool {
				return slices.ContainsFunc(t.Inputs, func(p assign.TopicPartition) bool { return slices.Contains(inputs, p) })
			}
			switch {
			case has(active[e]):
				h.Active = append(h.Active, t.ID)
			case has(standby[e]):
				h.Standby = append(h.Standby, t.ID)
			}
		}
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b Host) int { return a.Endpoint.Compare(b.Endpoint) })
	return hosts, nil
}
