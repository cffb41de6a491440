package streams_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

const patience = 30 * time.Second // for what should take milliseconds, on a busy machine

func fakeCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// A process is an App under test.
type process struct {
	*streams.App
	t       *testing.T
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error
	changed chan struct{}

	mu     sync.Mutex
	states []streams.State
	events []streams.RestoreEvent
}

func start(t *testing.T, c *kfake.Cluster, topo *topology.Topology, opts ...streams.AppOption) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{}), changed: make(chan struct{}, 1)}
	own := []streams.AppOption{
		streams.Brokers(c.ListenAddrs()...), streams.Logger(testLog(t)), streams.Linger(0), streams.CommitInterval(50 * time.Millisecond),
		streams.HeartbeatInterval(100 * time.Millisecond), streams.SessionTimeout(10 * time.Second), streams.StateDir(t.TempDir()),
		streams.OnState(func(_, now streams.State) {
			p.mu.Lock()
			p.states = append(p.states, now)
			p.mu.Unlock()
			select {
			case p.changed <- struct{}{}:
			default:
			}
		}),
		streams.OnRestore(func(e streams.RestoreEvent) {
			p.mu.Lock()
			p.events = append(p.events, e)
			p.mu.Unlock()
		}),
	}
	app, err := streams.NewApp("app", topo, append(own, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	p.App = app
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(p.ended)
		p.err = app.Run(ctx)
	}()
	t.Cleanup(func() { _ = p.stop() }) // a test that wants to know asks by itself
	return p
}

// await waits until the process is in a state.
func (p *process) await(s streams.State) {
	p.t.Helper()
	deadline := time.After(patience)
	for p.State() != s {
		select {
		case <-p.changed:
		case <-p.ended:
			if p.State() != s {
				p.t.Fatalf("the application ended in state %v, waiting for %v: %v", p.State(), s, p.err)
			}
		case <-deadline:
			p.t.Fatalf("waited %v for state %v, it is in %v", patience, s, p.State())
		}
	}
}

// stop shuts the process down and waits for it.
func (p *process) stop() error {
	p.t.Helper()
	p.cancel()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("waited %v for the shutdown", patience)
	}
	return p.err
}

// kafka is a plain client of a test.
func client(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// feed writes strings, keys and values alike, into a topic.
func feed(t *testing.T, c *kfake.Cluster, topic string, values ...string) {
	t.Helper()
	cl := client(t, c)
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)})
	}
	if err := cl.ProduceSync(patiently(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// awaitRecords reads a topic from the beginning until ok says that it is enough.
func awaitRecords(t *testing.T, c *kfake.Cluster, topic, what string, ok func(all []*kgo.Record) bool) {
	t.Helper()
	cl := client(t, c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := patiently(t)
	var all []*kgo.Record
	for !ok(all) {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("waited for %s in %q: %v; there are %d records", what, topic, err, len(all))
		}
		all = append(all, f.Records()...)
	}
}

// readAll returns what is in a topic.
func readAll(t *testing.T, c *kfake.Cluster, topic string) (all []*kgo.Record) {
	t.Helper()
	ends, err := kadm.NewClient(client(t, c)).ListEndOffsets(patiently(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	awaitRecords(t, c, topic, fmt.Sprintf("all %d records", n), func(read []*kgo.Record) bool {
		all = read
		return len(read) >= n
	})
	return all
}

func words(n, of int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint("word", i%of))
	}
	return out
}

func copyTopology(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func countTopology(t *testing.T, opts ...streams.Option) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).
		GroupBy(func(_, v string) string { return v }).
		Count(append([]streams.Option{streams.As("counts")}, opts...)...).
		ToStream().
		MapValues(func(n int64) string { return fmt.Sprint(n) }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func TestAppCopies(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	feed(t, c, "in", words(1000, 100)...)
	p := start(t, c, copyTopology(t))
	p.await(streams.StateRunning)
	awaitRecords(t, c, "out", "1000 records", func(all []*kgo.Record) bool { return len(all) >= 1000 })
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.State(); got != streams.StateNotRunning {
		t.Errorf("it ended in state %v", got)
	}
}

// totals returns the greatest count of each word, which is the last.
func totals(all []*kgo.Record) map[string]int {
	out := make(map[string]int)
	for _, r := range all {
		n, _ := strconv.Atoi(string(r.Value)) // what is no number counts as 0, and is seen by that
		out[string(r.Key)] = max(out[string(r.Key)], n)
	}
	return out
}

func each(of, want int) func([]*kgo.Record) bool {
	return func(all []*kgo.Record) bool {
		got := totals(all)
		for i := range of {
			if got[fmt.Sprint("word", i)] < want {
				return false
			}
		}
		return true
	}
}

func TestAppCountsAndRestores(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	feed(t, c, "in", words(1000, 10)...)
	p := start(t, c, countTopology(t, streams.InMemory()), streams.Workers(2))
	awaitRecords(t, c, "out", "counts of 100", each(10, 100))
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	feed(t, c, "in", words(1000, 10)...)
	p = start(t, c, countTopology(t, streams.InMemory()))
	awaitRecords(t, c, "out", "counts of 200", each(10, 200))
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 {
		t.Error("nothing was restored")
	}
	for word, n := range totals(readAll(t, c, "out")) {
		if n > 200 {
			t.Errorf("%s was counted %d times, want 200", word, n)
		}
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// committed returns the sum of the committed offsets of a topic.
func committed(t *testing.T, c *kfake.Cluster, topic string) (sum int64) {
	t.Helper()
	offsets, err := kadm.NewClient(client(t, c)).FetchOffsets(patiently(t), "app")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range offsets[topic] {
		sum += o.At
	}
	return sum
}

// A store on disk is not restored after an orderly stop; one whose directory lost its last position is restored from
// where it is, and one without a directory in full.
func TestAppRestoresWhatIsMissing(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	topo := countTopology(t, streams.Uncached())
	dir := t.TempDir()
	rounds := 0
	round := func(what string, full bool, from, to int64) {
		t.Helper()
		feed(t, c, "in", words(100, 10)...)
		rounds++
		p := start(t, c, topo, streams.StateDir(dir))
		awaitRecords(t, c, "out", what, each(10, 10*rounds))
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.events) == 0 {
			if from != to {
				t.Errorf("%s: nothing is restored, want %d to %d", what, from, to)
			}
			return
		}
		last := p.events[len(p.events)-1]
		if last.Phase != streams.RestoreEnd || last.Full != full || last.Start != from || last.Position != to {
			t.Errorf("%s: restored %+v, want from %d to %d, full %v", what, last, from, to, full)
		}
	}
	task := filepath.Join(dir, "app", "1_0")
	round("the first start", true, 0, 0)
	copied := filepath.Join(t.TempDir(), "1_0")
	if err := os.CopyFS(copied, os.DirFS(task)); err != nil {
		t.Fatal(err)
	}
	round("after an orderly stop", false, 0, 0)
	if err := errors.Join(os.RemoveAll(task), os.CopyFS(task, os.DirFS(copied))); err != nil {
		t.Fatal(err)
	}
	round("with the state of a round before", false, 100, 200)
	if err := os.RemoveAll(task); err != nil {
		t.Fatal(err)
	}
	round("without state", true, 0, 300)
	for word, n := range totals(readAll(t, c, "out")) {
		if n != 10*rounds {
			t.Errorf("%s was counted %d times, want %d", word, n, 10*rounds)
		}
	}
}

// A state directory serves one process.
func TestAppStateDirInUse(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	dir := t.TempDir()
	first := start(t, c, countTopology(t), streams.StateDir(dir))
	first.await(streams.StateRunning)
	start(t, c, countTopology(t), streams.StateDir(dir)).awaitError("in use by another process", "option StateDir")
}

// A second instance takes half of the tasks, and the rest when the first one stops. Tasks are committed before they
// move, so that each record is counted once.
func TestAppSharesAndTakesOver(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	feed(t, c, "in", words(1000, 10)...)
	topo := countTopology(t, streams.InMemory())
	a := start(t, c, topo, streams.Workers(2))
	a.await(streams.StateRunning)
	b := start(t, c, topo)
	eventually(t, "the second instance to have its third of the tasks", func() bool { return len(b.Tasks()) >= 2 && len(a.Tasks())+len(b.Tasks()) == 8 })
	feed(t, c, "in", words(1000, 10)...)
	awaitRecords(t, c, "out", "counts of 200", each(10, 200))
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second instance to have all tasks", func() bool { return len(b.Tasks()) == 8 })
	feed(t, c, "in", words(1000, 10)...)
	awaitRecords(t, c, "out", "counts of 300", each(10, 300))
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	for word, n := range totals(readAll(t, c, "out")) {
		if n != 300 {
			t.Errorf("%s was counted %d times, want 300", word, n)
		}
	}
}

// What was processed is committed at the shutdown, so that nothing is done again.
func TestAppCommitsAtShutdown(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	for round := 1; round <= 3; round++ {
		feed(t, c, "in", words(100, 100)...)
		p := start(t, c, copyTopology(t), streams.CommitInterval(time.Hour))
		awaitRecords(t, c, "out", "the copies", func(all []*kgo.Record) bool { return len(all) >= round*100 })
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		if got := committed(t, c, "in"); got != int64(round*100) {
			t.Fatalf("round %d: %d is committed, want %d", round, got, round*100)
		}
	}
	if all := readAll(t, c, "out"); len(all) != 300 {
		t.Errorf("there are %d copies, want 300", len(all))
	}
}

// A member that the group has forgotten loses its tasks, joins anew and goes on; nothing is lost.
func TestAppRejoins(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100"}))
	p := start(t, c, countTopology(t, streams.InMemory()), streams.SessionTimeout(time.Second))
	feed(t, c, "in", words(500, 10)...)
	awaitRecords(t, c, "out", "counts of 50", each(10, 50))
	for _, key := range []kmsg.Key{kmsg.Heartbeat, kmsg.OffsetCommit} {
		forgotten := make(chan struct{})
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			defer close(forgotten)
			switch req := req.(type) {
			case *kmsg.HeartbeatRequest:
				resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
				resp.ErrorCode = kerr.UnknownMemberID.Code
				return resp, nil, true
			case *kmsg.OffsetCommitRequest:
				resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
				for _, rt := range req.Topics {
					t := kmsg.NewOffsetCommitResponseTopic()
					t.Topic = rt.Topic
					for _, rp := range rt.Partitions {
						p := kmsg.NewOffsetCommitResponseTopicPartition()
						p.Partition, p.ErrorCode = rp.Partition, kerr.RebalanceInProgress.Code
						t.Partitions = append(t.Partitions, p)
					}
					resp.Topics = append(resp.Topics, t)
				}
				return resp, nil, true
			}
			return nil, nil, false
		})
		feed(t, c, "in", words(500, 10)...)
		select {
		case <-forgotten:
		case <-time.After(patience):
			t.Fatalf("no %v in %v", key, patience)
		}
	}
	awaitRecords(t, c, "out", "counts of 150 or more", each(10, 150))
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}

// Repartition topics are purged, and never of what is not committed.
func TestAppPurgesWhatIsCommitted(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	const repartition = "app-counts-repartition"
	var mu sync.Mutex
	committed := make(map[int32]int64)
	watch := func(key kmsg.Key, f func(kmsg.Request)) {
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			f(req)
			return nil, nil, false
		})
	}
	watch(kmsg.OffsetCommit, func(req kmsg.Request) {
		for _, rt := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, rp := range rt.Partitions {
				if rt.Topic == repartition {
					committed[rp.Partition] = rp.Offset
				}
			}
		}
	})
	purged := make(map[int32]int64)
	watch(kmsg.DeleteRecords, func(req kmsg.Request) {
		for _, rt := range req.(*kmsg.DeleteRecordsRequest).Topics {
			for _, rp := range rt.Partitions {
				if rp.Offset > committed[rp.Partition] {
					t.Errorf("partition %d is purged up to %d, committed is %d", rp.Partition, rp.Offset, committed[rp.Partition])
				}
				purged[rp.Partition] = rp.Offset
			}
		}
	})
	start(t, c, countTopology(t, streams.InMemory()), streams.RepartitionPurgeInterval(10*time.Millisecond))
	total := 0
	for round := 1; round <= 5; round++ {
		feed(t, c, "in", words(300, 30)...)
		total += 300
		eventually(t, "all that was read to be purged", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return purged[0]+purged[1] == int64(total)
		})
	}
}

// With several workers the tasks are spread, and stay spread when some leave.
func TestAppWorkers(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(6, "in", "out"))
	topo := countTopology(t, streams.InMemory())
	a := start(t, c, topo, streams.Workers(3))
	a.await(streams.StateRunning)
	b := start(t, c, topo, streams.Workers(2))
	eventually(t, "both to have tasks", func() bool { return len(b.Tasks()) >= 4 && len(a.Tasks())+len(b.Tasks()) == 12 })
	feed(t, c, "in", words(1000, 20)...)
	awaitRecords(t, c, "out", "counts of 50", each(20, 50))
}

// A record that fails ends the application, with an error that says where it lies; or its handler says otherwise.
func TestAppFailures(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out", "dead"))
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).TryMapValues(func(_ context.Context, _, v string) (string, error) {
		if v == "bad" {
			return "", errors.New("it is bad")
		}
		return v, nil
	}).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	feed(t, c, "in", "good", "bad", "better")
	p := start(t, c, topo)
	p.awaitError("partition 0 offset 1", "it is bad")
	start(t, c, topo, streams.ProcessingHandler(streams.Always(streams.DeadLetter)), streams.DeadLetterTopic("dead"))
	awaitRecords(t, c, "dead", "a dead letter", func(all []*kgo.Record) bool { return len(all) == 1 && string(all[0].Value) == "bad" })
	awaitRecords(t, c, "out", "the others", func(all []*kgo.Record) bool { return len(all) >= 2 })
}

// awaitError waits until the process has failed, with an error that says all of this.
func (p *process) awaitError(says ...string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("waited %v for an error; the application is in state %v", patience, p.State())
	}
	if p.err == nil || p.State() != streams.StateError {
		p.t.Fatalf("it ended in state %v with %v", p.State(), p.err)
	}
	for _, s := range says {
		if !strings.Contains(p.err.Error(), s) {
			p.t.Errorf("the error does not say %q: %v", s, p.err)
		}
	}
}

func TestAppStartErrors(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "out"), kfake.SeedTopics(2, "two"), kfake.SeedTopics(3, "three"))
	start(t, c, copyTopology(t)).awaitError(`"in"`, "do not exist")

	b := streams.NewBuilder()
	table := b.Table("two", serde.String, serde.String, streams.InMemory())
	b.Stream("three", serde.String, serde.String).JoinTable(table, func(v, w string) string { return v + w }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, topo).awaitError("co-partitioned", `"two" has 2`, `"three" has 3`)

	start(t, c, copyTopology(t), streams.Brokers("127.0.0.1:1"), streams.ConnectTimeout(200*time.Millisecond)).
		awaitError("127.0.0.1:1", "200ms", "option Brokers")

	if err := c.CreateTopic("in", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteTopic("out"); err != nil {
		t.Fatal(err)
	}
	feed(t, c, "in", "one")
	start(t, c, copyTopology(t)).awaitError(`"out"`)
}

func TestNewAppChecksItsOptions(t *testing.T) {
	topo := copyTopology(t)
	for want, opts := range map[string][]streams.AppOption{
		"option Workers":           {streams.Workers(0)},
		"option Standbys":          {streams.Standbys(-1)},
		"AcceptableRecoveryLag":    {streams.AcceptableRecoveryLag(-1)},
		"MaxWarmupReplicas":        {streams.MaxWarmupReplicas(0)},
		"ProbingRebalanceInterval": {streams.ProbingRebalanceInterval(0)},
		"needs 1 to 30 bytes":      {streams.ClientTags(map[string]string{"zone": ""})},
		"needs 1 to 20 bytes":      {streams.ClientTags(map[string]string{"": "a"})},
		"not a tag of this":        {streams.RackAwareTags("zone")},
		"option Brokers":           {streams.Brokers("nowhere")},
		"option HeartbeatInterval": {streams.HeartbeatInterval(20 * time.Second)},
		"option RebalanceTimeout":  {streams.RebalanceTimeout(time.Second)},
		"option CommitInterval":    {streams.CommitInterval(0)},
		"option Linger":            {streams.Linger(-1)},
	} {
		if _, err := streams.NewApp("app", topo, opts...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that names %s", err, want)
		}
	}
	if _, err := streams.NewApp("a b", topo); err == nil {
		t.Error("a space in the application id is accepted")
	}
}

func TestAppHealth(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	feed(t, c, "in", words(10, 10)...)
	app, err := streams.NewApp("app", copyTopology(t), streams.Brokers(c.ListenAddrs()...), streams.Logger(testLog(t)))
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		app.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/startupz": 503} {
		if code, body := get(path); code != want {
			t.Errorf("before the start %s answers %d %s, want %d", path, code, body, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()
	eventually(t, "the app to be ready", func() bool { code, _ := get("/readyz"); return code == 200 })
	eventually(t, "the metrics to count", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, `kafka_streams_thread_process_records_total{application_id="app",thread="1"} 10`)
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/startupz": 200} {
		if code, body := get(path); code != want {
			t.Errorf("after the end %s answers %d %s, want %d", path, code, body, want)
		}
	}
}
