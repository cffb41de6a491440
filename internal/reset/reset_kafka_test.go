//go:build kafka

package reset

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// On Apache Kafka an application that was reset counts its input again from nothing.
func TestResetOnKafka(t *testing.T) {
	cluster := kafkatest.Shared(t)
	in, out, id := cluster.Topic(t, "reset-in", 2), cluster.Topic(t, "reset-out", 1), kafkatest.Unique("reset-app")
	b := streams.NewBuilder()
	b.Stream(in, serde.String, serde.String).GroupBy(func(_, v string) string { return v }).Count(streams.As("counts")).ToStream().To(out)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap()), kgo.ConsumeTopics(out))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 10 { // to one partition, as they have the same key
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: in, Key: []byte("k"), Value: []byte("word")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// countTen runs the application until it has counted to ten, which it does only if it begins with nothing.
	countTen := func() {
		t.Helper()
		app, err := streams.NewApp(id, topo, streams.Brokers(cluster.Bootstrap()), streams.StateDir(dir), streams.CommitInterval(50*time.Millisecond),
			streams.Logger(slog.New(slog.NewTextHandler(t.Output(), nil))))
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(ctx)
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- app.Run(running) }()
		for last := int64(0); last != 10; {
			f := client.PollFetches(ctx)
			if err := f.Err(); err != nil {
				t.Fatalf("it counted to %d: %v", last, err)
			}
			f.EachRecord(func(r *kgo.Record) {
				if last, err = serde.Int64.Decode(r.Value); err != nil || last > 10 {
					t.Fatalf("it counted to %d, %v", last, err)
				}
			})
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	countTen()
	p, err := NewPlan(ctx, client, Options{Application: id, Inputs: []string{in}, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Topics) != 2 || len(p.Moves) != 2 || p.Dir == "" || max(p.Moves[0].From, p.Moves[1].From) != 10 {
		t.Errorf("the plan is %+v", p)
	}
	if err := p.Execute(ctx, t.Logf); err != nil {
		t.Fatal(err)
	}
	countTen()
}
