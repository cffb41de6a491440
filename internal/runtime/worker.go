package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// A worker runs tasks: one goroutine, one producer. It owns its tasks from adopt to give up.
type worker struct {
	i        *Instance
	number   int
	log      *slog.Logger
	metrics  *metrics.Worker
	producer Producer
	inbox    queue[fetched] // bounded by the source
	orders   queue[order]
	lend     chan func()   // what readers want of the stores, see lend.go
	ended    chan struct{} // closed when the goroutine is done

	tasks      map[topology.TaskID]*running
	lastCommit time.Time
	commitTook time.Duration // the last commit
	doubtful   time.Time     // a commit of which a try may still be on its way; zero: none
	failures   int           // how often in a row it had to start over
	failing    time.Time     // since when; zero: it does not
	failed     time.Time     // when it had to the last time
	pause      time.Duration
	processed  int // records since the last commit

	load int // tasks it has or is about to get; of the main loop
}

// running is a task on a worker.
type running struct {
	*task.Task // nil where it has to be opened again
	id         topology.TaskID
	out        *outlet
	metrics    *metrics.Task // while it is on a worker
	inputs     []*input
	batch      int         // records of a turn
	unlend     func()      // from when it is handed to a worker
	lost       atomic.Bool // others may run it by now: it must not be committed
}

// An outlet is where a task sends records: the producer of the worker that it is on.
type outlet struct{ to Producer }

// Send implements task.Output.
func (o *outlet) Send(r *topology.Record) error { return o.to.Send(r) }

// input is a partition that a running task reads.
type input struct {
	of   *running
	part assign.TopicPartition
	feed interface {
		Done(n int)
		Close()
	}
	next   int64        // the offset after what the task was given
	stored atomic.Int64 // what was committed last
	lag    atomic.Int64 // records that the broker has beyond next
	held   atomic.Int64 // records that the task has in its queue
	purged bool         // it is a repartition topic: what is committed is deleted
}

// fetched is what came for an input.
type fetched struct {
	in        *input
	records   []topology.Record
	next, end int64
	err       error
}

// An order is what the main loop wants of a worker. It is answered by closing done.
type order struct {
	adopt  *running          // take this task and read its inputs from where they say
	giveUp []topology.TaskID // commit and close these
	hand   topology.TaskID   // commit this and hand it over, to be adopted by another
	wake   bool              // look again at what there is to do
	stop   bool              // give up everything and end
	abort  bool              // with stop, or giveUp: commit nothing
	handed **running         // the answer to hand; nil if it has no such task
	done   chan struct{}
}

func newWorker(i *Instance, number int) (*worker, error) {
	p, err := i.ports.NewProducer(number, i.member)
	if err != nil {
		return nil, err
	}
	return &worker{
		i: i, number: number, log: i.log.With("worker", number), metrics: i.metrics.Worker(number), producer: p,
		inbox: newQueue[fetched](), orders: newQueue[order](), lend: make(chan func()), ended: make(chan struct{}),
		tasks: make(map[topology.TaskID]*running),
	}, nil
}

// How many records of a task are processed before the next task has its turn: as many as are done in a slice of time, as far as
// that is known; of a new task few.
const (
	batchSize  = 512
	firstBatch = 16
	slice      = 20 * time.Millisecond
)

// run is the worker's goroutine. An error is fatal to the instance; the worker then only follows orders until it is
// stopped, and commits nothing.
func (w *worker) run() {
	defer close(w.ended)
	defer w.producer.Close()
	w.lastCommit = time.Now()
	var items []fetched
	for {
		items = w.inbox.take(items)
		busy := false
		err := guard(func() (err error) {
			busy, err = w.turn(items)
			return err
		})
		clear(items)
		if w.cope(err) != nil {
			w.follow()
			return
		}
		w.serve()
		wait := w.wait(busy)
		if stop := w.obey(wait, busy); stop {
			return
		}
	}
}

// cope deals with an error: it starts over, where that helps or the application asks for it. Else the error is the end
// of the worker; the main loop is told, and it comes back.
func (w *worker) cope(err error) error {
	if err == nil {
		return nil
	}
	reaction := ReplaceWorker
	if !startOver(err) {
		reaction = w.i.uncaught(err)
	}
	if reaction == ReplaceWorker {
		again := guard(func() error { return w.startOver(err) })
		if again == nil {
			return nil
		}
		err = again
	}
	w.i.events.put(failed{w, err, reaction == ShutDownApplication})
	return err
}

// Reaction is what becomes of an instance after an error of a worker that nothing else dealt with.
type Reaction uint8

// The reactions.
const (
	ShutDownInstance    Reaction = iota // this instance ends with the error
	ReplaceWorker                       // the worker begins again from the last commit
	ShutDownApplication                 // all instances end
)

func (i *Instance) uncaught(err error) Reaction {
	if i.cfg.Uncaught == nil {
		return ShutDownInstance
	}
	return i.cfg.Uncaught(err)
}

// follow obeys orders after a failure: nothing of this worker can be committed any more.
func (w *worker) follow() {
	for range w.orders.filled {
		for _, o := range w.orders.take(nil) {
			o.abort = true
			if w.execute(o); o.stop {
				return
			}
		}
	}
}

// turn takes what came, lets each task process some, and commits if it is time to. busy says that there is more to do.
func (w *worker) turn(items []fetched) (busy bool, err error) {
	now := time.Now()
	for _, f := range items {
		if err := w.receive(f); err != nil {
			return false, err
		}
	}
	n, began, due := 0, now, w.lastCommit.Add(w.interval(now))
	for _, r := range w.tasks { // in any order, so that none is always the last
		if w.i.Paused() {
			break
		}
		limit := r.batch
		m, err := r.Process(limit, now)
		n += m
		w.release(r)
		if m > 0 {
			then := began
			began = time.Now()
			r.metrics.Processed(m, began.Sub(then), r.waiting())
			r.adjust(m, began.Sub(then))
		}
		if err == nil {
			err = r.Punctuate(now)
		}
		if err != nil {
			return false, err
		}
		if busy = busy || m == limit; m > 0 && began.After(due) {
			busy = true // the others come after the commit
			break
		}
	}
	w.processed += n
	if n > 0 {
		w.metrics.Processed(n, began.Sub(now))
	}
	if w.commitDue(began) {
		return busy, w.commit()
	}
	return busy, nil
}

// adjust finds how many records of the task are a slice of time, so that a commit is not late where each takes long: a transaction
// has to end before it times out. (Java: StreamThread's numIterations)
func (r *running) adjust(n int, took time.Duration) {
	switch {
	case took > slice:
		r.batch = max(1, int(int64(n)*int64(slice)/int64(took)))
	case n == r.batch:
		r.batch = min(batchSize, 2*r.batch)
	}
}

// receive gives what came to its task. What is for a task that is gone, or was started anew, is dropped.
func (w *worker) receive(f fetched) error {
	in := f.in
	if r := w.tasks[in.of.id]; r != in.of {
		return nil
	}
	if f.err != nil {
		return w.restart(in, f.err)
	}
	in.next = f.next
	if len(f.records) > 0 {
		in.held.Add(int64(len(f.records)))
		w.metrics.Polled(in.part.Topic, f.records)
		if err := in.of.Add(in.part.Topic, f.records); err != nil {
			return err
		}
	}
	lag := max(0, f.end-f.next)
	in.lag.Store(lag)
	in.of.Lag(in.part.Topic, lag)
	w.i.metrics.Lag(in.part, lag)
	return nil
}

// waiting is how many records the task has in its queues.
func (r *running) waiting() (n int) {
	for _, in := range r.inputs {
		n += int(in.held.Load())
	}
	return n
}

// release makes room for as many records as the task is done with.
func (w *worker) release(r *running) {
	for _, in := range r.inputs {
		if left, held := r.Buffered(in.part.Topic), int(in.held.Load()); left < held {
			in.feed.Done(held - left)
			in.held.Store(int64(left))
		}
	}
}

// restart deals with an input that cannot be read from where it is: it begins where the reset policy says, or that is
// the end of the application.
func (w *worker) restart(in *input, err error) error {
	e, ok := asOutOfRange(err)
	if !ok {
		return err
	}
	start, end := e.OffsetOutOfRange()
	ctx, cancel := context.WithTimeout(w.i.hope.Context, w.i.cfg.CommitTimeout)
	defer cancel()
	offsets, rerr := w.i.reset(ctx, []assign.TopicPartition{in.part})
	if rerr != nil {
		return fmt.Errorf("%w; %w", rerr, err)
	}
	at := offsets[in.part]
	w.log.Warn("records were deleted before they were read, or the topic was truncated; going on where the reset policy says",
		"partition", in.part, "offset", in.next, "log_start", start, "log_end", end, "from", at, "policy", w.i.policyOf(in.part.Topic))
	in.feed.Close()
	in.stored.Store(min(in.stored.Load(), at))
	w.subscribe(in, at)
	return nil
}

func (w *worker) subscribe(in *input, at int64) {
	in.next = at
	in.feed = w.i.ports.Inputs.Subscribe(in.part, at, func(records []topology.Record, next, end int64, err error) {
		w.inbox.put(fetched{in, records, next, end, err})
	})
}

// wait returns how long the worker may sleep if nothing comes.
func (w *worker) wait(busy bool) time.Duration {
	if busy {
		return 0
	}
	until := w.lastCommit.Add(w.interval(time.Now()))
	for _, r := range w.tasks {
		if t := r.WaitUntil(); !t.IsZero() && t.Before(until) && !w.i.Paused() {
			until = t
		}
	}
	return max(time.Until(until), time.Millisecond)
}

// obey waits for records, orders or the time, and executes the orders.
func (w *worker) obey(wait time.Duration, busy bool) (stop bool) {
	if busy {
		select {
		case <-w.orders.filled:
		default:
			return false
		}
	} else {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-w.inbox.filled:
			return false
		case <-timer.C:
			return false
		case read := <-w.lend:
			read()
			return false
		case <-w.orders.filled:
		}
	}
	for _, o := range w.orders.take(nil) {
		if w.execute(o); o.stop {
			return true
		}
	}
	return false
}

// execute does what an order says and answers it.
func (w *worker) execute(o order) {
	defer close(o.done)
	_ = w.cope(guard(func() error { return w.do(o) })) // the main loop hears of it
}

func (w *worker) do(o order) (err error) {
	switch {
	case o.wake:
	case o.adopt != nil && o.abort:
		w.i.abandon(o.adopt, nil)
	case o.adopt != nil:
		w.adopt(o.adopt)
	case o.stop:
		err = w.giveUp(w.tasks, !o.abort)
	case o.giveUp != nil:
		some := make(map[topology.TaskID]*running)
		for _, id := range o.giveUp {
			if r := w.tasks[id]; r != nil {
				some[id] = r
			}
		}
		err = w.giveUp(some, !o.abort)
	default:
		err = w.handOver(o)
	}
	return err
}

// guard turns a panic, of a function of the program most likely, into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("runtime: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// adopt takes a restored task and begins to read for it.
func (w *worker) adopt(r *running) {
	w.tasks[r.id] = r
	r.metrics = w.metrics.Adopt(r.id)
	for _, c := range r.Changelogs() {
		w.producer.Forget(c.Topic, r.id.Partition)
	}
	r.out.to = w.producer
	for _, in := range r.inputs {
		w.subscribe(in, in.next)
	}
}

// leave stops to read for a task, and lets nobody read it.
func (w *worker) leave(r *running) {
	r.unlend()
	for _, in := range r.inputs {
		in.feed.Close()
		w.i.metrics.NoLag(in.part)
	}
	r.metrics.Left()
}

// giveUp commits everything and closes some of the tasks. Whether or not that works, those are gone afterwards; where it
// does not, or must not be committed, what the others did in the same transaction is void.
func (w *worker) giveUp(tasks map[topology.TaskID]*running, commit bool) error {
	for _, r := range tasks {
		w.leave(r)
	}
	var err error
	if commit {
		err = w.commit()
	} else if w.producer.InTransaction() {
		err = &void{errors.New("runtime: the work of tasks that were lost is part of the transaction")}
	}
	for id, r := range tasks {
		if w.tasks[id] != r {
			continue // lost in the commit
		}
		delete(w.tasks, id)
		if e := w.i.closeTask(r.Task, commit && err == nil && !r.lost.Load()); e != nil {
			w.log.Warn("trouble with closing a task; what it had not written to disk is restored", "task", id, "error", e)
		}
	}
	return err
}

// handOver commits a task and lets go of it, with what it has buffered; its inputs say where to go on reading.
func (w *worker) handOver(o order) error {
	r := w.tasks[o.hand]
	if r == nil || o.abort {
		return nil
	}
	if err := w.commit(); err != nil {
		return err
	}
	if w.tasks[o.hand] != r {
		return nil // lost in the commit
	}
	w.leave(r)
	for _, f := range w.inbox.take(nil) { // what came for it is read again, the rest is kept
		if f.in.of != r {
			if err := w.receive(f); err != nil {
				return err
			}
		}
	}
	delete(w.tasks, o.hand)
	*o.handed = r
	return nil
}

// outOfRange is implemented by the error of a source that does not have an offset.
type outOfRange interface {
	OffsetOutOfRange() (start, end int64)
}

func asOutOfRange(err error) (outOfRange, bool) {
	var e outOfRange
	ok := errors.As(err, &e)
	return e, ok
}
