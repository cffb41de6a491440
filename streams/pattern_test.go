package streams_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// A source with a pattern reads the topics that match, and those that come later too, with the state that there is.
func TestAppPattern(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "orders-eu", "other", "out"))
	cl := client(t, c)
	b := streams.NewBuilder()
	b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.String).
		GroupByKey().Count(streams.As("counts")).ToStream().MapValues(func(n int64) string { return strings.Repeat("x", int(n)) }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo, streams.ExactlyOnce())
	p.await(streams.StateRunning)
	produced(t, cl, "orders-eu", "a", "1", time.Now())
	produced(t, cl, "other", "a", "1", time.Now())
	awaitRecords(t, c, "out", "the first count", func(all []*kgo.Record) bool { return len(all) == 1 })
	if _, err := kadm.NewClient(cl).CreateTopic(patiently(t), 2, 1, nil, "orders-us"); err != nil {
		t.Fatal(err)
	}
	produced(t, cl, "orders-us", "a", "1", time.Now())
	awaitRecords(t, c, "out", "the count of the new topic", func(all []*kgo.Record) bool {
		return len(all) == 2 && string(all[1].Value) == "xx"
	})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestPatternMistakes(t *testing.T) {
	for says, program := range map[string]func(b *streams.Builder){
		`matches topic "orders-eu"`: func(b *streams.Builder) {
			b.Stream("orders-eu", serde.String, serde.String).To("a")
			b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.String).To("b")
		},
		`is matched by the pattern "orders-.*"`: func(b *streams.Builder) {
			b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.String).To("b")
			b.Stream("orders-eu", serde.String, serde.String).To("a")
		},
		"is given no pattern": func(b *streams.Builder) {
			var none *regexp.Regexp
			b.Stream(none, serde.String, serde.String).To("b")
		},
	} {
		b := streams.NewBuilder()
		program(b)
		if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// A program whose pattern matches nothing runs, and waits for what comes.
func TestAppPatternWithoutTopics(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "out"))
	b := streams.NewBuilder()
	b.Stream(regexp.MustCompile("orders-.*"), serde.String, serde.String).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo)
	p.await(streams.StateRunning)
	cl := client(t, c)
	if _, err := kadm.NewClient(cl).CreateTopic(patiently(t), 1, 1, nil, "orders-us"); err != nil {
		t.Fatal(err)
	}
	produced(t, cl, "orders-us", "a", "1", time.Now())
	awaitRecords(t, c, "out", "the record", func(all []*kgo.Record) bool { return len(all) == 1 })
}
