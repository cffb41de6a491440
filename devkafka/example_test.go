package devkafka_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/devkafka"
)

func Example() {
	broker, err := devkafka.Start(devkafka.Topics(1, "greetings"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Brokers()...), kgo.ConsumeTopics("greetings"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	ctx := context.Background()
	client.ProduceSync(ctx, &kgo.Record{Topic: "greetings", Value: []byte("hello, world")})
	client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		fmt.Printf("%s at offset %d\n", r.Value, r.Offset)
	})
	// Output: hello, world at offset 0
}
