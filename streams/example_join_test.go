package streams_test

import (
	"fmt"
	"log"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// A click counts for the impression before it, if that is not older than ten seconds.
func ExampleStream_Join() {
	d := run(func(b *streams.Builder) {
		clicks := b.Stream("clicks", serde.String, serde.String)
		impressions := b.Stream("impressions", serde.String, serde.String)
		clicks.Join(impressions, streams.Within(0).Before(10*time.Second),
			func(click, ad string) string { return ad + " led to " + click }).
			To("credits")
	})
	d.Input("impressions", serde.String, serde.String).SendAt("ann", "banner", at(0))
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "shoes", at(8))
	clicks.SendAt("ann", "socks", at(30))
	show(d, "credits", serde.String, serde.String)
	// Output: ann=banner led to shoes@8000
}

// A payment that does not come is noticed when the window has closed: by the time of the records.
func ExampleStream_LeftJoin() {
	d := run(func(b *streams.Builder) {
		orders := b.Stream("orders", serde.String, serde.String)
		payments := b.Stream("payments", serde.String, serde.Int64)
		orders.LeftJoin(payments, streams.Within(time.Minute), func(order string, paid streams.Opt[int64]) string {
			return fmt.Sprint(order, ": ", paid)
		}).To("states")
	})
	orders := d.Input("orders", serde.String, serde.String)
	orders.SendAt("o-1", "shoes", at(0))
	orders.SendAt("o-2", "socks", at(1))
	d.Input("payments", serde.String, serde.Int64).SendAt("o-1", 50, at(30))
	if err := d.Advance(time.Second); err != nil {
		log.Fatal(err)
	}
	orders.SendAt("o-3", "hat", at(100))
	show(d, "states", serde.String, serde.String)
	// Output:
	// o-1=shoes: 50@30000
	// o-2=socks: null@1000
}

func ExampleStream_OuterJoin() {
	d := run(func(b *streams.Builder) {
		left := b.Stream("left", serde.String, serde.String)
		right := b.Stream("right", serde.String, serde.String)
		left.OuterJoin(right, streams.Within(time.Second), func(l, r streams.Opt[string]) string { return fmt.Sprint(l, "+", r) }).To("both")
	})
	d.Input("right", serde.String, serde.String).SendAt("a", "r", at(0))
	if err := d.Advance(time.Second); err != nil {
		log.Fatal(err)
	}
	d.Input("left", serde.String, serde.String).SendAt("b", "l", at(10))
	show(d, "both", serde.String, serde.String)
	// Output: a=null+r@0
}

func ExampleJoinWindows_Grace() {
	d := run(func(b *streams.Builder) {
		left := b.Stream("left", serde.String, serde.String)
		right := b.Stream("right", serde.String, serde.String)
		left.Join(right, streams.Within(time.Second).Grace(time.Minute), func(l, r string) string { return l + r }).To("both")
	})
	left := d.Input("left", serde.String, serde.String)
	left.SendAt("a", "l", at(10))
	left.SendAt("a", "m", at(60))
	d.Input("right", serde.String, serde.String).SendAt("a", "r", at(10)) // late, but kept for
	show(d, "both", serde.String, serde.String)
	// Output: a=lr@10000
}

// There is a row as long as both tables have one.
func ExampleTable_Join() {
	d := run(func(b *streams.Builder) {
		names := b.Table("names", serde.String, serde.String)
		cities := b.Table("cities", serde.String, serde.String)
		names.Join(cities, func(name, city string) string { return name + " of " + city }).ToStream().To("people")
	})
	names, cities := d.Input("names", serde.String, serde.String), d.Input("cities", serde.String, serde.String)
	names.SendAt("1", "Ann", at(0))
	cities.SendAt("1", "Oslo", at(1))
	cities.SendAt("1", "Bergen", at(2))
	show(d, "people", serde.String, serde.String)
	// Output:
	// 1=Ann of Oslo@1000
	// 1=Ann of Bergen@2000
}

func ExampleTable_LeftJoin() {
	d := run(func(b *streams.Builder) {
		names := b.Table("names", serde.String, serde.String)
		cities := b.Table("cities", serde.String, serde.String)
		names.LeftJoin(cities, func(name string, city streams.Opt[string]) string { return name + " of " + city.Or("nowhere") }).
			ToStream().To("people")
	})
	d.Input("names", serde.String, serde.String).SendAt("1", "Ann", at(0))
	d.Input("cities", serde.String, serde.String).SendAt("1", "Oslo", at(1))
	show(d, "people", serde.String, serde.String)
	// Output:
	// 1=Ann of nowhere@0
	// 1=Ann of Oslo@1000
}

func ExampleTable_OuterJoin() {
	d := run(func(b *streams.Builder) {
		in := b.Table("in", serde.String, serde.Int64)
		out := b.Table("out", serde.String, serde.Int64)
		in.OuterJoin(out, func(in, out streams.Opt[int64]) int64 { return in.Or(0) - out.Or(0) }).ToStream().To("stock")
	})
	d.Input("in", serde.String, serde.Int64).SendAt("tea", 10, at(0))
	d.Input("out", serde.String, serde.Int64).SendAt("tea", 3, at(1))
	show(d, "stock", serde.String, serde.Int64)
	// Output:
	// tea=10@0
	// tea=7@1000
}

// Each order has a row as long as its customer has one; a change of either changes it.
func ExampleTable_JoinOn() {
	d := run(func(b *streams.Builder) {
		orders := b.Table("orders", serde.String, serde.String) // the value is the customer's number
		customers := b.Table("customers", serde.String, serde.String)
		orders.JoinOn(customers, func(_, customer string) string { return customer },
			func(order, name string) string { return name }).
			ToStream().To("buyers")
	})
	d.Input("orders", serde.String, serde.String).SendAt("o-1", "7", at(0))
	customers := d.Input("customers", serde.String, serde.String)
	customers.SendAt("7", "Ann", at(1))
	customers.SendAt("7", "Anne", at(2))
	show(d, "buyers", serde.String, serde.String)
	// Output:
	// o-1=Ann@1000
	// o-1=Anne@2000
}

func ExampleTable_LeftJoinOn() {
	d := run(func(b *streams.Builder) {
		orders := b.Table("orders", serde.String, serde.String)
		customers := b.Table("customers", serde.String, serde.String)
		orders.LeftJoinOn(customers, func(_, customer string) string { return customer },
			func(_ string, name streams.Opt[string]) string { return name.Or("somebody") }).
			ToStream().To("buyers")
	})
	d.Input("orders", serde.String, serde.String).SendAt("o-1", "7", at(0))
	d.Input("customers", serde.String, serde.String).SendAt("7", "Ann", at(1))
	show(d, "buyers", serde.String, serde.String)
	// Output:
	// o-1=somebody@0
	// o-1=Ann@1000
}

// A price that comes after the order, but was set before it, is what the order is charged: orders wait a minute for it.
func ExampleGrace() {
	d := run(func(b *streams.Builder) {
		prices := b.Table("prices", serde.String, serde.Int64, streams.As("price-history"), streams.Versioned(time.Hour))
		b.Stream("orders", serde.String, serde.Int64).
			JoinTable(prices, func(n, price int64) int64 { return n * price }, streams.As("charge"), streams.Grace(time.Minute)).
			To("charges")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	prices := d.Input("prices", serde.String, serde.Int64)
	prices.SendAt("tea", 3, at(0))
	orders.SendAt("tea", 2, at(50))
	prices.SendAt("tea", 5, at(40))
	orders.SendAt("tea", 1, at(110))
	show(d, "charges", serde.String, serde.Int64)
	// Output: tea=10@50000
}
