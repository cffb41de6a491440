//go:build kafka

package streams_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// TestKafkaGlobalTable: under exactly-once a global table has what is committed. A transaction that is open does not hold
// a start up, what was aborted is never seen, and a restart reads what is new.
func TestKafkaGlobalTable(t *testing.T) {
	c := kafkatest.Shared(t)
	in, out, rows := c.Topic(t, "in", 2), c.Topic(t, "out", 2), c.Topic(t, "rows", 3)
	id, dir := kafkatest.Unique("global"), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	b := streams.NewBuilder()
	table := b.GlobalTable(rows, serde.String, serde.String, streams.As("rows"))
	b.Stream(in, serde.String, serde.String).
		JoinGlobal(table, func(_, v string) string { return v }, func(v, row string) string { return v + "=" + row }).To(out)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()), kgo.ConsumeTopics(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	writer, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()), kgo.TransactionalID(id+"-writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func(value string) {
		t.Helper()
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for _, k := range words(100, 100) {
			records = append(records, &kgo.Record{Topic: rows, Key: []byte(k), Value: []byte(value)})
		}
		if err := writer.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	end := func(how kgo.TransactionEndTry) {
		t.Helper()
		if err := writer.EndTransaction(ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	answers := func() (got []string) { // to 20 questions
		t.Helper()
		var records []*kgo.Record
		for _, k := range words(20, 20) {
			records = append(records, &kgo.Record{Topic: in, Key: []byte(k), Value: []byte(k)})
		}
		if err := plain.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for len(got) < 20 {
			f := plain.PollFetches(ctx)
			if err := f.Err(); err != nil {
				t.Fatalf("%v; there are %d answers", err, len(got))
			}
			f.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		return got
	}
	until := func(want string) {
		t.Helper()
		for {
			got := answers()
			if n := strings.Count(strings.Join(got, " ")+" ", want+" "); n == len(got) {
				return
			}
			if strings.Contains(fmt.Sprint(got), "aborted") {
				t.Fatalf("what was aborted is joined: %v", got)
			}
		}
	}
	run := func() (restored func() int64, stop func()) {
		t.Helper()
		var mu sync.Mutex
		n := int64(0)
		running := make(chan struct{}, 10)
		app, err := streams.NewApp(id, topo, streams.Brokers(c.Bootstrap()), streams.StateDir(dir), streams.ExactlyOnce(),
			streams.Logger(slog.New(slog.NewTextHandler(t.Output(), nil))),
			streams.OnRestore(func(e streams.RestoreEvent) {
				mu.Lock()
				defer mu.Unlock()
				if e.Phase == streams.RestoreEnd {
					n += e.Records
				}
			}),
			streams.OnState(func(_, now streams.State) {
				if now == streams.StateRunning {
					running <- struct{}{}
				}
			}))
		if err != nil {
			t.Fatal(err)
		}
		runCtx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- app.Run(runCtx) }()
		select {
		case <-running:
		case err := <-ended:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal("it does not run")
		}
		restored = func() int64 {
			mu.Lock()
			defer mu.Unlock()
			return n
		}
		return restored, func() {
			t.Helper()
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	}
	write("first")
	end(kgo.TryCommit)
	write("aborted")
	end(kgo.TryAbort)
	restored, stop := run()
	until("=first")
	if n := restored(); n != 100 {
		t.Errorf("%d records were restored, want 100", n)
	}
	stop()
	write("second") // and the transaction stays open
	restored, stop = run()
	until("=first")
	if n := restored(); n != 0 {
		t.Errorf("%d records were restored of an open transaction", n)
	}
	end(kgo.TryCommit)
	until("=second")
	stop()
	write("third")
	end(kgo.TryCommit)
	restored, stop = run()
	until("=third")
	if n := restored(); n != 100 {
		t.Errorf("%d records were restored, want 100", n)
	}
	stop()
}
