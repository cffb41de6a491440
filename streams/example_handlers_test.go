package streams_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/devkafka"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// A record that is too large to be written becomes a dead letter, and the application goes on.
func ExampleProductionHandler() {
	b := streams.NewBuilder()
	b.Stream("words", serde.String, serde.String).
		MapValues(func(word string) string { return strings.Repeat(word, 300_000) }).
		To("loud")
	topology, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	broker, err := devkafka.Start(devkafka.Listen("127.0.0.1:0"), devkafka.Topics(1, "words", "loud", "dead"))
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Brokers()...), kgo.ConsumeTopics("loud", "dead"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, word := range []string{"a", "long"} {
		client.ProduceSync(ctx, &kgo.Record{Topic: "words", Value: []byte(word)})
	}

	app, err := streams.NewApp("shout", topology, streams.Brokers(broker.Brokers()...), streams.ExactlyOnce(),
		streams.ProductionHandler(streams.Always(streams.DeadLetter)), streams.DeadLetterTopic("dead"))
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	lengths := map[string]int{}
	for len(lengths) < 2 {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { lengths[r.Topic] = len(r.Value) })
	}
	cancel()
	fmt.Println(lengths, <-ended)
	// Output: map[dead:4 loud:300000] <nil>
}
