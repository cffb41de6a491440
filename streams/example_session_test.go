package streams_test

import (
	"log"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Clicks that are at most a gap apart are one visit. A click between two visits makes them one: both are deleted.
func ExampleGap() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			Sessions(streams.Gap(30 * time.Second).Grace(time.Minute)).
			Count().
			ToStream().
			To("visits")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "home", at(0))
	clicks.SendAt("ann", "cart", at(50))
	clicks.SendAt("ann", "shoes", at(25))
	show(d, "visits", serde.SessionWindowed(serde.String), serde.Int64)
	// Output:
	// [ann@0/0]=1@0
	// [ann@50000/50000]=1@50000
	// [ann@0/0]=null@0
	// [ann@50000/50000]=null@50000
	// [ann@0/50000]=3@50000
}

// A visit is sent on once, when no click can belong to it any more.
func ExampleSessionWindowed_EmitOnClose() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			Sessions(streams.Gap(30 * time.Second)).
			EmitOnClose().
			Count().
			ToStream().
			To("visits")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "home", at(0))
	clicks.SendAt("ann", "shoes", at(20))
	if err := d.Advance(time.Second); err != nil {
		log.Fatal(err)
	}
	clicks.SendAt("bob", "home", at(60))
	show(d, "visits", serde.SessionWindowed(serde.String), serde.Int64)
	// Output: [ann@0/20000]=2@20000
}

func ExampleSessionWindowed_Reduce() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			Sessions(streams.Gap(30 * time.Second)).
			Reduce(func(path, page string) string { return path + " " + page }).
			ToStream().
			To("paths")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "home", at(0))
	clicks.SendAt("ann", "shoes", at(20))
	show(d, "paths", serde.SessionWindowed(serde.String), serde.String)
	// Output:
	// [ann@0/0]=home@0
	// [ann@0/0]=null@0
	// [ann@0/20000]=home shoes@20000
}

func ExampleSessionWindowed_Aggregate() {
	d := run(func(b *streams.Builder) {
		b.Stream("sales", serde.String, serde.Int64).
			GroupByKey().
			Sessions(streams.Gap(30*time.Second)).
			Aggregate(
				func() int64 { return 0 },
				func(_ string, amount, sum int64) int64 { return sum + amount },
				func(_ string, sum, other int64) int64 { return sum + other }).
			ToStream().
			Filter(func(_ streams.Windowed[string], sum int64) bool { return sum > 0 }).
			To("baskets")
	})
	sales := d.Input("sales", serde.String, serde.Int64)
	sales.SendAt("ann", 5, at(0))
	sales.SendAt("ann", 7, at(10))
	show(d, "baskets", serde.SessionWindowed(serde.String), serde.Int64)
	// Output:
	// [ann@0/0]=5@0
	// [ann@0/10000]=12@10000
}

func ExampleSessionWindowed_Collect() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			Sessions(streams.Gap(30 * time.Second)).
			Collect().
			ToStream().
			MapValues(func(pages []string) string { return strings.Join(pages, ", ") }).
			To("pages")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "home", at(0))
	show(d, "pages", serde.SessionWindowed(serde.String), serde.String)
	// Output: [ann@0/0]=home@0
}

// For each set of readings that are at most ten seconds apart there is one window.
func ExampleApart() {
	d := run(func(b *streams.Builder) {
		b.Stream("readings", serde.String, serde.Int64).
			GroupByKey().
			Sliding(streams.Apart(10 * time.Second).Grace(time.Minute)).
			Reduce(func(a, b int64) int64 { return max(a, b) }).
			ToStream().
			To("peaks")
	})
	readings := d.Input("readings", serde.String, serde.Int64)
	readings.SendAt("boiler", 71, at(20))
	readings.SendAt("boiler", 78, at(26))
	readings.SendAt("boiler", 70, at(34))
	show(d, "peaks", serde.TimeWindowed(serde.String, 10*time.Second), serde.Int64)
	// Output:
	// [boiler@10000/20000]=71@20000
	// [boiler@20001/30001]=78@26000
	// [boiler@16000/26000]=78@26000
	// [boiler@26001/36001]=70@34000
	// [boiler@24000/34000]=78@34000
}

func ExampleGrouped_Unlimited() {
	d := run(func(b *streams.Builder) {
		b.Stream("flights", serde.String, serde.String).
			GroupByKey().
			Unlimited(at(60)).
			Count().
			ToStream().
			SelectKey(func(w streams.Windowed[string], _ int64) string { return w.Key }).
			To("since")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.SendAt("OSL", "DY620", at(59))
	flights.SendAt("OSL", "SK455", at(60))
	flights.SendAt("OSL", "LH860", at(90))
	show(d, "since", serde.String, serde.Int64)
	// Output:
	// OSL=1@60000
	// OSL=2@90000
}

// Of each window the final result is sent on, once; the clock is that of the records.
func ExampleTable_Final() {
	d := run(func(b *streams.Builder) {
		b.Stream("flights", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute).Grace(10 * time.Second)).
			Count().
			Final().
			ToStream().
			To("landings")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.SendAt("OSL", "DY620", at(30))
	flights.SendAt("OSL", "SK455", at(65))
	flights.SendAt("OSL", "LH860", at(50))
	flights.SendAt("OSL", "BA762", at(70)) // closes the first minute
	show(d, "landings", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output: [OSL@0/60000]=2@50000
}

// A row is sent on a minute after its first change, as it is then.
func ExampleTable_Suppress() {
	d := run(func(b *streams.Builder) {
		b.Table("prices", serde.String, serde.Int64).
			Suppress(streams.UntilTimeLimit(time.Minute)).
			ToStream().
			To("calm")
	})
	prices := d.Input("prices", serde.String, serde.Int64)
	prices.SendAt("tea", 3, at(0))
	prices.SendAt("tea", 4, at(20))
	prices.SendAt("milk", 1, at(60))
	show(d, "calm", serde.String, serde.Int64)
	// Output: tea=4@20000
}

// When more than one row would wait, that which has waited the longest is sent on.
func ExampleSuppression_MaxRecords() {
	d := run(func(b *streams.Builder) {
		b.Table("prices", serde.String, serde.Int64).
			Suppress(streams.UntilTimeLimit(time.Minute).MaxRecords(1)).
			ToStream().
			To("calm")
	})
	prices := d.Input("prices", serde.String, serde.Int64)
	prices.SendAt("tea", 3, at(0))
	prices.SendAt("milk", 1, at(20))
	show(d, "calm", serde.String, serde.Int64)
	// Output: tea=3@0
}

// Two streams of different types, one result a customer.
func ExampleGrouped_Cogroup() {
	d := run(func(b *streams.Builder) {
		orders := b.Stream("orders", serde.String, serde.Int64).GroupByKey()
		visits := b.Stream("visits", serde.String, serde.String).GroupByKey()
		orders.Cogroup(func(_ string, amount int64, score int64) int64 { return score + amount }).
			And(visits, func(_, _ string, score int64) int64 { return score + 1 }).
			Aggregate(func() int64 { return 0 }, streams.WithValue(serde.Int64)).
			ToStream().
			To("scores")
	})
	d.Input("orders", serde.String, serde.Int64).SendAt("ann", 50, at(0))
	d.Input("visits", serde.String, serde.String).SendAt("ann", "home", at(1))
	show(d, "scores", serde.String, serde.Int64)
	// Output:
	// ann=50@0
	// ann=51@1000
}

func ExampleCogrouped_WindowedBy() {
	d := run(func(b *streams.Builder) {
		orders := b.Stream("orders", serde.String, serde.Int64).GroupByKey()
		orders.Cogroup(func(_ string, amount int64, sum int64) int64 { return sum + amount }).
			WindowedBy(streams.Tumbling(time.Minute)).
			Aggregate(func() int64 { return 0 }, streams.WithValue(serde.Int64)).
			ToStream().
			To("sums")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.SendAt("ann", 50, at(0))
	orders.SendAt("ann", 20, at(60))
	show(d, "sums", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output:
	// [ann@0/60000]=50@0
	// [ann@60000/120000]=20@60000
}

func ExampleCogrouped_Sessions() {
	d := run(func(b *streams.Builder) {
		orders := b.Stream("orders", serde.String, serde.Int64).GroupByKey()
		orders.Cogroup(func(_ string, amount int64, sum int64) int64 { return sum + amount }).
			Sessions(streams.Gap(time.Minute)).
			Aggregate(func() int64 { return 0 }, func(_ string, a, b int64) int64 { return a + b }, streams.WithValue(serde.Int64)).
			ToStream().
			To("sums")
	})
	d.Input("orders", serde.String, serde.Int64).SendAt("ann", 50, at(0))
	show(d, "sums", serde.SessionWindowed(serde.String), serde.Int64)
	// Output: [ann@0/0]=50@0
}

func ExampleGrouped_Collect() {
	d := run(func(b *streams.Builder) {
		b.Stream("flights", serde.String, serde.String).
			GroupByKey().
			Collect().
			ToStream().
			To("boards")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.SendAt("OSL", "DY620", at(0))
	flights.SendAt("OSL", "SK455", at(1))
	show(d, "boards", serde.String, serde.List(serde.String))
	// Output:
	// OSL=[DY620]@0
	// OSL=[DY620 SK455]@1000
}

func ExampleLast() {
	d := run(func(b *streams.Builder) {
		b.Stream("gates", serde.String, serde.String).GroupByKey().Reduce(streams.Last).ToStream().To("gate")
	})
	gates := d.Input("gates", serde.String, serde.String)
	gates.SendAt("SK455", "C4", at(0))
	gates.SendAt("SK455", "B2", at(1))
	show(d, "gate", serde.String, serde.String)
	// Output:
	// SK455=C4@0
	// SK455=B2@1000
}
