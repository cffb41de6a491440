package topology_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// build builds a graph that is right.
func build(t *testing.T, make func(b *topology.Builder)) *topology.Topology {
	t.Helper()
	var b topology.Builder
	make(&b)
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(prefix, i))
	}
	return names
}

// branches has nodes with several parents, a store that connects two sources, and a part of its own.
func branches(b *topology.Builder) {
	b.AddSource("zebra", []string{"animals"}, nil)
	b.AddSource("apple", []string{"fruits", "berries"}, nil)
	b.AddProcessor("left", nil, "zebra")
	b.AddProcessor("right", nil, "zebra")
	b.AddProcessor("join", nil, "left", "right", "apple")
	b.AddProcessor("alone", nil, "left")
	b.AddSink("out", "out", nil, "join")
	b.AddSink("again", "out", nil, "join", "alone")
	b.AddSource("other", []string{"elsewhere"}, nil)
	b.AddProcessor("count", nil, "other")
	b.AddSource("third", []string{"topics"}, nil)
	b.AddProcessor("sum", nil, "third")
	b.AddSource("last", []string{"end"}, nil)
	b.AddSink("copy", "copies", nil, "last")
	b.AddStore(&state.Spec{Name: "shared"}, "count", "sum")
	b.AddStore(&state.Spec{Name: "own"}, "left")
	b.AddStore(&state.Spec{Name: "more"}, "left")
}

// ofEach has n topics, stores, children and sinks: sets of names grow in Java when they hold 12, and 24.
func ofEach(n int) func(b *topology.Builder) {
	return func(b *topology.Builder) {
		b.AddSource("many", numbered("topic-", n), nil)
		b.AddProcessor("work", nil, "many")
		for _, name := range numbered("store-", n) {
			b.AddStore(&state.Spec{Name: name}, "work")
		}
		for _, name := range numbered("child-", n) {
			b.AddProcessor(name, nil, "work")
		}
		for _, name := range numbered("sink-", n) {
			b.AddSink(name, "out", nil, "child-0", "child-3", "work")
		}
	}
}

// TestDescribe compares with what Topology.describe() of Kafka Streams 4.3.1 prints of the same graphs.
func TestDescribe(t *testing.T) {
	for name, make := range map[string]func(b *topology.Builder){
		"branches": branches, "12-of-each": ofEach(12), "13-of-each": ofEach(13), "25-of-each": ofEach(25),
	} {
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if got := build(t, make).Describe(); got != string(want) {
				t.Errorf("it is described as\n%s\nwant\n%s", got, want)
			}
		})
	}
}
