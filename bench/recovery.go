package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
)

// The session timeout is what the group takes for death; state that was written longer ago than settled is on disk.
const (
	session   = 6 * time.Second
	heartbeat = 300 * time.Millisecond
	settled   = 3 * time.Second
)

// recoveryMeasures are, of an application whose store has as many keys as there are records:
//
//   - restore_records_s: records a second of a restore without a state directory, and restore_running_ms, from the start
//     of that process until RUNNING;
//   - kill9_restored_records: records restored after kill -9 with the state directory at hand, some seconds after the last
//     change, and kill9_running_ms, from the start of the process, a static member, until RUNNING;
//   - failover_kill_ms: with a standby on another process, from kill -9 of one until something came out that was made of
//     a record sent after it; the session timeout is 6000;
//   - failover_close_ms: the same, from asking it to shut down and to leave the group;
//   - rolling_pause_ms: three static members are restarted one after the other, and that is the longest that nothing came
//     out of some partition; rolling_rebalances is how many rebalances there were, and rolling_restored_full how many stores
//     were restored in full meanwhile.
var recoveryMeasures = []string{
	"restore_records_s", "restore_running_ms", "kill9_restored_records", "kill9_running_ms", "failover_kill_ms", "failover_close_ms",
	"rolling_pause_ms", "rolling_rebalances", "rolling_restored_full",
}

// recovery measures one implementation once.
func (b *bench) recovery(ctx context.Context, guarantee string, i implementation, run int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	record := func(measure string, v float64) {
		k := key{recoveryName, guarantee, i.name, measure}
		b.results[k] = append(b.results[k], v)
		b.progress("run %d of %d: %s %s by %s: %.0f", run+1, b.runs, measure, guarantee, i.name, v)
	}
	if err := b.restores(ctx, guarantee, i, record); err != nil {
		return err
	}
	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		took, err := b.failover(ctx, guarantee, i, how)
		if err != nil {
			return err
		}
		measure := "failover_kill_ms"
		if how == syscall.SIGTERM {
			measure = "failover_close_ms"
		}
		record(measure, float64(took.Milliseconds()))
	}
	return b.rolling(ctx, guarantee, i, record)
}

const recoveryName = "R"

// restores fills a store, and then restores it: in full, and after kill -9.
func (b *bench) restores(ctx context.Context, guarantee string, i implementation, record func(string, float64)) error {
	id := kafkatest.Unique("recovery")
	if err := b.create(ctx, id+"-out"); err != nil {
		return err
	}
	defer b.discard(ctx, id)
	a := appArgs{id: id, in: input, out: id + "-out", guarantee: guarantee, state: filepath.Join(b.dir, id)}
	defer os.RemoveAll(a.state)
	fill := a
	fill.records, fill.leave = b.set.Records, true
	p, err := b.launch(ctx, i, fill)
	if err != nil {
		return err
	}
	if _, err := p.event(ctx, "done"); err != nil {
		return err
	}
	if err := p.end(0); err != nil {
		return err
	}
	if err := os.RemoveAll(a.state); err != nil {
		return err
	}
	a.member = "one"
	if p, err = b.launch(ctx, i, a); err != nil {
		return err
	}
	e, err := p.event(ctx, "running")
	if err != nil {
		return err
	}
	record("restore_records_s", e["restored_records"]/max(e["restore_ms"], 1)*1e3)
	record("restore_running_ms", e["since_start_ms"])
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settled):
	}
	if err := p.end(syscall.SIGKILL); err != nil {
		return err
	}
	if p, err = b.launch(ctx, i, a); err != nil {
		return err
	}
	if e, err = p.event(ctx, "running"); err != nil {
		return err
	}
	record("kill9_restored_records", e["restored_records"])
	record("kill9_running_ms", e["since_start_ms"])
	return p.end(syscall.SIGKILL)
}

// failover ends one of two processes and returns how long some partition of the output was without news.
func (b *bench) failover(ctx context.Context, guarantee string, i implementation, how syscall.Signal) (time.Duration, error) {
	id := kafkatest.Unique("failover")
	if err := b.create(ctx, id+"-in"); err != nil {
		return 0, err
	}
	if err := b.create(ctx, id+"-out"); err != nil {
		return 0, err
	}
	defer b.discard(ctx, id)
	var both []*process
	for n := range 2 {
		a := appArgs{
			id: id, in: id + "-in", out: id + "-out", guarantee: guarantee, standby: 1, leave: true,
			state: filepath.Join(b.dir, fmt.Sprint(id, "-", n)),
		}
		defer os.RemoveAll(a.state)
		p, _, err := b.launchRunning(ctx, i, a)
		if err != nil {
			return 0, err
		}
		defer p.discard()
		both = append(both, p)
	}
	probe, err := startProbe(ctx, b.brokers, id+"-in", id+"-out")
	if err != nil {
		return 0, err
	}
	defer probe.stop()
	if err := probe.steady(ctx, 5*time.Second); err != nil { // both have their tasks, and standbys
		return 0, err
	}
	at := time.Now()
	if err := both[1].signal(how); err != nil {
		return 0, err
	}
	return probe.after(ctx, at)
}

// rolling restarts three static members one after the other.
func (b *bench) rolling(ctx context.Context, guarantee string, i implementation, record func(string, float64)) error {
	id := kafkatest.Unique("rolling")
	for _, topic := range []string{id + "-in", id + "-out"} {
		if err := b.create(ctx, topic); err != nil {
			return err
		}
	}
	defer b.discard(ctx, id)
	var all []*process
	var args []appArgs
	for n := range 3 {
		a := appArgs{
			id: id, in: id + "-in", out: id + "-out", guarantee: guarantee, member: fmt.Sprint("member-", n),
			state: filepath.Join(b.dir, fmt.Sprint(id, "-", n)),
		}
		defer os.RemoveAll(a.state)
		p, _, err := b.launchRunning(ctx, i, a)
		if err != nil {
			return err
		}
		args, all = append(args, a), append(all, p)
		defer func() { all[n].discard() }()
	}
	probe, err := startProbe(ctx, b.brokers, id+"-in", id+"-out")
	if err != nil {
		return err
	}
	defer probe.stop()
	if err := probe.steady(ctx, 5*time.Second); err != nil {
		return err
	}
	before, err := b.generation(ctx, id)
	if err != nil {
		return err
	}
	probe.forget()
	full, told := 0.0, false
	for n := range all {
		if err := all[n].end(syscall.SIGTERM); err != nil {
			return err
		}
		p, e, err := b.launchRunning(ctx, i, args[n])
		if err != nil {
			return err
		}
		all[n] = p
		if v, ok := e["restored_full"]; ok {
			full, told = full+v, true
		}
		if err := probe.steady(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	record("rolling_pause_ms", float64(probe.longestGap().Milliseconds()))
	after, err := b.generation(ctx, id)
	if err != nil {
		return err
	}
	record("rolling_rebalances", float64(after-before))
	if told {
		record("rolling_restored_full", full)
	}
	return nil
}

// launchRunning launches a process and waits until it runs; the event says what it restored.
func (b *bench) launchRunning(ctx context.Context, i implementation, a appArgs) (*process, map[string]float64, error) {
	p, err := b.launch(ctx, i, a)
	if err != nil {
		return nil, nil, err
	}
	e, err := p.event(ctx, "running")
	return p, e, err
}

// appArgs are the arguments of a process.
type appArgs struct {
	id, in, out, guarantee, state, member string
	records                               int64
	standby                               int
	leave                                 bool
}

func (a appArgs) list(bootstrap string) []string {
	args := []string{
		"--bootstrap", bootstrap, "--app-id", a.id, "--state-dir", a.state, "--guarantee", a.guarantee, "--workload", recoveryName,
		"--in", a.in, "--out", a.out, "--records", fmt.Sprint(a.records), "--cache", "0", "--standby", fmt.Sprint(a.standby),
		"--t0", fmt.Sprintf("%.3f", float64(time.Now().UnixMicro())/1e3),
	}
	set := fmt.Sprintf("consumer.session.timeout.ms=%d,consumer.heartbeat.interval.ms=%d", session.Milliseconds(), heartbeat.Milliseconds())
	if a.member != "" {
		set += ",group.instance.id=" + a.member
	}
	args = append(args, "--set", set)
	if a.leave {
		args = append(args, "--leave", "true")
	}
	return args
}

// process is an application that runs.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	events map[string]map[string]float64
	news   chan struct{}
}

func (b *bench) launch(ctx context.Context, i implementation, a appArgs) (*process, error) {
	p := &process{ended: make(chan struct{}), events: map[string]map[string]float64{}, news: make(chan struct{}, 1)}
	p.cmd = exec.CommandContext(ctx, i.command[0], append(append([]string{}, i.command[1:]...), a.list(b.cluster.Bootstrap())...)...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.hear(lines.Bytes())
		}
		_ = p.cmd.Wait() // killed, mostly
	}()
	return p, nil
}

// hear keeps the numbers of the last line of each event.
func (p *process) hear(line []byte) {
	var e map[string]any
	if json.Unmarshal(line, &e) != nil {
		return
	}
	numbers := map[string]float64{}
	for k, v := range e {
		if n, ok := v.(float64); ok {
			numbers[k] = n
		}
	}
	p.mu.Lock()
	p.events[fmt.Sprint(e["event"])] = numbers
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// event waits for an event.
func (p *process) event(ctx context.Context, name string) (map[string]float64, error) {
	for {
		p.mu.Lock()
		e := p.events[name]
		p.mu.Unlock()
		if e != nil {
			return e, nil
		}
		select {
		case <-p.news:
		case <-p.ended:
			select {
			case <-p.news: // what it said last
			default:
				return nil, fmt.Errorf("%s ended before it said %q", p.cmd.Path, name)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting until %s says %q: %w", p.cmd.Path, name, ctx.Err())
		}
	}
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// end waits for the end, after a signal if there is one.
func (p *process) end(s syscall.Signal) error {
	if s != 0 {
		_ = p.signal(s) // it may have ended
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s does not end", p.cmd.Path)
	}
}

// discard ends the process, whatever becomes of it.
func (p *process) discard() {
	if err := p.end(syscall.SIGKILL); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// discard deletes the topics of a run, as far as that works.
func (b *bench) discard(ctx context.Context, id string) {
	if err := b.remove(context.WithoutCancel(ctx), id); err != nil {
		b.progress("the topics of %s cannot be deleted: %v", id, err)
	}
}

// probe sends a record to each partition every few milliseconds, and notes when something made of them comes out.
type probe struct {
	client *kgo.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	last   map[int32]time.Time // of the records of which something came out, when the last was sent
	seen   map[int32]time.Time // when it came
	gap    time.Duration       // the longest between two that came of a partition
}

func startProbe(ctx context.Context, brokers []string, in, out string) (*probe, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	p := &probe{client: client, last: map[int32]time.Time{}, seen: map[int32]time.Time{}}
	ctx, p.cancel = context.WithCancel(ctx)
	p.wg.Go(func() { p.send(ctx, in) })
	p.wg.Go(func() {
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(p.see)
		}
	})
	return p, nil
}

func (p *probe) send(ctx context.Context, in string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for part := range int32(partitions) {
			value := []byte(time.Now().Format(time.RFC3339Nano))
			p.client.Produce(ctx, &kgo.Record{Topic: in, Partition: part, Key: fmt.Append(nil, "k", part, "-", n%50), Value: value}, nil)
		}
	}
}

func (p *probe) see(r *kgo.Record) {
	sent, err := time.Parse(time.RFC3339Nano, string(r.Value))
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	part := int32(r.Key[1] - '0') // the output is partitioned by key
	if sent.After(p.last[part]) {
		if last, ok := p.seen[part]; ok {
			p.gap = max(p.gap, time.Since(last))
		}
		p.last[part], p.seen[part] = sent, time.Now()
	}
}

// forget forgets the longest gap so far.
func (p *probe) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gap = 0
}

func (p *probe) longestGap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gap
}

// steady waits until all partitions have had no gap for a while.
func (p *probe) steady(ctx context.Context, d time.Duration) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	since := time.Now()
	for time.Since(since) < d {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for steady output: %w", ctx.Err())
		case <-tick.C:
		}
		p.mu.Lock()
		for part := range int32(partitions) {
			if time.Since(p.seen[part]) > time.Second {
				since = time.Now()
			}
		}
		p.mu.Unlock()
	}
	return nil
}

// after waits until something came out of each partition that was sent after a moment, and returns how long that took.
func (p *probe) after(ctx context.Context, at time.Time) (time.Duration, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		done := true
		p.mu.Lock()
		for part := range int32(partitions) {
			done = done && p.last[part].After(at)
		}
		p.mu.Unlock()
		if done {
			return time.Since(at), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for output after the end of a process: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (p *probe) stop() {
	p.cancel()
	p.wg.Wait()
	p.client.Close()
}
