package streams_test

import (
	"log"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Each record is in one of the windows. They start at whole minutes, whenever the first record came.
func ExampleTumbling() {
	d := run(func(b *streams.Builder) {
		b.Stream("flights", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute)).
			Count().
			ToStream().
			To("landings")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.SendAt("OSL", "DY620", at(59))
	flights.SendAt("OSL", "SK455", at(60))
	flights.SendAt("OSL", "LH860", at(119))
	show(d, "landings", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output:
	// [OSL@0/60000]=1@59000
	// [OSL@60000/120000]=1@60000
	// [OSL@60000/120000]=2@119000
}

// What comes late counts while its window is open: until a record has come whose time is the grace period after the
// window's end.
func ExampleTimeWindows_Grace() {
	d := run(func(b *streams.Builder) {
		b.Stream("flights", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute).Grace(10 * time.Second)).
			EmitOnClose().
			Count().
			ToStream().
			To("landings")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.SendAt("OSL", "DY620", at(59))
	flights.SendAt("OSL", "SK455", at(61))
	flights.SendAt("OSL", "LH860", at(58)) // late, but not too late
	if err := d.Advance(time.Second); err != nil {
		log.Fatal(err)
	}
	flights.SendAt("OSL", "BA762", at(70)) // closes the first minute
	show(d, "landings", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output: [OSL@0/60000]=2@59000
}

func ExampleTimeWindowed_Reduce() {
	d := run(func(b *streams.Builder) {
		b.Stream("bids", serde.String, serde.Int64).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute)).
			Reduce(func(highest, bid int64) int64 { return max(highest, bid) }).
			ToStream().
			To("highest-bids")
	})
	bids := d.Input("bids", serde.String, serde.Int64)
	bids.SendAt("vase", 100, at(1))
	bids.SendAt("vase", 90, at(2))
	bids.SendAt("vase", 80, at(60))
	show(d, "highest-bids", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output:
	// [vase@0/60000]=100@1000
	// [vase@0/60000]=100@2000
	// [vase@60000/120000]=80@60000
}

// Windows are kept for longer where late records shall find them; what is sent on stays the same.
func ExampleRetention() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute)).
			Count(streams.As("per-minute"), streams.Retention(24*time.Hour), streams.LogConfig(map[string]string{"segment.bytes": "1048576"})).
			ToStream().
			To("counts")
	})
	d.Input("clicks", serde.String, serde.String).Send("ann", "/")
	show(d, "counts", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	// Output: [ann@0/60000]=1@0
}
