package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A member of a group under test.
type member struct {
	*Group
	mu      sync.Mutex
	tasks   []topology.TaskID
	standby []topology.TaskID
	rounds  int                       // how often it was assigned something
	sums    map[topology.TaskID]int64 // of the state it says it has; what it runs comes on top
	revoked [][]topology.TaskID
	lost    int
	changed chan struct{}
	stop    func() error
}

func join(t *testing.T, c *kfake.Cluster, id byte, tasks []assign.Task, change ...func(*GroupConfig)) *member {
	t.Helper()
	m := newMember(t, testClient(t, c), id, tasks, change...)
	m.start(t)
	return m
}

func newMember(t *testing.T, client *Client, id byte, tasks []assign.Task, change ...func(*GroupConfig)) *member {
	m := &member{changed: make(chan struct{}, 1), sums: make(map[topology.TaskID]int64)}
	cfg := GroupConfig{
		Group: "app", Process: assign.ProcessID{id}, Workers: 1, Topics: []string{"in"}, Tasks: tasks, Sums: m.state,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, RebalanceTimeout: 10 * time.Second,
		ProbingInterval: time.Hour, Log: testLog(t).With("member", id),
	}
	for _, f := range change {
		f(&cfg)
	}
	m.Group = NewGroup(client, cfg)
	return m
}

// state is what the member says it has: what it runs, and what the test says.
func (m *member) state() map[topology.TaskID]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := maps.Clone(m.sums)
	for _, t := range m.cfg.Tasks {
		if t.Stateful && slices.Contains(m.tasks, t.ID) {
			sums[t.ID] = assign.SumRunning
		}
	}
	return sums
}

func (m *member) start(t *testing.T) {
	notify := func() {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- m.Run(ctx, Events{
			Revoked: func(ids []topology.TaskID) {
				m.mu.Lock()
				m.revoked = append(m.revoked, ids)
				m.tasks = slices.DeleteFunc(m.tasks, func(id topology.TaskID) bool { return slices.Contains(ids, id) })
				m.mu.Unlock()
				notify()
			},
			Assigned: func(ids, standby []topology.TaskID) {
				m.mu.Lock()
				m.tasks, m.standby = ids, standby
				m.rounds++
				m.mu.Unlock()
				notify()
			},
			Lost: func() { m.mu.Lock(); m.lost++; m.tasks = nil; m.mu.Unlock(); notify() },
		})
	}()
	m.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = m.stop() }) // a test that wants to know asks by itself
}

// await waits until the member has n tasks and returns them.
func (m *member) await(t *testing.T, n int) (tasks []topology.TaskID) {
	t.Helper()
	m.until(t, fmt.Sprintf("%d tasks", n), func() bool { tasks = slices.Clone(m.tasks); return len(tasks) == n })
	return tasks
}

// until waits until something holds of the member.
func (m *member) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		done := ok()
		tasks, standby := slices.Clone(m.tasks), slices.Clone(m.standby)
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-m.changed:
		case <-deadline:
			t.Fatalf("waited %v for %s, has %v and standbys of %v", patience, what, tasks, standby)
		}
	}
}

func inputTasks(n int32) (tasks []assign.Task) {
	for i := range n {
		tasks = append(tasks, assign.Task{ID: topology.TaskID{Partition: i}, Inputs: []assign.TopicPartition{tp("in", i)}})
	}
	return tasks
}

// statefulTasks read in and have a changelog each, of the topic log.
func statefulTasks(n int32) []assign.Task {
	tasks := inputTasks(n)
	for i := range tasks {
		tasks[i].Stateful = true
		tasks[i].Changelogs = []assign.Changelog{{TopicPartition: tp("log", int32(i))}}
	}
	return tasks
}

func placed(o assign.Options) func(*GroupConfig) {
	return func(cfg *GroupConfig) { cfg.Placement = o }
}

func TestGroupMovesTasks(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(4, "in"))
	tasks := inputTasks(4)
	a := join(t, c, 1, tasks)
	a.await(t, 4)
	ctx := patiently(t)
	first := map[assign.TopicPartition]Committed{tp("in", 0): {5, -1, "meta"}, tp("in", 3): {7, -1, ""}}
	if err := a.Commit(ctx, first); err != nil {
		t.Fatal(err)
	}
	b := join(t, c, 2, tasks)
	got := slices.Concat(b.await(t, 2), a.await(t, 2))
	slices.SortFunc(got, topology.TaskID.Compare)
	if len(slices.Compact(got)) != 4 {
		t.Errorf("the two have %v", got)
	}
	offsets, err := b.Committed(ctx, []assign.TopicPartition{tp("in", 0), tp("in", 1), tp("in", 3)})
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range first {
		if got := offsets[p]; got.Offset != want.Offset || got.Metadata != want.Metadata {
			t.Errorf("%v is committed at %+v, want %+v", p, got, want)
		}
	}
	if len(offsets) != 2 {
		t.Errorf("got %v, want two offsets", offsets)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Leave(ctx, false); err != nil {
		t.Fatal(err)
	}
	b.await(t, 4)
	if len(b.revoked) != 0 {
		t.Errorf("b, which joined last, gave up %v", b.revoked)
	}
	if err := a.Commit(ctx, first); err == nil {
		t.Error("a commits after it left")
	}
	if got := maps.Collect(slices.All(a.revoked)); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("a gave up %v, want two tasks at once", got)
	}
}

// A task with state moves when its state is there: before, the new member gets a warm-up, and the leader looks again
// after the interval.
func TestGroupWarmsUp(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "in", "log"))
	p := testProducer(t, c, ProducerConfig{})
	for i := range int32(2) {
		send(t, p, "log", i, 0, 100)
	}
	tasks := statefulTasks(2)
	quick := func(cfg *GroupConfig) {
		cfg.Placement = assign.Options{AcceptableLag: 10, Warmups: 2}
		cfg.ProbingInterval = 100 * time.Millisecond
	}
	a := join(t, c, 1, tasks, quick)
	a.await(t, 2)
	b := join(t, c, 2, tasks, quick)
	var warm topology.TaskID
	b.until(t, "a warm-up", func() bool {
		if len(b.standby) == 1 {
			warm = b.standby[0]
		}
		return len(b.standby) == 1 && len(b.tasks) == 0
	})
	a.await(t, 2)
	b.mu.Lock()
	b.sums[warm] = 95
	b.mu.Unlock()
	if got := b.await(t, 1); got[0] != warm {
		t.Errorf("b got %v, was warmed up for %v", got, warm)
	}
	a.await(t, 1)
	if len(b.revoked) != 0 || len(a.revoked) != 1 {
		t.Errorf("a gave up %v and b %v, want one task of a", a.revoked, b.revoked)
	}
}

// Each member keeps the standbys of the other's tasks, and runs them when the other is gone. That is no revocation.
func TestGroupKeepsStandbys(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(4, "in", "log"))
	tasks := statefulTasks(4)
	standbys := placed(assign.Options{Standbys: 1, AcceptableLag: 10000})
	a, b := join(t, c, 1, tasks, standbys), join(t, c, 2, tasks, standbys)
	for _, m := range []*member{a, b} {
		m.until(t, "two tasks and two standbys", func() bool { return len(m.tasks) == 2 && len(m.standby) == 2 })
		for _, id := range m.standby {
			if slices.Contains(m.tasks, id) {
				t.Errorf("a member has a standby of %v, which it runs", id)
			}
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	revoked := len(b.revoked)
	if err := a.Leave(patiently(t), false); err != nil {
		t.Fatal(err)
	}
	b.until(t, "all tasks and no standby", func() bool { return len(b.tasks) == 4 && len(b.standby) == 0 })
	if len(b.revoked) != revoked {
		t.Errorf("b gave up %v", b.revoked)
	}
}

// The ends of a task's changelogs are added up; what does not exist is empty, an input ends where it is committed.
func TestLeaderAsksForEnds(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "in", "log"))
	p := testProducer(t, c, ProducerConfig{})
	send(t, p, "log", 0, 0, 7)
	send(t, p, "log", 1, 0, 9)
	send(t, p, "in", 0, 0, 20)
	tasks := statefulTasks(3)
	tasks[0].Changelogs = append(tasks[0].Changelogs, assign.Changelog{TopicPartition: tp("in", 0), Source: true})
	tasks[1].Changelogs = append(tasks[1].Changelogs, assign.Changelog{TopicPartition: tp("log-to-come", 1)})
	a := join(t, c, 1, tasks)
	a.await(t, 3)
	if err := a.Commit(patiently(t), map[assign.TopicPartition]Committed{tp("in", 0): {Offset: 5}}); err != nil {
		t.Fatal(err)
	}
	want := assign.Ends{tasks[0].ID: 12, tasks[1].ID: 9, tasks[2].ID: 0}
	if got, complete := a.ends(patiently(t)); !maps.Equal(got, want) || !complete {
		t.Errorf("got %v, want %v", got, want)
	}
}

// While the leader of a changelog cannot be asked, the ends of the others are known all the same.
func TestUnknownEndsAreLeftOut(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "in", "log"))
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset = p.Partition, 3
				if p.Partition == 1 {
					rp.ErrorCode = kerr.LeaderNotAvailable.Code
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	m := newMember(t, testClient(t, c), 1, statefulTasks(2), func(cfg *GroupConfig) { cfg.SessionTimeout = time.Second })
	want := assign.Ends{m.cfg.Tasks[0].ID: 3}
	if got, complete := m.ends(patiently(t)); !maps.Equal(got, want) || complete {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A member that is not the leader can have a rebalance when it is time, with nothing new to say (KAFKA-10455): its
// subscription differs from the last all the same.
func TestFollowerAsksForRebalance(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(4, "in"))
	followerAsks(t, testClient(t, c), testClient(t, c), "app")
}

func followerAsks(t *testing.T, one, other *Client, group string) {
	t.Helper()
	ctx := patiently(t)
	var pair []*Group
	for i, client := range []*Client{one, other} {
		m := newMember(t, client, byte(i+1), inputTasks(4), func(cfg *GroupConfig) { cfg.Group, cfg.RebalanceTimeout = group, patience })
		pair = append(pair, m.Group)
	}
	again := func(g *Group) error {
		_, err := g.join(ctx)
		for errors.Is(err, kerr.RebalanceInProgress) {
			_, err = g.join(ctx)
		}
		return err
	}
	leader, follower := pair[0], pair[1]
	if err := again(leader); err != nil {
		t.Fatal(err)
	}
	for range 2 { // first it comes, then it asks
		before := leader.generation()
		joined := make(chan error, 1)
		go func() { joined <- again(follower) }()
		if err := leader.beat(ctx, assign.NoRebalance); err != nil || ctx.Err() != nil {
			t.Fatalf("the leader hears of no rebalance: %v, %v", err, ctx.Err())
		}
		if err := again(leader); err != nil {
			t.Fatal(err)
		}
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		if after := follower.generation(); after <= before || after != leader.generation() {
			t.Fatalf("the generation was %d, is %d and %d; want a new one for both", before, leader.generation(), after)
		}
	}
}

// An endpoint that a member answers at is told to all.
func TestGroupTellsEndpoints(t *testing.T) {
	m := newMember(t, nil, 1, statefulTasks(3))
	one, two := assign.Endpoint{Host: "one", Port: 1}, assign.Endpoint{Host: "::1", Port: 2}
	group := []subscriber{{endpoint: one}, {endpoint: two}, {}}
	for i := range group {
		group[i].ID = fmt.Sprint(i)
	}
	ids := []topology.TaskID{m.cfg.Tasks[0].ID, m.cfg.Tasks[1].ID, m.cfg.Tasks[2].ID}
	active, standby := m.hosts(group, assign.Plan{Shares: map[string]assign.Share{
		"0": {Tasks: ids[:1], Standbys: ids[2:]}, "1": {Later: ids[1:2]}, "2": {Tasks: ids[2:]},
	}})
	for _, check := range []struct {
		got, want map[assign.Endpoint][]assign.TopicPartition
	}{
		{active, map[assign.Endpoint][]assign.TopicPartition{one: {tp("in", 0)}, two: {tp("in", 1)}}},
		{standby, map[assign.Endpoint][]assign.TopicPartition{one: {tp("in", 2)}, two: nil}},
	} {
		if !maps.EqualFunc(check.got, check.want, slices.Equal) {
			t.Errorf("got %v, want %v", check.got, check.want)
		}
	}
	for text, want := range map[string]assign.Endpoint{"one:1": one, "[::1]:2": two, "": {}, "one": {}, "one:port": {}} {
		if got := parseEndpoint(text); got != want {
			t.Errorf("%q was read as %v, want %v", text, got, want)
		}
	}
}
