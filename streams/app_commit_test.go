package streams_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Where records take long, a commit is not late: a turn of the worker ends when it is due, whatever its tasks have to do. And what
// waits in their queues is lag.
func TestSlowRecordsAreCommittedInTime(t *testing.T) {
	const partitions, each = 5, 600
	c := fakeCluster(t, kfake.SeedTopics(partitions, "in", "out"))
	cl := client(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range partitions * each {
		cl.Produce(t.Context(), &kgo.Record{Topic: "in", Partition: int32(i % partitions), Key: []byte("k"), Value: []byte("v")}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(patiently(t)); err != nil {
		t.Fatal(err)
	}
	var processed atomic.Int64
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).Peek(func(string, string) {
		for began := time.Now(); time.Since(began) < 2*time.Millisecond; { // the work of a record
		}
		processed.Add(1)
	}).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo, streams.ExactlyOnce(), streams.Workers(1))
	p.await(streams.StateRunning)
	for ctx := patiently(t); ; {
		before := processed.Load()
		tasks, err := p.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var committed, lag int64
		for _, task := range tasks {
			for _, in := range task.Inputs {
				committed, lag = committed+max(0, in.Committed), max(lag, in.Lag)
			}
		}
		if n := processed.Load(); before > 0 && lag < each-n {
			t.Fatalf("%d records are processed, and the largest lag of %d partitions with %d each is %d", n, partitions, each, lag)
		}
		if committed > 0 {
			break
		}
	}
	if n := processed.Load(); n > 2000 { // of 2 ms each; a worker that is behind commits every 3 s at the latest
		t.Errorf("%d records are processed at the first commit", n)
	}
}
