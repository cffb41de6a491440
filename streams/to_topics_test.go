package streams_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

func routing(t *testing.T, topic func(string, string, streams.Place) string, opts ...streams.Option) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).ToTopics(topic, opts...)
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// TestToTopics: each record goes to the topic that its key names, and to the partitions that its value does.
func TestToTopics(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"), kfake.SeedTopics(4, "to-a", "to-b"))
	topo := routing(t, func(k, _ string, from streams.Place) string {
		if from.Topic != "in" || from.Partition != 0 {
			t.Errorf("a record comes from %v", from)
		}
		return "to-" + k
	}, streams.Partitioner(func(topic, k, v string, n int) (to []int) {
		if n != 4 || topic != "to-"+k {
			t.Errorf("topic %s has %d partitions", topic, n)
		}
		for p := range n {
			if strings.Contains(v, fmt.Sprint(p)) {
				to = append(to, p, p) // once all the same
			}
		}
		if v == "none" {
			return []int{}
		}
		return to
	}))
	p := start(t, c, topo)
	feedPairs(t, c, "in", "02", "a", "b")
	feedPairs(t, c, "in", "none", "a")
	feedPairs(t, c, "in", "key", "b")
	for topic, want := range map[string]string{"to-a": "[0:02 2:02]", "to-b": fmt.Sprintf("[0:02 2:02 %d:key]", topology.Partition([]byte("b"), 4))} {
		var got []string
		awaitRecords(t, c, topic, want, func(all []*kgo.Record) bool {
			got = nil
			for _, r := range all {
				got = append(got, fmt.Sprintf("%d:%s", r.Partition, r.Value))
			}
			return len(got) == strings.Count(want, ":")
		})
		for _, one := range strings.Fields(strings.Trim(want, "[]")) {
			if !strings.Contains(fmt.Sprint(got), one) {
				t.Errorf("%s has %v, want %s", topic, got, want)
			}
		}
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestToTopicsFailures: a topic that is not there ends the application; what a function returns that cannot be is a matter
// of the handler.
func TestToTopicsFailures(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	feedPairs(t, c, "in", "v", "k")
	start(t, c, routing(t, func(string, string, streams.Place) string { return "nowhere" })).awaitError(`topic "nowhere"`, "does not exist; create it")
	start(t, c, routing(t, func(string, string, streams.Place) string { return "" })).awaitError("no name of a topic", `topic "in" partition 0 offset 0`)
	beyond := streams.Partitioner(func(string, string, string, int) []int { return []int{3} })
	topo := routing(t, func(string, string, streams.Place) string { return "out" }, beyond)
	start(t, c, topo).awaitError(`returns partition 3 for topic "out", which has 1`)
	if text := topo.Describe(); !strings.Contains(text, "(extractor class: github.com/millrace/millrace/streams_test.TestToTopicsFailures.func") {
		t.Error(text)
	}
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.Int64).To("out", beyond)
	if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), "To: the Partitioner is for other types; string and int64 are needed") {
		t.Error(err)
	}
}

// TestReadOnlyStore: a processor fills a store from a topic that is its changelog, and another reads it, across a restart
// without state.
func TestReadOnlyStore(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in", "out", "rows"))
	b := streams.NewBuilder()
	rows := b.KeyValueStore("rows", serde.String, serde.String)
	b.ReadOnlyStore(rows, "rows", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] { return &copying{to: rows} })
	b.Stream("in", serde.String, serde.String).
		ProcessValues(func() streams.Processor[string, string, string, string] { return &lookUp{in: rows} }, streams.Uses(rows)).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	feedPairs(t, c, "rows", "row", words(20, 20)...)
	asked := 0
	for _, full := range []bool{true, false} {
		p := start(t, c, topo, streams.AutoOffsetReset(streams.Latest))
		p.await(streams.StateRunning)
		eventually(t, "the rows", func() bool { // of an input that is read beside
			feed(t, c, "in", words(20, 20)...)
			asked += 20
			var all []*kgo.Record
			awaitRecords(t, c, "out", "the answers", func(read []*kgo.Record) bool { all = read; return len(read) >= asked })
			for _, r := range all[asked-20:] {
				if string(r.Value) != "row" {
					return false
				}
			}
			return true
		})
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		if len(p.events) > 0 == full {
			t.Errorf("restored %v", p.events)
		}
	}
	b = streams.NewBuilder()
	rows = b.KeyValueStore("rows", serde.String, serde.String, streams.InMemory())
	b.ReadOnlyStore(rows, "rows", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] { return &copying{to: rows} })
	b.Stream("in", serde.String, serde.String).
		Process(func() streams.Processor[string, string, string, string] { return &writer{of: rows} }, streams.Uses(rows), streams.As("w")).To("out")
	if topo, err = b.Build(); err != nil {
		t.Fatal(err)
	}
	feed(t, c, "in", "word")
	p := start(t, c, topo)
	p.awaitError(`node "w" changes store "rows", which only "KTABLE-SOURCE-0000000001" may`)
}

type copying struct {
	to   *streams.KeyValueStore[string, string]
	rows *streams.KeyValues[string, string]
}

func (p *copying) Init(c *streams.Context[struct{}, struct{}]) (err error) {
	p.rows, err = p.to.Open(c)
	return err
}

func (p *copying) Process(r streams.Record[string, string]) error { return p.rows.Put(r.Key, r.Value) }
