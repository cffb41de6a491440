package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/restore"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// What happens to an instance, as values that the main loop takes one after the other.
type (
	// revoked: give up these tasks, then close done.
	revoked struct {
		ids  []topology.TaskID
		done chan struct{}
	}
	// assigned: these are the tasks from now on.
	assigned struct {
		ids  []topology.TaskID
		done chan struct{}
	}
	// lost: all tasks may be run by others.
	lost struct{ done chan struct{} }
	// ready: a task is restored and can run.
	ready struct{ s *slot }
	// unready: a task could not be prepared.
	unready struct {
		s   *slot
		err error
	}
	// gone: a worker gave up a task by itself.
	gone struct{ run *running }
	// failed: a worker met an error that is the end of the instance.
	failed struct {
		w   *worker
		err error
	}
)

// A queue is read by one goroutine. Putting something in never waits, so that workers and the main loop cannot wait for
// each other.
type queue[T any] struct {
	filled chan struct{} // cap 1
	mu     struct {
		sync.Mutex
		items []T
	}
}

func newQueue[T any]() queue[T] { return queue[T]{filled: make(chan struct{}, 1)} }

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	q.mu.items = append(q.mu.items, item)
	q.mu.Unlock()
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// take returns what came, and leaves a slice to be filled.
func (q *queue[T]) take(empty []T) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.mu.items
	q.mu.items = empty[:0]
	return items
}

// memberEvents hands the calls of the membership to the main loop, and waits for it.
func (i *Instance) memberEvents() (ev MemberEvents) {
	wait := func(e any, done chan struct{}) {
		i.events.put(e)
		<-done
	}
	ev.Revoked = func(ids []topology.TaskID) { done := make(chan struct{}); wait(revoked{ids, done}, done) }
	ev.Assigned = func(active, _ []topology.TaskID) {
		done := make(chan struct{})
		wait(assigned{active, done}, done)
	}
	ev.Lost = func() { done := make(chan struct{}); wait(lost{done}, done) }
	return ev
}

func (i *Instance) handle(e any) error {
	switch e := e.(type) {
	case revoked:
		defer close(e.done)
		i.becomeRebalancing()
		i.giveUp(e.ids, false)
	case lost:
		defer close(e.done)
		i.becomeRebalancing()
		i.giveUp(sorted(i.slots), true)
	case assigned:
		defer close(e.done)
		i.assigned = true
		i.start(e.ids)
		i.settle()
	case ready:
		i.place(e.s)
		i.settle()
	case unready:
		delete(i.slots, e.s.id)
		return e.err
	case gone:
		if s := i.slots[e.run.ID()]; s != nil && s.run == e.run {
			s.worker.load--
			delete(i.slots, s.id)
		}
	case failed:
		return e.err
	}
	return nil
}

// answer answers the membership after the instance has given up its tasks.
func (i *Instance) answer() {
	for _, e := range i.events.take(nil) {
		switch e := e.(type) {
		case revoked:
			close(e.done)
		case assigned:
			close(e.done)
		case lost:
			close(e.done)
		}
	}
}

// settle looks at whether the instance runs: the group has answered, and every task is on a worker.
func (i *Instance) settle() {
	waiting := 0
	for _, s := range i.slots {
		if s.worker == nil {
			waiting++
		}
	}
	i.metrics.Tasks(len(i.slots)-waiting, waiting)
	switch {
	case waiting > 0:
		i.becomeRebalancing()
	case i.assigned:
		i.level()
		i.becomeRunning()
	}
}

// start begins to prepare the tasks that are new.
func (i *Instance) start(ids []topology.TaskID) {
	var fresh []*slot
	for _, id := range ids {
		if i.slots[id] == nil {
			s := &slot{id: id, ended: make(chan struct{})}
			i.slots[id] = s
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 {
		return
	}
	offsets := sync.OnceValues(func() (map[assign.TopicPartition]start, error) { return i.startOffsets(fresh) })
	for _, s := range fresh {
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		go i.prepare(ctx, s, offsets)
	}
}

// prepare is the goroutine that opens and restores a task, and hands it to the main loop.
func (i *Instance) prepare(ctx context.Context, s *slot, offsets func() (map[assign.TopicPartition]start, error)) {
	defer close(s.ended)
	run, err := i.prepareTask(ctx, s.id, offsets)
	switch {
	case ctx.Err() != nil: // given up meanwhile
		if run != nil {
			err = i.closeTask(run.Task, false)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			i.log.Warn("trouble with a task that was given up while it was restored", "task", s.id, "error", err)
		}
	case err != nil:
		i.events.put(unready{s, err})
	default:
		s.run = run
		i.events.put(ready{s})
	}
}

func (i *Instance) prepareTask(ctx context.Context, id topology.TaskID, offsets func() (map[assign.TopicPartition]start, error)) (*running, error) {
	began := time.Now()
	r, err := i.openTask(id)
	if err != nil {
		return nil, err
	}
	t := r.Task
	fail := func(err error) (*running, error) {
		return nil, errors.Join(err, i.closeTask(t, false))
	}
	starts, err := offsets()
	if err != nil {
		return fail(err)
	}
	if err := i.restorer.Restore(ctx, id, i.changelogs(t, starts)); err != nil {
		return fail(err)
	}
	committed := make(map[string]task.Committed)
	for _, topic := range t.Inputs() {
		p := assign.TopicPartition{Topic: topic, Partition: id.Partition}
		at, ok := starts[p]
		if !ok {
			t.Absent(topic)
			continue
		}
		in := &input{of: r, part: p, next: at.offset, purged: i.isRepartition(topic)}
		if at.committed {
			committed[topic] = task.Committed(at.Committed)
		}
		r.inputs = append(r.inputs, in)
	}
	t.Start(committed)
	i.setRunning(id, true)
	i.log.Info("task ready", "task", id, "inputs", len(r.inputs), "after", time.Since(began).Round(time.Millisecond))
	return r, nil
}

// openTask opens a task. A store whose files cannot be read is put aside, to be restored from its changelog.
func (i *Instance) openTask(id topology.TaskID) (*running, error) {
	r := &running{out: &outlet{}}
	for {
		t, err := task.Open(task.Config{
			ID: id, Application: i.cfg.Application, Topology: i.cfg.Topology, Dir: i.dir.TaskDir(id), Resources: i.stores,
			Output: r.out, Partitions: i.partitions(), Undecodable: i.cfg.Undecodable, Failed: i.cfg.Failed, MaxIdle: i.cfg.MaxIdle,
			Dropped: func(node, reason string) { i.metrics.Dropped(id, node) }, Log: i.log,
		})
		var corrupt *store.CorruptError
		if errors.As(err, &corrupt) {
			i.log.Error("a store cannot be read; it is put aside and restored in full", "task", id, "directory", corrupt.Dir, "error", err)
			if err := putAside(corrupt.Dir); err != nil {
				return nil, err
			}
			continue
		}
		r.Task = t
		return r, err
	}
}

// partitions returns a look-up of partition counts for tasks: of the layout, and of what else is written to, which is
// asked for once.
func (i *Instance) partitions() func(topic string) (int32, error) {
	known := i.layout.Partitions
	var mu sync.Mutex
	others := make(map[string]int32)
	return func(topic string) (int32, error) {
		if n, ok := known[topic]; ok {
			return n, nil
		}
		mu.Lock()
		defer mu.Unlock()
		if n, ok := others[topic]; ok {
			return n, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), i.cfg.CommitTimeout)
		defer cancel()
		counts, err := i.ports.Cluster.Partitions(ctx, []string{topic})
		if err != nil {
			return 0, err
		}
		if counts[topic] == 0 {
			return 0, fmt.Errorf("runtime: the application writes to topic %q, which does not exist; create it", topic)
		}
		others[topic] = counts[topic]
		return counts[topic], nil
	}
}

func (i *Instance) isRepartition(topic string) bool {
	return slices.ContainsFunc(i.layout.Internal, func(t InternalTopic) bool { return t.Name == topic && !t.Changelog })
}

// start is where an input begins.
type start struct {
	Committed
	offset    int64
	committed bool
}

// startOffsets returns where the inputs of tasks begin: at the committed offset, else where the policy says.
func (i *Instance) startOffsets(slots []*slot) (map[assign.TopicPartition]start, error) {
	ctx, cancel := context.WithTimeout(context.Background(), i.cfg.CommitTimeout)
	defer cancel()
	var all, without []assign.TopicPartition
	for _, t := range i.layout.Tasks {
		if slices.ContainsFunc(slots, func(s *slot) bool { return s.id == t.ID }) {
			all = append(all, t.Inputs...)
		}
	}
	committed, err := i.member.Committed(ctx, all)
	if err != nil {
		return nil, err
	}
	out := make(map[assign.TopicPartition]start, len(all))
	for _, p := range all {
		if c, ok := committed[p]; ok {
			out[p] = start{Committed: c, offset: c.Offset, committed: true}
		} else {
			without = append(without, p)
		}
	}
	if len(without) == 0 {
		return out, nil
	}
	at := earliest
	if i.cfg.Reset == ResetLatest {
		at = latest
	}
	offsets, err := i.ports.Cluster.Offsets(ctx, without, at)
	if err != nil {
		return nil, err
	}
	for _, p := range without {
		policy := i.cfg.Reset
		if i.isRepartition(p.Topic) {
			policy = ResetEarliest // Java: internal topics are always read from the beginning
		}
		offset, err := policy.pick(p, offsets[p], offsets[p])
		if err != nil {
			return nil, err
		}
		out[p] = start{offset: offset}
	}
	return out, nil
}

// changelogs returns what a task is restored from.
func (i *Instance) changelogs(t *task.Task, starts map[assign.TopicPartition]start) (logs []restore.Changelog) {
	for _, c := range t.Changelogs() {
		l := restore.Changelog{
			TopicPartition: assign.TopicPartition{Topic: c.Topic, Partition: t.ID().Partition},
			Name:           c.Store.Spec().Name, Store: c.Store, Limit: restore.NoLimit,
		}
		if c.Source {
			l.Limit = starts[l.TopicPartition].offset
		}
		logs = append(logs, l)
	}
	return logs
}

// place hands a task to the worker with the fewest.
func (i *Instance) place(s *slot) {
	if i.slots[s.id] != s { // given up between
		return
	}
	w := slices.MinFunc(i.workers, func(a, b *worker) int { return cmp.Compare(a.load, b.load) })
	w.load++
	s.worker = w
	w.orders.put(order{adopt: s.run, done: make(chan struct{})})
}

// level moves tasks from the worker with the most to the one with the fewest, until they differ by one at most.
func (i *Instance) level() {
	for {
		byLoad := func(a, b *worker) int { return cmp.Compare(a.load, b.load) }
		from, to := slices.MaxFunc(i.workers, byLoad), slices.MinFunc(i.workers, byLoad)
		if from.load-to.load <= 1 {
			return
		}
		var s *slot
		for _, id := range sorted(i.slots) {
			if i.slots[id].worker == from {
				s = i.slots[id]
				break
			}
		}
		o := order{hand: s.id, done: make(chan struct{}), handed: new(*running)}
		from.orders.put(o)
		<-o.done
		from.load--
		if *o.handed == nil { // it failed, or lost the task; an event says so
			delete(i.slots, s.id)
			continue
		}
		i.place(s)
	}
}

// giveUp gives up tasks and returns when that is done: committed, unless they were lost. A worker that does not answer
// in time loses them: it must not commit them any more.
func (i *Instance) giveUp(ids []topology.TaskID, lost bool) {
	byWorker := make(map[*worker][]topology.TaskID)
	var slots []*slot
	for _, id := range ids {
		s := i.slots[id]
		if s == nil {
			continue
		}
		slots = append(slots, s)
		s.cancel()
		delete(i.slots, id)
		if s.worker != nil {
			byWorker[s.worker] = append(byWorker[s.worker], id)
			if lost {
				s.run.lost.Store(true)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), i.cfg.RevokeTimeout)
	defer cancel()
	dones := make(map[*worker]chan struct{})
	for w, ids := range byWorker {
		dones[w] = make(chan struct{})
		w.load -= len(ids)
		w.orders.put(order{giveUp: ids, abort: lost, done: dones[w]})
	}
	for w, done := range dones {
		select {
		case <-done:
		case <-ctx.Done():
			i.log.Error("a worker did not give up its tasks in time; they are lost: others begin with what was committed last",
				"worker", w.number, "tasks", byWorker[w], "after", i.cfg.RevokeTimeout)
			for _, s := range slots {
				if s.worker == w {
					s.run.lost.Store(true)
				}
			}
		}
	}
	for _, s := range slots {
		i.closeUnplaced(s)
	}
}

// closeUnplaced waits for the goroutine that prepares a task, and closes a task that no worker got.
func (i *Instance) closeUnplaced(s *slot) {
	<-s.ended
	if s.worker == nil && s.run != nil {
		if err := i.closeTask(s.run.Task, false); err != nil {
			i.log.Warn("trouble with a task that was given up before it ran", "task", s.id, "error", err)
		}
	}
}

func (i *Instance) newRestorer() *restore.Restorer {
	return restore.New(restore.Config{
		Source: i.changelogSource, Tasks: i.cfg.RestoreTasks, Log: i.log,
		Ends: func(ctx context.Context, partitions []assign.TopicPartition) (first, next map[assign.TopicPartition]int64, err error) {
			var wg sync.WaitGroup
			var err2 error
			wg.Go(func() { first, err = i.ports.Cluster.Offsets(ctx, partitions, earliest) })
			wg.Go(func() { next, err2 = i.ports.Cluster.Offsets(ctx, partitions, latest) })
			wg.Wait()
			return first, next, errors.Join(err, err2)
		},
		Observe: func(p restore.Progress) {
			i.metrics.Restoring(p.Task, p.Store, max(0, p.End-p.Position), p.Phase == restore.End || p.Phase == restore.Left)
			if i.cfg.OnRestore != nil {
				i.cfg.OnRestore(p)
			}
		},
	})
}
