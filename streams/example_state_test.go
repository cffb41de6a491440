package streams_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

func ExampleStream_GroupByKey() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).GroupByKey().Count().ToStream().To("counts")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("ann", 500)
	orders.Send("ann", 700)
	show(d, "counts", serde.String, serde.Int64)
	// Output:
	// ann=1@0
	// ann=2@0
}

func ExampleStream_GroupBy() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String).
			GroupBy(func(_, city string) string { return city }, streams.As("by-city")).
			Count().
			ToStream().
			To("counts")
	})
	d.Input("orders", serde.String, serde.String).Send("o-17", "Oslo")
	show(d, "counts", serde.String, serde.Int64)
	fmt.Println(len(d.Produced("app-by-city-repartition")), "repartitioned")
	// Output:
	// Oslo=1@0
	// 1 repartitioned
}

func ExampleGrouped_Count() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).GroupByKey().Count(streams.As("order-counts")).ToStream().To("counts")
	})
	d.Input("orders", serde.String, serde.Int64).SendAt("ann", 500, at(3))
	show(d, "counts", serde.String, serde.Int64)
	show(d, "app-order-counts-changelog", serde.String, serde.Int64)
	// Output:
	// ann=1@3000
	// ann=1@3000
}

func ExampleGrouped_Reduce() {
	d := run(func(b *streams.Builder) {
		b.Stream("bids", serde.String, serde.Int64).
			GroupByKey().
			Reduce(func(highest, bid int64) int64 { return max(highest, bid) }, streams.As("highest")).
			ToStream().
			To("highest-bids")
	})
	bids := d.Input("bids", serde.String, serde.Int64)
	bids.Send("vase", 100)
	bids.Send("vase", 90)
	show(d, "highest-bids", serde.String, serde.Int64)
	// Output:
	// vase=100@0
	// vase=100@0
}

// A store may be in memory, do without a changelog, or log and forward each change.
func ExampleUnlogged() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			Count(streams.As("clicks"), streams.InMemory(), streams.Unlogged(), streams.Uncached()).
			ToStream().
			To("counts")
	})
	d.Input("clicks", serde.String, serde.String).Send("ann", "/")
	fmt.Println(d.Topics())
	// Output: [counts]
}

type city struct{ Country, Name string }

// Types that are no primitives need serdes where they are first written.
func ExampleWithKey() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.JSON[city]()).
			GroupBy(func(_ string, c city) city { return c }, streams.WithKey(serde.JSON[city]())).
			Count().
			ToStream().
			To("counts")
	})
	d.Input("orders", serde.String, serde.JSON[city]()).Send("o-17", city{"Norway", "Oslo"})
	show(d, "counts", serde.JSON[city](), serde.Int64)
	// Output: {Norway Oslo}=1@0
}

type stats struct{ Orders, Cents int64 }

func ExampleGrouped_Aggregate() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).
			GroupByKey().
			Aggregate(
				func() stats { return stats{} },
				func(_ string, cents int64, s stats) stats { return stats{s.Orders + 1, s.Cents + cents} },
				streams.As("stats"), streams.WithValue(serde.JSON[stats]())).
			ToStream().
			To("order-stats")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("ann", 500)
	orders.Send("ann", 700)
	show(d, "order-stats", serde.String, serde.JSON[stats]())
	// Output:
	// ann={1 500}@0
	// ann={2 1200}@0
}

func ExampleGrouped_TryAggregate() {
	d := run(func(b *streams.Builder) {
		b.Stream("amounts", serde.String, serde.String).
			GroupByKey().
			TryAggregate(
				func() int64 { return 0 },
				func(_ context.Context, k, v string, sum int64) (int64, error) {
					n, err := parse(k, v)
					return sum + n, err
				}).
			ToStream().
			To("sums")
	})
	amounts := d.Input("amounts", serde.String, serde.String)
	amounts.Send("ann", "3")
	amounts.Send("ann", "4")
	show(d, "sums", serde.String, serde.Int64)
	// Output:
	// ann=3@0
	// ann=7@0
}

// Tumbling windows of ten seconds take records that are up to five seconds late.
func ExampleGrouped_WindowedBy() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(10 * time.Second).Grace(5 * time.Second)).
			Count().
			ToStream().
			To("counts")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "/", at(3))
	clicks.SendAt("ann", "/", at(14))
	clicks.SendAt("ann", "late", at(9)) // the window ends at 10; it is open until 15
	clicks.SendAt("ann", "/", at(15))
	clicks.SendAt("ann", "too late", at(9))
	show(d, "counts", serde.TimeWindowed(serde.String, 10*time.Second), serde.Int64)
	fmt.Println(d.Dropped(), "dropped")
	// Output:
	// [ann@0/10000]=1@3000
	// [ann@10000/20000]=1@14000
	// [ann@0/10000]=2@9000
	// [ann@10000/20000]=2@15000
	// 1 dropped
}

func ExampleHopping() {
	d := run(func(b *streams.Builder) {
		b.Stream("readings", serde.String, serde.Int64).
			GroupByKey().
			WindowedBy(streams.Hopping(10*time.Second, 5*time.Second)).
			Reduce(func(a, b int64) int64 { return max(a, b) }).
			ToStream().
			To("highest")
	})
	d.Input("readings", serde.String, serde.Int64).SendAt("roof", 21, at(12))
	show(d, "highest", serde.TimeWindowed(serde.String, 10*time.Second), serde.Int64)
	// Output:
	// [roof@5000/15000]=21@12000
	// [roof@10000/20000]=21@12000
}

func ExampleTimeWindowed_Count() {
	d := run(func(b *streams.Builder) {
		perMinute := b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute)).
			Count(streams.As("per-minute"), streams.Retention(time.Hour)) // *Table[Windowed[string], int64]
		perMinute.ToStream().
			Map(func(w streams.Windowed[string], n int64) (string, int64) { return w.Key, n }).
			To("by-user")
	})
	d.Input("clicks", serde.String, serde.String).Send("ann", "/")
	show(d, "by-user", serde.String, serde.Int64)
	// Output: ann=1@0
}

func ExampleTimeWindowed_Aggregate() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(time.Minute)).
			Aggregate(func() string { return "" }, func(_, page, path string) string { return path + page }).
			ToStream().
			To("paths")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.Send("ann", "/shop")
	clicks.Send("ann", "/cart")
	show(d, "paths", serde.TimeWindowed(serde.String, time.Minute), serde.String)
	// Output:
	// [ann@0/60000]=/shop@0
	// [ann@0/60000]=/shop/cart@0
}

func ExampleTimeWindowed_EmitOnClose() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			GroupByKey().
			WindowedBy(streams.Tumbling(10 * time.Second)).
			EmitOnClose().
			Count().
			ToStream().
			To("final")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.SendAt("ann", "/", at(3))
	clicks.SendAt("ann", "/", at(4))
	if err := d.Advance(time.Second); err != nil { // closed windows are looked for once a second
		log.Fatal(err)
	}
	clicks.SendAt("bob", "/", at(11)) // closes the window of the first ten seconds
	show(d, "final", serde.TimeWindowed(serde.String, 10*time.Second), serde.Int64)
	// Output: [ann@0/10000]=2@4000
}

func ExampleBuilder_Table() {
	d := run(func(b *streams.Builder) {
		b.Table("customers", serde.String, serde.String, streams.As("customers")).ToStream().To("changes")
	})
	customers := d.Input("customers", serde.String, serde.String)
	customers.Send("1", "ann")
	customers.Delete("1", at(1))
	show(d, "changes", serde.String, serde.String)
	// Output:
	// 1=ann@0
	// 1=null@1000
}

func ExampleStream_ToTable() {
	d := run(func(b *streams.Builder) {
		b.Stream("readings", serde.String, serde.Int64).
			ToTable(streams.As("latest")).
			Filter(func(_ string, degree int64) bool { return degree > 30 }).
			ToStream().
			To("hot")
	})
	readings := d.Input("readings", serde.String, serde.Int64)
	readings.Send("roof", 20)
	readings.Send("roof", 35)
	readings.Send("roof", 21)
	show(d, "hot", serde.String, serde.Int64)
	// Output:
	// roof=35@0
	// roof=null@0
}

func ExampleTable_Filter() {
	d := run(func(b *streams.Builder) {
		b.Table("stock", serde.String, serde.Int64).
			Filter(func(_ string, n int64) bool { return n > 0 }).
			ToStream().
			To("available")
	})
	stock := d.Input("stock", serde.String, serde.Int64)
	stock.Send("pear", 2)
	stock.Send("pear", 0) // the row no longer fits: it is deleted
	show(d, "available", serde.String, serde.Int64)
	// Output:
	// pear=2@0
	// pear=null@0
}

func ExampleTable_FilterNot() {
	d := run(func(b *streams.Builder) {
		b.Table("flights", serde.String, serde.String).
			FilterNot(func(_, state string) bool { return state == "cancelled" }, streams.As("flying")).
			ToStream().
			To("board")
	})
	flights := d.Input("flights", serde.String, serde.String)
	flights.Send("DY620", "on time")
	flights.Send("DY620", "cancelled") // the row begins to fit: it is deleted
	show(d, "board", serde.String, serde.String)
	// Output:
	// DY620=on time@0
	// DY620=null@0
}

func ExampleTable_MapValues() {
	d := run(func(b *streams.Builder) {
		b.Table("customers", serde.String, serde.String).MapValues(strings.ToUpper, streams.As("upper")).ToStream().To("out")
	})
	d.Input("customers", serde.String, serde.String).Send("1", "ann")
	show(d, "out", serde.String, serde.String)
	// Output: 1=ANN@0
}

func ExampleTable_ToStream() {
	d := run(func(b *streams.Builder) {
		b.Table("customers", serde.String, serde.String).ToStream().To("changes")
	})
	d.Input("customers", serde.String, serde.String).Send("1", "ann")
	show(d, "changes", serde.String, serde.String)
	// Output: 1=ann@0
}

// When a row changes its group, it is taken out of the old one.
func ExampleTable_GroupBy() {
	d := run(func(b *streams.Builder) {
		b.Table("city-of-customer", serde.String, serde.String).
			GroupBy(func(customer, city string) (string, string) { return city, customer }).
			Count().
			ToStream().
			To("customers-by-city")
	})
	cities := d.Input("city-of-customer", serde.String, serde.String)
	cities.Send("ann", "Oslo")
	cities.Send("ann", "Rome")
	show(d, "customers-by-city", serde.String, serde.Int64)
	// Output:
	// Oslo=1@0
	// Oslo=0@0
	// Rome=1@0
}

func ExampleGroupedTable_Count() {
	d := run(func(b *streams.Builder) {
		b.Table("seats", serde.String, serde.String).
			GroupBy(func(seat, flight string) (string, string) { return flight, seat }).
			Count(streams.As("taken")).
			ToStream().
			To("taken-seats")
	})
	seats := d.Input("seats", serde.String, serde.String)
	seats.Send("12A", "DY620")
	seats.Send("12B", "DY620")
	seats.Delete("12A", at(1))
	show(d, "taken-seats", serde.String, serde.Int64)
	// Output:
	// DY620=1@0
	// DY620=2@0
	// DY620=1@1000
}

func ExampleGroupedTable_Reduce() {
	d := run(func(b *streams.Builder) {
		b.Table("stock", serde.String, serde.Int64).
			GroupBy(func(item string, n int64) (string, int64) { return item[:1], n }).
			Reduce(func(sum, n int64) int64 { return sum + n }, func(sum, n int64) int64 { return sum - n }).
			ToStream().
			To("by-letter")
	})
	stock := d.Input("stock", serde.String, serde.Int64)
	stock.Send("pear", 2)
	stock.Send("plum", 3)
	stock.Send("pear", 1)
	show(d, "by-letter", serde.String, serde.Int64)
	// Output:
	// p=2@0
	// p=5@0
	// p=4@0
}

func ExampleGroupedTable_Aggregate() {
	d := run(func(b *streams.Builder) {
		b.Table("stock", serde.String, serde.Int64).
			GroupBy(func(item string, n int64) (string, int64) { return item[:1], n }).
			Aggregate(
				func() stats { return stats{} },
				func(_ string, n int64, s stats) stats { return stats{s.Orders + 1, s.Cents + n} },
				func(_ string, n int64, s stats) stats { return stats{s.Orders - 1, s.Cents - n} },
				streams.WithValue(serde.JSON[stats]())).
			ToStream().
			To("by-letter")
	})
	stock := d.Input("stock", serde.String, serde.Int64)
	stock.Send("pear", 2)
	stock.Delete("pear", at(1))
	show(d, "by-letter", serde.String, serde.JSON[stats]())
	// Output:
	// p={1 2}@0
	// p={0 0}@1000
}

func ExampleStream_JoinTable() {
	d := run(func(b *streams.Builder) {
		customers := b.Table("customers", serde.String, serde.String)
		b.Stream("orders", serde.String, serde.Int64).
			JoinTable(customers, func(cents int64, name string) string { return fmt.Sprintf("%s pays %d", name, cents) }).
			To("invoices")
	})
	d.Input("customers", serde.String, serde.String).Send("1", "ann")
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("1", 500)
	orders.Send("2", 700) // nobody
	show(d, "invoices", serde.String, serde.String)
	// Output: 1=ann pays 500@0
}

func ExampleStream_LeftJoinTable() {
	d := run(func(b *streams.Builder) {
		customers := b.Table("customers", serde.String, serde.String)
		b.Stream("orders", serde.String, serde.Int64).
			LeftJoinTable(customers, func(cents int64, name streams.Opt[string]) string {
				return fmt.Sprintf("%s pays %d", name.Or("somebody"), cents)
			}).
			To("invoices")
	})
	d.Input("orders", serde.String, serde.Int64).Send("2", 700)
	show(d, "invoices", serde.String, serde.String)
	// Output: 2=somebody pays 700@0
}

func ExampleTable_ShowNulls() {
	d := run(func(b *streams.Builder) {
		b.Table("customers", serde.String, serde.String).
			ShowNulls().
			ToStream().
			MapValues(func(name streams.Opt[string]) string { return name.Or("deleted") }).
			To("changes")
	})
	d.Input("customers", serde.String, serde.String).Delete("1", at(0))
	show(d, "changes", serde.String, serde.String)
	// Output: 1=deleted@0
}

// An order is charged at the price of its time, also when the price has changed before the order comes.
func ExampleVersioned() {
	d := run(func(b *streams.Builder) {
		prices := b.Table("prices", serde.String, serde.Int64, streams.As("price-history"), streams.Versioned(time.Hour))
		b.Stream("orders", serde.String, serde.Int64).
			JoinTable(prices, func(n, price int64) int64 { return n * price }).
			To("charges")
	})
	prices := d.Input("prices", serde.String, serde.Int64)
	prices.SendAt("tea", 3, at(0))
	prices.SendAt("tea", 5, at(60))
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.SendAt("tea", 2, at(50))
	orders.SendAt("tea", 2, at(60))
	show(d, "charges", serde.String, serde.Int64)
	// Output:
	// tea=6@50000
	// tea=10@60000
}
