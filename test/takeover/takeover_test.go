//go:build kafka

// Package takeover moves an application from Java Kafka Streams to Millrace and back, on one application id, and runs both
// in one group.
package takeover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

const (
	keys       = 40
	partitions = 4
	patience   = 2 * time.Minute
)

// A member runs the program; close leaves the group in order.
type member interface {
	awaitRunning(t *testing.T)
	close(t *testing.T)
}

// place is where the application reads and writes.
type place struct {
	c                    *kafkatest.Cluster
	application, in, out string
}

// TestTakeover moves an application to and fro: Java alone, both with Java as the leader, Millrace alone, both with Millrace as
// the leader, Java alone. Each takes the state over from the changelogs and the other's offsets; with exactly-once on both
// sides every count must be the truth.
func TestTakeover(t *testing.T) {
	c := kafkatest.Shared(t)
	p := place{c, kafkatest.Unique("takeover"), c.Topic(t, "takeover-in", partitions), c.Topic(t, "takeover-out", partitions)}
	l := &load{client: client(t, c), p: p, truth: map[string]int{}}

	java := p.java(t)
	l.round(t, "Java alone", java)
	goes := p.millrace(t)
	l.round(t, "both, led by Java", java, goes)
	goes.shares(t)
	java.close(t)
	l.round(t, "Millrace alone", goes)
	java = p.java(t)
	l.round(t, "both, led by Millrace", goes, java)
	goes.shares(t)
	goes.close(t)
	l.round(t, "Java alone again", java)
	java.close(t)
	goes = p.millrace(t)
	l.round(t, "Millrace after Java", goes)
	goes.close(t)
}

func client(t *testing.T, c *kafkatest.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// load sends records and knows what must be counted.
type load struct {
	client *kgo.Client
	p      place
	truth  map[string]int // by key and kind of count
	n      int
}

// round sends records once the members run, and waits until the greatest counts that came out are the truth.
func (l *load) round(t *testing.T, what string, members ...member) {
	t.Helper()
	for _, m := range members {
		m.awaitRunning(t)
	}
	for range 1000 {
		key, value := fmt.Sprint("k", l.n%keys), fmt.Sprint("v", l.n%7)
		l.client.Produce(t.Context(), &kgo.Record{Topic: l.p.in, Key: []byte(key), Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		l.truth[key+" key"]++
		l.truth[value+" value"]++
		l.truth[key+" window"]++
		l.n++
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if counts, ok := l.read(ctx, t); !ok {
		for _, k := range slices.Sorted(maps.Keys(l.truth)) {
			if counts[k] != l.truth[k] {
				t.Errorf("%s: %s was counted %d times, not %d", what, k, counts[k], l.truth[k])
			}
		}
		t.FailNow()
	}
	t.Logf("%s: %d records are counted", what, l.n)
}

// read reads the output, committed only, until each count has been the truth; more than that is wrong at once.
func (l *load) read(ctx context.Context, t *testing.T) (counts map[string]int, ok bool) {
	t.Helper()
	cl := client(t, l.p.c, kgo.ConsumeTopics(l.p.out), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	counts = map[string]int{}
	for !maps.Equal(counts, l.truth) {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return counts, false
		}
		bad := false
		fetches.EachRecord(func(r *kgo.Record) {
			var kind string
			var n int
			if _, err := fmt.Sscan(string(r.Value), &kind, &n); err != nil {
				t.Errorf("%q: %v", r.Value, err)
			}
			k := fmt.Sprintf("%s %s", r.Key, kind)
			counts[k] = max(counts[k], n)
			bad = bad || counts[k] > l.truth[k]
		})
		if bad {
			return counts, false
		}
	}
	return counts, true
}

// A javaMember is a process of Kafka Streams.
type javaMember struct {
	cmd    *exec.Cmd
	in     io.Closer
	states chan string
}

func (p place) java(t *testing.T) *javaMember {
	t.Helper()
	cmd := exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", classPath(t), "Counter",
		p.c.Bootstrap(), p.application, p.in, p.out, t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &javaMember{cmd, in, make(chan string, 1000)}
	go func() {
		defer close(m.states)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			m.states <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	})
	return m
}

// awaitRunning waits until the last state that it told is RUNNING.
func (m *javaMember) awaitRunning(t *testing.T) {
	t.Helper()
	over := time.After(patience)
	for state := ""; ; {
		if state == "RUNNING" {
			select {
			case state = <-m.states:
				continue
			default:
				m.states <- state // for the next one who asks
				return
			}
		}
		select {
		case s, ok := <-m.states:
			if !ok {
				t.Fatal("Java has ended")
			}
			state = s
		case <-over:
			t.Fatalf("Java does not run within %v: it is %s", patience, state)
		}
	}
}

func (m *javaMember) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(m.in.Close(), m.cmd.Wait()); err != nil {
		t.Fatal(err)
	}
}

// classPath compiles the Java program, and returns what it needs.
func classPath(t *testing.T) string {
	t.Helper()
	build := filepath.Join(t.TempDir(), "classes")
	jars := filepath.Join(t.TempDir(), "jars")
	if out, err := exec.Command("mvn", "-q", "-B", "-f", "java/pom.xml", "dependency:build-classpath", "-Dmdep.outputFile="+jars).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	path, err := os.ReadFile(jars)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "-nowarn", "-d", build, "-cp", string(path), "java/Counter.java").CombinedOutput(); err != nil {
		t.Fatalf("javac, of a JDK of 17 or newer, is needed: %v: %s", err, out)
	}
	return build + string(os.PathListSeparator) + string(path)
}

// A goMember is an application of Millrace.
type goMember struct {
	app    *streams.App
	cancel context.CancelFunc
	states chan streams.State
	ended  chan error
}

func (p place) millrace(t *testing.T) *goMember {
	t.Helper()
	b := streams.NewBuilder()
	words := b.Stream(p.in, serde.String, serde.String)
	counted := func(kind string) func(int64) string { return func(n int64) string { return fmt.Sprint(kind, " ", n) } }
	words.GroupByKey().Count(streams.As("by-key")).ToStream().MapValues(counted("key")).To(p.out)
	words.GroupBy(func(_, v string) string { return v }, streams.As("by-value")).Count(streams.As("by-value-count")).ToStream().MapValues(counted("value")).To(p.out)
	words.GroupByKey().WindowedBy(streams.Tumbling(1000 * 24 * time.Hour)).Count(streams.As("by-window")).
		ToStream().SelectKey(func(w streams.Windowed[string], _ int64) string { return w.Key }).MapValues(counted("window")).To(p.out)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &goMember{states: make(chan streams.State, 1000), ended: make(chan error, 1)}
	m.app, err = streams.NewApp(p.application, topo, streams.Brokers(strings.Split(p.c.Bootstrap(), ",")...), streams.StateDir(t.TempDir()),
		streams.ExactlyOnce(), streams.SessionTimeout(10*time.Second), streams.ProbingRebalanceInterval(time.Second),
		streams.Logger(slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))),
		streams.OnState(func(_, now streams.State) { m.states <- now }))
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	go func() { m.ended <- m.app.Run(ctx) }()
	t.Cleanup(m.cancel)
	return m
}

func (m *goMember) awaitRunning(t *testing.T) {
	t.Helper()
	over := time.After(patience)
	for m.app.State() != streams.StateRunning {
		select {
		case <-m.states:
		case err := <-m.ended:
			t.Fatalf("Millrace has ended: %v", err)
		case <-over:
			t.Fatalf("Millrace does not run within %v: it is %v", patience, m.app.State())
		}
	}
}

// shares makes sure that the other member has some of the tasks, and this one the others.
func (m *goMember) shares(t *testing.T) {
	t.Helper()
	if n := len(m.app.Tasks()); n == 0 || n == 2*partitions {
		t.Errorf("Millrace has %d tasks of %d: nothing is shared", n, 2*partitions)
	}
}

func (m *goMember) close(t *testing.T) {
	t.Helper()
	m.cancel()
	select {
	case err := <-m.ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("Millrace does not end within %v", patience)
	}
}
