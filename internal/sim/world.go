// Package sim runs an application as it is, several whole instances with real clients and real stores, on a broker and a
// network in memory and in virtual time, and lets happen to it what a seed says: requests lost, late or answered with
// errors, processes killed, paused, wiped, stopped and added, brokers and coordinators that move, disks that are full.
// Package check judges what it does meanwhile, and that it recovers in time when it is left in peace.
//
// A seed decides what happens. The order in which goroutines run is the scheduler's, so that a seed that failed is
// likely to fail again, not certain.
package sim

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/topology"
)

// A world is one run of a seed. All of it is in the bubble of one test.
type world struct {
	plan     *plan
	tamper   tamper
	dir      string
	journal  *journal
	topology *topology.Topology

	net     kfake.VirtualNetwork
	cluster *kfake.Cluster
	brokers []string
	away    map[int32]time.Time // brokers, until when

	wire    *wire // of the two that follow
	feed    *feed
	history *history

	instances []*instance
	lives     []*process
	failures  []error     // how processes ended
	calm      atomic.Bool // nothing happens to the application any more

	heard   sync.Map // time.Time of the last sign of life, by member
	waiting struct { // for members to join
		generation int32
		since      time.Time
	}
	later    []later // what ends a fault
	offsets  check.Offsets
	furthest struct { // what was committed at most
		sync.Mutex
		offsets map[check.Partition]int64
	}
	strayed atomic.Int64 // when the last commit arrives that was given up, in nanoseconds
	owners  check.Owners
	looks   []look
}

type later struct {
	at time.Time
	do func()
}

// A look is what was committed at some time, and how far the echo then was.
type look struct {
	at        string
	committed map[check.Partition]int64
	echo      map[check.Partition]int64 // the end
}

// Result is what a run came to.
type Result struct {
	Seed     uint64
	Plan     string
	Virtual  time.Duration
	Records  int
	Lives    int     // of processes
	Failures []error // with which processes ended
	Faults   string  // what was done, in order
	Errs     []error // what must not be
}

// tick is how often the world looks around.
const tick = 100 * time.Millisecond

// tamper, where not nil, changes what was written before it is judged: a judge that does not see it is blind.
type tamper func(w *world)

// latest is the journal of the run that began last, for whoever has to tell why its bubble broke.
var latest atomic.Pointer[journal]

// Run runs a seed, in the bubble of testing/synctest that it is called in. dir is for state. out, where not nil, gets
// all that is logged.
func Run(seed uint64, dir string, out io.Writer) *Result { return run(newPlan(seed), dir, out, nil) }

func run(p *plan, dir string, out io.Writer, t tamper) *Result {
	w := &world{plan: p, tamper: t, dir: dir, journal: &journal{began: time.Now(), out: out}, away: make(map[int32]time.Time)}
	latest.Store(w.journal)
	if out != nil {
		fmt.Fprintf(out, "seed %d: %v\n", p.seed, p)
	}
	if err := w.run(); err != nil {
		w.journal.violation(err)
	}
	res := &Result{
		Seed: p.seed, Plan: w.plan.String(), Virtual: time.Since(w.journal.began), Lives: len(w.lives), Failures: w.failures,
		Faults: w.journal.faults(), Errs: w.journal.violations(),
	}
	if w.feed != nil {
		for _, n := range w.feed.numbers {
			res.Records += int(n)
		}
	}
	return res
}

func (w *world) run() (err error) {
	if w.topology, err = program(w.plan); err != nil {
		return err
	}
	if err := w.startCluster(); err != nil {
		return err
	}
	defer w.cluster.Close()
	w.wire = newWire(&w.net)
	defer w.wire.cut()
	client := []kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.Dialer(w.wire.DialContext), kgo.WithHooks(&w.wire.warm)}
	if w.feed, err = newFeed(w.plan, client...); err != nil {
		return err
	}
	defer w.feed.client.Close()
	if w.history, err = newHistory(client...); err != nil {
		return err
	}
	defer w.history.close()
	for n := range maxInstances {
		w.instances = append(w.instances, &instance{name: string(rune('a' + n)), wanted: n < w.plan.instances})
		w.wipeDir(w.instances[n])
	}
	defer w.bury()
	w.storm()
	if w.peace() {
		w.shutDown()
		w.bury()
		if w.tamper != nil {
			w.tamper(w)
		}
		w.judge()
	}
	return nil
}

// maxInstances is how many instances there are at most.
const maxInstances = 4

func (w *world) startCluster() (err error) {
	ports := []int{9092, 9093, 9094}[:w.plan.brokers]
	for _, p := range ports {
		w.brokers = append(w.brokers, fmt.Sprintf("localhost:%d", p))
	}
	w.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.ListenFn(w.net.Listen), kfake.ClusterID("sim"),
		kfake.SeedTopics(w.plan.partitions, inTopic, rowsTopic, echoTopic, tallyTopic, joinedTopic, groupsTopic, windowTopic),
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1", "group.min.session.timeout.ms": "1000"}))
	return err
}

// storm lets the application work and everything happen to it.
func (w *world) storm() {
	events := w.plan.events
	for began := time.Now(); time.Since(began) < w.plan.length; time.Sleep(tick) {
		for len(events) > 0 && time.Since(began) >= events[0].at {
			w.happen(events[0])
			events = events[1:]
		}
		w.feed.some(tick)
		w.look()
	}
}

// look takes care of what is due, and looks at the group.
func (w *world) look() {
	w.later = slices.DeleteFunc(w.later, func(l later) bool {
		if time.Now().Before(l.at) {
			return false
		}
		l.do()
		return true
	})
	for _, i := range w.instances {
		if i.now != nil {
			w.ends(i)
		}
		if i.now == nil && i.wanted && !time.Now().Before(i.restart) {
			w.start(i)
		}
	}
	w.lookAtGroup()
}

// bound is how long it may take, once nothing is in the way, until all input is processed: sessions that have to end,
// transactions and deliveries that have to time out, rebalances, restores.
const bound = 5 * time.Minute

// peace ends all faults and waits until everything is processed.
func (w *world) peace() bool {
	w.calm.Store(true)
	w.journal.fault("calm")
	for _, l := range w.later {
		l.do()
	}
	w.later = nil
	if !slices.ContainsFunc(w.instances, func(i *instance) bool { return i.wanted }) {
		w.instances[0].wanted = true
	}
	w.owners.Excuse()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	last := make(chan struct{})
	go func() {
		defer close(last)
		w.feed.flush(ctx)
		w.feed.last(ctx, func() bool { return w.processed(rowsTopic) })
	}()
	defer func() { <-last }()
	for {
		time.Sleep(tick)
		w.look()
		select {
		case <-last:
			if !w.straying() && w.done() {
				w.journal.fault("all is processed")
				return true
			}
		default:
		}
		if ctx.Err() != nil {
			w.journal.violation(fmt.Errorf("not all is processed %v after the last fault: %s", bound, w.situation()))
			return false
		}
	}
}

// processed says whether all of topics is committed.
func (w *world) processed(topics ...string) bool {
	committed := w.committed()
	for _, t := range topics {
		for _, p := range w.cluster.PartitionInfos(t) {
			if p.HighWatermark > 0 && committed[check.Partition{Topic: t, Number: p.Partition}] < w.lastRecord(t, p) {
				return false
			}
		}
	}
	return true
}

// lastRecord returns the offset after the last record of a partition; markers may follow it.
func (w *world) lastRecord(topic string, p *kfake.PartitionInfo) int64 {
	if topic != repartitionTopic {
		return p.HighWatermark
	}
	records := w.history.of(topic, p.Partition)
	if len(records) == 0 {
		return 0
	}
	return records[len(records)-1].Offset + 1
}

// done says whether nothing is left to do, and everyone has a part in it.
func (w *world) done() bool {
	if !w.processed(inTopic, rowsTopic, repartitionTopic) || !w.history.hasRead(w.cluster, w.topics()...) {
		return false
	}
	tasks := make(map[string][]string)
	for _, i := range w.instances {
		if i.wanted && i.now == nil {
			return false
		}
		if i.now != nil {
			for _, id := range i.now.app.Tasks() {
				tasks[i.now.name] = append(tasks[i.now.name], id.String())
			}
		}
	}
	return check.Running(w.tasks(), tasks) == nil && w.processed(repartitionTopic)
}

// tasks returns the names of all tasks: the program has two sub-topologies, and its topics as many partitions each.
func (w *world) tasks() (all []string) {
	for sub := range w.topology.Subtopologies() {
		for n := range w.plan.partitions {
			all = append(all, topology.TaskID{Subtopology: sub, Partition: n}.String())
		}
	}
	return all
}

// situation says how things are, for whoever wonders why nothing goes on.
func (w *world) situation() string {
	s := ""
	for _, i := range w.instances {
		if i.now != nil {
			s += fmt.Sprintf("%s is %v with %v; ", i.now.name, i.now.app.State(), i.now.app.Tasks())
		}
	}
	committed := w.committed()
	for _, t := range w.topics() {
		for _, p := range w.cluster.PartitionInfos(t) {
			tp := check.Partition{Topic: t, Number: p.Partition}
			s += fmt.Sprintf("%v %d..%d stable %d committed %d; ", tp, p.LogStartOffset, p.HighWatermark, p.LastStableOffset, committed[tp])
		}
	}
	if info := w.cluster.GroupInfo(application); info != nil {
		s += fmt.Sprintf("the group is %s in generation %d with %d members", info.State, info.Epoch, len(info.Members))
	}
	return s
}

// shutDown stops all instances in order.
func (w *world) shutDown() {
	for _, i := range w.instances {
		i.wanted = false
		if i.now != nil {
			i.now.stopped.Store(true)
			i.now.cancel()
		}
	}
	for _, i := range w.instances {
		if i.now == nil {
			continue
		}
		<-i.now.ended
		if i.now.err != nil && !i.now.disk.wasFull {
			w.journal.violation(fmt.Errorf("%s did not stop in order: %w", i.now.name, i.now.err))
		}
	}
	time.Sleep(time.Second)
	w.lookAtGroup()
	for !w.history.hasRead(w.cluster, w.topics()...) {
		time.Sleep(tick)
	}
	if err := w.feed.err(); err != nil {
		w.journal.violation(err)
	}
}

// bury waits for everything that ever ran. What does not end is found by the bubble.
func (w *world) bury() {
	for _, p := range w.lives {
		p.wire.thaw()
		p.cancel()
		<-p.ended
		p.wire.cut()
		if p.err != nil && strings.Contains(p.err.Error(), "panic") {
			w.journal.violation(fmt.Errorf("%s: %w", p.name, p.err))
		}
	}
}
