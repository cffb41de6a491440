//go:build kafka

package streams_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/streams"
)

// feedReal writes records of so many words.
func feedReal(t *testing.T, brokers, topic string, records, words int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range records {
		cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, "word", i%words)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A rolling restart of static members: each comes back to its tasks, and the others do not even notice.
func TestRollingRestartOfStaticMembers(t *testing.T) {
	c := kafkatest.Shared(t)
	in, out := c.Topic(t, "in", 4), c.Topic(t, "out", 4)
	feedReal(t, c.Bootstrap(), in, 1000, 50)
	var changes [2]atomic.Int32
	dirs := []string{t.TempDir(), t.TempDir()}
	begin := func(i int) *real {
		return startReal(t, []string{c.Bootstrap()}, "app-"+in, in, out, dirs[i], streams.InstanceID(fmt.Sprint("instance-", i)),
			streams.OnState(func(_, _ streams.State) { changes[i].Add(1) }))
	}
	apps := []*real{begin(0), begin(1)}
	for _, a := range apps {
		a.wait(t, "its share", func() bool { return len(a.Tasks()) == 4 && a.State() == streams.StateRunning })
	}
	for i := range apps {
		before, others := apps[i].Tasks(), changes[1-i].Load()
		if err := apps[i].stop(); err != nil {
			t.Fatal(err)
		}
		apps[i] = begin(i)
		apps[i].wait(t, "what it had", func() bool { return apps[i].State() == streams.StateRunning && len(apps[i].Tasks()) == 4 })
		if after := apps[i].Tasks(); !slices.Equal(before, after) {
			t.Errorf("instance %d had %v, has %v", i, before, after)
		}
		if n := changes[1-i].Load() - others; n != 0 {
			t.Errorf("when instance %d was restarted, the other changed its state %d times", i, n)
		}
	}
}

// A second process gets the state before it gets the tasks.
func TestScaleOutByWarmups(t *testing.T) {
	c := kafkatest.Shared(t)
	in, out := c.Topic(t, "in", 4), c.Topic(t, "out", 4)
	feedReal(t, c.Bootstrap(), in, 4000, 2000)
	opts := []streams.AppOption{
		streams.AcceptableRecoveryLag(0), streams.ProbingRebalanceInterval(500 * time.Millisecond), streams.MaxWarmupReplicas(1),
		streams.SessionTimeout(6 * time.Second), streams.HeartbeatInterval(200 * time.Millisecond), streams.RecordCache(0),
	}
	a := startReal(t, []string{c.Bootstrap()}, "app-"+in, in, out, t.TempDir(), opts...)
	a.wait(t, "all tasks", func() bool { return len(a.Tasks()) == 8 && a.State() == streams.StateRunning })
	var most atomic.Int32
	b := startReal(t, []string{c.Bootstrap()}, "app-"+in, in, out, t.TempDir(), append(opts, streams.OnRestore(func(e streams.RestoreEvent) {
		if e.Phase == streams.RestoreBegin && !e.Standby {
			most.Store(max(most.Load(), int32(e.End-e.Start)))
		}
	}))...)
	b.wait(t, "its half", func() bool { return len(b.Tasks()) == 4 && len(a.Tasks()) == 4 && b.State() == streams.StateRunning })
	if n := most.Load(); n > 0 {
		t.Errorf("a task of which up to %d records were missing was given to the second process", n)
	}
}
