package streams_test

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Each country has a topic.
func ExampleStream_ToTopics() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String).
			ToTopics(func(country, _ string, _ streams.Place) string { return "orders-" + country })
	})
	orders := d.Input("orders", serde.String, serde.String)
	orders.Send("de", "hat")
	orders.Send("fr", "shoes")
	fmt.Println(d.Topics())
	// Output: [orders-de orders-fr]
}

// Large orders have a partition of their own; an order of nothing goes nowhere.
func ExamplePartitioner() {
	bySize := func(_, _ string, size int64, partitions int) []int {
		switch {
		case size == 0:
			return []int{} // dropped
		case size > 1000:
			return []int{partitions - 1}
		}
		return nil // by the key
	}
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.Int64).To("sorted", streams.Partitioner(bySize))
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.SendAt("ann", 2000, at(1))
	orders.SendAt("bob", 0, at(2))
	show(d, "sorted", serde.String, serde.Int64)
	// Output: ann=2000@1000
}

func ExampleStream_Print() {
	d := run(func(b *streams.Builder) {
		b.Stream("orders", serde.String, serde.String, streams.As("orders")).Print(os.Stdout)
	})
	d.Input("orders", serde.String, serde.String).Send("ann", "hat")
	// Output: [orders]: ann, hat
}

// The prices of a topic are kept in a store, without a changelog beside the topic.
func ExampleBuilder_ReadOnlyStore() {
	d := run(func(b *streams.Builder) {
		prices := b.KeyValueStore("prices", serde.String, serde.String)
		b.ReadOnlyStore(prices, "prices", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] {
			return &copying{to: prices}
		})
		b.Stream("questions", serde.String, serde.String).
			ProcessValues(func() streams.Processor[string, string, string, string] { return &lookUp{in: prices} }, streams.Uses(prices)).
			To("answers")
	})
	d.Input("prices", serde.String, serde.String).Send("hat", "20")
	d.Input("questions", serde.String, serde.String).SendAt("ann", "hat", at(1))
	show(d, "answers", serde.String, serde.String)
	fmt.Println(d.Topics())
	// Output:
	// ann=20@1000
	// [answers]
}
