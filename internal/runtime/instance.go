package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/restore"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Config is how an instance runs.
type Config struct {
	Application  string
	Topology     *topology.Topology
	StateDir     string // the base; empty where no state is kept on disk
	Workers      int
	Limits       store.Limits
	Engine       state.OpenEngine // of stores on disk that name none; nil: Pebble
	Replication  int16
	ExactlyOnce  bool
	Reset        topology.Reset // where the program says nothing
	MaxIdle      time.Duration
	Undecodable  task.Handler
	Unwritable   task.Handler
	Failed       task.Handler
	Around       func(task topology.TaskID, node string) func(process func() error) error // see task.Config
	RestoreTasks int                                                                      // how many tasks are restored at the same time
	StayInGroup  bool                                                                     // at shutdown: tasks are not given to others until the session times out

	StartTimeout    time.Duration // how long internal topics may take to be there
	CommitInterval  time.Duration
	CatchUpInterval time.Duration // up to which that grows while the instance is behind
	CommitTimeout   time.Duration // of one commit, with its retries
	TaskTimeout     time.Duration // how long something that may pass is tried again
	PurgeInterval   time.Duration
	CleanupDelay    time.Duration
	RevokeTimeout   time.Duration // how long a rebalance waits for a worker to give a task up
	ShutdownTimeout time.Duration

	Uncaught  func(error) Reaction // nil: the instance shuts down
	OnState   func(old, new State)
	OnRestore func(restore.Progress)
	Metrics   *metrics.Recorder
	Log       *slog.Logger
}

// Ports is what an instance uses of the world.
type Ports struct {
	Cluster       Cluster
	Inputs        Source
	NewProducer   func(worker int, of Membership) (Producer, error)
	NewMembership func(MemberInfo) Membership
	NewRestores   func() (Source, func(), error) // a source for changelogs, and how to close it
}

// An Instance is one process of an application.
type Instance struct {
	cfg     Config
	ports   Ports
	log     *slog.Logger
	metrics *metrics.Recorder
	state   stateCell
	events  queue[any]
	purge   purger
	lenders lenders
	known   atomic.Pointer[Layout] // the layout, for who asks from outside; nil: not yet

	// Of the main loop, from Run on.
	dir      *StateDir
	layout   *Layout
	member   Membership
	restorer *restore.Restorer
	stores   *store.Resources
	globals  *globals
	workers  []*worker
	slots    map[topology.TaskID]*slot
	assigned bool  // the group has answered, and we are in it
	fatal    error // why the application ends
	gate     gate
	serving  atomic.Bool  // the main loop takes events
	matching []string     // the topics that patterns match, as of the start
	anew     bool         // there are others by now: the application is to begin again
	stuck    bool         // a worker did not stop: it still uses what it has
	drains   []chan error // who waits for it to have no tasks

	departure atomic.Int32 // a Departure
	draining  atomic.Bool

	changelogSource Source
	closeChangelogs func()

	background struct { // what goes on besides, until the end
		context.Context
		cancel context.CancelFunc
		wg     sync.WaitGroup
	}

	// hope ends when a topic is gone without which nothing can be committed: who waits for the cluster is let go.
	hope struct {
		context.Context
		end context.CancelFunc
	}

	sums struct { // what the next subscription says of our state
		sync.Mutex
		running   map[topology.TaskID]bool
		positions map[topology.TaskID]map[string]position // of what is restored or a standby, by store
		noted     map[topology.TaskID]time.Time           // when that was written to the state directory
	}
}

// A position is how far a store goes in its changelog, and how many offsets it lacked when that was last heard.
type position struct{ next, lag int64 }

// A slot is a task of the instance: on its way to a worker, or there.
type slot struct {
	id      topology.TaskID
	standby bool // it is kept up to date, and does not run
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the goroutine that prepares it, or keeps it up to date, has ended
	worker  *worker       // nil until it runs
	run     *running      // what is opened of it; of that goroutine until ended is closed
}

// New makes an instance.
func New(cfg Config, ports Ports) *Instance {
	i := &Instance{
		cfg: cfg, ports: ports, log: cfg.Log, metrics: cfg.Metrics, slots: make(map[topology.TaskID]*slot),
		events: newQueue[any](),
	}
	i.background.Context, i.background.cancel = context.WithCancel(context.Background())
	i.hope.Context, i.hope.end = context.WithCancel(context.Background())
	i.sums.running, i.sums.positions = make(map[topology.TaskID]bool), make(map[topology.TaskID]map[string]position)
	i.sums.noted = make(map[topology.TaskID]time.Time)
	return i
}

// State returns the state now, and whether the instance was ever running.
func (i *Instance) State() (now State, started bool) { return i.state.load() }

// Run runs the instance until ctx ends, which shuts it down in order, or something fatal happens, which is returned.
// It can be called once.
func (i *Instance) Run(ctx context.Context) (err error) {
	i.becomeRebalancing()
	err = i.begin(ctx)
	if err == nil {
		err = i.serve(ctx)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // asked to stop while it started
	}
	err = errors.Join(err, i.end())
	i.ending(err)
	if err != nil {
		i.log.Error("the application failed", "error", err)
		i.becomeFailed()
		return err
	}
	i.becomeNotRunning()
	if i.anew && ctx.Err() == nil {
		return ErrTopics
	}
	return nil
}

// ErrTopics says that there are other topics that match a pattern of the program than when the instance began. It has ended in
// order; another one reads them.
var ErrTopics = errors.New("runtime: there are new topics that match a pattern")

// ending is said when the instance begins to end, and again when it knows how it went.
func (i *Instance) ending(err error) {
	switch now, _ := i.state.load(); {
	case err != nil:
		i.becomePendingError()
	case now != PendingError:
		i.becomePendingShutdown()
	}
}

// begin does what has to be done before the group is joined.
func (i *Instance) begin(ctx context.Context) (err error) {
	if i.dir, err = OpenStateDir(i.cfg.StateDir, i.cfg.Application, i.log); err != nil {
		return err
	}
	if err = i.ports.Cluster.Connect(ctx); err != nil {
		return err
	}
	topicsCtx, cancel := context.WithTimeout(ctx, i.cfg.StartTimeout)
	defer cancel()
	if err := i.resolve(topicsCtx); err != nil {
		return err
	}
	i.layout, err = prepareTopics(topicsCtx, i.ports.Cluster, i.cfg.Application, i.cfg.Topology, i.cfg.Replication, i.log)
	if err != nil {
		return err
	}
	i.known.Store(i.layout)
	i.stores = store.ResourcesIn(ctx, i.cfg.Limits)
	i.stores.Use(i.cfg.Engine)
	i.metrics.Stores(i.stores.Stats)
	if err := i.openGlobals(ctx); err != nil {
		return err
	}
	i.member = i.ports.NewMembership(MemberInfo{
		Process: i.dir.ID, Workers: i.cfg.Workers, Topics: i.layout.Topics, Tasks: i.layout.Tasks, Sums: i.localState,
		Former: i.dir.Member(), Remember: i.dir.NoteMember,
	})
	if i.Draining() {
		i.member.SetDraining(true)
	}
	i.changelogSource, i.closeChangelogs, err = i.ports.NewRestores()
	if err != nil {
		return err
	}
	i.restorer = i.newRestorer()
	for n := range i.cfg.Workers {
		w, err := newWorker(i, n+1)
		if err != nil {
			return err
		}
		i.workers = append(i.workers, w)
	}
	if err := i.openProducers(topicsCtx); err != nil {
		for _, w := range i.workers {
			w.producer.Close()
		}
		i.workers = nil
		return err
	}
	for _, w := range i.workers {
		go w.run()
	}
	i.background.wg.Go(i.watch)
	i.background.wg.Go(func() { i.globals.follow(i.background.Context) })
	return nil
}

// openProducers waits until all workers can write, so that what hinders them is known before anything is done.
func (i *Instance) openProducers(ctx context.Context) error {
	errs := make([]error, len(i.workers))
	var wg sync.WaitGroup
	for n, w := range i.workers {
		wg.Go(func() { errs[n] = w.producer.Open(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// localState is what the group is told of the state that is here.
func (i *Instance) localState() map[topology.TaskID]int64 {
	stateful := make(map[topology.TaskID]bool)
	for _, t := range i.layout.Tasks {
		stateful[t.ID] = t.Stateful
	}
	sums := i.dir.Sums()
	i.sums.Lock()
	defer i.sums.Unlock()
	for id, stores := range i.sums.positions {
		sums[id] = 0
		for _, p := range stores {
			sums[id] += p.next
		}
	}
	for id := range i.sums.running {
		sums[id] = -2 // assign.SumRunning
	}
	maps.DeleteFunc(sums, func(id topology.TaskID, _ int64) bool { return !stateful[id] })
	return sums
}

// Tasks returns the tasks that are restored and here, in order.
func (i *Instance) Tasks() []topology.TaskID {
	i.sums.Lock()
	defer i.sums.Unlock()
	return slices.SortedFunc(maps.Keys(i.sums.running), topology.TaskID.Compare)
}

func (i *Instance) setRunning(id topology.TaskID, is bool) {
	i.sums.Lock()
	defer i.sums.Unlock()
	delete(i.sums.positions, id)
	delete(i.sums.noted, id)
	if is {
		i.sums.running[id] = true
	} else {
		delete(i.sums.running, id)
	}
}

// notePosition keeps how far a store is that is restored or a standby.
func (i *Instance) notePosition(p restore.Progress) {
	i.sums.Lock()
	defer i.sums.Unlock()
	if i.sums.positions[p.Task] == nil {
		i.sums.positions[p.Task] = make(map[string]position)
	}
	i.sums.positions[p.Task][p.Store] = position{p.Position, max(0, p.End-p.Position)}
	if p.Standby && i.noteDue(p.Task) {
		sum := int64(0)
		for _, p := range i.sums.positions[p.Task] {
			sum += p.next
		}
		i.dir.NotePositions(p.Task, sum)
	}
}

// noteInterval is how often it is noted how far the state of a task goes, for the case that the process is killed: then
// the group is told so when it is back. It need not be exact, as the stores know it themselves.
const noteInterval = 5 * time.Second

// noteDue says whether it is time for that; i.sums is locked.
func (i *Instance) noteDue(id topology.TaskID) bool {
	now := time.Now()
	if now.Sub(i.sums.noted[id]) < noteInterval {
		return false
	}
	i.sums.noted[id] = now
	return true
}

// noteCommitted notes how far the state of a task is that was committed.
func (i *Instance) noteCommitted(t *task.Task) {
	i.sums.Lock()
	due := i.noteDue(t.ID())
	i.sums.Unlock()
	if !due {
		return
	}
	if sum, known := positionSum(t); known {
		i.dir.NotePositions(t.ID(), sum)
	}
}

// positionSum adds up how far the stores of a task go in their changelogs.
func positionSum(t *task.Task) (sum int64, known bool) {
	known = true
	for _, c := range t.Changelogs() {
		next, ok := c.Store.Position()
		known = known && ok
		sum += max(next, 0)
	}
	return sum, known
}

// serve joins the group and runs until ctx ends or something fails. The membership goes on while the tasks are committed
// and closed, so that the commit is taken.
func (i *Instance) serve(ctx context.Context) error {
	memberCtx, leave := context.WithCancel(context.Background())
	defer leave()
	var memberErr error
	memberEnded := make(chan struct{})
	go func() {
		defer close(memberEnded)
		memberErr = i.member.Run(memberCtx, i.memberEvents())
	}()
	i.serving.Store(true)
	err := i.loop(ctx, memberEnded)
	i.serving.Store(false)
	err = errors.Join(i.fatal, err)
	i.ending(err)
	closeErr := i.closeAll(!errors.Is(err, errMember) && i.hope.Err() == nil)
	leave()
	for ended := false; !ended; { // it may be waiting for an answer
		select {
		case <-memberEnded:
			ended = true
		case <-i.events.filled:
			i.answer()
		}
	}
	i.leaveGroup()
	if memberErr != nil && errors.Is(err, errMember) {
		err = i.fatal // the membership's own error says more than that it ended
	}
	return errors.Join(err, memberErr, closeErr)
}

var errMember = errors.New("runtime: the membership in the group ended")

// loop handles what happens until ctx ends or something fails.
func (i *Instance) loop(ctx context.Context, memberEnded chan struct{}) error {
	purge := time.NewTicker(i.cfg.PurgeInterval)
	defer purge.Stop()
	clean := time.NewTicker(max(i.cfg.CleanupDelay/2, time.Second))
	defer clean.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-memberEnded:
			return errMember
		case <-purge.C:
			i.purge.start(i)
		case <-clean.C:
			i.dir.Clean(i.cfg.CleanupDelay, func(id topology.TaskID) bool { return i.slots[id] != nil })
		case <-i.events.filled:
			for _, e := range i.events.take(nil) {
				if err := i.handle(e); err != nil {
					return err
				}
			}
			if i.anew {
				return nil
			}
		}
	}
}

// closeAll stops what is on its way, and gives up what runs: committed, if commit, but for what a failed worker has.
func (i *Instance) closeAll(commit bool) error {
	for _, s := range i.slots {
		s.cancel()
	}
	for _, s := range i.slots {
		i.closeUnplaced(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), i.cfg.ShutdownTimeout)
	defer cancel()
	var errs []error
	for _, w := range i.workers {
		w.orders.put(order{stop: true, abort: !commit, done: make(chan struct{})})
	}
	for _, w := range i.workers {
		select {
		case <-w.ended:
		case <-ctx.Done():
			i.stuck = true
			errs = append(errs, fmt.Errorf("runtime: worker %d did not stop within %v; what its tasks did since the last commit is done "+
				"again after the next start", w.number, i.cfg.ShutdownTimeout))
		}
	}
	i.workers = nil
	var left []any
	for _, e := range i.events.take(nil) {
		switch e := e.(type) {
		case failed:
			if e.w == nil || i.hope.Err() == nil { // else it is what comes of that
				errs = append(errs, e.err)
			}
		case rewound:
			i.drop(e)
		default:
			left = append(left, e)
		}
	}
	for _, e := range left {
		i.events.put(e)
	}
	return errors.Join(errs...)
}

// end closes what begin opened.
func (i *Instance) end() error {
	var err error
	if len(i.workers) > 0 { // begin failed halfway
		err = i.closeAll(false)
	}
	i.background.cancel()
	i.hope.end()
	i.background.wg.Wait()
	i.answer()
	i.purge.wg.Wait()
	if i.closeChangelogs != nil {
		i.closeChangelogs()
	}
	if i.globals != nil && !i.stuck {
		err = errors.Join(err, i.globals.close())
	}
	if i.stores != nil && !i.stuck {
		i.stores.Close()
	}
	if i.dir != nil {
		err = errors.Join(err, i.dir.Close())
	}
	return err
}

// closeTask closes a task and notes how far its state goes.
func (i *Instance) closeTask(t *task.Task, clean bool) error {
	sum, known := positionSum(t)
	id := t.ID()
	i.setRunning(id, false)
	if err := t.Close(clean); err != nil {
		return fmt.Errorf("runtime: closing task %v: %w", id, err)
	}
	if known {
		i.dir.NotePositions(id, sum)
	}
	return nil
}

// sorted returns the ids of slots, in order.
func sorted(slots map[topology.TaskID]*slot) []topology.TaskID {
	return slices.SortedFunc(maps.Keys(slots), topology.TaskID.Compare)
}
