package topology_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// TestPartition compares with what the producer of Kafka 4.3.1 chooses.
func TestPartition(t *testing.T) {
	for _, v := range []struct {
		key       string
		of3, of12 int32
		of50      int32
	}{
		{"", 0, 9, 31},
		{"a", 1, 4, 24},
		{"ab", 2, 2, 34},
		{"abc", 0, 3, 7},
		{"abcd", 2, 8, 0},
		{"hello", 0, 9, 29},
		{"kafka", 1, 4, 30},
		{"21", 0, 0, 40},
		{"foobar", 0, 6, 16},
		{"a-little-bit-long-string", 2, 8, 12},
		{"é中", 1, 4, 24},
		{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 2, 5, 27},
	} {
		for n, want := range map[int32]int32{1: 0, 3: v.of3, 12: v.of12, 50: v.of50} {
			if got := topology.Partition([]byte(v.key), n); got != want {
				t.Errorf("%q of %d goes to %d, want %d", v.key, n, got, want)
			}
		}
	}
	for long, want := range map[string]int32{
		"\x00\x00\x00\x00\x00\x00\x00\x00": 5, "\x00\x00\x00\x00\x00\x00\x00\x01": 0,
		"\xff\xff\xff\xff\xff\xff\xff\xff": 7, "\x80\x00\x00\x00\x00\x00\x00\x00": 4,
	} {
		if got := topology.Partition([]byte(long), 10); got != want {
			t.Errorf("%x of 10 goes to %d, want %d", long, got, want)
		}
	}
}

func TestTaskID(t *testing.T) {
	for _, id := range []topology.TaskID{{}, {Subtopology: 2, Partition: 13}, {Partition: 1<<31 - 1}} {
		if got := id.LogValue().String(); got != id.String() {
			t.Errorf("%v is logged as %q", id, got)
		}
		if back, err := topology.ParseTaskID(id.String()); err != nil || back != id {
			t.Errorf("%v is read as %v (%v)", id, back, err)
		}
	}
	for _, s := range []string{"", "_", "1", "1_", "_1", "1_2_3", "-1_2", "1_-2", "a_b", "1_2147483648", "1 _2", "topology__1_2"} {
		if id, err := topology.ParseTaskID(s); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("%q is read as %v (%v)", s, id, err)
		}
	}
	ids := []topology.TaskID{{1, 0}, {0, 10}, {0, 9}}
	slices.SortFunc(ids, topology.TaskID.Compare)
	if want := []topology.TaskID{{0, 9}, {0, 10}, {1, 0}}; !slices.Equal(ids, want) {
		t.Errorf("the order is %v", ids)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "A-z_0.9", "..a", strings.Repeat("x", 249)} {
		if err := topology.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, says := range map[string]string{
		"": "empty", ".": `"."`, "..": `".."`, "a b": "a-z A-Z 0-9", "é": "a-z A-Z 0-9", "a/b": "a-z A-Z 0-9", "a\x00": "a-z A-Z 0-9",
		strings.Repeat("x", 250): "250",
	} {
		if err := topology.CheckName(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q in it", name, err, says)
		}
	}
}

// parts says of each sub-topology what it is made of.
func parts(top *topology.Topology) (all []string) {
	for i, sub := range top.Subtopologies() {
		var nodes, stores []string
		for _, n := range sub.Nodes {
			nodes = append(nodes, n.Name)
		}
		for _, s := range sub.Stores {
			stores = append(stores, s.Name)
		}
		if sub.ID != i {
			nodes = append(nodes, fmt.Sprintf("with the id %d", sub.ID))
		}
		all = append(all, fmt.Sprintf("%v reads %v writes %v keeps %v together %v", nodes, sub.Topics, sub.Sinks, stores, sub.Groups))
	}
	return all
}

// TestSubtopologies: parts are connected by edges and stores, not by topics, and numbered by their first nodes.
func TestSubtopologies(t *testing.T) {
	top := build(t, func(b *topology.Builder) {
		b.AddSource("b", []string{"in-b"}, nil)
		b.AddSource("a", []string{"in-a"}, nil)
		b.AddInternalTopic(topology.Internal{Name: "by-city-repartition", Partitions: 12})
		b.AddSink("to-city", "by-city-repartition", nil, "b", "a")
		b.AddSource("from-city", []string{"by-city-repartition"}, nil)
		b.AddProcessor("count", nil, "from-city")
		b.AddSource("table-source", []string{"zones", "areas"}, nil)
		b.AddProcessor("table", nil, "table-source")
		b.AddProcessor("join", nil, "count")
		b.AddStore(&state.Spec{Name: "counts"}, "count")
		b.AddStore(&state.Spec{Name: "table"}, "table")
		b.Connect("join", "table") // one part with the table, as it reads its store
		b.AddSource("alone", []string{"x"}, nil)
		b.AddSink("x", "y", nil, "alone")
		b.Copartition([]string{"from-city", "table-source"})
		b.Copartition([]string{"table-source"})
	})
	want := []string{
		"[b a to-city] reads [in-a in-b] writes [by-city-repartition] keeps [] together []",
		"[from-city count table-source table join] reads [areas by-city-repartition zones] writes [] keeps [counts table] together [[areas by-city-repartition zones]]",
		"[alone x] reads [x] writes [] keeps [] together []",
	}
	if got := parts(top); !slices.Equal(got, want) {
		t.Errorf("the parts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	whole := top.Whole()
	if len(whole.Nodes) != len(top.Nodes()) || !slices.Equal(whole.Topics, []string{"areas", "by-city-repartition", "in-a", "in-b", "x", "zones"}) || len(whole.Stores) != 2 {
		t.Errorf("the whole is %+v", whole)
	}
}

func TestNamesInKafka(t *testing.T) {
	top := build(t, func(b *topology.Builder) {
		b.AddSource("a", []string{"in"}, nil)
		b.AddInternalTopic(topology.Internal{Name: "r-repartition", Partitions: 3})
		b.AddSink("s", "r-repartition", nil, "a")
		b.AddProcessor("p", nil, "a")
		b.AddStore(&state.Spec{Name: "store", Logged: true}, "p")
		b.AddStore(&state.Spec{Name: "read", SourceTopic: "in"}, "p")
	})
	for name, got := range map[string]string{
		"in": top.TopicName("app", "in"), "app-r-repartition": top.TopicName("app", "r-repartition"),
		"app-store-changelog": top.Store("store").ChangelogName("app"), "in ": top.Store("read").ChangelogName("app") + " ",
	} {
		if got != name {
			t.Errorf("the name is %q, want %q", got, name)
		}
	}
	if in, ok := top.Internal("r-repartition"); !ok || in.Partitions != 3 {
		t.Errorf("the repartition topic is %+v (%v)", in, ok)
	}
	if _, ok := top.Internal("in"); ok || top.Store("other") != nil {
		t.Error("there is more than there is")
	}
}

// TestBuildSaysWhatIsWrong makes each mistake, and looks for its name in the error.
func TestBuildSaysWhatIsWrong(t *testing.T) {
	for name, mistake := range map[string]struct {
		make func(b *topology.Builder)
		says []string
	}{
		"no topic":          {func(b *topology.Builder) { b.AddSource("a", nil, nil) }, []string{`source "a" reads no topic`}},
		"a topic twice":     {func(b *topology.Builder) { b.AddSource("b", []string{"in"}, nil) }, []string{`"in"`, `"source"`, `"b"`}},
		"a bad name":        {func(b *topology.Builder) { b.AddProcessor("a b", nil, "source") }, []string{`"a b"`}},
		"a name twice":      {func(b *topology.Builder) { b.AddProcessor("source", nil, "source") }, []string{`two nodes have the name "source"`}},
		"no parent":         {func(b *topology.Builder) { b.AddProcessor("a", nil) }, []string{`node "a" has no parent`}},
		"no such parent":    {func(b *topology.Builder) { b.AddProcessor("a", nil, "b") }, []string{`node "a" has the parent "b", which is not there`}},
		"its own parent":    {func(b *topology.Builder) { b.AddProcessor("a", nil, "a") }, []string{`the parent "a", which is not there`}},
		"a sink's child":    {func(b *topology.Builder) { b.AddProcessor("a", nil, "sink") }, []string{`sink "sink" cannot be the parent of "a"`}},
		"a sink to nowhere": {func(b *topology.Builder) { b.AddSink("a", "", nil, "source") }, []string{`sink "a" writes to no topic`}},
		"an unused store":   {func(b *topology.Builder) { b.AddStore(&state.Spec{Name: "s"}) }, []string{`store "s" is used by no node`}},
		"a store of nobody": {func(b *topology.Builder) { b.AddStore(&state.Spec{Name: "s"}, "a") }, []string{`store "s" is connected to "a", which is no node`}},
		"a sink's store":    {func(b *topology.Builder) { b.AddStore(&state.Spec{Name: "s"}, "sink") }, []string{`store "s" cannot be used by "sink"`}},
		"no such store":     {func(b *topology.Builder) { b.Connect("work", "s") }, []string{`"work" uses store "s", which is not there`}},
		"two stores of one name": {func(b *topology.Builder) {
			b.AddStore(&state.Spec{Name: "s"}, "work")
			b.AddStore(&state.Spec{Name: "s"}, "work")
		}, []string{`two stores have the name "s"`}},
		"two counts of partitions": {func(b *topology.Builder) {
			b.AddInternalTopic(topology.Internal{Name: "r", Partitions: 3})
			b.AddInternalTopic(topology.Internal{Name: "r", Partitions: 4})
		}, []string{`repartition topic "r"`, "3 and with 4"}},
		"all at once": {func(b *topology.Builder) {
			b.AddProcessor("a", nil)
			b.AddSink("b", "", nil, "source")
		}, []string{`"a" has no parent`, `"b" writes to no topic`}},
	} {
		t.Run(name, func(t *testing.T) {
			var b topology.Builder
			b.AddSource("source", []string{"in"}, nil)
			b.AddProcessor("work", nil, "source")
			b.AddSink("sink", "out", nil, "work")
			mistake.make(&b)
			top, err := b.Build()
			if err == nil || top != nil {
				t.Fatal("Build says nothing")
			}
			for _, want := range mistake.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestMistakesHaveTheirPlace: one error a place.
func TestMistakesHaveTheirPlace(t *testing.T) {
	var b topology.Builder
	b.At("main.go:7")
	b.AddSource("a b", nil, nil)
	b.AddSource("a", []string{"in"}, nil)
	b.At("main.go:9")
	b.AddSource("b", []string{"in"}, nil)
	_, err := b.Build()
	want := "topology: source \"a b\" reads no topic (main.go:7)\n" +
		"topology: topic \"in\" is read by source \"a\" already; source \"b\" cannot read it too (main.go:9)"
	if err == nil || err.Error() != want {
		t.Errorf("the error is\n%v\nwant\n%v", err, want)
	}
}

// TestSameStoreTwice: a store that is added again is connected to more nodes.
func TestSameStoreTwice(t *testing.T) {
	spec := &state.Spec{Name: "s"}
	top := build(t, func(b *topology.Builder) {
		b.AddSource("source", []string{"in"}, nil)
		b.AddProcessor("a", nil, "source")
		b.AddProcessor("b", nil, "source")
		b.AddStore(spec, "a")
		b.AddStore(spec, "a", "b")
	})
	var users []string
	for _, n := range top.Store("s").Users {
		users = append(users, n.Name)
	}
	if want := []string{"a", "b"}; !reflect.DeepEqual(users, want) {
		t.Errorf("the store is used by %q", users)
	}
}

func TestPlace(t *testing.T) {
	r := topology.Record{Topic: "t", Partition: 3, Offset: 17}
	if want := `topic "t" partition 3 offset 17`; r.Place() != want {
		t.Errorf("%s, want %s", r.Place(), want)
	}
}
