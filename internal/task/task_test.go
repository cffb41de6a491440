package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// sent keeps what a task produces.
type sent []topology.Record

func (s *sent) Send(r *topology.Record) error {
	*s = append(*s, *r)
	return nil
}

// recordTime is the extractor of the tests: a record's own time.
func recordTime(r node.Record[string, string], _, _ int64) (int64, error) { return r.Time, nil }

// bench is a task that reads topics, each by a source of its own, and hands their records to one function.
type bench struct {
	*Task
	out  sent
	log  strings.Builder
	seen []string // value@time of what the function saw
	fail map[string]error
}

// open makes a bench. The function, the node "work", notes each record; it fails or panics where fail says so.
func open(t *testing.T, cfg Config, topics ...string) *bench {
	t.Helper()
	b := &bench{fail: map[string]error{}}
	work := func(_ context.Context, _, v string) error {
		if v == "panic" {
			panic("as asked")
		}
		if err := b.fail[v]; err != nil {
			return err
		}
		b.seen = append(b.seen, fmt.Sprintf("%s@%d", v, b.current.Timestamp))
		return nil
	}
	var g topology.Builder
	for i, topic := range topics {
		name := fmt.Sprintf("source-%d", i)
		g.AddSource(name, []string{topic}, node.Source(name, 1, serde.String, word, recordTime))
	}
	var sources []string
	for i := range topics {
		sources = append(sources, fmt.Sprintf("source-%d", i))
	}
	g.AddProcessor("work", node.Peek("work", work), sources...)
	built, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Application, cfg.Topology, cfg.Output = "app", built, &b.out
	cfg.ID.Partition = 3
	cfg.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	if b.Task, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(true); err != nil {
			t.Error(err)
		}
	})
	begin(t, b, nil)
	return b
}

// begin starts a task where something was committed.
func begin(t *testing.T, b *bench, committed map[string]Committed) {
	t.Helper()
	if err := b.Start(committed, time.UnixMilli(0)); err != nil {
		t.Fatal(err)
	}
}

// word is a serde that cannot decode "bad" and panics at "worse".
var word = serde.Func(serde.String.Append, func(data []byte) (string, error) {
	switch s := string(data); s {
	case "bad":
		return "", errors.New("bad bytes")
	case "worse":
		panic("worse bytes")
	default:
		return s, nil
	}
})

// rec is a record whose value says where it comes from.
func rec(topic string, offset, timestamp int64, value string) topology.Record {
	return topology.Record{Topic: topic, Partition: 3, Offset: offset, LeaderEpoch: 5, Timestamp: timestamp, Key: []byte("k"), Value: []byte(value)}
}

// add gives the task records of a topic with these timestamps; their values are the topic and the offset.
func (b *bench) add(t *testing.T, topic string, timestamps ...int64) {
	t.Helper()
	in := b.byName[topic]
	var records []topology.Record
	for i, ts := range timestamps {
		offset := in.position + int64(b.Buffered(topic)+i)
		records = append(records, rec(topic, offset, ts, fmt.Sprint(topic, offset)))
	}
	if err := b.Add(topic, records); err != nil {
		t.Fatal(err)
	}
}

// process runs the task until it stops.
func (b *bench) process(t *testing.T, now time.Time) int {
	t.Helper()
	n, err := b.Process(1000, now)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bench) saw(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.seen, want) {
		t.Errorf("the task processed\n%v, want\n%v", b.seen, want)
	}
	b.seen = nil
}

var start = time.UnixMilli(1_000_000)

func TestLowestTimestampFirst(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a", "b", "c")
	b.add(t, "a", 5, 1, 9)
	b.add(t, "b", 2, 8)
	b.add(t, "c", 7)
	if n := b.process(t, start); n != 6 {
		t.Errorf("%d records were processed", n)
	}
	// a's second record has the lowest timestamp of all, but stands behind its first.
	b.saw(t, "b0@2", "a0@5", "a1@1", "c0@7", "b1@8", "a2@9")
}

// TestTies: equal timestamps leave as they leave a java.util.PriorityQueue: with four queues it is neither the order in
// which they came nor that of the topics. Expected is what Java prints for queues a, b, c and d with these times, offered
// in this order, each offered again after each poll while it has records.
func TestTies(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a", "b", "c", "d")
	for _, topic := range []string{"a", "b", "c", "d"} {
		b.add(t, topic, 1, 1, 2)
	}
	b.process(t, start)
	b.saw(t, "a0@1", "d0@1", "a1@1", "d1@1", "b0@1", "c0@1", "b1@1", "c1@1", "b2@2", "c2@2", "d2@2", "a2@2")
}

func TestUnknownLagIsWaitedFor(t *testing.T) {
	b := open(t, Config{}, "a", "b")
	b.add(t, "a", 1, 2)
	if n := b.process(t, start); n != 0 || !b.WaitUntil().IsZero() {
		t.Fatalf("%d records were processed before anything is known of topic b (until %v)", n, b.WaitUntil())
	}
	b.Lag("b", 4)
	if n := b.process(t, start.Add(time.Hour)); n != 0 {
		t.Fatalf("%d records were processed although topic b has some", n)
	}
	b.add(t, "b", 1)
	b.Lag("b", 3)
	b.process(t, start)
	b.saw(t, "a0@1", "b0@1") // then b is empty, and more of it will come
	b.Lag("b", 0)
	b.process(t, start)
	b.saw(t, "a1@2")
}

func TestIdleInputsAreWaitedFor(t *testing.T) {
	const idle = 10 * time.Second
	b := open(t, Config{MaxIdle: idle}, "a", "b", "c")
	for _, topic := range []string{"a", "b", "c"} {
		b.Lag(topic, 0)
	}
	b.add(t, "a", 1, 2, 3, 4)
	b.add(t, "b", 1)
	if n := b.process(t, start); n != 0 || !b.WaitUntil().Equal(start.Add(idle)) {
		t.Fatalf("%d records were processed, waiting until %v", n, b.WaitUntil())
	}
	if n := b.process(t, start.Add(idle-1)); n != 0 {
		t.Fatalf("%d records were processed too early", n)
	}
	now := start.Add(idle)
	b.process(t, now)
	b.saw(t, "a0@1", "b0@1") // c has had its time; now b is empty, and has its own
	if want := now.Add(idle); !b.WaitUntil().Equal(want) {
		t.Errorf("the task waits for b until %v, want %v", b.WaitUntil(), want)
	}
	b.add(t, "b", 3)
	b.process(t, now)
	b.saw(t, "a1@2", "b1@3")
	b.process(t, now.Add(idle))
	b.saw(t, "a2@3", "a3@4")
	if !b.WaitUntil().IsZero() {
		t.Errorf("a task without records waits until %v", b.WaitUntil())
	}
}

func TestIdleTimeRunsWhileThereIsNothing(t *testing.T) {
	b := open(t, Config{MaxIdle: time.Second}, "a", "b")
	b.Lag("a", 0)
	b.Lag("b", 0)
	b.process(t, start)                    // a is waited for
	b.process(t, start.Add(1*time.Second)) // and b
	b.process(t, start.Add(2*time.Second))
	b.add(t, "a", 1)
	b.process(t, start.Add(2*time.Second))
	b.saw(t, "a0@1")
}

func TestOffsetsToCommit(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a", "b")
	if b.CommitNeeded() || len(b.Offsets()) != 0 {
		t.Error("a task that has done nothing wants to commit")
	}
	b.add(t, "a", 1234, 9999)
	if n, err := b.Process(1, start); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	// The record that is processed counts; the one that waits does not, nor does its time.
	if got, want := b.Offsets(), (Committed{1, 5, "AgAAAAAAAATS"}); len(got) != 1 || got["a"] != want || !b.CommitNeeded() {
		t.Errorf("to commit: %v, want %v", got, want)
	}
	if err := b.Committed(nil); err != nil {
		t.Fatal(err)
	}
	if b.CommitNeeded() || len(b.Offsets()) != 0 {
		t.Errorf("after the commit there is still %v", b.Offsets())
	}
	b.SetMark("key1", 7)
	if got, want := b.Offsets(), (Committed{1, 5, "AgAAAAAAAATSAAAAAQAAAARrZXkxAAAAAAAAAAc="}); got["a"] != want {
		t.Errorf("to commit with a mark: %v, want %v", got, want)
	}
	if _, ok := b.Offsets()["b"]; ok {
		t.Error("an input of which nothing was read is committed")
	}
}

func TestSkippedRecordsAreCommitted(t *testing.T) {
	var dropped []string
	b := open(t, Config{MaxIdle: -1, Dropped: func(node, reason string) { dropped = append(dropped, node+": "+reason) }}, "a")
	if err := b.Add("a", []topology.Record{rec("a", 7, -1, "early")}); err != nil {
		t.Fatal(err)
	}
	if got := b.Offsets()["a"]; got.Offset != 8 || got.Metadata != "Av//////////" || !b.CommitNeeded() {
		t.Errorf("to commit: %v", got)
	}
	if want := []string{"source-0: negative timestamp"}; !slices.Equal(dropped, want) {
		t.Errorf("dropped: %q, want %q", dropped, want)
	}
}

func TestStartGoesOnWhereItWas(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a")
	begin(t, b, map[string]Committed{
		"a":     {Offset: 40, LeaderEpoch: 2, Metadata: "AgAAAAAAAATSAAAAAQAAAARrZXkxAAAAAAAAAAc="},
		"other": {Offset: 3},
	})
	if v, ok := b.Mark("key1"); !ok || v != 7 {
		t.Errorf("the mark is %d (%v)", v, ok)
	}
	b.SetMark("key1", 8)
	if got, want := b.Offsets()["a"], (Committed{40, 2, encodeMetadata(1234, map[string]int64{"key1": 8})}); got != want {
		t.Errorf("to commit: %v, want %v", got, want)
	}
}

func TestUnknownTopic(t *testing.T) {
	b := open(t, Config{}, "a")
	if err := b.Add("x", nil); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("records of another topic are taken: %v", err)
	}
	b.Lag("x", 3) // may be of a subscription that is gone
	if n := b.Buffered("x"); n != 0 {
		t.Errorf("%d records wait", n)
	}
}
