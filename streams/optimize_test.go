package streams_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// A cogroup of a merge and of one of the streams that it merges has two changes of key above one repartition: Java refuses
// it when it optimizes.
func TestOptimizeCannotMergeRepartitions(t *testing.T) {
	b := streams.NewBuilder()
	lines := b.Stream("lines", serde.String, serde.String)
	words := lines.SelectKey(func(_, v string) string { return v })
	placed := words.Process(func() streams.Processor[string, string, string, string] { return &place{} })
	concat := func(_, v, a string) string { return a + v }
	empty := func() string { return "" }
	lines.Merge(placed).GroupByKey().Cogroup(concat).And(words.GroupByKey(), concat).Aggregate(empty, streams.WithValue(serde.String))
	words.GroupByKey().Cogroup(concat).And(placed.GroupByKey(), concat).Aggregate(empty, streams.WithValue(serde.String))
	_, err := b.Build(streams.Optimize())
	if err == nil {
		t.Fatal("it is built")
	}
	for _, want := range []string{"Optimize cannot make one repartition", "optimize_test.go:", "leave Optimize away"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
