package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

const patience = 20 * time.Second // for what should take milliseconds, on a busy machine

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func testConfig(t *testing.T, c *kfake.Cluster) Config {
	return Config{Brokers: c.ListenAddrs(), ClientID: t.Name(), Log: testLog(t)}
}

func testClient(t *testing.T, c *kfake.Cluster) *Client {
	t.Helper()
	client, err := NewClient(testConfig(t, c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func testProducer(t *testing.T, c *kfake.Cluster, pc ProducerConfig) *Producer {
	t.Helper()
	pc.Compression, pc.BatchBytes, pc.BufferBytes, pc.DeliveryTimeout = kgo.NoCompression(), 1<<20, 1<<25, patience
	p, err := NewProducer(testConfig(t, c), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func tp(topic string, partition int32) assign.TopicPartition {
	return assign.TopicPartition{Topic: topic, Partition: partition}
}

func TestConnectSaysWhatItWaitsFor(t *testing.T) {
	client, err := NewClient(Config{Brokers: []string{"127.0.0.1:1"}, Patience: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.Connect(t.Context())
	if err == nil {
		t.Fatal("connected to nothing")
	}
	for _, want := range []string{"127.0.0.1:1", "300ms", "refused", "option Brokers"} {
		if !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// A collector is a sink that keeps what it gets.
type collector struct {
	mu      sync.Mutex
	records []topology.Record
	next    int64
	end     int64
	err     error
	changed chan struct{}
}

func newCollector() *collector { return &collector{changed: make(chan struct{}, 1)} }

func (c *collector) sink(records []topology.Record, next, end int64, err error) {
	c.mu.Lock()
	c.records = append(c.records, records...)
	c.next, c.end, c.err = next, end, err
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *collector) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.changed:
		case <-deadline:
			t.Fatalf("waited %v for %s; got %d records, next %d, end %d, error %v", patience, what, len(c.records), c.next, c.end, c.err)
		}
	}
}

func testFetcher(t *testing.T, client *Client, change func(*FetchConfig)) *Fetcher {
	cfg := FetchConfig{MaxBytes: 1 << 20, MaxPartitionBytes: 1 << 18, MaxWait: 500 * time.Millisecond, Buffer: 1 << 20, Log: testLog(t)}
	if change != nil {
		change(&cfg)
	}
	f := NewFetcher(client, cfg)
	t.Cleanup(f.Close)
	return f
}

func send(t *testing.T, p *Producer, topic string, partition int32, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		err := p.Send(&topology.Record{
			Topic: topic, Partition: partition, Timestamp: int64(1000 + i),
			Key: fmt.Append(nil, "key", i), Value: fmt.Append(nil, "value", i),
			Headers: []topology.Header{{Key: "h", Value: []byte{byte(i)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(patiently(t)); err != nil {
		t.Fatal(err)
	}
}

func TestProduceAndFetch(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(3, "in"))
	p := testProducer(t, c, ProducerConfig{})
	client := testClient(t, c)
	f := testFetcher(t, client, nil)
	sinks := make([]*collector, 3)
	for i := range sinks {
		sinks[i] = newCollector()
		f.Subscribe(tp("in", int32(i)), 0, sinks[i].sink)
	}
	const n = 5000
	for i := range sinks {
		send(t, p, "in", int32(i), 0, n)
		if next, ok := p.Written("in", int32(i)); !ok || next != n {
			t.Errorf("the producer says that %d is written to partition %d (%v), want %d", next, i, ok, n)
		}
	}
	for i, s := range sinks {
		s.await(t, fmt.Sprintf("%d records of partition %d", n, i), func() bool { return len(s.records) == n && s.end == n })
		for j, r := range s.records {
			want := topology.Record{
				Topic: "in", Partition: int32(i), Offset: int64(j), LeaderEpoch: r.LeaderEpoch, Timestamp: int64(1000 + j),
				Key: fmt.Append(nil, "key", j), Value: fmt.Append(nil, "value", j), Headers: []topology.Header{{Key: "h", Value: []byte{byte(j)}}},
			}
			if fmt.Sprint(r) != fmt.Sprint(want) {
				t.Fatalf("record %d is %v, want %v", j, r, want)
			}
		}
	}
}

// A partition without room is left out; the others go on, and it goes on when there is room again.
func TestBackPressure(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "in"))
	p := testProducer(t, c, ProducerConfig{})
	for i := range 50 { // separate batches
		send(t, p, "in", 0, 100*i, 100*i+100)
	}
	f := testFetcher(t, testClient(t, c), func(cfg *FetchConfig) { cfg.Buffer, cfg.MaxPartitionBytes = 300, 1000 })
	full, other := newCollector(), newCollector()
	s := f.Subscribe(tp("in", 0), 0, full.sink)
	f.Subscribe(tp("in", 1), 0, other.sink)
	full.await(t, "a full buffer", func() bool { return len(full.records) >= 300 })
	send(t, p, "in", 1, 0, 1)
	other.await(t, "the other partition", func() bool { return len(other.records) == 1 })
	full.mu.Lock()
	n := len(full.records)
	full.mu.Unlock()
	if n > 300+100 {
		t.Errorf("%d records are buffered, want 300 and a fetch at most", n)
	}
	for got := 0; got < 5000; {
		full.await(t, "records after room was made", func() bool { return len(full.records) > got })
		full.mu.Lock()
		n := len(full.records)
		full.mu.Unlock()
		s.Done(n - got)
		got = n
	}
	for i, r := range full.records {
		if r.Offset != int64(i) {
			t.Fatalf("record %d has offset %d", i, r.Offset)
		}
	}
}

func TestFetchOutOfRange(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "in"))
	send(t, testProducer(t, c, ProducerConfig{}), "in", 0, 0, 10)
	f := testFetcher(t, testClient(t, c), nil)
	s := newCollector()
	f.Subscribe(tp("in", 0), 99, s.sink)
	s.await(t, "an error", func() bool { return s.err != nil })
	var e interface{ OffsetOutOfRange() (start, end int64) }
	if !errors.As(s.err, &e) {
		t.Fatalf("got %v, want an out of range error", s.err)
	}
	if start, end := e.OffsetOutOfRange(); start != 0 || end != 10 {
		t.Errorf("the range is %d to %d, want 0 to 10", start, end)
	}
}

// With read committed the aborted records are left out, and the position moves past the markers.
func TestFetchCommittedOnly(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "in"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("in"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := patiently(t)
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			cl.Produce(ctx, kgo.StringRecord(fmt.Sprintf("%d.%d", i, j)), nil)
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	f := testFetcher(t, testClient(t, c), func(cfg *FetchConfig) { cfg.ReadCommitted = true })
	s := newCollector()
	f.Subscribe(tp("in", 0), 0, s.sink)
	s.await(t, "the end, past the last marker", func() bool { return s.next == 16 })
	var got []string
	for _, r := range s.records {
		got = append(got, string(r.Value))
	}
	if want := []string{"0.0", "0.1", "0.2", "2.0", "2.1", "2.2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Reading goes on where the leader of a partition changes, again and again.
func TestFetchFollowsLeaders(t *testing.T) {
	c := cluster(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "in"))
	p := testProducer(t, c, ProducerConfig{})
	f := testFetcher(t, testClient(t, c), nil)
	sinks := []*collector{newCollector(), newCollector()}
	for i, s := range sinks {
		f.Subscribe(tp("in", int32(i)), 0, s.sink)
	}
	for round := range 9 {
		for i, s := range sinks {
			send(t, p, "in", int32(i), 100*round, 100*round+100)
			s.await(t, "the records of a round", func() bool { return len(s.records) == 100*round+100 })
		}
		if err := c.MoveTopicPartition("in", int32(round%2), int32(round%3)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sinks {
		for i, r := range s.records {
			if r.Offset != int64(i) {
				t.Fatalf("record %d has offset %d", i, r.Offset)
			}
		}
	}
}

// A topic that is deleted and made anew under a reader is not the one that it read: that is an error, not a new start.
func TestFetchRecreatedTopic(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "in"))
	send(t, testProducer(t, c, ProducerConfig{}), "in", 0, 0, 10)
	f := testFetcher(t, testClient(t, c), nil)
	s := newCollector()
	f.Subscribe(tp("in", 0), 0, s.sink)
	s.await(t, "the records", func() bool { return len(s.records) == 10 })
	if err := errors.Join(c.DeleteTopic("in"), c.CreateTopic("in", 1, nil)); err != nil {
		t.Fatal(err)
	}
	s.await(t, "an error", func() bool { return s.err != nil })
	if !strings.Contains(s.err.Error(), "deleted and made anew") {
		t.Errorf("got %v", s.err)
	}
}

// After Close the sink is not called, and what is subscribed to again begins where it is told.
func TestFetchClosesAndBeginsAgain(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "in"))
	p := testProducer(t, c, ProducerConfig{})
	f := testFetcher(t, testClient(t, c), nil)
	for round := range 20 {
		s := newCollector()
		sub := f.Subscribe(tp("in", 0), int64(10*round), s.sink)
		send(t, p, "in", 0, 10*round, 10*round+10)
		s.await(t, "the records of a round", func() bool { return len(s.records) == 10 })
		sub.Close()
		if s.records[0].Offset != int64(10*round) {
			t.Fatalf("round %d began at %d", round, s.records[0].Offset)
		}
	}
}

func TestCompressed(t *testing.T) {
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		c := cluster(t, kfake.SeedTopics(1, "in"))
		p, err := NewProducer(testConfig(t, c), ProducerConfig{Compression: codec, BatchBytes: 1 << 20, BufferBytes: 1 << 25, DeliveryTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		send(t, p, "in", 0, 0, 1000)
		p.Close()
		s := newCollector()
		testFetcher(t, testClient(t, c), nil).Subscribe(tp("in", 0), 500, s.sink)
		s.await(t, "500 records", func() bool { return len(s.records) == 500 })
		if s.records[0].Offset != 500 {
			t.Errorf("the first is %d, want 500", s.records[0].Offset)
		}
	}
}

// Records without a partition go where Kafka's default partitioner puts their key.
func TestPartitionByKey(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(10, "out"))
	p := testProducer(t, c, ProducerConfig{})
	key := []byte{0, 0, 0, 0, 0, 0, 0, 0} // the long 0 goes to 5 of 10
	if err := p.Send(&topology.Record{Topic: "out", Partition: -1, Key: key}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(patiently(t)); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Written("out", 5); !ok {
		t.Error("the record is not in partition 5")
	}
}

// The first failure is the end of a producer.
func TestProducerFails(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "out"))
	p := testProducer(t, c, ProducerConfig{})
	if err := p.Send(&topology.Record{Topic: "out", Partition: 7}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(patiently(t)); err == nil {
		t.Fatal("a record for a partition that does not exist was flushed without an error")
	}
	if err := p.Send(&topology.Record{Topic: "out"}); err == nil {
		t.Error("the producer takes records after it lost one")
	}
}
