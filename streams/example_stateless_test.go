package streams_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

func parse(key, v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the value of %s, %q, is no number", key, v)
	}
	return n, nil
}

// raw is a record of a topic.
func raw(topic, key, value string) topology.Record {
	return topology.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
}

func ExampleStream_Filter() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).
			Filter(func(_ string, cents int64) bool { return cents >= 1000 }).
			To("large")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("ann", 500)
	orders.Send("bob", 1500)
	show(d, "large", serde.String, serde.Int64)
	// Output: bob=1500@0
}

func ExampleStream_FilterNot() {
	d := run(func(b *streams.Builder) {
		b.Stream("clicks", serde.String, serde.String).
			FilterNot(func(user, _ string) bool { return strings.HasPrefix(user, "bot-") }).
			To("people")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.Send("bot-7", "/")
	clicks.Send("ann", "/cart")
	show(d, "people", serde.String, serde.String)
	// Output: ann=/cart@0
}

func ExampleStream_TryFilter() {
	d := run(func(b *streams.Builder) {
		b.Stream("numbers", serde.String, serde.String).
			TryFilter(func(_ context.Context, k, v string) (bool, error) {
				n, err := parse(k, v)
				return n > 5, err
			}).
			To("large")
	})
	d.Input("numbers", serde.String, serde.String).Send("k", "7")
	show(d, "large", serde.String, serde.String)
	// Output: k=7@0
}

func ExampleStream_Map() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String).
			Map(func(order, customer string) (string, int64) { return customer, int64(len(order)) }).
			To("by-customer")
	})
	d.Input("orders", serde.String, serde.String).Send("o-17", "ann")
	show(d, "by-customer", serde.String, serde.Int64)
	// Output: ann=4@0
}

func ExampleStream_MapValues() {
	d := run(func(b *streams.Builder) {
		b.Stream("names", serde.String, serde.String).MapValues(strings.ToUpper).To("shouted")
	})
	names := d.Input("names", serde.String, serde.String)
	names.Send("1", "ann")
	names.Delete("2", at(1)) // a null stays null
	show(d, "shouted", serde.String, serde.String)
	// Output:
	// 1=ANN@0
	// 2=null@1000
}

func ExampleStream_SelectKey() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String).
			SelectKey(func(_, customer string) string { return customer }).
			To("by-customer")
	})
	d.Input("orders", serde.String, serde.String).Send("o-17", "ann")
	show(d, "by-customer", serde.String, serde.String)
	// Output: ann=ann@0
}

func ExampleStream_FlatMap() {
	d := run(func(b *streams.Builder) {
		b.Stream("baskets", serde.String, serde.JSON[map[string]int64]()).
			FlatMap(func(_ string, basket map[string]int64) iter.Seq2[string, int64] {
				return func(yield func(string, int64) bool) {
					for _, item := range slices.Sorted(maps.Keys(basket)) {
						if !yield(item, basket[item]) {
							return
						}
					}
				}
			}).
			To("items")
	})
	d.Input("baskets", serde.String, serde.JSON[map[string]int64]()).Send("ann", map[string]int64{"pear": 2, "apple": 1})
	show(d, "items", serde.String, serde.Int64)
	// Output:
	// apple=1@0
	// pear=2@0
}

func ExampleStream_FlatMapValues() {
	d := run(func(b *streams.Builder) {
		b.Stream("lines", serde.String, serde.String).FlatMapValues(strings.FieldsSeq).To("words")
	})
	d.Input("lines", serde.String, serde.String).Send("1", "to be or")
	show(d, "words", serde.String, serde.String)
	// Output:
	// 1=to@0
	// 1=be@0
	// 1=or@0
}

func ExampleStream_Peek() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).
			Peek(func(customer string, cents int64) { fmt.Println("saw", customer, cents) }).
			To("out")
	})
	d.Input("orders", serde.String, serde.Int64).Send("ann", 500)
	// Output: saw ann 500
}

// What Try functions get as their context ends when the task is closed, so that a call to elsewhere does too.
func ExampleStream_TryForEach() {
	d := run(func(b *streams.Builder) {
		b.Stream("alarms", serde.String, serde.String).
			TryForEach(func(ctx context.Context, place, what string) error {
				fmt.Println(what, "at", place)
				return ctx.Err() // of an HTTP request, say
			})
	})
	d.Input("alarms", serde.String, serde.String).Send("roof", "smoke")
	// Output: smoke at roof
}

func ExampleStream_ForEach() {
	d := run(func(b *streams.Builder) {
		b.Stream("alarms", serde.String, serde.String).ForEach(func(place, what string) { fmt.Println(what, "at", place) })
	})
	d.Input("alarms", serde.String, serde.String).Send("roof", "smoke")
	// Output: smoke at roof
}

func ExampleStream_Split() {
	d := run(func(b *streams.Builder) {
		orders := b.Stream("orders", serde.String, serde.Int64).Split()
		orders.Branch(func(_ string, cents int64) bool { return cents >= 1000 }).To("large")
		orders.Branch(func(_ string, cents int64) bool { return cents <= 0 }).To("wrong")
		orders.Default().To("small")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.Send("ann", 500)
	orders.Send("bob", 1500)
	orders.Send("cid", -1)
	for _, topic := range []string{"large", "wrong", "small"} {
		fmt.Print(topic, ": ")
		show(d, topic, serde.String, serde.Int64)
	}
	// Output:
	// large: bob=1500@0
	// wrong: cid=-1@0
	// small: ann=500@0
}

// A branch is named by the split and itself, or by its number.
func ExampleSplitter_Branch() {
	b := streams.NewBuilder()
	clicks := b.Stream("clicks", serde.String, serde.String).Split(streams.As("by-page-"))
	clicks.Branch(func(_, page string) bool { return page == "/cart" }, streams.As("cart")).To("cart")
	clicks.Branch(func(_, page string) bool { return page == "/help" }).To("help")
	t, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range t.Nodes() {
		if n.Kind == topology.ProcessorNode {
			fmt.Println(n.Name)
		}
	}
	// Output:
	// by-page-
	// by-page-cart
	// by-page-2
}

func ExampleSplitter_Default() {
	d := run(func(b *streams.Builder) {
		clicks := b.Stream("clicks", serde.String, serde.String).Split()
		clicks.Branch(func(user, _ string) bool { return strings.HasPrefix(user, "bot-") }) // to nowhere
		clicks.Default().To("people")
	})
	clicks := d.Input("clicks", serde.String, serde.String)
	clicks.Send("bot-7", "/")
	clicks.Send("ann", "/cart")
	show(d, "people", serde.String, serde.String)
	// Output: ann=/cart@0
}

func ExampleStream_Merge() {
	d := run(func(b *streams.Builder) {
		web, shop := b.Stream("web", serde.String, serde.Int64), b.Stream("shop", serde.String, serde.Int64)
		web.Merge(shop).To("orders")
	})
	d.Input("shop", serde.String, serde.Int64).Send("ann", 1)
	d.Input("web", serde.String, serde.Int64).Send("bob", 2)
	show(d, "orders", serde.String, serde.Int64)
	// Output:
	// ann=1@0
	// bob=2@0
}

func ExampleStream_Repartition() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String).
			SelectKey(func(_, customer string) string { return customer }).
			Repartition(streams.As("by-customer"), streams.Partitions(12)).
			To("out")
	})
	d.Input("orders", serde.String, serde.String).Send("o-17", "ann")
	fmt.Println(d.Topics())
	// Output: [app-by-customer-repartition out]
}

func ExampleStream_To() {
	d := run(func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).
			MapValues(func(v string) []string { return strings.Split(v, ",") }).
			To("out", streams.WithValue(serde.JSON[[]string]()))
	})
	d.Input("in", serde.String, serde.String).Send("k", "a,b")
	show(d, "out", serde.String, serde.String)
	// Output: k=["a","b"]@0
}

// ShowNulls lets functions see deletions.
func ExampleStream_ShowNulls() {
	d := run(func(b *streams.Builder) {
		b.Stream("customers", serde.String, serde.String).
			ShowNulls().
			ForEach(func(id string, name streams.Opt[string]) { fmt.Println(id, name.Or("is gone")) })
	})
	customers := d.Input("customers", serde.String, serde.String)
	customers.Send("1", "ann")
	customers.Delete("1", at(1))
	// Output:
	// 1 ann
	// 1 is gone
}
