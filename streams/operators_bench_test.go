package streams_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// operators are the stateful operators, each behind the source in and before the sink out.
var operators = []struct {
	name  string
	build func(in *streams.Stream[string, int64])
}{
	{"count", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().Count().ToStream().To("out")
	}},
	{"reduce", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().Reduce(sum).ToStream().To("out")
	}},
	{"tumbling", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(time.Second)).Count().ToStream().To("out")
	}},
	{"tumbling, on close", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(time.Second)).EmitOnClose().Count().ToStream().To("out")
	}},
	{"sliding", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().Sliding(streams.Apart(time.Second)).Reduce(sum).ToStream().To("out")
	}},
	{"sessions", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().Sessions(streams.Gap(time.Second)).Count().ToStream().To("out")
	}},
	{"sessions, on close", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().Sessions(streams.Gap(time.Second)).EmitOnClose().Count().ToStream().To("out")
	}},
	{"suppress", func(in *streams.Stream[string, int64]) {
		in.ToTable().Suppress(streams.UntilTimeLimit(time.Second)).ToStream().To("out")
	}},
	{"final", func(in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(time.Second)).Count().Final().ToStream().To("out")
	}},
	{"cogroup", func(in *streams.Stream[string, int64]) {
		add := func(_ string, v, total int64) int64 { return total + v }
		in.GroupByKey().Cogroup(add).And(in.Filter(func(_ string, v int64) bool { return v%2 == 0 }).GroupByKey(), add).
			Aggregate(func() int64 { return 0 }, streams.WithValue(serde.Int64)).ToStream().To("out")
	}},
	{"table", func(in *streams.Stream[string, int64]) {
		in.ToTable(streams.As("kept")).ToStream().To("out")
	}},
	{"table filter", func(in *streams.Stream[string, int64]) {
		in.ToTable(streams.As("kept")).Filter(func(_ string, v int64) bool { return v%3 > 0 }, streams.As("kept-too")).ToStream().To("out")
	}},
	{"stream-stream join", func(in *streams.Stream[string, int64]) {
		odd := in.Filter(func(_ string, v int64) bool { return v%2 > 0 })
		in.Join(odd, streams.Within(50*time.Millisecond), sum).To("out")
	}},
	{"stream-stream outer join", func(in *streams.Stream[string, int64]) {
		odd := in.Filter(func(_ string, v int64) bool { return v%2 > 0 })
		in.OuterJoin(odd, streams.Within(50*time.Millisecond), func(a, b streams.Opt[int64]) int64 { return a.Or(0) + b.Or(0) }).To("out")
	}},
	{"table-table join", func(in *streams.Stream[string, int64]) {
		in.ToTable().Join(in.MapValues(func(v int64) int64 { return 2 * v }).ToTable(), sum).ToStream().To("out")
	}},
	{"stream-table join", func(in *streams.Stream[string, int64]) {
		in.JoinTable(in.ToTable(streams.As("kept")), sum).To("out")
	}},
}

func sum(a, b int64) int64 { return a + b }

// BenchmarkOperators processes records of 10,000 keys, 100 a millisecond, with the stores on disk, and commits every
// 10,000 records.
func BenchmarkOperators(b *testing.B) {
	for _, o := range operators {
		for _, cached := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cached=%v", o.name, cached), func(b *testing.B) { benchmarkOperator(b, o.build, cached) })
		}
	}
}

// outputs counts what comes out.
type outputs struct{ n int }

func (o *outputs) Send(*topology.Record) error { o.n++; return nil }

func benchmarkOperator(b *testing.B, build func(*streams.Stream[string, int64]), cached bool) {
	builder := streams.NewBuilder()
	build(builder.Stream("in", serde.String, serde.Int64))
	program, err := builder.Build()
	if err != nil {
		b.Fatal(err)
	}
	limits := store.Limits{RecordCache: 10 << 20}
	if !cached {
		limits.RecordCache = -1
	}
	resources := store.NewResources(limits)
	defer resources.Close()
	out := &outputs{}
	t, err := task.Open(task.Config{
		Application: "app", Topology: program, Dir: b.TempDir(), Resources: resources, Output: out,
		Partitions: func(string) (int32, error) { return 1, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := t.Start(nil, time.UnixMilli(0)); err != nil {
		b.Fatal(err)
	}
	const keys, batch = 10_000, 1000
	records := make([]topology.Record, batch)
	n := 0
	wall := time.UnixMilli(0)
	b.ReportAllocs()
	for n < b.N {
		b.StopTimer()
		for i := range records {
			k := (n + i) * 7919 % keys
			value, _ := serde.Int64.Append(nil, int64(k))
			records[i] = topology.Record{Topic: "in", Key: fmt.Appendf(nil, "key-%d", k), Value: value, Offset: int64(n + i), Timestamp: int64(n+i) / 100}
		}
		b.StartTimer()
		if err := t.Add("in", records); err != nil {
			b.Fatal(err)
		}
		wall = wall.Add(100 * time.Millisecond)
		for left := batch; left > 0; {
			did, err := t.Process(left, wall)
			if err != nil {
				b.Fatal(err)
			}
			left -= did
		}
		if n += batch; n%(10*batch) == 0 {
			commit(b, t)
		}
	}
	commit(b, t)
	b.StopTimer()
	if err := t.Close(true); err != nil {
		b.Fatal(err)
	}
	if out.n == 0 && n > 100_000 {
		b.Fatal("nothing came out")
	}
}

func commit(b *testing.B, t *task.Task) {
	if err := t.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := t.Committed(func(string) (int64, bool) { return 1, true }); err != nil {
		b.Fatal(err)
	}
}
