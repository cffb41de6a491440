// Command orders counts the orders of each customer, in a container: the program of the README's section on Kubernetes.
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
		Count(streams.As("orders-by-customer")).
		ToStream().
		To("orders-by-customer")
	pod.Main(b.Build())
}
