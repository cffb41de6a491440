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
	"github.com/millrace/millrace/topology"
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

// graceProgram joins the stream s, whose records wait for 100 ms, with the table t.
func graceProgram(b *streams.Builder) {
	b.Stream("s", serde.String, serde.String).
		LeftJoinTable(versionedTable(b), func(v string, row streams.Opt[string]) string { return fmt.Sprint(v, "+", row) },
			streams.As("join"), streams.Grace(100*time.Millisecond)).To("out")
}

// Records wait for the grace, are joined in the order of their times, and with what came for their time meanwhile; one
// that is late is joined at once.
func TestGrace(t *testing.T) {
	b := streams.NewBuilder()
	graceProgram(b)
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, top)
	step := func(topic, record string, want ...string) {
		t.Helper()
		before := len(received(d, "out"))
		sendMillis(d, topic, record)
		if got := received(d, "out")[before:]; !slices.Equal(got, want) {
			t.Errorf("after %s %s: got %v, want %v", topic, record, got, want)
		}
	}
	step("s", "k=1@1000")
	step("s", "k=2@950")
	step("t", "k=a@940")
	step("t", "k=b@990")
	step("s", "k=3@1050", "k=2+a@950")
	step("s", "k=4@949", "k=4+a@949") // it is late
	step("s", "k=-@9000")             // dropped, and no time passes
	step("s", "k=5@1100", "k=1+b@1000")
	step("s", "k=6@1200", "k=3+b@1050", "k=5+b@1100")
	step("s", "k=7@1200")
	step("s", "j=8@1200")
	step("s", "k=9@1300", "j=8+null@1200", "k=6+b@1200", "k=7+b@1200")
	if got := d.Dropped(); got != 1 {
		t.Errorf("%d were dropped, want 1", got)
	}
	if err := d.Pipe(topology.Record{Topic: "s", Value: []byte("v"), Timestamp: 1300}); err == nil || !strings.Contains(err.Error(), "without a key cannot wait") {
		t.Errorf("a record without a key: %v", err)
	}
}

// What waits when an application ends is joined by the next one, which knows how far time had come.
func TestGraceAfterRestart(t *testing.T) {
	b := streams.NewBuilder()
	graceProgram(b)
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(send func(*streamstest.Driver), want ...string) {
		t.Helper()
		d, err := streamstest.Open(top, streamstest.StateDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		send(d)
		if got := received(d, "out"); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		d.Close()
	}
	run(func(d *streamstest.Driver) {
		sendMillis(d, "t", "k=a@900")
		sendMillis(d, "s", "k=1@1000", "k=1@1000", "k=2@1050")
	})
	run(func(d *streamstest.Driver) {
		sendMillis(d, "s", "k=3@949", "k=4@1000", "k=5@1100")
	}, "k=3+a@949", "k=1+a@1000", "k=1+a@1000", "k=4+a@1000")
}

// A processor of prices: "?" asks for the value at the record's time, a null deletes from then on.
type prices struct {
	store *streams.VersionedStore[string, string]
	of    *streams.VersionedValues[string, string]
	ctx   *streams.Context[string, string]
}

func (p *prices) Init(ctx *streams.Context[string, string]) (err error) {
	p.ctx = ctx
	p.of, err = p.store.Open(ctx)
	return err
}

func (p *prices) Process(r streams.Record[string, string]) error {
	var answer string
	switch {
	case r.NullValue:
		was, ok, err := p.of.Delete(r.Key, r.Time)
		if err != nil {
			return err
		}
		answer = fmt.Sprintf("was %q %v", was, ok)
	case r.Value == "?":
		v, from, ok, err := p.of.GetAt(r.Key, r.Time)
		if err != nil {
			return err
		}
		latest, since, _, err := p.of.Get(r.Key)
		if err != nil {
			return err
		}
		answer = fmt.Sprintf("%q %v from %d, latest %q from %d", v, ok, from.UnixMilli(), latest, since.UnixMilli())
	default:
		until, kept, err := p.of.Put(r.Key, r.Value, r.Time)
		if err != nil {
			return err
		}
		answer = fmt.Sprintf("kept %v", kept)
		if !until.IsZero() {
			answer += fmt.Sprint(" until ", until.UnixMilli())
		}
	}
	return p.ctx.Forward(r.With(answer))
}

func TestVersionedStore(t *testing.T) {
	b := streams.NewBuilder()
	store := b.VersionedStore("prices", time.Second, serde.String, serde.String)
	b.Stream("s", serde.String, serde.String).
		Process(func() streams.Processor[string, string, string, string] { return &prices{store: store} }, streams.Uses(store)).To("out")
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, top)
	sendMillis(d, "s", "k=a@5000", "k=b@5500", "k=c@5200", "k=?@5499", "k=?@4999", "k=-@5300", "k=?@5300", "k=x@4499", "k=-@4000")
	want := []string{
		"k=kept true@5000", "k=kept true@5500", "k=kept true until 5500@5200", `k="c" true from 5200, latest "b" from 5500@5499`,
		`k="" false from 0, latest "b" from 5500@4999`, `k=was "c" true@5300`, `k="" false from 0, latest "b" from 5500@5300`,
		"k=kept false@4499", `k=was "" false@4000`,
	}
	if got := received(d, "out"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := d.Dropped(); got != 2 {
		t.Errorf("%d were dropped, want 2", got)
	}
	logged := []string{"k=a@5000", "k=b@5500", "k=c@5200", "k=-@5300", "k=x@4499", "k=-@4000"} // Java logs what it refuses, too
	if got := received(d, "app-prices-changelog"); !slices.Equal(got, logged) {
		t.Errorf("logged %q, want %q", got, logged)
	}
	s := d.VersionedStore("prices", serde.String, serde.String)
	if v, from, ok := s.GetAt("k", time.UnixMilli(5100)); v != "a" || from.UnixMilli() != 5000 || !ok {
		t.Errorf("at 5100 it is %q from %v, %v", v, from, ok)
	}
	if v, from, ok := s.Get("k"); v != "b" || from.UnixMilli() != 5500 || !ok {
		t.Errorf("the latest is %q from %v, %v", v, from, ok)
	}
	if _, _, ok := s.Get("j"); ok {
		t.Error("there is a value of a key that never had one")
	}
}
