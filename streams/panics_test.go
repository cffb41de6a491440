package streams_test

import (
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
)

// TestPanicsNameTheirNode: a function of each verb panics; the error names the verb's node and the record. The function
// is called behind another one, on the second record or on what comes out of a cache.
func TestPanicsNameTheirNode(t *testing.T) {
	type stream = *streams.Stream[string, string]
	fail := func() bool { panic("it is broken") }
	broken := func(_, v string) string {
		if v == "second" {
			fail()
		}
		return v
	}
	reduce := func(_, v string) string { return broken("", v) }
	yes := func(_, v string) bool { return broken("", v) == v }
	add := func(_, v, a string) string { return a + broken("", v) }
	none := func() string { return "" }
	here := streams.As("here")
	node := streams.Named("here")
	for name, verb := range map[string]func(s stream){
		"Filter":    func(s stream) { s.Filter(yes, here) },
		"Map":       func(s stream) { s.Map(func(k, v string) (string, string) { return k, broken(k, v) }, here) },
		"MapValues": func(s stream) { s.MapValues(func(v string) string { return broken("", v) }, here) },
		"SelectKey": func(s stream) { s.SelectKey(broken, here) },
		"Peek":      func(s stream) { s.Peek(func(k, v string) { broken(k, v) }, here) },
		"Split":     func(s stream) { s.Split(here).Branch(yes) },
		"FlatMap": func(s stream) {
			s.FlatMap(func(k, v string) iter.Seq2[string, string] {
				return func(yield func(string, string) bool) { _ = yield(k, v) && yield(k, broken(k, v)) }
			}, here).Peek(func(_, _ string) {})
		},
		"FlatMapValues": func(s stream) {
			s.FlatMapValues(func(v string) iter.Seq[string] {
				return func(yield func(string) bool) { _ = yield(v) && yield(broken("", v)) }
			}, here).Peek(func(_, _ string) {})
		},
		"GroupBy":   func(s stream) { s.GroupBy(broken, here).Count() },
		"Reduce":    func(s stream) { s.GroupByKey().Reduce(reduce, node) },
		"Aggregate": func(s stream) { s.GroupByKey().Aggregate(none, add, node) },
		"Aggregate's start": func(s stream) {
			s.SelectKey(func(_, v string) string { return v }).GroupByKey().
				Aggregate(func() string { fail(); return "" }, func(_, v, _ string) string { return v }, node)
		},
		"TimeWindowed.Reduce": func(s stream) {
			s.GroupByKey().WindowedBy(streams.Tumbling(time.Minute)).Reduce(reduce, node)
		},
		"TimeWindowed.Aggregate": func(s stream) {
			s.GroupByKey().WindowedBy(streams.Tumbling(time.Minute)).Aggregate(none, add, node)
		},
		"Table.Filter":    func(s stream) { s.ToTable().Filter(yes, node) },
		"Table.MapValues": func(s stream) { s.ToTable().MapValues(func(v string) string { return broken("", v) }, node) },
		"Table.GroupBy": func(s stream) {
			s.ToTable().GroupBy(func(k, v string) (string, string) { return broken(k, v), v }, here).Count()
		},
		"GroupedTable.Reduce": func(s stream) {
			s.ToTable().GroupBy(func(k, v string) (string, string) { return k, v }).Reduce(reduce, func(a, _ string) string { return a }, node)
		},
		"JoinTable": func(s stream) { s.JoinTable(s.ToTable(), broken, here) },
		"To, encoding": func(s stream) {
			s.To("out", here, streams.WithValue(serde.Func(func(dst []byte, v string) ([]byte, error) {
				return append(dst, broken("", v)...), nil
			}, serde.String.Decode)))
		},
		"behind a cache": func(s stream) {
			s.GroupByKey().Reduce(func(_, v string) string { return v }).ToStream().Peek(func(k, v string) { broken(k, v) }, here)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := streams.NewBuilder()
			verb(b.Stream("in", serde.String, serde.String).Peek(func(_, _ string) {}, streams.As("before")))
			top, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			d, err := streamstest.Open(top)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, v := range []string{"first", "second"} {
				if err == nil {
					err = d.Pipe(raw("in", "k", v))
				}
			}
			if err == nil {
				t.Fatal("there is no error")
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if !strings.Contains(first, `node "here`) || !strings.Contains(first, `topic "`) || !strings.Contains(first, "panic: it is broken") {
				t.Errorf("the error is %s", first)
			}
		})
	}
}
