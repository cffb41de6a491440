package streams

import (
	"context"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
)

// This file calls the DSL in rings. A method chain whose result type grows - Stream[K, V] to Stream[Windowed[K], V] - and leads
// back to where it began does not compile in Go, in whatever method the growth hides. So every verb is called here, each on what
// another one made, so that their types lead from strings through lists, windows of windows and options back to strings: a cycle
// is found on the day it is introduced.

// TestWideRing leads through the verbs whose types grow.
func TestWideRing(t *testing.T) {
	b := NewBuilder()
	s := b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.String)
	b.KeyValueStore("s", serde.String, serde.Int64)
	global := b.GlobalTable("g", serde.Int64, serde.String)
	processed := s.Process(func() Processor[string, string, int64, []string] { return nil }).
		ProcessValues(func() Processor[int64, []string, int64, string] { return nil }).
		SelectKey(func(_ int64, v string) string { return v })
	joined := s.Join(processed, Within(time.Minute), func(a, b string) int64 { return int64(len(a + b)) })
	left := joined.LeftJoin(s, Within(time.Minute), func(n int64, o Opt[string]) string { return o.Or("") })
	outer := left.OuterJoin(joined, Within(time.Minute), func(a Opt[string], b Opt[int64]) string { return a.Or("") })
	looked := outer.JoinGlobal(global, func(_, v string) int64 { return int64(len(v)) }, func(v, g string) string { return v + g }).
		LeftJoinGlobal(global, func(_, v string) int64 { return int64(len(v)) }, func(v string, g Opt[string]) string { return v + g.Or("") })
	lists := looked.GroupByKey().Collect() // *Table[string, []string]
	nested := lists.ToStream().GroupByKey().Sliding(Apart(time.Minute)).Collect().
		ToStream().GroupByKey().Unlimited(time.UnixMilli(0)).Count().
		ToStream().GroupByKey().Sessions(Gap(time.Minute)).EmitOnClose().Count() // windows of windows of windows
	plain := nested.ToStream().SelectKey(func(w Windowed[Windowed[Windowed[string]]], _ int64) string { return w.Key.Key.Key })
	reduced := plain.GroupByKey().Sessions(Gap(time.Minute)).Reduce(func(a, b int64) int64 { return a + b }).
		ToStream().SelectKey(func(w Windowed[string], _ int64) string { return w.Key })
	sessions := reduced.GroupByKey().Sessions(Gap(time.Minute)).Aggregate(func() []int64 { return nil },
		func(_ string, v int64, a []int64) []int64 { return append(a, v) }, func(_ string, a, b []int64) []int64 { return append(a, b...) })
	both := s.GroupByKey().Cogroup(func(_, v string, a []string) []string { return append(a, v) }).
		And(reduced.GroupByKey(), func(_ string, _ int64, a []string) []string { return a })
	grouped := both.Aggregate(func() []string { return nil })
	both.WindowedBy(Tumbling(time.Minute)).Aggregate(func() []string { return nil }).Suppress(UntilWindowCloses()).Final()
	both.Sliding(Apart(time.Minute)).Aggregate(func() []string { return nil })
	both.Sessions(Gap(time.Minute)).Aggregate(func() []string { return nil }, func(_ string, a, b []string) []string { return append(a, b...) })
	table := grouped.Join(lists, func(a, b []string) string { return strings.Join(append(a, b...), "") }).
		LeftJoin(lists, func(a string, b Opt[[]string]) string { return a }).
		OuterJoin(grouped, func(a Opt[string], b Opt[[]string]) string { return a.Or("") }).
		TransformValues(func(*Context[string, string]) (func(string, string) (string, error), error) { return nil, nil })
	owners := b.Table("owners", serde.Int64, serde.String)
	table.JoinOn(owners, func(_, v string) int64 { return int64(len(v)) }, func(a, b string) string { return a + b }).
		LeftJoinOn(owners, func(_, v string) int64 { return int64(len(v)) }, func(a string, b Opt[string]) string { return a + b.Or("") }).
		ToStream().To("out")
	sessions.ToStream().SelectKey(func(w Windowed[string], _ []int64) string { return w.Key }).
		MapValues(func(v []int64) string { return "" }).To("sessions")
	if _, err := b.Build(); err == nil {
		t.Error("lists have no serde: that is to be said")
	}
}

// TestRing calls every verb that there is in a ring of types, and builds it.
func TestRing(t *testing.T) {
	b := NewBuilder()
	orders := b.Stream([]string{"orders", "returns"}, serde.String, serde.String)
	split := orders.
		Filter(func(_, v string) bool { return v != "" }).FilterNot(func(_, v string) bool { return v == "x" }).
		TryFilter(func(context.Context, string, string) (bool, error) { return true, nil }).
		TryFilterNot(func(context.Context, string, string) (bool, error) { return false, nil }).
		Peek(func(_, _ string) {}).TryPeek(func(context.Context, string, string) error { return nil }).
		Split()
	words := split.Branch(func(_, v string) bool { return len(v) > 9 }).FlatMapValues(strings.FieldsSeq).
		TryFlatMapValues(func(_ context.Context, _, v string) (iter.Seq[string], error) { return slices.Values([]string{v}), nil })
	numbers := split.TryBranch(func(context.Context, string, string) (bool, error) { return true, nil }).
		Map(func(k, v string) (string, int64) { return k, int64(len(v)) }).
		TryMap(func(_ context.Context, k string, v int64) (string, int64, error) { return k, v, nil }).
		FlatMap(func(k string, v int64) iter.Seq2[string, int64] { return func(func(string, int64) bool) {} }).
		TryFlatMap(func(context.Context, string, int64) (iter.Seq2[string, int64], error) { return nil, nil })
	split.Default().ForEach(func(_, _ string) {})
	orders.TryForEach(func(context.Context, string, string) error { return nil })

	perMinute := words.GroupBy(func(_, v string) string { return v }).WindowedBy(Tumbling(time.Minute).Grace(time.Second)).Count()
	perHour := perMinute.ToStream().GroupByKey().WindowedBy(Hopping(time.Hour, time.Minute)).EmitOnClose().
		Reduce(func(a, b int64) int64 { return a + b }) // windows of windows
	back := perHour.ToStream().SelectKey(func(w Windowed[Windowed[string]], _ int64) string { return w.Key.Key }).
		TrySelectKey(func(_ context.Context, k string, _ int64) (string, error) { return k, nil }).
		MapValues(func(n int64) string { return "" }).TryMapValues(func(_ context.Context, _, v string) (string, error) { return v, nil })
	back.Merge(orders).Repartition().To("again")

	totals := numbers.GroupByKey().Aggregate(func() []int64 { return nil }, func(_ string, v int64, a []int64) []int64 { return append(a, v) }, WithValue(serde.JSON[[]int64]()))
	numbers.TryGroupBy(func(_ context.Context, k string, _ int64) (string, error) { return k, nil }).TryReduce(func(_ context.Context, a, b int64) (int64, error) { return a + b, nil })
	numbers.GroupByKey().WindowedBy(Tumbling(time.Second)).Aggregate(func() string { return "" }, func(_ string, _ int64, a string) string { return a })
	numbers.GroupByKey().WindowedBy(Tumbling(time.Second)).TryReduce(func(_ context.Context, a, b int64) (int64, error) { return a + b, nil })
	customers := b.Table("customers", serde.String, serde.String)
	customers.TransformValues(func(*Context[string, int64]) (func(string, string) (int64, error), error) { return nil, nil })
	byCity := customers.Filter(func(_, _ string) bool { return true }).FilterNot(func(_, _ string) bool { return false }).
		MapValues(strings.ToUpper).GroupBy(func(k, v string) (string, int64) { return v, int64(len(k)) })
	byCity.Count()
	byCity.Reduce(func(a, b int64) int64 { return a + b }, func(a, b int64) int64 { return a - b })
	byCity.Aggregate(func() float64 { return 0 }, func(_ string, v int64, a float64) float64 { return a }, func(_ string, v int64, a float64) float64 { return a })
	orders.JoinTable(customers, func(o, c string) string { return o + c }).
		LeftJoinTable(totals, func(o string, sum Opt[[]int64]) string { return o }).
		ShowNulls().MapValues(func(o Opt[string]) string { return o.Or("") }).
		ToTable().ShowNulls().ToStream().To("joined")
	cities := b.GlobalTable("cities", serde.Int64, serde.String)
	b.GlobalStore(b.KeyValueStore("lengths", serde.Int64, serde.String), "lengths", serde.String, serde.String,
		func() Processor[string, string, struct{}, struct{}] { return nil })
	orders.JoinGlobal(cities, func(_, v string) int64 { return int64(len(v)) }, func(v, c string) []string { return []string{v, c} }).
		LeftJoinGlobal(cities, func(_ string, v []string) int64 { return int64(len(v)) }, func(v []string, c Opt[string]) string { return c.Or("") }).
		ToTopics(func(k, v string, _ Place) string { return k + v }, Partitioner(func(string, string, string, int) []int { return nil }))
	orders.TryToTopics(func(context.Context, Record[string, string], Place) (string, error) { return "t", nil })
	orders.Print(io.Discard)
	b.ReadOnlyStore(b.KeyValueStore("prices", serde.String, serde.Int64), "prices", serde.String, serde.Int64,
		func() Processor[string, int64, struct{}, struct{}] { return nil })

	topology, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(topology.Nodes()); n < 60 {
		t.Errorf("the ring has %d nodes", n)
	}
}
