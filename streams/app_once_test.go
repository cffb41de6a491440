package streams_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// briefSessions lets members be missed soon.
var briefSessions = kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100"})

// runningTopology counts by word, and writes each count.
func runningTopology(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts"), streams.Uncached()).ToStream().To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// awaitCounts reads what is committed until each of the words was counted so often, one by one and none twice.
func awaitCounts(t *testing.T, c *kfake.Cluster, words, each int64) {
	t.Helper()
	cl := client(t, c, kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx := patiently(t)
	last, total := map[string]int64{}, int64(0)
	for total < words*each {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("waited for %d counts: %v; there are %d", words*each, err, total)
		}
		f.EachRecord(func(r *kgo.Record) {
			n, err := serde.Int64.Decode(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if n != last[string(r.Key)]+1 {
				t.Fatalf("word %q is counted to %d after %d", r.Key, n, last[string(r.Key)])
			}
			last[string(r.Key)] = n
			total++
		})
	}
}

// With exactly-once each record counts once, whatever errors the broker has for the transactions in between: those after
// which the client can go on, and those after which it cannot.
func TestAppExactlyOnce(t *testing.T) {
	for _, c := range []struct {
		key kmsg.Key
		err *kerr.Error
	}{
		{kmsg.EndTxn, kerr.InvalidTxnState},
		{kmsg.EndTxn, kerr.InvalidProducerEpoch},
		{kmsg.EndTxn, kerr.ProducerFenced},
		{kmsg.EndTxn, kerr.InvalidProducerIDMapping},
		{kmsg.EndTxn, kerr.TransactionAbortable},
		{kmsg.EndTxn, kerr.ConcurrentTransactions},
		{kmsg.EndTxn, kerr.CoordinatorLoadInProgress},
		{kmsg.TxnOffsetCommit, kerr.InvalidProducerEpoch},
		{kmsg.TxnOffsetCommit, kerr.TransactionAbortable},
		{kmsg.TxnOffsetCommit, kerr.UnknownProducerID},
		{kmsg.TxnOffsetCommit, kerr.RebalanceInProgress},
		{kmsg.TxnOffsetCommit, kerr.UnknownMemberID},
		{kmsg.TxnOffsetCommit, kerr.CoordinatorNotAvailable},
		{kmsg.Produce, kerr.OutOfOrderSequenceNumber},
		{kmsg.Produce, kerr.InvalidTxnState},
		{kmsg.Produce, kerr.InvalidProducerEpoch},
		{kmsg.Produce, kerr.UnknownProducerID},
		{kmsg.Produce, kerr.NotEnoughReplicas},
		{kmsg.InitProducerID, kerr.ConcurrentTransactions},
	} {
		t.Run(fmt.Sprintf("%s %s", c.key.Name(), c.err.Message), func(t *testing.T) {
			t.Parallel()
			cluster := fakeCluster(t, kfake.SeedTopics(2, "in", "out"), briefSessions)
			var seen atomic.Int64
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: 3, When: func(req kmsg.Request) bool {
				if p, ok := req.(*kmsg.ProduceRequest); ok && p.TransactionID == nil {
					return false // the test's own
				}
				return seen.Add(1)%4 == 2
			}})
			p := start(t, cluster, runningTopology(t), streams.ExactlyOnce(), streams.CommitInterval(20*time.Millisecond), streams.SessionTimeout(time.Second))
			p.await(streams.StateRunning)
			for range 10 {
				feed(t, cluster, "in", words(40, 8)...)
			}
			awaitCounts(t, cluster, 8, 50)
		})
	}
}

// A filter that drops everything, and a program that is idle, leave no transaction open, and what was read is committed.
func TestAppExactlyOnceWithoutOutput(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).Filter(func(_, v string) bool { return v == "wanted" }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, cluster, topo, streams.ExactlyOnce())
	p.await(streams.StateRunning)
	for range 5 {
		feed(t, cluster, "in", words(10, 3)...)
	}
	cl := client(t, cluster)
	eventually(t, "all that was read to be committed", func() bool { return committedAt(t, cl, "in") == 50 })
	if open := openTransactions(t, cl); len(open) > 0 {
		t.Errorf("there are open transactions: %q", open)
	}
}

func openTransactions(t *testing.T, cl *kgo.Client) (ids []string) {
	t.Helper()
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Ongoing"}
	resp, err := req.RequestWith(patiently(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range resp.TransactionStates {
		ids = append(ids, s.TransactionalID)
	}
	return ids
}

// committedAt returns the committed offset of partition 0 of a topic.
func committedAt(t *testing.T, cl *kgo.Client, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "app"
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{0}
	g.Topics = append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(patiently(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range resp.Groups {
		for _, gt := range g.Topics {
			return gt.Partitions[0].Offset
		}
	}
	return -1
}

// A transaction that a process left open when it died is ended by whoever gets its tasks, rather than waited for.
func TestAppFencesTheDead(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "in", "out"), briefSessions)
	var hold atomic.Bool
	held := make(chan struct{})
	var once sync.Once
	cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if hold.Load() && strings.HasPrefix(req.(*kmsg.EndTxnRequest).TransactionalID, "app-") {
			once.Do(func() { close(held) })
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = kerr.ConcurrentTransactions.Code
			return resp, nil, true
		}
		return nil, nil, false
	})
	first := start(t, cluster, runningTopology(t), streams.ExactlyOnce(), streams.TransactionTimeout(10*time.Minute), streams.SessionTimeout(time.Second),
		streams.HeartbeatInterval(100*time.Millisecond), streams.ShutdownTimeout(10*time.Millisecond), streams.StayInGroup())
	first.await(streams.StateRunning)
	hold.Store(true)
	feed(t, cluster, "in", words(20, 4)...)
	select {
	case <-held:
	case <-time.After(patience):
		t.Fatal("no transaction is committed")
	}
	first.cancel() // it cannot commit, and leaves the transaction open for ten minutes
	<-first.ended
	hold.Store(false)
	second := start(t, cluster, runningTopology(t), streams.ExactlyOnce())
	second.await(streams.StateRunning)
	feed(t, cluster, "in", words(20, 4)...)
	awaitCounts(t, cluster, 4, 10)
}

// Standbys are kept on the other process, and it takes over with their state.
func TestAppStandbyTakesOver(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	opts := []streams.AppOption{streams.ExactlyOnce(), streams.Standbys(1)}
	a := start(t, cluster, runningTopology(t), opts...)
	a.await(streams.StateRunning)
	feed(t, cluster, "in", words(400, 40)...)
	b := start(t, cluster, runningTopology(t), opts...)
	roles := func(p *process) (active, standby int) {
		tasks, err := p.Status(patiently(t))
		if err != nil {
			return 0, 0
		}
		for _, s := range tasks {
			switch s.Role {
			case streams.RoleActive:
				active++
			case streams.RoleStandby:
				standby++
			}
		}
		return active, standby
	}
	eventually(t, "two tasks and two standbys each", func() bool {
		aa, as := roles(a)
		ba, bs := roles(b)
		return aa == 2 && as == 2 && ba == 2 && bs == 2
	})
	awaitCounts(t, cluster, 40, 10)
	eventually(t, "the standbys to be up to date", func() bool {
		lags, err := b.Lags(patiently(t))
		return err == nil && len(lags) == 4 && !slices.ContainsFunc(lags, func(l streams.StoreLag) bool { return l.Position < l.End })
	})
	b.mu.Lock()
	before := len(b.events)
	b.mu.Unlock()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all tasks to run on the other", func() bool { return len(b.Tasks()) == 4 })
	b.mu.Lock()
	for _, e := range b.events[before:] {
		if e.Full {
			t.Errorf("store %s of task %v was restored in full, though there was a standby", e.Store, e.Task)
		}
	}
	b.mu.Unlock()
	feed(t, cluster, "in", words(400, 40)...)
	awaitCounts(t, cluster, 40, 20)
}

// A coordinator of transactions that is not there at first is waited for.
func TestAppWaitsForTheTransactionCoordinator(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.UnknownServerError, Count: 3})
	start(t, cluster, runningTopology(t), streams.ExactlyOnce()).await(streams.StateRunning)
	feed(t, cluster, "in", words(20, 4)...)
	awaitCounts(t, cluster, 4, 5)
}
