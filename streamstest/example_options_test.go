package streamstest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

// openOf opens a driver for a program.
func openOf(program func(b *streams.Builder), opts ...streamstest.Option) *streamstest.Driver {
	b := streams.NewBuilder()
	program(b)
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t, append(opts, streamstest.StartAt(time.UnixMilli(0)))...)
	if err != nil {
		log.Fatal(err)
	}
	return d
}

func counting(b *streams.Builder) {
	b.Stream("clicks", serde.String, serde.String).GroupByKey().Count(streams.As("counts")).ToStream().To("totals")
}

// Between two commits the record cache holds changes back.
func ExampleCommitByHand() {
	d := openOf(counting, streamstest.CommitByHand())
	clicks := d.Input("clicks", serde.String, serde.String)
	totals := d.Output("totals", serde.String, serde.Int64)
	clicks.Send("ann", "/")
	clicks.Send("ann", "/cart")
	fmt.Println(totals.All())
	fmt.Println(d.Commit(), d.Now().Unix())
	fmt.Println(totals.All())
	// Output:
	// []
	// <nil> 0
	// [ann=2@0]
}

// Without a cache each change is sent on at once.
func ExampleRecordCache() {
	d := openOf(counting, streamstest.CommitByHand(), streamstest.RecordCache(0))
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.Send("ann", "/")
	clicks.Send("ann", "/cart")
	fmt.Println(d.Output("totals", serde.String, serde.Int64).All())
	// Output: [ann=1@0 ann=2@0]
}

// With partitions, records are spread by their keys, as on a cluster.
func ExamplePartitions() {
	d := openOf(counting, streamstest.Partitions(3))
	clicks := d.Input("clicks", serde.String, serde.String)
	for _, user := range []string{"ann", "bob", "eve"} {
		clicks.Send(user, "/")
	}
	for _, r := range d.Output("totals", serde.String, serde.Int64).All() {
		fmt.Println(r, "in partition", r.Partition)
	}
	// Output:
	// ann=1@0 in partition 2
	// bob=1@0 in partition 0
	// eve=1@0 in partition 2
}

// The handlers of an application, and where the dead letters go.
func ExampleOnFailure() {
	d := openOf(func(b *streams.Builder) {
		b.Stream("numbers", serde.String, serde.Int64).
			TryPeek(func(_ context.Context, _ string, n int64) error {
				if n < 0 {
					return errors.New("below zero")
				}
				return nil
			}).
			To("out")
	},
		streamstest.OnUndecodable(streams.Always(streams.Skip)),
		streamstest.OnFailure(streams.Always(streams.DeadLetter)),
		streamstest.DeadLetterTopic("dead"))
	fmt.Println(d.Pipe(topology.Record{Topic: "numbers", Value: []byte("no number")}))
	d.Input("numbers", serde.String, serde.Int64).Send("k", -1)
	fmt.Println(len(d.Produced("out")), "out,", len(d.Produced("dead")), "dead,", d.Dropped(), "dropped")
	// Output:
	// <nil>
	// 0 out, 1 dead, 2 dropped
}

// Around sees each record that a node takes.
func ExampleAround() {
	d := openOf(counting, streamstest.Around(func(task topology.TaskID, node string) func(func() error) error {
		return func(process func() error) error {
			fmt.Println(task, node)
			return process()
		}
	}))
	d.Input("clicks", serde.String, serde.String).Send("ann", "/")
	// Output:
	// 0_0 KSTREAM-AGGREGATE-0000000001
	// 0_0 KTABLE-TOSTREAM-0000000002
	// 0_0 KSTREAM-SINK-0000000003
}

// State stays in a directory, from one driver to the next.
func ExampleStateDir() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		d := openOf(counting, streamstest.StateDir(dir))
		d.Input("clicks", serde.String, serde.String).Send("ann", "/")
		fmt.Println(d.Output("totals", serde.String, serde.Int64).All(), d.Close())
	}
	// Output:
	// [ann=1@0] <nil>
	// [ann=2@0] <nil>
}

// A store that cannot be opened is an error of the start.
func ExampleStoreEngine() {
	b := streams.NewBuilder()
	counting(b)
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	_, err = streamstest.Open(t, streamstest.StateDir(filepath.Join(os.TempDir(), "none")),
		streamstest.StoreEngine(func(string) (state.Engine, error) { return nil, errors.New("not installed") }))
	fmt.Println(err != nil)
	// Output: true
}

func ExampleDriver_VersionedStore() {
	d := openOf(func(b *streams.Builder) {
		b.Table("prices", serde.String, serde.Int64, streams.As("prices"), streams.Versioned(time.Hour))
	})
	in := d.Input("prices", serde.String, serde.Int64)
	in.SendAt("tea", 3, time.Unix(10, 0))
	in.SendAt("tea", 4, time.Unix(20, 0))
	prices := d.VersionedStore("prices", serde.String, serde.Int64)
	v, from, ok := prices.Get("tea")
	fmt.Println(v, from.Unix(), ok)
	v, from, ok = prices.GetAt("tea", time.Unix(15, 0))
	fmt.Println(v, from.Unix(), ok)
	for v := range prices.Versions("tea", time.Unix(0, 0), time.Unix(60, 0)) {
		fmt.Println("from", v.From.Unix(), "on", v.Value)
	}
	for v := range prices.VersionsBackward("tea", time.Unix(0, 0), time.Unix(60, 0)) {
		fmt.Println("before that", v.Value, v.Until.IsZero())
	}
	// Output:
	// 4 20 true
	// 3 10 true
	// from 10 on 3
	// from 20 on 4
	// before that 4 true
	// before that 3 false
}

// A scenario is a file: what is sent, and behind ---- what comes out.
func ExampleDriver_Scenario() {
	d := streamstest.New(new(testing.T), clicks(), streamstest.StartAt(time.UnixMilli(0)), streamstest.EmitInterval(0))
	defer d.Close()
	d.Scenario("testdata/clicks.txt",
		streamstest.TextOf("clicks", serde.String, serde.String),
		streamstest.TextOf("counts", serde.TimeWindowed(serde.String, time.Minute), serde.Int64))
	fmt.Println(d.Dropped(), "dropped")
	// Output: 0 dropped
}

func ExampleTopics() {
	b := streams.NewBuilder()
	b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.Int64).To("all-orders")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t, streamstest.Topics("orders-eu", "orders-us", "other"))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	d.Input("orders-eu", serde.String, serde.Int64).SendAt("tea", 3, time.UnixMilli(1000))
	d.Input("orders-us", serde.String, serde.Int64).SendAt("tea", 5, time.UnixMilli(2000))
	for _, r := range d.Output("all-orders", serde.String, serde.Int64).All() {
		fmt.Println(r)
	}
	// Output:
	// tea=3@1000
	// tea=5@2000
}
