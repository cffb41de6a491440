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
	// assigned: these are the tasks to run, and to keep a standby of, from now on.
	assigned struct {
		active, standby []topology.TaskID
		done            chan struct{}
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
	// rewound: a worker let go of tasks that have to begin again from the last commit, after a pause.
	rewound struct {
		runs  []*running
		pause time.Duration
	}
	// failed: a worker met an error that is the end of the instance, or of the application.
	failed struct {
		w           *worker
		err         error
		application bool
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
	ev.Assigned = func(active, standby []topology.TaskID) {
		done := make(chan struct{})
		wait(assigned{active, standby, done}, done)
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
		i.assigned = false
		i.becomeRebalancing()
		i.giveUp(i.active(), true)
	case assigned:
		defer close(e.done)
		i.assigned = true
		i.metrics.Assigned()
		i.keepStandbys(e.active, e.standby)
		i.start(e.active)
		i.settle()
		i.drained()
	case ready:
		i.place(e.s)
		i.settle()
	case unready:
		if i.slots[e.s.id] == e.s {
			delete(i.slots, e.s.id)
			i.closeUnplaced(e.s)
		}
		return e.err
	case gone:
		if s := i.slots[e.run.id]; s != nil && s.run == e.run {
			s.worker.load--
			delete(i.slots, s.id)
		}
	case rewound:
		i.restart(e)
		i.settle()
	case resumed:
		for _, w := range i.workers {
			w.orders.put(order{wake: true, done: make(chan struct{})})
		}
	case resize:
		return i.resize(e)
	case opened:
		i.opened(e)
	case handedLate:
		i.handedLate(e.run)
	case newTopics:
		i.log.Info("there are other topics that match a pattern; beginning again to read them", "topics", e.matching, "before", i.matching)
		i.anew = true
	case drain:
		i.drain(e)
	case undrain:
		i.undrain()
	case inspect:
		e.answer <- i.status()
	case failed:
		return i.failed(e)
	}
	return nil
}

// answer answers the membership after the instance has given up its tasks, and closes what comes too late.
func (i *Instance) answer() {
	for _, e := range i.events.take(nil) {
		switch e := e.(type) {
		case revoked:
			close(e.done)
		case assigned:
			close(e.done)
		case lost:
			close(e.done)
		case rewound:
			i.drop(e)
		case handedLate:
			if e.run != nil {
				i.abandon(e.run, nil)
			}
		case opened:
			e.w.producer.Close() // a worker that was to be added
		}
	}
}

// settle looks at whether the instance runs: the group has answered, and every task is on a worker.
func (i *Instance) settle() {
	waiting, running := 0, 0
	for _, s := range i.slots {
		switch {
		case s.standby:
		case s.worker == nil:
			waiting++
		default:
			running++
		}
	}
	i.metrics.Tasks(running, waiting, len(i.slots)-running-waiting)
	i.metrics.Workers(len(i.workers))
	switch {
	case waiting > 0:
		i.becomeRebalancing()
	case i.assigned:
		i.level()
		i.becomeRunning()
	}
}

// active returns the tasks that run here or are about to, in order.
func (i *Instance) active() []topology.TaskID {
	return slices.DeleteFunc(sorted(i.slots), func(id topology.TaskID) bool { return i.slots[id].standby })
}

// start begins to prepare the tasks that are new. A standby becomes one with the state that it has.
func (i *Instance) start(ids []topology.TaskID) {
	var fresh []*slot
	for _, id := range ids {
		s := i.slots[id]
		if s != nil && !s.standby {
			continue
		}
		if s == nil {
			s = &slot{id: id}
			i.slots[id] = s
		} else {
			s.cancel()
			s.standby = false
		}
		fresh = append(fresh, s)
	}
	i.prepareAll(fresh, 0)
}

// restart prepares tasks again that a worker let go of.
func (i *Instance) restart(e rewound) {
	var again []*slot
	for _, r := range e.runs {
		s := i.slots[r.id]
		if s == nil || s.run != r { // given up meanwhile
			i.drop(rewound{runs: []*running{r}})
			continue
		}
		s.worker.load--
		s.worker = nil
		again = append(again, s)
	}
	i.prepareAll(again, e.pause)
}

// drop closes tasks that a worker let go of and nobody wants any more.
func (i *Instance) drop(e rewound) {
	for _, r := range e.runs {
		i.abandon(r, nil)
	}
}

// prepareAll has tasks opened and restored, each by a goroutine of its own. What a slot has from before is used.
func (i *Instance) prepareAll(slots []*slot, pause time.Duration) {
	if len(slots) == 0 {
		return
	}
	var ids []topology.TaskID
	for _, s := range slots {
		ids = append(ids, s.id)
	}
	offsets := i.startOffsetsOnce(ids, pause)
	for _, s := range slots {
		before := s.ended
		s.ended = make(chan struct{})
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		go func() {
			defer close(s.ended)
			if before != nil {
				<-before
			}
			if sleep(ctx, pause) {
				i.prepare(ctx, s, offsets)
			}
		}()
	}
}

// sleep waits, and reports whether it was left to.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// prepare opens and restores a task, and hands it to the main loop. While it meets with trouble that may pass, it tries
// again.
func (i *Instance) prepare(ctx context.Context, s *slot, offsets func(context.Context) (map[assign.TopicPartition]start, error)) {
	began := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := i.prepareTask(ctx, s, offsets)
		switch {
		case ctx.Err() != nil: // given up meanwhile; whoever gave it up closes what there is
			return
		case err == nil:
			i.log.Info("task ready", "task", s.id, "inputs", len(s.run.inputs), "after", time.Since(began).Round(time.Millisecond))
			i.events.put(ready{s})
			return
		case !startOver(err) || time.Since(began) > i.cfg.TaskTimeout:
			i.events.put(unready{s, err})
			return
		}
		i.log.Warn("a task cannot be made ready, trying again", "task", s.id, "error", err, "pause", pause)
		if s.run != nil && i.spoilt(err, s.id) {
			i.abandon(s.run, err)
		}
		if !sleep(ctx, pause) {
			return
		}
		offsets = func(ctx context.Context) (map[assign.TopicPartition]start, error) {
			return i.startOffsets(ctx, []topology.TaskID{s.id})
		}
	}
}

func (i *Instance) prepareTask(ctx context.Context, s *slot, offsets func(context.Context) (map[assign.TopicPartition]start, error)) error {
	if err := i.openSlot(s); err != nil {
		return err
	}
	r, t := s.run, s.run.Task
	starts, err := offsets(ctx)
	if err != nil {
		return err
	}
	lend, kept := i.lendSlot(s, Restoring)
	err = i.restorer.Restore(ctx, s.id, i.changelogs(t, starts), lend)
	kept()
	if err != nil {
		return err
	}
	committed := make(map[string]task.Committed)
	r.inputs = nil
	for _, topic := range t.Inputs() {
		p := assign.TopicPartition{Topic: topic, Partition: s.id.Partition}
		at, ok := starts[p]
		if !ok {
			t.Absent(topic)
			continue
		}
		in := &input{of: r, part: p, next: at.offset, purged: i.isRepartition(topic)}
		in.stored.Store(at.offset)
		committed[topic] = task.Committed(at.Committed)
		r.inputs = append(r.inputs, in)
	}
	if err := t.Start(committed, time.Now()); err != nil {
		return err
	}
	i.setRunning(s.id, true)
	return nil
}

// openSlot opens the task of a slot, if it is not.
func (i *Instance) openSlot(s *slot) error {
	if s.run != nil && s.run.Task != nil {
		return nil
	}
	r, err := i.openTask(s.id)
	if err != nil {
		return err
	}
	s.run = r
	return nil
}

// openTask opens a task. A store whose files cannot be read is put aside, to be restored from its changelog.
func (i *Instance) openTask(id topology.TaskID) (*running, error) {
	r := &running{id: id, out: &outlet{}, batch: firstBatch}
	for {
		t, err := task.Open(task.Config{
			ID: id, Application: i.cfg.Application, Topology: i.cfg.Topology, Dir: i.dir.TaskDir(id), Resources: i.stores,
			Output: r.out, Partitions: i.partitions(), Globals: i.globals.reader, Undecodable: i.cfg.Undecodable, Failed: i.cfg.Failed, Unwritable: i.cfg.Unwritable,
			Around:  i.cfg.Around,
			MaxIdle: i.cfg.MaxIdle, Now: time.Now(),
			Dropped: func(node, reason string) { i.metrics.Dropped(id, node) }, Log: i.log,
		})
		var corrupt *store.CorruptError
		if errors.As(err, &corrupt) {
			i.log.Error("a store cannot be read; it is put aside and restored in full", "task", id, "directory", corrupt.Dir, "error", err)
			if err := putAside(corrupt.Dir); err != nil {
				return nil, &store.DiskError{Dir: corrupt.Dir, Err: err}
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
		ctx, cancel := context.WithTimeout(i.hope.Context, i.cfg.CommitTimeout)
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

// start is where an input begins, and what was committed of it.
type start struct {
	Committed
	offset int64
}

// startOffsetsOnce asks for the offsets after a pause, and returns a function that waits for the answer. They are asked for on behalf of
// all the tasks, so that one which is given up meanwhile need not wait.
func (i *Instance) startOffsetsOnce(tasks []topology.TaskID, pause time.Duration) func(context.Context) (map[assign.TopicPartition]start, error) {
	var offsets map[assign.TopicPartition]start
	var err error
	known := make(chan struct{})
	i.background.wg.Go(func() {
		defer close(known)
		if !sleep(i.background.Context, pause) {
			err = i.background.Err()
			return
		}
		offsets, err = i.startOffsets(i.background.Context, tasks)
	})
	return func(ctx context.Context) (map[assign.TopicPartition]start, error) {
		select {
		case <-known:
			return offsets, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// startOffsets returns where the inputs of tasks begin: at the committed offset, else where the policy says.
func (i *Instance) startOffsets(ctx context.Context, ids []topology.TaskID) (map[assign.TopicPartition]start, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.CommitTimeout)
	defer cancel()
	defer context.AfterFunc(i.hope.Context, cancel)()
	i.fenceAbsent()
	var all, without []assign.TopicPartition
	for _, t := range i.layout.Tasks {
		if slices.Contains(ids, t.ID) {
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
			out[p] = start{c, c.Offset}
		} else {
			without = append(without, p)
		}
	}
	if len(without) == 0 {
		return out, nil
	}
	offsets, err := i.reset(ctx, without)
	if err != nil {
		return nil, err
	}
	for p, offset := range offsets {
		out[p] = start{Committed{Offset: offset, LeaderEpoch: -1}, offset}
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

// failed says whether an error of a worker ends the instance at once. If the whole application is to end, the others
// are told first, and this one ends as they do.
func (i *Instance) failed(e failed) error {
	i.metrics.WorkerFailed()
	if !e.application {
		return e.err
	}
	if i.fatal == nil {
		i.log.Error("asking all instances to shut down", "error", e.err)
		i.fatal = e.err
		i.member.ShutDownAll()
		time.AfterFunc(i.cfg.ShutdownTimeout, func() { i.events.put(failed{err: errors.New("runtime: the group did not answer")}) })
	}
	return nil
}

// place hands a task to the worker with the fewest.
func (i *Instance) place(s *slot) {
	if i.slots[s.id] != s { // given up between
		return
	}
	w := slices.MinFunc(i.workers, func(a, b *worker) int { return cmp.Compare(a.load, b.load) })
	w.load++
	s.worker = w
	s.run.unlend = i.lendRunning(w, s.run)
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
		moved, err := i.hand(s)
		if err != nil {
			i.log.Error("tasks stay unevenly spread over the workers", "error", err)
		}
		if !moved {
			return
		}
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
		i.abandon(s.run, nil)
	}
}

// logEnds returns the first and the next offset of each partition.
func (i *Instance) logEnds(ctx context.Context, partitions []assign.TopicPartition) (first, next map[assign.TopicPartition]int64, err error) {
	var wg sync.WaitGroup
	var err2 error
	wg.Go(func() { first, err = i.ports.Cluster.Offsets(ctx, partitions, earliest) })
	wg.Go(func() { next, err2 = i.ports.Cluster.Offsets(ctx, partitions, latest) })
	wg.Wait()
	return first, next, errors.Join(err, err2)
}

func (i *Instance) newRestorer() *restore.Restorer {
	return restore.New(restore.Config{
		Source: i.changelogSource, Tasks: i.cfg.RestoreTasks, Log: i.log,
		Ends: i.logEnds,
		Gate: i.gate.wait, Limits: i.committedOffsets, LimitInterval: i.cfg.CommitInterval,
		Observe: func(p restore.Progress) {
			i.notePosition(p)
			over, behind := p.Phase == restore.End || p.Phase == restore.Left, max(0, p.End-p.Position)
			if p.Standby {
				i.metrics.Standby(p.Task, p.Store, behind, over)
			} else {
				i.metrics.Restoring(p.Task, p.Store, behind, over)
			}
			if i.cfg.OnRestore != nil {
				i.cfg.OnRestore(p)
			}
		},
	})
}
