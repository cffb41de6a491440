package streams_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/devkafka"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// visits runs an application that counts visits, plainly, by hour and by session, and returns it with the position of the
// last visit.
func visits(ctx context.Context) (app *streams.App, last streams.Position, stop func()) {
	broker, err := devkafka.Start(devkafka.Topics(1, "visits"))
	if err != nil {
		panic(err)
	}
	b := streams.NewBuilder()
	byUser := b.Stream("visits", serde.String, serde.String).GroupByKey()
	byUser.Count(streams.As("visits-by-user"), streams.InMemory())
	byUser.Count(streams.As("history"), streams.Versioned(time.Hour), streams.InMemory())
	byUser.WindowedBy(streams.Tumbling(time.Hour)).Count(streams.As("visits-by-hour"), streams.InMemory())
	byUser.Sessions(streams.Gap(10*time.Minute)).Count(streams.As("sessions"), streams.InMemory())
	t, err := b.Build()
	if err != nil {
		panic(err)
	}
	running := make(chan struct{}, 1)
	app, err = streams.NewApp("visits-app", t, streams.Brokers(broker.Brokers()...), streams.Endpoint("localhost:8080"),
		streams.Logger(slog.New(slog.DiscardHandler)), streams.OnState(func(_, now streams.State) {
			if now == streams.StateRunning {
				running <- struct{}{}
			}
		}))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Brokers()...))
	if err != nil {
		panic(err)
	}
	for i, user := range []string{"ada", "bob", "ada", "eve", "ada"} {
		r := &kgo.Record{Topic: "visits", Key: []byte(user), Value: []byte("/"), Timestamp: time.Unix(1_700_000_000, 0).Add(time.Duration(i) * 9 * time.Minute)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			panic(err)
		}
		last = last.At(r.Topic, r.Partition, r.Offset)
	}
	<-running
	return app, last, func() {
		client.Close()
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
		broker.Close()
	}
}

func ExampleApp_Store() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, last, stop := visits(ctx)
	defer stop()

	counts, err := app.Store("visits-by-user", serde.String, serde.Int64, streams.AtLeast(last)) // what was written is read
	if err != nil {
		panic(err)
	}
	n, ok, err := counts.Get(ctx, "ada")
	fmt.Println("ada:", n, ok, err)
	for row, err := range counts.Range(ctx, "b", "z") {
		fmt.Println(row.Key, row.Value, err)
	}
	home, err := counts.Home("ada")
	fmt.Printf("partition %d is at %s %v\n", home.Partition, home.Active, err)
	// Output:
	// ada: 3 true <nil>
	// bob 1 <nil>
	// eve 1 <nil>
	// partition 0 is at localhost:8080 <nil>
}

func ExampleApp_WindowStore() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, last, stop := visits(ctx)
	defer stop()

	hours, err := app.WindowStore("visits-by-hour", serde.String, serde.Int64, streams.AtLeast(last))
	if err != nil {
		panic(err)
	}
	for row, err := range hours.Of(ctx, "ada", time.Unix(0, 0), time.Unix(2_000_000_000, 0)) {
		fmt.Println(time.UnixMilli(row.Key.Window.Start).UTC().Format(time.TimeOnly), row.Value, err)
	}
	// Output:
	// 22:00:00 3 <nil>
}

func ExampleApp_SessionStore() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, last, stop := visits(ctx)
	defer stop()

	sessions, err := app.SessionStore("sessions", serde.String, serde.Int64, streams.AtLeast(last))
	if err != nil {
		panic(err)
	}
	for row, err := range sessions.Find(ctx, "ada", time.Unix(0, 0), time.Unix(2_000_000_000, 0)) {
		fmt.Println(time.UnixMilli(row.Key.Window.Start).UTC().Format(time.TimeOnly), row.Value, err)
	}
	// Output:
	// 22:13:20 1 <nil>
	// 22:31:20 1 <nil>
	// 22:49:20 1 <nil>
}

func ExampleApp_VersionedStore() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, last, stop := visits(ctx)
	defer stop()

	history, err := app.VersionedStore("history", serde.String, serde.Int64, streams.AtLeast(last))
	if err != nil {
		panic(err)
	}
	began := time.Unix(1_700_000_000, 0)
	n, from, ok, err := history.Get(ctx, "ada")
	fmt.Println(n, from.Sub(began), ok, err)
	n, from, ok, err = history.GetAt(ctx, "ada", began.Add(20*time.Minute))
	fmt.Println(n, from.Sub(began), ok, err)
	for v, err := range history.Versions(ctx, "ada", began, began.Add(time.Hour)) {
		fmt.Println("from", v.From.Sub(began), v.Value, err)
	}
	for v, err := range history.VersionsBackward(ctx, "ada", began.Add(30*time.Minute), began.Add(time.Hour)) {
		fmt.Println("back", v.From.Sub(began), v.Value, err)
	}
	// Output:
	// 3 36m0s true <nil>
	// 2 18m0s true <nil>
	// from 0s 1 <nil>
	// from 18m0s 2 <nil>
	// from 36m0s 3 <nil>
	// back 36m0s 3 <nil>
	// back 18m0s 2 <nil>
}
