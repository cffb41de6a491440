package streams_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
)

// run runs a program on the test driver, whose clock stands at 0.
func run(program func(b *streams.Builder), opts ...streams.BuildOption) *streamstest.Driver {
	b := streams.NewBuilder()
	program(b)
	t, err := b.Build(opts...)
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t, streamstest.StartAt(time.UnixMilli(0)))
	if err != nil {
		log.Fatal(err)
	}
	return d
}

// show prints what a topic got: key=value@milliseconds.
func show[K, V any](d *streamstest.Driver, topic string, key serde.Serde[K], value serde.Serde[V]) {
	for _, r := range d.Output(topic, key, value).All() {
		fmt.Println(r)
	}
}

// at is a time in seconds.
func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// The words of lines are counted by minute.
func Example() {
	b := streams.NewBuilder()
	b.Stream("lines", serde.String, serde.String).
		FlatMapValues(strings.FieldsSeq).
		GroupBy(func(_, word string) string { return word }).
		WindowedBy(streams.Tumbling(time.Minute).Grace(5 * time.Second)).
		Count(streams.As("per-minute")).
		ToStream().
		To("counts")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t) // an application: streams.NewApp("word-count", t, streams.Brokers("localhost:9092"))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	lines := d.Input("lines", serde.String, serde.String)
	lines.SendAt("", "to be or not to be", at(10))
	lines.SendAt("", "be quick", at(61))
	for _, r := range d.Output("counts", serde.TimeWindowed(serde.String, time.Minute), serde.Int64).All() {
		fmt.Println(r)
	}
	// Output:
	// [to@0/60000]=1@10000
	// [be@0/60000]=1@10000
	// [or@0/60000]=1@10000
	// [not@0/60000]=1@10000
	// [to@0/60000]=2@10000
	// [be@0/60000]=2@10000
	// [be@60000/120000]=1@61000
	// [quick@60000/120000]=1@61000
}

func ExampleNewApp() {
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).MapValues(strings.ToUpper).To("out")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	app, err := streams.NewApp("shout", t,
		streams.Brokers("localhost:9092"),
		streams.StateDir("/var/lib/shout"),
		streams.CommitInterval(time.Second),
		streams.HTTPAddress("localhost:8080"), // /livez /readyz /startupz /metrics
		streams.DeserializationHandler(streams.Always(streams.DeadLetter)),
		streams.DeadLetterTopic("shout-dead-letters"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(app.State())
	// app.Run(ctx) runs it until ctx ends.
	// Output: CREATED
}

// Build reports all mistakes at once, each with its place.
func ExampleBuilder_Build() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.String).To("out of words")
	_, err := b.Build()
	message, _, _ := strings.Cut(err.Error(), " (") // the file and line follow
	fmt.Println(message)
	// Output: streams: To: "out of words" is no name of a topic: 1 to 249 of a-z A-Z 0-9 . _ - are allowed
}

func ExampleOptimize() {
	d := run(func(b *streams.Builder) {
		byCity := b.Stream("orders", serde.String, serde.String).SelectKey(func(_, city string) string { return city })
		byCity.GroupByKey().Count(streams.As("orders-by-city"))
		byCity.GroupByKey().Reduce(func(_, last string) string { return last }, streams.As("last-by-city"))
	}, streams.Optimize())
	d.Input("orders", serde.String, serde.String).Send("1", "Oslo")
	for _, topic := range d.Topics() { // one repartition topic, where there would be two
		fmt.Println(topic)
	}
	// Output:
	// app-last-by-city-changelog
	// app-orders-by-city-changelog
	// app-orders-by-city-repartition
}

func ExampleAs() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.Int64, streams.As("orders-in")).
		GroupByKey().
		Count(streams.As("order-counts"), streams.Named("count-orders")).
		ToStream().
		To("counts", streams.As("counts-out"))
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(t.Describe())
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: orders-in (topics: [orders])
	//       --> count-orders
	//     Processor: count-orders (stores: [order-counts])
	//       --> KTABLE-TOSTREAM-0000000002
	//       <-- orders-in
	//     Processor: KTABLE-TOSTREAM-0000000002 (stores: [])
	//       --> counts-out
	//       <-- count-orders
	//     Sink: counts-out (topic: counts)
	//       <-- KTABLE-TOSTREAM-0000000002
}

func ExampleBuilder_Stream() {
	d := run(func(b *streams.Builder) {
		b.Stream([]string{"web-orders", "shop-orders"}, serde.String, serde.Int64).To("orders")
	})
	d.Input("web-orders", serde.String, serde.Int64).Send("ann", 1)
	d.Input("shop-orders", serde.String, serde.Int64).Send("bob", 2)
	show(d, "orders", serde.String, serde.Int64)
	// Output:
	// ann=1@0
	// bob=2@0
}

type reading struct {
	At     time.Time `json:"at"`
	Degree float64   `json:"degree"`
}

func ExampleEventTime() {
	d := run(func(b *streams.Builder) {
		b.Stream("readings", serde.String, serde.JSON[reading](), streams.EventTime(func(_ string, r reading) time.Time { return r.At })).
			MapValues(func(r reading) float64 { return r.Degree }).
			To("degrees")
	})
	d.Input("readings", serde.String, serde.JSON[reading]()).Send("roof", reading{at(42), 21.5})
	show(d, "degrees", serde.String, serde.Float64)
	// Output: roof=21.5@42000
}

func ExampleSkipNegativeTime() {
	d := run(func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String, streams.SkipNegativeTime()).To("out")
	})
	d.Input("in", serde.String, serde.String).SendAt("k", "old client", time.UnixMilli(-1))
	fmt.Println(len(d.Produced("out")), "written,", d.Dropped(), "dropped")
	// Output: 0 written, 1 dropped
}

func ExamplePartitionTimeForNegative() {
	d := run(func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String, streams.PartitionTimeForNegative()).To("out")
	})
	in := d.Input("in", serde.String, serde.String)
	in.SendAt("k", "first", at(5))
	in.SendAt("k", "without a time", time.UnixMilli(-1))
	show(d, "out", serde.String, serde.String)
	// Output:
	// k=first@5000
	// k=without a time@5000
}

func ExampleWallClockTime() {
	d := run(func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String, streams.WallClockTime()).To("out")
	})
	if err := d.Advance(time.Minute); err != nil {
		log.Fatal(err)
	}
	d.Input("in", serde.String, serde.String).SendAt("k", "v", at(5))
	show(d, "out", serde.String, serde.String)
	// Output: k=v@60000
}

// A function that returns an error leaves the decision to the application's handler; the driver has none, so it fails.
func ExampleStream_TryMapValues() {
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).
		TryMapValues(func(_ context.Context, key, v string) (int64, error) { return parse(key, v) }, streams.As("parse")).
		To("out")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d, err := streamstest.Open(t)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Pipe(raw("in", "k", "7")))
	fmt.Println(d.Pipe(raw("in", "k", "seven")))
	// Output:
	// <nil>
	// task 0_0: node "parse": topic "in" partition 0 offset 1: the value of k, "seven", is no number
}
