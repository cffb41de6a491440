//go:build kafka

package streams_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// real is a running application on a real cluster.
type real struct {
	*streams.App
	stop  func() error
	ended chan struct{}
}

func startReal(t *testing.T, brokers []string, id, in, out, dir string, opts ...streams.AppOption) *real {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream(in, serde.String, serde.String).
		GroupBy(func(_, v string) string { return v }).
		Count(streams.As("counts")).
		ToStream().
		MapValues(func(n int64) string { return fmt.Sprint(n) }).
		To(out)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]streams.AppOption{
		streams.Brokers(brokers...), streams.StateDir(dir), streams.CommitInterval(100 * time.Millisecond), streams.Linger(5 * time.Millisecond),
		streams.Logger(slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))),
	}, opts...)
	app, err := streams.NewApp(id, topo, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &real{App: app, ended: make(chan struct{})}
	var result error
	go func() {
		defer close(r.ended)
		result = app.Run(ctx)
	}()
	r.stop = func() error {
		cancel()
		select {
		case <-r.ended:
			return result
		case <-time.After(time.Minute):
			return errors.New("it did not stop within a minute")
		}
	}
	t.Cleanup(func() { _ = r.stop() }) // a test that wants to know asks by itself
	return r
}

// wait polls until ok, or the application ends.
func (r *real) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-r.ended:
			t.Fatalf("the application ended while waiting for %s: %v", what, r.stop())
		case <-deadline:
			t.Fatalf("waited 90s for %s", what)
		}
	}
}

// Two instances on a real cluster share the tasks of a program with a repartition and a store on disk. One stops, and
// comes back: each record is counted once, and only what is missing is restored.
func TestAppOnKafka(t *testing.T) {
	c := kafkatest.Shared(t)
	in, out := c.Topic(t, "in", 4), c.Topic(t, "out", 4)
	id := "app-" + in
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	total := 0
	feed := func(n int) {
		t.Helper()
		var records []*kgo.Record
		for i := range n {
			records = append(records, &kgo.Record{Topic: in, Value: fmt.Append(nil, "word", i%50)})
		}
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	latest := make(map[string]int)
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()), kgo.ConsumeTopics(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	counted := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			if err != nil {
				t.Error(err)
			}
			latest[string(r.Key)] = n
		})
		sum := 0
		for _, n := range latest {
			sum += n
		}
		return sum == total
	}

	feed(5000)
	dirA, dirB := t.TempDir(), t.TempDir()
	a := startReal(t, []string{c.Bootstrap()}, id, in, out, dirA)
	a.wait(t, "the first counts", counted)
	b := startReal(t, []string{c.Bootstrap()}, id, in, out, dirB, streams.Workers(2))
	b.wait(t, "both to have tasks", func() bool { return len(b.Tasks()) >= 4 && len(a.Tasks())+len(b.Tasks()) == 8 })
	feed(5000)
	b.wait(t, "counts by both", counted)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b.wait(t, "the second to have all tasks", func() bool { return len(b.Tasks()) == 8 })
	feed(5000)
	b.wait(t, "counts by the second", counted)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}

	b = startReal(t, []string{c.Bootstrap()}, id, in, out, dirB, streams.OnRestore(func(e streams.RestoreEvent) {
		t.Errorf("after an orderly stop %v of %s was restored from %d to %d", e.From, e.Store, e.Start, e.End)
	}))
	feed(1000)
	b.wait(t, "counts after the restart", counted)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, o := range offsets[in] {
		sum += o.At
	}
	if sum != int64(total) {
		t.Errorf("%d of %d input records are committed", sum, total)
	}
}
