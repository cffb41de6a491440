package streamstest_test

import (
	"fmt"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

// clicks counts the clicks of each user and minute, once the minute is over.
func clicks() *topology.Topology {
	b := streams.NewBuilder()
	b.Stream("clicks", serde.String, serde.String).
		GroupByKey().
		WindowedBy(streams.Tumbling(time.Minute)).
		EmitOnClose().
		Count(streams.As("per-minute")).
		ToStream().
		To("counts")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	return t
}

// In a test, New closes the driver and makes what goes wrong a failure of the test.
func ExampleNew() {
	TestClicks := func(t *testing.T) {
		d := streamstest.New(t, clicks(), streamstest.EmitInterval(0))
		in := d.Input("clicks", serde.String, serde.String)
		in.SendAt("ann", "/", time.UnixMilli(1000))
		in.SendAt("ann", "/cart", time.UnixMilli(60_000))

		got := d.Output("counts", serde.TimeWindowed(serde.String, time.Minute), serde.Int64).All()
		if want := "[[ann@0/60000]=1@1000]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	_ = TestClicks
}

// Outside of tests, Open returns a driver for its user to close.
func ExampleOpen() {
	d, err := streamstest.Open(clicks(), streamstest.Application("clicks"), streamstest.StartAt(time.UnixMilli(0)))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	d.Input("clicks", serde.String, serde.String).Send("ann", "/")
	fmt.Println(d.Topics())
	// Output: [clicks-per-minute-changelog]
}

// The clock stands still until it is moved. Windows are looked for at most once a second of it.
func ExampleDriver_Advance() {
	d, err := streamstest.Open(clicks(), streamstest.StartAt(time.UnixMilli(0)))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	in := d.Input("clicks", serde.String, serde.String)
	in.Send("ann", "/")
	in.SendAt("bob", "/", time.UnixMilli(60_000)) // closes the minute, but it was just looked
	out := d.Output("counts", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	fmt.Println(out.All())
	if err := d.Advance(time.Second); err != nil {
		log.Fatal(err)
	}
	in.SendAt("bob", "/cart", time.UnixMilli(60_001))
	fmt.Println(out.All())
	// Output:
	// []
	// [[ann@0/60000]=1@0]
}

// Pipe returns what is wrong with a record. The driver goes on with the next one.
func ExampleDriver_Pipe() {
	b := streams.NewBuilder()
	b.Stream("prices", serde.String, serde.Int64).To("out")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	fmt.Println(d.Pipe(topology.Record{Topic: "prices", Value: []byte("12")}))
	fmt.Println(d.Pipe(topology.Record{Topic: "prices", Value: []byte("12345678")}))
	fmt.Println(len(d.Produced("out")), "written")
	// Output:
	// task 0_0: node "KSTREAM-SOURCE-0000000000": topic "prices" partition 0 offset 0: decoding the value: serde: int64 wants 8 bytes, got 2
	// <nil>
	// 1 written
}

// Next takes the records of a topic one by one.
func ExampleOutput_Next() {
	b := streams.NewBuilder()
	b.Stream("lines", serde.String, serde.String).FlatMapValues(strings.FieldsSeq).To("words")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	d.Input("lines", serde.String, serde.String).SendAt("1", "to be", time.UnixMilli(7))
	words := d.Output("words", serde.String, serde.String)
	for r, ok := words.Next(); ok; r, ok = words.Next() {
		fmt.Println(r.Key, r.Value, r.Time.UnixMilli())
	}
	// Output:
	// 1 to 7
	// 1 be 7
}

func ExampleDriver_Store() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.Int64).GroupByKey().Count(streams.As("counts"))
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("bob", 700)
	orders.Send("ann", 500)
	orders.Send("ann", 900)

	counts := d.Store("counts", serde.String, serde.Int64)
	fmt.Println(counts.Get("ann"))
	fmt.Println(counts.Get("cid"))
	for customer, n := range counts.All() {
		fmt.Println(customer, n)
	}
	// Output:
	// 2 true
	// 0 false
	// ann 2
	// bob 1
}

func ExampleDriver_WindowStore() {
	b := streams.NewBuilder()
	b.Stream("clicks", serde.String, serde.String).GroupByKey().WindowedBy(streams.Tumbling(time.Minute)).Count(streams.As("per-minute"))
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	d.Input("clicks", serde.String, serde.String).SendAt("ann", "/", time.UnixMilli(1000))

	perMinute := d.WindowStore("per-minute", serde.String, serde.Int64)
	fmt.Println(perMinute.Get("ann", time.UnixMilli(0)))
	for w, n := range perMinute.All() {
		fmt.Println(w, n)
	}
	// Output:
	// 1 true
	// [ann@0/60000] 1
}

func ExampleDriver_SessionStore() {
	b := streams.NewBuilder()
	b.Stream("clicks", serde.String, serde.String).GroupByKey().Sessions(streams.Gap(time.Minute)).Count(streams.As("visits"))
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "/", time.UnixMilli(1000))
	clicks.SendAt("ann", "/cart", time.UnixMilli(2000))

	visits := d.SessionStore("visits", serde.String, serde.Int64)
	fmt.Println(visits.Get("ann", time.UnixMilli(1000), time.UnixMilli(2000)))
	for w, n := range visits.All() {
		fmt.Println(w, n)
	}
	// Output:
	// 2 true
	// [ann@1000/2000] 2
}
