package streams_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Each source begins where it says, and those that say nothing where the application does.
func TestSourcesBeginWhereTheySay(t *testing.T) {
	topics := []string{"all", "new", "recent", "idle", "default"}
	c := fakeCluster(t, kfake.SeedTopics(1, append(topics, "out")...))
	cl := client(t, c)
	now := time.Now()
	for _, topic := range topics {
		produced(t, cl, topic, topic, "old", now.Add(-2*time.Hour))
		if topic != "idle" {
			produced(t, cl, topic, topic, "recent", now)
		}
	}
	b := streams.NewBuilder()
	for topic, opts := range map[string][]streams.Option{
		"all": {streams.From(streams.Earliest)}, "new": {streams.From(streams.Latest)}, "default": nil,
		"recent": {streams.From(streams.Past(time.Hour))}, "idle": {streams.From(streams.Past(time.Hour))},
	} {
		b.Stream(topic, serde.String, serde.String, opts...).To("out")
	}
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, topo, streams.AutoOffsetReset(streams.Latest))
	p.await(streams.StateRunning)
	for _, topic := range topics {
		produced(t, cl, topic, topic, "later", now)
	}
	want := []string{"all later", "all old", "all recent", "default later", "idle later", "new later", "recent later", "recent recent"}
	var got []string
	awaitRecords(t, c, "out", "what is wanted", func(all []*kgo.Record) bool {
		got = got[:0]
		for _, r := range all {
			got = append(got, fmt.Sprintf("%s %s", r.Key, r.Value))
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSourceBeginsNowhere(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String, streams.From(streams.NoReset)).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, topo).awaitError("no usable committed offset", "From of the source")
}

func TestSourcesOfOneTopicBeginTogether(t *testing.T) {
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String, streams.From(streams.Latest)).To("a")
	b.Stream("in", serde.String, serde.String, streams.From(streams.Earliest)).To("b")
	if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), "say the same with From") {
		t.Errorf("got %v", err)
	}
}
