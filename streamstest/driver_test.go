package streamstest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

func build(t *testing.T, program func(b *streams.Builder)) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	program(b)
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// failing is a test that keeps what it fails with, and goes on.
type failing struct{ said []string }

func (f *failing) Helper()           {}
func (f *failing) Cleanup(func())    {}
func (f *failing) Error(args ...any) { f.said = append(f.said, fmt.Sprint(args...)) }
func (f *failing) Fatal(args ...any) { f.said = append(f.said, fmt.Sprint(args...)) }

func TestWhatGoesWrongFailsTheTest(t *testing.T) {
	top := build(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).
			TryMapValues(func(_ context.Context, _, v string) (string, error) {
				if v == "bad" {
					return "", errors.New("bad value")
				}
				return v, nil
			}, streams.As("check")).
			To("out")
	})
	var test failing
	d := streamstest.New(&test, top)
	defer d.Close()
	in := d.Input("in", serde.String, serde.String)
	for _, try := range []struct {
		f    func()
		says []string
	}{
		{func() { in.Send("k", "bad") }, []string{`node "check"`, "bad value"}},
		{func() { d.Input("other", serde.String, serde.String).Send("k", "v") }, []string{`does not read topic "other"`, `["in"]`}},
		{func() { in.Send("k", "good"); d.Output("out", serde.String, serde.Int64).All() }, []string{`topic "out"`, "int64 wants 8 bytes, got 4"}},
		{func() { d.Input("in", serde.JSON[chan int](), serde.String).Send(nil, "v") }, []string{"JSON of chan int"}},
	} {
		test.said = nil
		try.f()
		for _, want := range try.says {
			if len(test.said) == 0 || !strings.Contains(test.said[0], want) {
				t.Errorf("the test fails with %q, which does not say %q", test.said, want)
			}
		}
	}
}

func TestWithoutATestItPanics(t *testing.T) {
	d, err := streamstest.Open(build(t, func(b *streams.Builder) { b.Stream("in", serde.String, serde.String).To("out") }))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), `"other"`) {
			t.Errorf("it panics with %v", p)
		}
	}()
	d.Input("other", serde.String, serde.String).Send("k", "v")
}

// TestGoesOnAfterAFailure: of several inputs, too.
func TestGoesOnAfterAFailure(t *testing.T) {
	d := streamstest.New(t, build(t, func(b *streams.Builder) {
		b.Stream([]string{"a", "b"}, serde.String, serde.String).
			Peek(func(_, v string) {
				if v == "bad" {
					panic("bad value")
				}
			}, streams.As("look")).
			To("out")
	}))
	err := d.Pipe(topology.Record{Topic: "a", Value: []byte("bad")})
	if err == nil || !strings.Contains(err.Error(), `node "look": topic "a" partition 0 offset 0: panic: bad value`) {
		t.Errorf("the error is %v", err)
	}
	for _, topic := range []string{"a", "b", "a"} {
		if err := d.Pipe(topology.Record{Topic: topic, Value: []byte(topic)}); err != nil {
			t.Error(err)
		}
	}
	if n := len(d.Produced("out")); n != 3 {
		t.Errorf("%d records were written", n)
	}
}

func TestNulls(t *testing.T) {
	d := streamstest.New(t, build(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.Optional(serde.Int64)).To("out")
	}), streamstest.StartAt(time.UnixMilli(5)))
	in := d.Input("in", serde.String, serde.Optional(serde.Int64))
	in.Send("a", serde.Some[int64](1))
	in.Send("b", serde.None[int64]())
	in.Delete("c", time.UnixMilli(7))
	out := d.Output("out", serde.String, serde.Optional(serde.Int64))
	if got := fmt.Sprint(out.All()); got != "[a=1@5 b=null@5 c=null@7]" {
		t.Error(got)
	}
	if r, ok := out.Next(); ok {
		t.Errorf("there is one more: %v", r)
	}
}

// TestRepartitionAndChangelogs: all that is written can be read, by the names that it has in Kafka.
func TestRepartitionAndChangelogs(t *testing.T) {
	d := streamstest.New(t, build(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).GroupBy(func(_, v string) string { return v }).Count(streams.As("counts")).ToStream().To("out")
	}), streamstest.Application("counter"), streamstest.StartAt(time.UnixMilli(0)))
	in := d.Input("in", serde.String, serde.String)
	in.Send("1", "x")
	in.Send("2", "x")
	if want := []string{"counter-counts-changelog", "counter-counts-repartition", "out"}; !slices.Equal(d.Topics(), want) {
		t.Errorf("the topics are %q", d.Topics())
	}
	for topic, want := range map[string]string{
		"out": "[x=1@0 x=2@0]", "counter-counts-changelog": "[x=1@0 x=2@0]",
	} {
		if got := fmt.Sprint(d.Output(topic, serde.String, serde.Int64).All()); got != want {
			t.Errorf("topic %s has %s", topic, got)
		}
	}
	if got := fmt.Sprint(d.Output("counter-counts-repartition", serde.String, serde.String).All()); got != "[x=x@0 x=x@0]" {
		t.Error(got)
	}
}

// TestStateStays: with a directory, stores on disk are found again.
func TestStateStays(t *testing.T) {
	dir := t.TempDir()
	top := build(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts")).ToStream().To("out")
	})
	for _, want := range []string{"[k=1@0]", "[k=2@0]"} {
		d, err := streamstest.Open(top, streamstest.StateDir(dir), streamstest.StartAt(time.UnixMilli(0)))
		if err != nil {
			t.Fatal(err)
		}
		d.Input("in", serde.String, serde.String).Send("k", "v")
		if got := fmt.Sprint(d.Output("out", serde.String, serde.Int64).All()); got != want {
			t.Errorf("the count is %s, want %s", got, want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClock(t *testing.T) {
	d := streamstest.New(t, build(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String, streams.WallClockTime()).To("out")
	}), streamstest.StartAt(time.UnixMilli(1000)))
	if err := d.Advance(time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := d.Now().UnixMilli(); got != 61_000 {
		t.Errorf("it is %d", got)
	}
	d.Input("in", serde.String, serde.String).SendAt("k", "v", time.UnixMilli(1))
	if got := fmt.Sprint(d.Output("out", serde.String, serde.String).All()); got != "[k=v@61000]" {
		t.Error(got)
	}
}
