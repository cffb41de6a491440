package streams_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
)

// versionedTable is a table of the topic t that keeps its history for a second.
func versionedTable(b *streams.Builder, opts ...streams.Option) *streams.Table[string, string] {
	return b.Table("t", serde.String, serde.String, append(opts, streams.As("table"), streams.Versioned(time.Second))...)
}

// sendMillis sends "key=value@ms" to a topic; a value "-" is null.
func sendMillis(d *streamstest.Driver, topic string, records ...string) {
	in := d.Input(topic, serde.String, serde.Optional(serde.String))
	for _, r := range records {
		var at int64
		key, rest, _ := strings.Cut(r, "=")
		value, ms, _ := strings.Cut(rest, "@")
		_, _ = fmt.Sscan(ms, &at)
		in.SendAt(key, streams.Opt[string]{Value: value, Valid: value != "-"}, time.UnixMilli(at))
	}
}

func received(d *streamstest.Driver, topic string) (all []string) {
	for _, r := range d.Produced(topic) {
		value := "-"
		if r.Value != nil {
			value = string(r.Value)
		}
		all = append(all, fmt.Sprintf("%s=%s@%d", r.Key, value, r.Timestamp))
	}
	return all
}

// What is late takes its place in the history: it reaches the stream of changes, and tables made row by row, but no
// aggregation and no join of tables. What is too late reaches nothing.
func TestVersionedTables(t *testing.T) {
	for name, c := range map[string]struct {
		program func(b *streams.Builder)
		want    []string
		dropped int
	}{
		"stream": {func(b *streams.Builder) { versionedTable(b).ToStream().To("out") }, []string{"k=a@5000", "k=late@4500", "k=-@6000"}, 1},
		"mapped": {func(b *streams.Builder) { versionedTable(b).MapValues(strings.ToUpper).ToStream().To("out") }, []string{"k=A@5000", "k=LATE@4500", "k=-@6000"}, 1},
		"filtered": {func(b *streams.Builder) {
			versionedTable(b).Filter(func(_, v string) bool { return v != "a" }, streams.As("f"), streams.Versioned(time.Second)).ToStream().To("out")
		}, []string{"k=-@5000", "k=late@4500", "k=-@6000"}, 1},
		"counted": {func(b *streams.Builder) {
			versionedTable(b).GroupBy(func(k, v string) (string, string) { return k, v }).
				Reduce(func(a, v string) string { return a + "+" + v }, func(a, v string) string { return a + "-" + v }).ToStream().To("out")
		}, []string{"k=a@5000", "k=a-a@6000"}, 1},
		"counted from a table that is not versioned": {func(b *streams.Builder) {
			versionedTable(b).MapValues(strings.Clone, streams.As("plain")).GroupBy(func(k, v string) (string, string) { return k, v }).
				Reduce(func(a, v string) string { return a + "+" + v }, func(a, v string) string { return a + "-" + v }).ToStream().To("out")
		}, []string{"k=a@5000", "k=a-a+late@5000", "k=a-a+late-late@6000"}, 1},
		"joined": {func(b *streams.Builder) {
			v := versionedTable(b)
			v.Join(v, func(a, b string) string { return a + b }, streams.WithValue(serde.String)).ToStream().To("out")
		}, []string{"k=aa@5000", "k=aa@5000"}, 3}, // both sides drop the one that is late
		"joined by a foreign key": {func(b *streams.Builder) {
			v := versionedTable(b)
			v.JoinOn(v, func(k, _ string) string { return k }, func(a, b string) string { return a + b }, streams.WithValue(serde.String)).ToStream().To("out")
		}, []string{"k=aa@5000", "k=-@6000"}, 4}, // and one response is out of date
		"aggregated": {func(b *streams.Builder) {
			b.Stream("t", serde.String, serde.String).GroupByKey().Reduce(func(a, v string) string { return a + v }, streams.As("all"), streams.Versioned(time.Second)).ToStream().To("out")
		}, []string{"k=a@5000", "k=alate@5000", "k=alatetoo late@5000"}, 1},
		"made of a stream": {func(b *streams.Builder) {
			b.Stream("t", serde.String, serde.String).ToTable(streams.As("table"), streams.Versioned(time.Second)).ToStream().To("out")
		}, []string{"k=a@5000", "k=late@4500", "k=-@6000"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := streams.NewBuilder()
			c.program(b)
			top, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			d := streamstest.New(t, top)
			sendMillis(d, "t", "k=a@5000", "k=late@4500", "k=too late@3999", "k=-@6000")
			if got := received(d, "out"); !slices.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
			if got := d.Dropped(); got != c.dropped {
				t.Errorf("%d were dropped, want %d", got, c.dropped)
			}
		})
	}
}

// A record is joined with the row as it was at the record's time, through tables that are computed too.
func TestVersionedLookUp(t *testing.T) {
	b := streams.NewBuilder()
	rows := versionedTable(b).Filter(func(_, v string) bool { return v != "hidden" }).MapValues(strings.ToUpper)
	b.Stream("s", serde.String, serde.String).
		LeftJoinTable(rows, func(v string, row streams.Opt[string]) string { return fmt.Sprint(v, "+", row) }).To("out")
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, top)
	sendMillis(d, "t", "k=a@1000", "k=hidden@1100", "k=b@1200", "k=-@1300", "k=c@1400", "other=x@2350")
	sendMillis(d, "s", "k=1@999", "k=2@1000", "k=3@1100", "k=4@1299", "k=5@1300", "k=6@1349", "k=7@1350", "k=8@1400", "k=9@9000")
	// Since 2350 ms were seen, 1350 is the first time that is still known; the latest row always is.
	want := []string{"k=1+null@999", "k=2+null@1000", "k=3+null@1100", "k=4+null@1299", "k=5+null@1300", "k=6+null@1349", "k=7+null@1350", "k=8+C@1400", "k=9+C@9000"}
	if got := received(d, "out"); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	sendMillis(d, "t", "k=d@2300")
	sendMillis(d, "s", "k=10@1400", "k=11@2299", "k=12@2300")
	if got := received(d, "out"); !slices.Equal(got, append(want, "k=10+C@1400", "k=11+C@2299", "k=12+D@2300")) {
		t.Errorf("got %v", got)
	}
}

func TestVersionedSpec(t *testing.T) {
	b := streams.NewBuilder()
	versionedTable(b, streams.Cached())
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	s := top.Subtopologies()[0].Stores[0].Spec
	if s.Kind != state.Versioned || s.Retention != time.Second || s.Cached || !s.Logged {
		t.Errorf("the store is %+v", s)
	}
}
