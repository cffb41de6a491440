package streams_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// number parses a number, which can fail.
func number(_ context.Context, _, text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// Each step may return an error, which names it and the record.
func Example_stepsWithErrors() {
	d := run(func(b *streams.Builder) {
		split := b.Stream("lines", serde.String, serde.String).
			TryFilterNot(func(_ context.Context, _, line string) (bool, error) { return line == "", nil }).
			TryPeek(func(ctx context.Context, _, _ string) error { return ctx.Err() }).
			TryFlatMapValues(func(_ context.Context, _, line string) (iter.Seq[string], error) { return strings.FieldsSeq(line), nil }).
			Split()
		split.TryBranch(func(ctx context.Context, k, v string) (bool, error) {
			n, err := number(ctx, k, v)
			return n < 0, err
		}).To("negative")
		split.Default().
			TryMap(func(ctx context.Context, k, v string) (string, int64, error) {
				n, err := number(ctx, k, v)
				return k, n, err
			}, streams.As("parse")).
			TrySelectKey(func(_ context.Context, k string, _ int64) (string, error) { return strings.ToUpper(k), nil }).
			TryFlatMap(func(_ context.Context, k string, n int64) (iter.Seq2[string, int64], error) {
				if n == 0 {
					return nil, errors.New("no zeros, please")
				}
				return pairs(k, n, -n), nil
			}, streams.As("double")).
			To("numbers")
	})
	in := d.Input("lines", serde.String, serde.String)
	in.Send("a", "1 -2 3")
	show(d, "numbers", serde.String, serde.Int64)
	show(d, "negative", serde.String, serde.String)
	fmt.Println(d.Pipe(raw("lines", "a", "0")))
	// Output:
	// A=1@0
	// A=-1@0
	// A=3@0
	// A=-3@0
	// a=-2@0
	// task 0_0: node "double": topic "lines" partition 0 offset 1: no zeros, please
}

// pairs is the sequence of some values of a key.
func pairs[K, V any](k K, all ...V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, v := range all {
			if !yield(k, v) {
				return
			}
		}
	}
}

// Aggregations have a form with errors too, on windows and sessions, of tables and of several streams.
func Example_aggregationsWithErrors() {
	add := func(_ context.Context, sum, n int64) (int64, error) { return sum + n, nil }
	subtract := func(_ context.Context, sum, n int64) (int64, error) { return sum - n, nil }
	list := func(_ context.Context, _ string, n int64, l []int64) ([]int64, error) {
		return append(slices.Clone(l), n), nil
	}
	without := func(_ context.Context, _ string, n int64, l []int64) ([]int64, error) {
		i := slices.Index(l, n)
		if i < 0 {
			return nil, fmt.Errorf("there is no %d", n)
		}
		return slices.Delete(slices.Clone(l), i, i+1), nil
	}
	both := func(_ context.Context, _ string, a, b []int64) ([]int64, error) { return slices.Concat(a, b), nil }
	none := func() []int64 { return nil }
	asList := streams.WithValue(serde.List(serde.Int64))
	d := run(func(b *streams.Builder) {
		numbers := b.Stream("numbers", serde.String, serde.Int64)
		byParity := numbers.TryGroupBy(func(_ context.Context, _ string, n int64) (string, error) { return []string{"even", "odd"}[n%2], nil })
		byParity.TryReduce(add).ToStream().To("sums")
		byParity.TryCogroup(list).TryAnd(numbers.TryGroupBy(func(_ context.Context, k string, _ int64) (string, error) { return k, nil }, streams.As("by-key")), list).
			Aggregate(none, asList).ToStream().To("lists")

		window := byParity.WindowedBy(streams.Tumbling(1e9))
		window.TryReduce(add)
		window.TryAggregate(none, list, asList).ToStream().To("windows")
		session := byParity.Sessions(streams.Gap(1e9))
		session.TryReduce(add)
		session.TryAggregate(none, list, both, asList).ToStream().To("sessions")

		table := b.Table("table", serde.String, serde.Int64).
			TryGroupBy(func(_ context.Context, k string, n int64) (string, int64, error) { return k[:1], n, nil })
		table.TryReduce(add, subtract).ToStream().To("table-sums")
		table.TryAggregate(none, list, without, asList).ToStream().To("table-lists")
	})
	d.Input("numbers", serde.String, serde.Int64).Send("x", 3)
	in := d.Input("table", serde.String, serde.Int64)
	in.Send("a1", 1)
	in.Send("a2", 2)
	in.Send("a1", 5)
	show(d, "sums", serde.String, serde.Int64)
	show(d, "lists", serde.String, serde.List(serde.Int64))
	show(d, "windows", serde.TimeWindowed(serde.String, 1e9), serde.List(serde.Int64))
	show(d, "sessions", serde.SessionWindowed(serde.String), serde.List(serde.Int64))
	show(d, "table-sums", serde.String, serde.Int64)
	show(d, "table-lists", serde.String, serde.List(serde.Int64))
	// Output:
	// odd=3@0
	// x=[3]@0
	// odd=[3]@0
	// [odd@0/1000]=[3]@0
	// [odd@0/0]=[3]@0
	// a=1@0
	// a=3@0
	// a=7@0
	// a=[1]@0
	// a=[1 2]@0
	// a=[2 5]@0
}

// Functions of joins get a context and the key, and may return an error.
func Example_joinsWithErrors() {
	type text = streams.Opt[string]
	join := func(_ context.Context, key, a, b string) (string, error) { return key + ": " + a + b, nil }
	left := func(_ context.Context, key, a string, b text) (string, error) { return key + ": " + a + b.Or("-"), nil }
	outer := func(_ context.Context, key string, a, b text) (string, error) {
		return key + ": " + a.Or("-") + b.Or("-"), nil
	}
	reference := func(_ context.Context, _, v string) (string, error) { return v, nil }
	d := run(func(b *streams.Builder) {
		in := b.Stream("in", serde.String, serde.String)
		other := b.Stream("other", serde.String, serde.String)
		table := b.Table("table", serde.String, serde.String)
		names := b.Table("names", serde.String, serde.String)
		global := b.GlobalTable("global", serde.String, serde.String)

		in.TryJoin(other, streams.Within(1e9), join).To("out")
		in.TryLeftJoin(other, streams.Within(1e9), left)
		in.TryOuterJoin(other, streams.Within(1e9), outer)
		in.TryJoinTable(table, join).To("out")
		in.TryLeftJoinTable(table, left).To("out")
		in.TryJoinGlobal(global, reference, join).To("out")
		in.TryLeftJoinGlobal(global, reference, left).To("out")

		table.TryFilter(func(_ context.Context, _, v string) (bool, error) { return v != "", nil }).
			TryFilterNot(func(_ context.Context, k, _ string) (bool, error) { return k == "", nil }).
			TryMapValues(func(_ context.Context, _, v string) (string, error) { return strings.ToUpper(v), nil }).
			TryJoin(names, join).ToStream().To("tables")
		table.TryLeftJoin(names, left)
		table.TryOuterJoin(names, outer)
		table.TryJoinOn(names, reference, join).ToStream().To("tables")
		table.TryLeftJoinOn(names, reference, left).ToStream().To("tables")
	})
	d.Input("table", serde.String, serde.String).Send("k", "row")
	d.Input("names", serde.String, serde.String).Send("k", "name")
	d.Input("other", serde.String, serde.String).Send("k", "other")
	d.Input("in", serde.String, serde.String).Send("k", "in")
	show(d, "out", serde.String, serde.String)
	show(d, "tables", serde.String, serde.String)
	// Output:
	// k=k: inother@0
	// k=k: inrow@0
	// k=k: inrow@0
	// k=k: in-@0
	// k=k: row-@0
	// k=k: ROWname@0
}

// A topic is chosen by all of the record, and the choice may fail.
func ExampleStream_TryToTopics() {
	d := run(func(b *streams.Builder) {
		b.Stream("events", serde.String, serde.String).
			TryToTopics(func(_ context.Context, r streams.Record[string, string], _ streams.Place) (string, error) {
				for _, h := range r.Headers {
					if h.Key == "type" {
						return "events-" + string(h.Value), nil
					}
				}
				return "", errors.New("an event has no type")
			})
	})
	r := raw("events", "k", "v")
	r.Headers = []streams.Header{{Key: "type", Value: []byte("login")}}
	fmt.Println(d.Pipe(r), d.Topics())
	fmt.Println(d.Pipe(raw("events", "k", "v")) != nil)
	// Output:
	// <nil> [events-login]
	// true
}
