package pod_test

import (
	"context"
	"os"

	"github.com/millrace/millrace/pod"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// The main function of a program that runs in a container: pod.Main(b.Build()) in one line.
func ExampleMain() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.String).Filter(func(_, v string) bool { return v != "" }).To("checked")
	pod.Main(b.Build())
}

// What an operator asks an image before it starts it.
func ExampleRun() {
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.String).To("checked")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	if err := pod.Run(context.Background(), topo, []string{"MILLRACE_DESCRIBE_TOPOLOGY=json"}, os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// {
	//   "subtopologies": [
	//     {
	//       "id": 0,
	//       "sources": [
	//         "orders"
	//       ],
	//       "sinks": [
	//         "checked"
	//       ],
	//       "nodes": [
	//         {
	//           "name": "KSTREAM-SOURCE-0000000000",
	//           "kind": "source",
	//           "topics": [
	//             "orders"
	//           ],
	//           "next": [
	//             "KSTREAM-SINK-0000000001"
	//           ]
	//         },
	//         {
	//           "name": "KSTREAM-SINK-0000000001",
	//           "kind": "sink",
	//           "topics": [
	//             "checked"
	//           ]
	//         }
	//       ]
	//     }
	//   ]
	// }
}

// Options is for a program that runs its application itself.
func ExampleOptions() {
	opts, err := pod.Options(os.Environ())
	if err != nil {
		panic(err)
	}
	b := streams.NewBuilder()
	b.Stream("orders", serde.String, serde.String).To("checked")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	app, err := streams.NewApp("orders", topo, opts...)
	if err != nil {
		panic(err)
	}
	_ = app.Run
}
