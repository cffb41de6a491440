package devkafka

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTopicsComeToBeWhereAllowed(t *testing.T) {
	b := start(t, Partitions(3))
	polite := client(t, b)
	err := polite.ProduceSync(t.Context(), kgo.KeyStringRecord("k", "v")).FirstErr()
	if err == nil {
		t.Error("a record without a topic was taken")
	}
	r := &kgo.Record{Topic: "asked-for", Value: []byte("v")}
	must(t, client(t, b, kgo.AllowAutoTopicCreation()).ProduceSync(t.Context(), r).FirstErr())
	details, err := admin(t, b).ListTopics(t.Context(), "asked-for", "not-asked-for")
	must(t, err)
	if got := len(details["asked-for"].Partitions); got != 3 {
		t.Errorf("the topic has %d partitions, want 3", got)
	}
	if err := details["not-asked-for"].Err; !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a topic that was only looked at: %v", err)
	}
}

func TestTopicsOption(t *testing.T) {
	b := start(t, Topics(1, "a", "b"), Topics(7, "c"))
	details, err := admin(t, b).ListTopics(t.Context())
	must(t, err)
	for name, want := range map[string]int{"a": 1, "b": 1, "c": 7} {
		if got := len(details[name].Partitions); got != want {
			t.Errorf("topic %s has %d partitions, want %d", name, got, want)
		}
	}
}

func TestTopicConfigs(t *testing.T) {
	b := start(t)
	configs := map[string]*string{
		"cleanup.policy":         kadm.StringPtr("compact,delete"),
		"retention.ms":           kadm.StringPtr("86400000"),
		"segment.bytes":          kadm.StringPtr("52428800"),
		"message.timestamp.type": kadm.StringPtr("CreateTime"),
		"min.compaction.lag.ms":  kadm.StringPtr("7"),
	}
	a := admin(t, b)
	_, err := a.CreateTopic(t.Context(), 2, 1, configs, "configured")
	must(t, err)
	described, err := a.DescribeTopicConfigs(t.Context(), "configured")
	must(t, err)
	got := map[string]string{}
	for _, c := range described[0].Configs {
		got[c.Key] = c.MaybeValue()
	}
	for key, want := range configs {
		if got[key] != *want {
			t.Errorf("%s is %q, want %q", key, got[key], *want)
		}
	}
	if _, err := a.CreateTopic(t.Context(), 2, 1, nil, "configured"); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("created again: %v", err)
	}
}

func TestDeleteRecordsAndListOffsets(t *testing.T) {
	b := start(t, Topics(1, "t"))
	noon := time.Date(2001, 9, 9, 12, 0, 0, 0, time.UTC)
	c := client(t, b)
	for i := range 10 {
		r := &kgo.Record{Topic: "t", Value: []byte("v"), Timestamp: noon.Add(time.Duration(i) * time.Minute)}
		must(t, c.ProduceSync(t.Context(), r).FirstErr())
	}
	a := admin(t, b)
	var upTo kadm.Offsets
	upTo.AddOffset("t", 0, 4, -1)
	deleted, err := a.DeleteRecords(t.Context(), upTo)
	must(t, err)
	must(t, deleted.Error())
	starts, err := a.ListStartOffsets(t.Context(), "t")
	must(t, err)
	ends, err := a.ListEndOffsets(t.Context(), "t")
	must(t, err)
	after, err := a.ListOffsetsAfterMilli(t.Context(), noon.Add(6*time.Minute).UnixMilli(), "t")
	must(t, err)
	for what, o := range map[string]struct {
		listed kadm.ListedOffsets
		want   int64
	}{"start": {starts, 4}, "end": {ends, 10}, "six minutes past": {after, 6}} {
		if got, _ := o.listed.Lookup("t", 0); got.Offset != o.want {
			t.Errorf("%s: offset %d, want %d", what, got.Offset, o.want)
		}
	}
	if got := values(t, b, "t", 6); len(got) != 6 {
		t.Errorf("%d records are left, want 6", len(got))
	}
}

// Records with made-up timestamps must stay where the topic says nothing of time: compaction takes the old values of a
// key and nothing else.
func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	b := start(t, Topics(1, "plain"))
	_, err := admin(t, b).CreateTopic(t.Context(), 1, 1,
		map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "segment.bytes": kadm.StringPtr("1")}, "table")
	must(t, err)
	c := client(t, b)
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, kv := range [][2]string{{"a", "1"}, {"b", "2"}, {"a", "3"}, {"c", "4"}} {
		for _, topic := range []string{"plain", "table"} {
			r := &kgo.Record{Topic: topic, Key: []byte(kv[0]), Value: []byte(kv[1]), Timestamp: old}
			must(t, c.ProduceSync(t.Context(), r).FirstErr())
		}
	}
	b.cluster.Compact()
	if got := strings.Join(values(t, b, "table", 3), " "); got != "2 3 4" {
		t.Errorf("the compacted topic holds %s, want 2 3 4", got)
	}
	if got := strings.Join(values(t, b, "plain", 4), " "); got != "1 2 3 4" {
		t.Errorf("the other topic holds %s, want 1 2 3 4", got)
	}
}

func TestTransactions(t *testing.T) {
	b := start(t, Topics(2, "in", "out"))
	c := client(t, b, kgo.TransactionalID("tx"))
	for _, round := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"committed", kgo.TryCommit}, {"aborted", kgo.TryAbort}, {"committed too", kgo.TryCommit}} {
		must(t, c.BeginTransaction())
		r := &kgo.Record{Topic: "out", Partition: 0, Value: []byte(round.value)}
		must(t, c.ProduceSync(t.Context(), r).FirstErr())
		must(t, c.EndTransaction(t.Context(), round.end))
	}
	got := values(t, b, "out", 2, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if want := "committed, committed too"; strings.Join(got, ", ") != want {
		t.Errorf("readers of committed records see %q, want %q", got, want)
	}
}

func TestOffsetsCommittedInATransaction(t *testing.T) {
	b := start(t, Topics(1, "in", "out"))
	must(t, client(t, b).ProduceSync(t.Context(), &kgo.Record{Topic: "in", Value: []byte("v")}).FirstErr())
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(b.Brokers()...), kgo.TransactionalID("tx"),
		kgo.ConsumerGroup("group"), kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer s.Close()
	for s.PollFetches(t.Context()).NumRecords() == 0 {
	}
	must(t, s.Begin())
	must(t, s.ProduceSync(t.Context(), &kgo.Record{Topic: "out", Value: []byte("w")}).FirstErr())
	committed, err := s.End(t.Context(), kgo.TryCommit)
	must(t, err)
	if !committed {
		t.Error("the transaction was not committed")
	}
	offsets, err := admin(t, b).FetchOffsets(t.Context(), "group")
	must(t, err)
	if o, _ := offsets.Lookup("in", 0); o.At != 1 {
		t.Errorf("the group is at offset %d, want 1", o.At)
	}
}

// Partitions move from member to member without a stop of the others, and come back when a member leaves.
func TestCooperativeGroup(t *testing.T) {
	b := start(t, Topics(4, "shared"))
	one, two := newMember(t, b), newMember(t, b)
	for one.count()+two.count() != 4 || one.count() != 2 {
		await(t, one, two)
	}
	two.client.Close()
	for one.count() != 4 {
		await(t, one)
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for addr, want := range map[string]string{
		taken.Addr().String(): "port " + port + " is in use",
		"0.0.0.0:9092":        "name one that they can reach",
		"[::]:9092":           "name one that they can reach",
		":9092":               "name one that they can reach",
		"9092":                "want host:port",
		"203.0.113.7:9092":    "cannot listen on 203.0.113.7:9092",
	} {
		if _, err := Start(Listen(addr)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): error %v, want one with %q", addr, err, want)
		}
	}
}

func TestBadNumbers(t *testing.T) {
	for _, opt := range []Option{Partitions(0), Topics(-1, "t")} {
		if _, err := Start(opt); err == nil || !strings.Contains(err.Error(), "at least 1") {
			t.Errorf("started with %v", err)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	b, err := Start(Topics(1, "t"))
	must(t, err)
	conn, err := net.Dial("tcp", b.Brokers()[0])
	must(t, err)
	defer conn.Close()
	must(t, b.Close())
	must(t, b.Close())
	if _, err := net.Dial("tcp", b.Brokers()[0]); err == nil {
		t.Error("a closed broker still listens")
	}
}

func start(t *testing.T, opts ...Option) *Broker {
	t.Helper()
	b, err := Start(opts...)
	must(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Brokers()...))...)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func admin(t *testing.T, b *Broker) *kadm.Client {
	t.Helper()
	return kadm.NewClient(client(t, b))
}

// values reads n records of a topic from its start.
func values(t *testing.T, b *Broker, topic string, n int, opts ...kgo.Opt) []string {
	t.Helper()
	c := client(t, b, append(opts, kgo.ConsumeTopics(topic))...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for len(got) < n && ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
