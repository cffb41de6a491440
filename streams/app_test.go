package streams_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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
	t.Cleanup(func() { p.stop() })
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
		var n int
		fmt.Sscan(string(r.Value), &n)
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
	awaitRecords(t, c, "out", "an exact count", func(all []*kgo.Record) bool {
		for w, n := range totals(all) {
			if n > 200 {
				t.Errorf("%s was counted %d times, want 200", w, n)
			}
		}
		return true
	})
}

func TestAppErrors(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "out"))
	p := start(t, c, copyTopology(t))
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it runs without its source topic")
	}
	if p.err == nil || errors.Is(p.err, context.Canceled) {
		t.Fatalf("got %v", p.err)
	}
	t.Log(p.err)
}
