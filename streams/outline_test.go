package streams_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

func outline(t *testing.T, build func(*streams.Builder)) topology.Outline {
	t.Helper()
	b := streams.NewBuilder()
	build(b)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo.Outline()
}

// What keeps one program from taking another's state over, and what does not.
func TestOutlineBreaks(t *testing.T) {
	perUser := func(size time.Duration, name string) func(*streams.Builder) {
		return func(b *streams.Builder) {
			b.Stream("in", serde.String, serde.String).GroupByKey().
				WindowedBy(streams.Tumbling(size)).Count(streams.As(name)).ToStream().
				Map(func(k streams.Windowed[string], n int64) (string, int64) { return k.Key, n }).To("out")
		}
	}
	was := outline(t, perUser(time.Minute, "counts"))
	for _, c := range []struct {
		what string
		next func(*streams.Builder)
		want []string
	}{
		{"the same", perUser(time.Minute, "counts"), nil},
		{"another step", func(b *streams.Builder) {
			b.Stream("in", serde.String, serde.String).Filter(func(_, v string) bool { return v != "" }).GroupByKey().
				WindowedBy(streams.Tumbling(time.Minute)).Count(streams.As("counts")).ToStream().
				Map(func(k streams.Windowed[string], n int64) (string, int64) { return k.Key, n }).To("elsewhere")
		}, nil},
		{"another name", perUser(time.Minute, "sums"), []string{`no store "counts" any more`}},
		{"other windows", perUser(time.Hour, "counts"), []string{`windows of 1h0m0s instead of 1m0s in the store "counts"`}},
		{"another kind", func(b *streams.Builder) {
			b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts")).ToStream().To("out")
		}, []string{`"counts" as key-value with timestamps instead of window with timestamps`}},
		{"another input", func(b *streams.Builder) {
			b.Stream("inn", serde.String, serde.String).GroupByKey().
				WindowedBy(streams.Tumbling(time.Minute)).Count(streams.As("counts"))
		}, []string{`reads ["inn"] instead of ["in"]`}},
		{"one more", func(b *streams.Builder) {
			perUser(time.Minute, "counts")(b)
			b.Stream("more", serde.String, serde.String).To("out2")
		}, nil},
		{"repartitioned", func(b *streams.Builder) {
			b.Stream("in", serde.String, serde.String).GroupBy(func(k, _ string) string { return k }, streams.As("by")).
				WindowedBy(streams.Tumbling(time.Minute)).Count(streams.As("counts"))
		}, []string{`no store "counts" any more`}},
	} {
		next := outline(t, c.next)
		breaks := was.Breaks(next)
		if len(breaks) != len(c.want) {
			t.Errorf("%s: %q, want %d", c.what, breaks, len(c.want))
		}
		for _, w := range c.want {
			if !slices.ContainsFunc(breaks, func(b string) bool { return strings.Contains(b, w) }) {
				t.Errorf("%s: nothing of %q says %q", c.what, breaks, w)
			}
		}
		if was.Hash() == next.Hash() && len(c.want) > 0 {
			t.Errorf("%s: the hashes are equal", c.what)
		}
		text, err := json.Marshal(next)
		if err != nil {
			t.Fatal(err)
		}
		var back topology.Outline
		if err := json.Unmarshal(text, &back); err != nil || back.Hash() != next.Hash() || len(next.Breaks(back)) > 0 {
			t.Errorf("%s: it is not read as it is written: %s, %v", c.what, text, err)
		}
	}
}

// What waits in a topic of the application, and tasks, are lost as well.
func TestOutlineBreaksTopics(t *testing.T) {
	was := outline(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).Repartition(streams.As("by")).To("out")
	})
	next := outline(t, func(b *streams.Builder) { b.Stream("in", serde.String, serde.String).To("out") })
	breaks := was.Breaks(next)
	if len(breaks) != 2 || !strings.Contains(breaks[0], `no repartition topics ["by-repartition"] any more`) || breaks[1] != "sub-topology 1 is gone, with its tasks" {
		t.Errorf("%q", breaks)
	}
}

// An outline says what a program reads, writes and keeps, and whether another one can take its state over.
func Example_outline() {
	count := func(name string) topology.Outline {
		b := streams.NewBuilder()
		b.Stream("clicks", serde.String, serde.String).GroupByKey().Count(streams.As(name)).ToStream().To("counts")
		topo, err := b.Build()
		if err != nil {
			panic(err)
		}
		return topo.Outline()
	}
	was := count("by-user")
	for _, part := range was.Subtopologies {
		fmt.Println(part.Sources, part.Sinks, part.Stores[0].Name, part.Stores[0].Changelog)
	}
	for _, b := range was.Breaks(count("by-account")) {
		fmt.Println(b)
	}
	// Output:
	// [clicks] [counts] by-user by-user-changelog
	// sub-topology 0 has no store "by-user" any more; its state would be left behind
}
