//go:build kafka

package kafka

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/topology"
)

func realClient(t *testing.T) *Client {
	t.Helper()
	client, err := NewClient(Config{Brokers: strings.Split(kafkatest.Shared(t).Bootstrap(), ","), ClientID: t.Name(), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// A broker answers a member that is not the leader, and whose subscription is what it was, with what it has already: so
// each subscription differs (KAFKA-10455).
func TestFollowerAsksForRebalanceOfKafka(t *testing.T) {
	followerAsks(t, realClient(t), realClient(t), kafkatest.Unique("group"))
}

// share is what the member was given last, and how often it was given something.
func (m *member) share() (tasks, standby []topology.TaskID, rounds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tasks), slices.Clone(m.standby), m.rounds
}

// static makes a member of a group with an instance id.
func static(group, instance string) func(*GroupConfig) {
	return func(cfg *GroupConfig) {
		cfg.Group, cfg.InstanceID = group, instance
		cfg.SessionTimeout, cfg.RebalanceTimeout = 45*time.Second, time.Minute
		cfg.Placement = assign.Options{Standbys: 1, AcceptableLag: 10000}
	}
}

// have waits until all members have what they shall have by one generation, and returns that.
func have(t *testing.T, tasks, standbys int, members ...*member) int32 {
	t.Helper()
	for _, m := range members {
		m.until(t, "its share", func() bool {
			return len(m.tasks) == tasks && len(m.standby) == standbys && m.generation() == members[0].generation()
		})
	}
	return members[0].generation()
}

// A static member that comes back within its session has what it had, by the same generation: nothing is assigned anew,
// though it says other things of its state than before, be it the leader or not. After that the group goes on as ever, also when one leaves for good.
func TestStaticMembersRestart(t *testing.T) {
	group := kafkatest.Unique("group")
	tasks := statefulTasks(4)
	enter := func(id byte, instance string) *member {
		m := newMember(t, realClient(t), id, tasks, static(group, instance))
		m.sums[topology.TaskID{Partition: int32(id)}] = 5
		m.start(t)
		return m
	}
	members := []*member{enter(1, "one"), enter(2, "two")}
	generation := have(t, 2, 2, members...)
	for i, instance := range []string{"one", "two", "one"} {
		i %= 2
		before, other := members[i], members[1-i]
		_, _, rounds := other.share()
		if err := before.stop(); err != nil {
			t.Fatal(err)
		}
		if err := before.Leave(patiently(t), false); err != nil {
			t.Fatal(err)
		}
		after := enter(byte(i+1), instance)
		members[i] = after
		if got := have(t, 2, 2, after); got != generation {
			t.Fatalf("%q came back to generation %d, was of %d", instance, got, generation)
		}
		had, hadStandby, _ := before.share()
		if has, standby, _ := after.share(); !slices.Equal(has, had) || !slices.Equal(standby, hadStandby) {
			t.Errorf("%q has %v and standbys of %v, had %v and %v", instance, has, standby, had, hadStandby)
		}
		for _, m := range members {
			if err := m.heartbeat(patiently(t)); err != nil {
				t.Errorf("after %q came back: %v", instance, err)
			}
		}
		if _, _, now := other.share(); now != rounds {
			t.Errorf("when %q came back, the other was assigned something %d times", instance, now-rounds)
		}
	}
	third := enter(3, "three")
	third.until(t, "a share", func() bool { return len(third.tasks) > 0 })
	for _, m := range members {
		m.until(t, "a new generation", func() bool { return m.generation() > generation && len(m.tasks) < 3 })
	}
	if err := third.stop(); err != nil {
		t.Fatal(err)
	}
	if err := third.Leave(patiently(t), true); err != nil { // for good: nobody waits for its session
		t.Fatal(err)
	}
	have(t, 2, 2, members...)

	fourth := enter(4, "four")
	fourth.until(t, "a share", func() bool { return len(fourth.tasks) > 0 })
	if err := fourth.stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is not there any more
		if err := members[0].Remove(patiently(t), "four"); err != nil {
			t.Fatal(err)
		}
	}
	have(t, 2, 2, members...)
}

// A second process with the same instance id ends the first, with an error that says why.
func TestStaticMemberIsFenced(t *testing.T) {
	group := kafkatest.Unique("group")
	ended := make(chan error, 1)
	first := newMember(t, realClient(t), 1, inputTasks(2), static(group, "one"))
	ctx := patiently(t)
	go func() {
		ended <- first.Run(ctx, Events{
			Assigned: func(active, _ []topology.TaskID) {
				first.mu.Lock()
				first.tasks = active
				first.mu.Unlock()
				first.changed <- struct{}{}
			},
		})
	}()
	first.await(t, 2)
	second := newMember(t, realClient(t), 2, inputTasks(2), static(group, "one"))
	second.start(t)
	second.await(t, 2)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), `"one"`) {
		t.Errorf("the first ended with %v, want an error that names the instance id", err)
	}
}
