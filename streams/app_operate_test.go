package streams_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Workers come and go while the application runs, and no record is lost or counted twice by it.
func TestAppSetWorkers(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(6, "in", "out"))
	p := start(t, c, runningTopology(t), streams.ExactlyOnce())
	p.await(streams.StateRunning)
	fed := int64(0)
	for _, n := range []int{3, 1, 4, 2} {
		feed(t, c, "in", words(120, 12)...)
		fed += 10
		if err := p.SetWorkers(patiently(t), n); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the tasks to be spread", func() bool {
			tasks, err := p.Status(patiently(t))
			if err != nil {
				t.Fatal(err)
			}
			load := map[int]int{}
			for _, s := range tasks {
				load[s.Worker]++
			}
			if load[0] > 0 || len(load) != n || len(tasks) != 6 {
				return false
			}
			for _, l := range load {
				if l < 6/n || l > (6+n-1)/n {
					return false
				}
			}
			return true
		})
	}
	awaitCounts(t, c, 12, fed)
	if err := p.SetWorkers(patiently(t), 0); err == nil {
		t.Error("there can be no workers")
	}
}

// A worker whose task hangs in a function of the program cannot end: SetWorkers says so, and the task moves when it is
// asked to later.
func TestAppSetWorkersWhileAFunctionHangs(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"), briefSessions)
	hang, hangs := make(chan struct{}), make(chan struct{}, 100)
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).Peek(func(_, _ string) { hangs <- struct{}{}; <-hang }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo, streams.Workers(2), streams.SessionTimeout(time.Second), streams.RebalanceTimeout(time.Second))
	release := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(release)
	p.await(streams.StateRunning)
	feed(t, c, "in", words(40, 40)...)
	for range 2 {
		select {
		case <-hangs:
		case <-time.After(patience):
			t.Fatal("no record was processed by each of the workers")
		}
	}
	if err := p.SetWorkers(patiently(t), 1); err == nil || !strings.Contains(err.Error(), "did not hand task") {
		t.Fatalf("SetWorkers returned %v", err)
	}
	release()
	if err := p.SetWorkers(patiently(t), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both tasks to be on the worker that stays", func() bool {
		tasks, err := p.Status(patiently(t))
		return err == nil && len(tasks) == 2 && tasks[0].Worker == 1 && tasks[1].Worker == 1
	})
	eventually(t, "all records to come out", func() bool { return len(readAll(t, c, "out")) == 40 })
}

func TestAppSetWorkersBeforeItRuns(t *testing.T) {
	app, err := streams.NewApp("app", copyTopology(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := app.SetWorkers(t.Context(), 2); err == nil {
		t.Error("an application that does not run has no workers")
	}
	if _, err := app.Status(t.Context()); err == nil {
		t.Error("an application that does not run has no tasks")
	}
}

// A paused application processes nothing, and goes on where it was.
func TestAppPauses(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"), briefSessions)
	b := streams.NewBuilder()
	var seen atomic.Int64
	b.Stream("in", serde.String, serde.String).Peek(func(_, _ string) { seen.Add(1) }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo, streams.SessionTimeout(time.Second), streams.HeartbeatInterval(100*time.Millisecond))
	p.await(streams.StateRunning)
	p.Pause()
	if !p.Paused() {
		t.Error("it is not paused")
	}
	feed(t, c, "in", words(10, 10)...)
	eventually(t, "the records to be fetched", func() bool { // they wait in the process then
		tasks, err := p.Status(patiently(t))
		return err == nil && len(tasks) == 1 && len(tasks[0].Inputs) == 1 && p.State() == streams.StateRunning
	})
	if seen.Load() != 0 {
		t.Errorf("%d records were processed", seen.Load())
	}
	p.Resume()
	eventually(t, "all records to be processed", func() bool { return seen.Load() == 10 })
}

// failing fails at some records, as often as it is told to.
func failing(t *testing.T, c *kfake.Cluster, times int64, opts ...streams.AppOption) (p *process, failures *atomic.Int64) {
	t.Helper()
	failures = new(atomic.Int64)
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).TryPeek(func(_ context.Context, _, v string) error {
		if v == "bad" && failures.Add(1) <= times {
			return errors.New("it is bad")
		}
		return nil
	}).GroupByKey().Count(streams.As("counts"), streams.Uncached()).ToStream().To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, c, topo, opts...), failures
}

// A worker that is replaced begins again from the last commit: with exactly-once nothing counts twice.
func TestAppReplacesAWorker(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	_, failures := failing(t, c, 2, streams.ExactlyOnce(), streams.UncaughtHandler(func(error) streams.Reaction { return streams.ReplaceWorker }))
	feed(t, c, "in", "good", "bad", "better")
	feed(t, c, "in", "good", "bad", "better")
	awaitCounts(t, c, 3, 2)
	if failures.Load() != 4 {
		t.Errorf("it was tried %d times, want 4", failures.Load())
	}
}

func TestAppReplacesAWorkerNotForEver(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	p, _ := failing(t, c, 1<<40, streams.TaskTimeout(300*time.Millisecond),
		streams.UncaughtHandler(func(error) streams.Reaction { return streams.ReplaceWorker }))
	feed(t, c, "in", "bad")
	p.awaitError("it is bad", "could not commit for")
}

// One process can end all.
func TestAppShutsTheApplicationDown(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	end := streams.UncaughtHandler(func(error) streams.Reaction { return streams.ShutDownApplication })
	a, _ := failing(t, c, 1<<40, end)
	b, _ := failing(t, c, 1<<40, end)
	eventually(t, "both to have a task", func() bool { return len(a.Tasks()) == 1 && len(b.Tasks()) == 1 })
	feed(t, c, "in", "bad")
	for _, p := range []*process{a, b} {
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("waited %v for the end", patience)
		}
		if p.State() != streams.StateError || p.err == nil {
			t.Errorf("it ended in state %v with %v", p.State(), p.err)
		}
	}
	if err := errors.Join(a.err, b.err); err == nil || !strings.Contains(err.Error(), "it is bad") {
		t.Errorf("nobody says why: %v", err)
	}
}

// A process that was killed, or stayed in the group, and comes back tells the group that its former self is gone: nobody
// waits until that one's session times out.
func TestAppLeavesForItsFormerSelf(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	dir := streams.StateDir(t.TempDir())
	session := streams.SessionTimeout(2 * time.Minute) // longer than the test waits
	p := start(t, c, runningTopology(t), dir, session, streams.StayInGroup())
	p.await(streams.StateRunning)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, c, runningTopology(t), dir, session).await(streams.StateRunning)
}
