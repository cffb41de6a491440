package streams_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/streams"
)

// A process that drains gives everything away, though nobody else has its state yet; it takes its part again when it is
// not to go after all. No record is lost or counted twice by it.
func TestAppDrains(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	topo := runningTopology(t)
	opts := []streams.AppOption{streams.ExactlyOnce(), streams.AcceptableRecoveryLag(0), streams.ProbingRebalanceInterval(time.Second)}
	stays := start(t, c, topo, opts...)
	stays.await(streams.StateRunning)
	feed(t, c, "in", words(120, 12)...)
	awaitCounts(t, c, 12, 10)

	goes := start(t, c, topo, opts...)
	both := func() bool { return has(t, goes, 2) && has(t, stays, 2) }
	eventually(t, "both to have tasks", both)
	if err := goes.Drain(patiently(t)); err != nil {
		t.Fatal(err)
	}
	if !goes.Draining() || !has(t, goes, 0) {
		t.Error("it is said to be drained, and is not")
	}
	feed(t, c, "in", words(120, 12)...)
	awaitCounts(t, c, 12, 20)
	if !has(t, goes, 0) || !has(t, stays, 4) {
		t.Error("what is drained got tasks")
	}

	goes.EndDrain()
	eventually(t, "both to have tasks again", both)
	if goes.Draining() {
		t.Error("it is said to be draining, and is not")
	}
	feed(t, c, "in", words(120, 12)...)
	awaitCounts(t, c, 12, 30)
}

// has says whether a process runs so many tasks, and has nothing else.
func has(t *testing.T, p *process, n int) bool {
	t.Helper()
	tasks, err := p.Status(patiently(t))
	for _, s := range tasks {
		if s.Role != streams.RoleActive {
			return false
		}
	}
	return err == nil && len(tasks) == n
}

// A static member leaves the group when it stops only if it is told to.
func TestAppDeparts(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	for departure, members := range map[streams.Departure]int{
		streams.DepartAsConfigured: 1, streams.DepartStay: 1, streams.DepartLeave: 0,
	} {
		p := start(t, c, copyTopology(t), streams.InstanceID("a"), streams.SessionTimeout(time.Minute), streams.RebalanceTimeout(time.Minute))
		p.await(streams.StateRunning)
		p.SetDeparture(departure)
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		groups, err := kadm.NewClient(client(t, c)).DescribeGroups(patiently(t), "app")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(groups["app"].Members); got != members {
			t.Errorf("departure %v: the group has %d members, want %d", departure, got, members)
		}
	}
}

// The place of a static member that stopped, and stayed, is given up by another process, which gets its tasks at once.
func TestAppRemovesMember(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	timeouts := []streams.AppOption{streams.SessionTimeout(time.Minute), streams.RebalanceTimeout(time.Minute)}
	p := start(t, c, copyTopology(t), append(timeouts, streams.InstanceID("here"), streams.HTTPToken("secret"))...)
	p.await(streams.StateRunning)
	gone := start(t, c, copyTopology(t), append(timeouts, streams.InstanceID("gone"))...)
	gone.await(streams.StateRunning)
	if err := gone.stop(); err != nil {
		t.Fatal(err)
	}
	for instance, want := range map[string]int{"here": http.StatusConflict, "gone": http.StatusNoContent, "nobody": http.StatusNoContent} {
		r := httptest.NewRequest(http.MethodPost, "/members/"+instance+"/remove", nil)
		r.Header.Set("Authorization", "Bearer secret")
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("removing %q: %d, want %d: %s", instance, w.Code, want, w.Body)
		}
	}
	for ctx := patiently(t); len(p.Tasks()) != 2; {
		select {
		case <-p.changed:
		case <-ctx.Done():
			t.Fatalf("it has the tasks %v", p.Tasks())
		}
	}
	if err := p.RemoveMember(patiently(t), ""); err == nil {
		t.Error("nobody is removed")
	}
}

// One that is not static does so unless it is told not to.
func TestAppStays(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	p := start(t, c, copyTopology(t), streams.SessionTimeout(time.Minute), streams.RebalanceTimeout(time.Minute))
	p.await(streams.StateRunning)
	p.SetDeparture(streams.DepartStay)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	groups, err := kadm.NewClient(client(t, c)).DescribeGroups(patiently(t), "app")
	if err != nil || len(groups["app"].Members) != 1 {
		t.Errorf("the group is %+v, want one member; %v", groups, err)
	}
}

// A drain that is begun and ended before it is looked at leaves nothing behind.
func TestAppDrainTakenBack(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out"))
	running := make(chan struct{})
	runs := sync.OnceFunc(func() { close(running) })
	app, err := streams.NewApp("app", copyTopology(t), streams.Brokers(c.ListenAddrs()...), streams.Logger(testLog(t)), streams.HTTPToken("secret"),
		streams.OnState(func(_, now streams.State) {
			if now == streams.StateRunning {
				runs()
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(app.Handler())
	t.Cleanup(s.Close)
	for _, path := range []string{"/drain", "/undrain"} {
		if code := ask(t, s, http.MethodPost, path, "secret", nil); code != http.StatusNoContent {
			t.Fatalf("%s: %d", path, code)
		}
	}
	ctx, cancel := context.WithCancel(patiently(t))
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	select {
	case <-running:
	case err := <-ended:
		t.Fatal(err)
	}
	if app.Draining() || len(app.Tasks()) != 2 {
		t.Errorf("draining is %v, and the tasks are %v", app.Draining(), app.Tasks())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAppDrainBeforeItRuns(t *testing.T) {
	app, err := streams.NewApp("app", copyTopology(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("Drain returned %v", err)
	}
}
