// Command orders counts the orders of each customer, in a container: it takes all it is told from the environment. The topic orders has a
// customer as key; the counts go to orders-by-customer.
package main

import (
	"github.com/millrace/millrace/pod"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

func main() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.String).
		GroupByKey().
		Count(streams.As("counts")).
		ToStream().
		To("orders-by-customer")
	pod.Main(b.Build())
}
