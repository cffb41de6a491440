package streams_test

import (
	"fmt"
	"runtime"
	"slices"
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
	build func(b *streams.Builder, in *streams.Stream[string, int64])
}{
	{"count", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().Count().ToStream().To("out")
	}},
	{"reduce", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().Reduce(sum).ToStream().To("out")
	}},
	{"tumbling", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(200 * time.Millisecond)).Count().ToStream().To("out")
	}},
	{"tumbling, on close", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(200 * time.Millisecond)).EmitOnClose().Count().ToStream().To("out")
	}},
	{"sliding", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().Sliding(streams.Apart(time.Second)).Reduce(sum).ToStream().To("out")
	}},
	{"sessions", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().Sessions(streams.Gap(time.Second)).Count().ToStream().To("out")
	}},
	{"sessions, on close", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().Sessions(streams.Gap(50 * time.Millisecond)).EmitOnClose().Count().ToStream().To("out")
	}},
	{"suppress", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.ToTable().Suppress(streams.UntilTimeLimit(50 * time.Millisecond)).ToStream().To("out")
	}},
	{"final", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.GroupByKey().WindowedBy(streams.Tumbling(200 * time.Millisecond)).Count().Final().ToStream().To("out")
	}},
	{"cogroup", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		add := func(_ string, v, total int64) int64 { return total + v }
		in.GroupByKey().Cogroup(add).And(in.Filter(func(_ string, v int64) bool { return v%2 == 0 }).GroupByKey(), add).
			Aggregate(func() int64 { return 0 }, streams.WithValue(serde.Int64)).ToStream().To("out")
	}},
	{"table", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.ToTable(streams.As("kept")).ToStream().To("out")
	}},
	{"table filter", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.ToTable(streams.As("kept")).Filter(func(_ string, v int64) bool { return v%3 > 0 }, streams.As("kept-too")).ToStream().To("out")
	}},
	{"stream-stream join", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		odd := in.Filter(func(_ string, v int64) bool { return v%2 > 0 })
		in.Join(odd, streams.Within(50*time.Millisecond), sum).To("out")
	}},
	{"stream-stream outer join", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		odd := in.Filter(func(_ string, v int64) bool { return v%2 > 0 })
		in.OuterJoin(odd, streams.Within(50*time.Millisecond), func(a, b streams.Opt[int64]) int64 { return a.Or(0) + b.Or(0) }).To("out")
	}},
	{"table-table join", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.ToTable().Join(in.MapValues(func(v int64) int64 { return 2 * v }).ToTable(), sum).ToStream().To("out")
	}},
	{"stream-table join", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.JoinTable(in.ToTable(streams.As("kept")), sum).To("out")
	}},
	{"stream-table join, versioned", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		in.JoinTable(in.ToTable(streams.As("kept"), streams.Versioned(time.Minute)), sum).To("out")
	}},
	{"stream-table join, with grace", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		table := in.ToTable(streams.As("kept"), streams.Versioned(time.Minute))
		in.JoinTable(table, sum, streams.Grace(50*time.Millisecond)).To("out")
	}},
	{"global join", func(b *streams.Builder, in *streams.Stream[string, int64]) {
		rows := b.GlobalTable("rows", serde.String, serde.Int64, streams.As("rows"))
		in.JoinGlobal(rows, func(k string, _ int64) string { return k }, sum).To("out")
	}},
	{"foreign-key join", func(_ *streams.Builder, in *streams.Stream[string, int64]) {
		left, right := in.ToTable(streams.As("left")), in.MapValues(func(v int64) int64 { return 2 * v }).ToTable(streams.As("right"))
		left.JoinOn(right, func(k string, _ int64) string { return k }, sum).ToStream().To("out")
	}},
}

func sum(a, b int64) int64 { return a + b }

// BenchmarkOperators processes records of 10,000 keys, 100 a millisecond, with the stores on disk, and commits every
// 10,000 records. An operation is a record that the task processes, those that it sends to its own topics too: a join by a
// foreign key has its subscriptions and responses there.
func BenchmarkOperators(b *testing.B) {
	for _, o := range operators {
		for _, cached := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cached=%v", o.name, cached), func(b *testing.B) {
				r := newOperatorRun(b, o.build, cached)
				b.ReportAllocs()
				for r.processed < b.N {
					b.StopTimer()
					records := r.next()
					b.StartTimer()
					r.process(records)
				}
				r.commit()
				b.StopTimer()
				if r.out == 0 && r.in > 100_000 {
					b.Fatal("nothing came out")
				}
			})
		}
	}
}

// TestOperatorsAllocate holds what an operator allocates to three times a record that the task processes, with stores on
// disk, once each key has been seen; what the process does in the background is in it. One is the record's key, and one the
// key of what is sent on when its time comes. A tumbling window has two records of a key, a session that is sent on when it
// closes has one, and of sliding windows a record changes some ten.
func TestOperatorsAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for _, o := range operators {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cached=%v", o.name, cached), func(t *testing.T) {
				r := newOperatorRun(t, o.build, cached)
				const warm, measured = 2 * benchmarkKeys, 2 * benchmarkKeys
				for r.in < warm {
					r.process(r.next())
				}
				allocated, processed, out := uint64(0), r.processed, r.out
				for r.in < warm+measured {
					records := r.next()
					before := allocations()
					r.process(records)
					allocated += allocations() - before
				}
				if out = r.out - out; out < measured/3 {
					t.Errorf("%d records came out", out)
				}
				each := float64(allocated) / float64(r.processed-processed)
				if each > 3 {
					t.Errorf("want 3 allocations a record at most")
				}
				t.Logf("%.2f allocations a record", each)
			})
		}
	}
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

const benchmarkKeys, benchmarkBatch = 10_000, 1000

// An operatorRun is a task that processes records, and gets back what it sends to its own topics.
type operatorRun struct {
	tb     testing.TB
	task   *task.Task
	wall   time.Time
	inputs []string
	back   map[string][]topology.Record // to be processed, by topic

	in, processed, out int // records
}

func (r *operatorRun) Send(record *topology.Record) error {
	if record.Topic == "out" {
		r.out++
	} else if slices.Contains(r.inputs, record.Topic) {
		r.back[record.Topic] = append(r.back[record.Topic], *record)
	}
	return nil
}

func newOperatorRun(tb testing.TB, build func(*streams.Builder, *streams.Stream[string, int64]), cached bool) *operatorRun {
	builder := streams.NewBuilder()
	build(builder, builder.Stream("in", serde.String, serde.Int64))
	program, err := builder.Build()
	if err != nil {
		tb.Fatal(err)
	}
	limits := store.Limits{RecordCache: 10 << 20}
	if !cached {
		limits.RecordCache = -1
	}
	resources := store.NewResources(limits)
	tb.Cleanup(func() { resources.Close() })
	r := &operatorRun{tb: tb, wall: time.UnixMilli(0), back: map[string][]topology.Record{}}
	cfg := task.Config{
		Application: "app", Topology: program, Dir: tb.TempDir(), Resources: resources, Output: r, MaxIdle: -1,
		Partitions: func(string) (int32, error) { return 1, nil },
	}
	for _, part := range program.Globals() {
		r.fillGlobal(&cfg, part)
	}
	if r.task, err = task.Open(cfg); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.must(r.task.Close(true)) })
	r.must(r.task.Start(nil, r.wall))
	r.inputs = r.task.Inputs()
	return r
}

// fillGlobal keeps a global store with a row for each key.
func (r *operatorRun) fillGlobal(cfg *task.Config, part *topology.Subtopology) {
	own := *cfg
	own.Dir = r.tb.TempDir()
	g, err := task.OpenGlobal(own, part)
	r.must(err)
	r.tb.Cleanup(func() { r.must(g.Close(true)) })
	rows := make([]topology.Record, benchmarkKeys)
	for k := range rows {
		rows[k] = benchmarkRecord(part.Global, k, k)
	}
	r.must(g.Apply(0, rows, benchmarkKeys, r.wall))
	r.must(g.State().Publish())
	cfg.Globals = func(string) (*store.Store, error) { return g.State().Reader(), nil }
}

func benchmarkRecord(topic string, k, n int) topology.Record {
	value, _ := serde.Int64.Append(nil, int64(k))
	return topology.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", k), Value: value, Offset: int64(n), Timestamp: int64(n) / 100}
}

// next makes the next records.
func (r *operatorRun) next() []topology.Record {
	records := make([]topology.Record, benchmarkBatch)
	for i := range records {
		records[i] = benchmarkRecord("in", (r.in+i)*7919%benchmarkKeys, r.in+i)
	}
	return records
}

// process processes records, and what comes back of them.
func (r *operatorRun) process(records []topology.Record) {
	r.must(r.task.Add("in", records))
	r.wall = r.wall.Add(100 * time.Millisecond)
	for {
		for did := 1; did > 0; {
			var err error
			did, err = r.task.Process(benchmarkBatch, r.wall)
			r.must(err)
			r.processed += did
		}
		if len(r.back) == 0 {
			break
		}
		for topic, records := range r.back {
			r.must(r.task.Add(topic, records))
		}
		clear(r.back)
	}
	if r.in += len(records); r.in%benchmarkKeys == 0 {
		r.commit()
	}
}

func (r *operatorRun) commit() {
	r.must(r.task.Flush())
	r.must(r.task.Committed(func(string) (int64, bool) { return 1, true }))
}

func (r *operatorRun) must(err error) {
	if err != nil {
		r.tb.Helper()
		r.tb.Fatal(err)
	}
}
