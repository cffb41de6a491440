package streamstest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

func built(t *testing.T, program func(b *streams.Builder)) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	program(b)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func countWords(b *streams.Builder) {
	b.Stream("lines", serde.String, serde.String).
		FlatMapValues(strings.FieldsSeq).
		GroupBy(func(_, word string) string { return word }, streams.As("by-word")).
		Count(streams.As("counts")).
		ToStream().
		To("out")
}

// A topology runs as the tasks that an application has: each partition has its own, and repartition topics are between.
func TestPartitions(t *testing.T) {
	d := streamstest.New(t, built(t, countWords), streamstest.Partitions(3, "lines"), streamstest.Partitions(2, "out"), streamstest.StateDir(t.TempDir()))
	lines := d.Input("lines", serde.String, serde.String)
	for i := range 30 {
		lines.Send(fmt.Sprint("key", i), "a b c d e f g h")
	}
	counts := d.Store("counts", serde.String, serde.Int64)
	if n, ok := counts.Get("a"); n != 30 || !ok {
		t.Errorf("a was counted %d times, %v", n, ok)
	}
	words := map[string]int64{}
	for k, n := range counts.All() {
		words[k] = n
	}
	if len(words) != 8 || words["h"] != 30 {
		t.Errorf("the store has %v", words)
	}
	used := func(topic string) (partitions []int32) {
		for _, r := range d.Produced(topic) {
			if !slices.Contains(partitions, r.Partition) {
				partitions = append(partitions, r.Partition)
			}
			if want := topology.Partition(r.Key, map[string]int32{"out": 2, "app-by-word-repartition": 3, "app-counts-changelog": 3}[topic]); r.Partition != want {
				t.Fatalf("%s: key %q is in partition %d, not %d", topic, r.Key, r.Partition, want)
			}
		}
		slices.Sort(partitions)
		return partitions
	}
	if got := used("app-by-word-repartition"); !slices.Equal(got, []int32{0, 1, 2}) {
		t.Errorf("the repartition topic has records in %v", got)
	}
	if got := used("app-counts-changelog"); !slices.Equal(got, []int32{0, 1, 2}) {
		t.Errorf("the changelog has records in %v", got)
	}
	if got := used("out"); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("the output has records in %v", got)
	}
	if err := d.Pipe(topology.Record{Topic: "lines", Partition: 3}); err == nil || !strings.Contains(err.Error(), "no partition 3") {
		t.Errorf("a partition that is not there: %v", err)
	}
}

func TestPartitionsThatDoNotFit(t *testing.T) {
	topo := built(t, func(b *streams.Builder) {
		customers := b.Table("customers", serde.String, serde.String)
		b.Stream("orders", serde.String, serde.String).JoinTable(customers, func(o, c string) string { return o + c }).To("out")
	})
	if _, err := streamstest.Open(topo, streamstest.Partitions(3, "orders"), streamstest.Partitions(2, "customers")); err == nil {
		t.Error("topics that are joined have to have as many partitions")
	}
}

// Until a commit the record cache holds changes back.
func TestCommitByHand(t *testing.T) {
	d := streamstest.New(t, built(t, countWords), streamstest.CommitByHand())
	lines, out := d.Input("lines", serde.String, serde.String), d.Output("out", serde.String, serde.Int64)
	for range 5 {
		lines.Send("k", "a b")
	}
	if all := out.All(); len(all) != 0 {
		t.Errorf("before a commit there are %v", all)
	}
	if n, _ := d.Store("counts", serde.String, serde.Int64).Get("a"); n != 5 {
		t.Errorf("the store says %d", n)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	if all := out.All(); len(all) != 2 || all[0].Value != 5 {
		t.Errorf("after it there are %v", all)
	}
}

func TestHandlers(t *testing.T) {
	topo := built(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.Int64).
			TryMapValues(func(_ context.Context, _ string, n int64) (int64, error) {
				if n < 0 {
					return 0, errors.New("below zero")
				}
				return n, nil
			}).To("out")
	})
	d := streamstest.New(t, topo, streamstest.OnUndecodable(streams.Always(streams.DeadLetter)), streamstest.OnFailure(streams.Always(streams.Skip)),
		streamstest.DeadLetterTopic("dead"))
	if err := d.Pipe(topology.Record{Topic: "in", Key: []byte("a"), Value: []byte("no number")}); err != nil {
		t.Fatal(err)
	}
	in := d.Input("in", serde.String, serde.Int64)
	in.Send("a", -1)
	in.Send("a", 1)
	if n := len(d.Output("out", serde.String, serde.Int64).All()); n != 1 || d.Dropped() != 2 {
		t.Errorf("%d came out and %d were dropped", n, d.Dropped())
	}
	if dead := d.Produced("dead"); len(dead) != 1 || string(dead[0].Value) != "no number" {
		t.Errorf("the dead letters are %v", dead)
	}
}

// What is called around nodes sees each record of each, and cannot hide an error.
func TestAround(t *testing.T) {
	seen := map[string]int{}
	d := streamstest.New(t, built(t, totals), streamstest.Around(func(_ topology.TaskID, node string) func(func() error) error {
		return func(process func() error) error {
			seen[node]++
			return process()
		}
	}))
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("a", 1)
	orders.Send("a", 2)
	want := map[string]int{"KSTREAM-REDUCE-0000000001": 2, "KTABLE-TOSTREAM-0000000002": 2, "KSTREAM-SINK-0000000003": 2}
	if !maps.Equal(seen, want) {
		t.Errorf("it saw %v, want %v", seen, want)
	}
	fails := built(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).
			TryPeek(func(context.Context, string, string) error { return errors.New("it fails") }).To("out")
	})
	d, err := streamstest.Open(fails, streamstest.Around(func(topology.TaskID, string) func(func() error) error {
		return func(process func() error) error {
			_ = process()
			return nil
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Pipe(topology.Record{Topic: "in", Key: []byte("a"), Value: []byte("b")}); err == nil || !strings.Contains(err.Error(), "it fails") {
		t.Errorf("the error was hidden: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// In a bubble of synctest the driver starts at the bubble's time.
func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := streamstest.New(t, built(t, countWords))
		began := time.Now()
		<-time.After(time.Hour)
		if err := d.Advance(time.Since(began)); err != nil || !d.Now().Equal(time.Now()) {
			t.Errorf("it is %v here and %v there, %v", d.Now(), time.Now(), err)
		}
		d.Input("lines", serde.String, serde.String).Send("k", "a")
		if all := d.Output("out", serde.String, serde.Int64).All(); len(all) != 1 || !all[0].Time.Equal(time.Now()) {
			t.Errorf("there are %v", all)
		}
	})
}

func totals(b *streams.Builder) {
	b.Stream("orders", serde.String, serde.Int64).GroupByKey().Reduce(func(a, b int64) int64 { return a + b }, streams.As("totals")).ToStream().To("totals")
}

func TestScenario(t *testing.T) {
	d := streamstest.New(t, built(t, totals))
	d.Scenario("testdata/totals.txt", streamstest.TextOf("orders", serde.String, serde.Int64), streamstest.TextOf("totals", serde.String, serde.Int64))
}

// A scenario that comes out otherwise, or says what cannot be done, fails the test.
func TestScenarioFails(t *testing.T) {
	for content, says := range map[string]string{
		"orders a=1 @1\n----\ntotals a=2 @1\n": "totals a=1 @1",
		"orders a=x @1\n":                      "file:1",
		"orders a=1\n":                         "key=value @milliseconds",
		"order a=1 @1\n":                       "nor a topic",
		"advance soon\n":                       "soon",
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f := &failingTest{}
		d := streamstest.New(f, built(t, totals))
		d.Scenario(file, streamstest.TextOf("orders", serde.String, serde.Int64), streamstest.TextOf("totals", serde.String, serde.Int64))
		if !strings.Contains(f.said, says) {
			t.Errorf("%q fails with %q, want %q", content, f.said, says)
		}
		f.cleanup()
	}
}

// failingTest is a test that keeps why it failed.
type failingTest struct {
	said    string
	cleanup func()
}

func (f *failingTest) Helper()           {}
func (f *failingTest) Cleanup(c func())  { f.cleanup = c }
func (f *failingTest) Error(args ...any) { f.said += fmt.Sprint(args...) }
func (f *failingTest) Fatal(args ...any) { f.said += fmt.Sprint(args...) }
