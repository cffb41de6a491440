package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

func noNode(topology.Context, []any) (any, error) { return nil, nil }

// A graph is a topology in short: each line is a sub-topology, "in,other -> store -> out": what it reads, the stores
// that it has and what it writes; topics that begin with r are repartition topics, with the number of partitions that
// was asked for behind a colon. A line may begin with "joined", where its inputs must be partitioned alike.
func graph(t *testing.T, lines ...string) *topology.Topology {
	t.Helper()
	b := new(topology.Builder)
	declare := func(topics string) (names []string) {
		for topic := range strings.SplitSeq(topics, ",") {
			name, number, _ := strings.Cut(strings.TrimSpace(topic), ":")
			if name == "" {
				continue
			}
			if strings.HasPrefix(name, "r") {
				in := topology.Internal{Name: name}
				if number != "" {
					if _, err := fmt.Sscan(number, &in.Partitions); err != nil {
						t.Fatal(err)
					}
				}
				b.AddInternalTopic(in)
			}
			names = append(names, name)
		}
		return names
	}
	for i, line := range lines {
		line, joined := strings.CutPrefix(line, "joined ")
		parts := strings.Split(line, "->")
		var sources []string
		for _, topic := range declare(parts[0]) {
			name := fmt.Sprintf("source-%d-%s", i, topic)
			b.AddSource(name, []string{topic}, noNode)
			sources = append(sources, name)
		}
		if joined {
			b.Copartition(sources)
		}
		work := fmt.Sprintf("work-%d", i)
		b.AddProcessor(work, noNode, sources...)
		for store := range strings.SplitSeq(parts[1], ",") {
			if store = strings.TrimSpace(store); store != "" {
				b.AddStore(&state.Spec{Name: store, Logged: true, Engine: state.Memory}, work)
			}
		}
		for _, topic := range declare(parts[2]) {
			b.AddSink(fmt.Sprintf("sink-%d-%s", i, topic), topic, noNode, work)
		}
	}
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func TestLay(t *testing.T) {
	for _, c := range []struct {
		name     string
		graph    []string
		existing map[string]int32
		want     map[string]int32 // of internal topics
		tasks    string
		err      string
	}{
		{name: "a copy", graph: []string{"in -> -> out"}, existing: map[string]int32{"in": 3}, want: map[string]int32{}, tasks: "0_0 0_1 0_2"},
		{name: "a repartition topic is as large as what it comes from",
			graph: []string{"a,b -> -> r1", "r1 -> s -> out"}, existing: map[string]int32{"a": 2, "b": 3},
			want: map[string]int32{"app-r1": 3, "app-s-changelog": 3}, tasks: "0_0 0_1 0_2 1_0 1_1 1_2"},
		{name: "one depends on another",
			graph: []string{"r1 -> -> r2", "in -> -> r1", "r2 -> s -> out"}, existing: map[string]int32{"in": 2},
			want: map[string]int32{"app-r1": 2, "app-r2": 2, "app-s-changelog": 2}, tasks: "0_0 0_1 1_0 1_1 2_0 2_1"},
		{name: "the number asked for",
			graph: []string{"in -> -> r1:5", "r1:5 -> s -> out"}, existing: map[string]int32{"in": 2},
			want: map[string]int32{"app-r1": 5, "app-s-changelog": 5}, tasks: "0_0 0_1 1_0 1_1 1_2 1_3 1_4"},
		{name: "joined with a topic: as many as that",
			graph: []string{"big -> -> r1", "joined r1,small -> s -> out"}, existing: map[string]int32{"big": 4, "small": 2},
			want: map[string]int32{"app-r1": 2, "app-s-changelog": 2}, tasks: "0_0 0_1 0_2 0_3 1_0 1_1"},
		{name: "joined repartition topics: as many as the largest",
			graph: []string{"a -> -> r1", "b -> -> r2", "joined r1,r2 -> s -> out"}, existing: map[string]int32{"a": 1, "b": 3},
			want: map[string]int32{"app-r1": 3, "app-r2": 3, "app-s-changelog": 3}, tasks: "0_0 1_0 1_1 1_2 2_0 2_1 2_2"},
		{name: "joined repartition topics: as many as asked for",
			graph: []string{"a -> -> r1:2", "b -> -> r2", "joined r1:2,r2 -> s -> out"}, existing: map[string]int32{"a": 1, "b": 3},
			want: map[string]int32{"app-r1": 2, "app-r2": 2, "app-s-changelog": 2}, tasks: "0_0 1_0 1_1 1_2 2_0 2_1"},
		{name: "unequal inputs that are not joined", graph: []string{"a,b -> s -> out"}, existing: map[string]int32{"a": 1, "b": 2},
			want: map[string]int32{"app-s-changelog": 2}, tasks: "0_0 0_1"},
		{name: "missing", graph: []string{"a,b -> -> out"}, existing: map[string]int32{"b": 1}, err: `do not exist: "a"`},
		{name: "joined but unequal", graph: []string{"joined a,b -> s -> out"}, existing: map[string]int32{"a": 1, "b": 2}, err: `"a" has 1, "b" has 2`},
		{name: "joined with another number than asked for", graph: []string{"x -> -> r1:3", "joined a,r1:3 -> s -> out"},
			existing: map[string]int32{"a": 2, "x": 1}, err: `"a" has 2, "r1" has 3`},
		{name: "a ring", graph: []string{"r1 -> -> r2", "r2 -> -> r1"}, existing: map[string]int32{}, err: "depend on each other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Lay("app", graph(t, c.graph...), c.existing)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error that says %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]int32)
			for _, in := range l.Internal {
				got[in.Name] = in.Partitions
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("internal topics %v, want %v", got, c.want)
			}
			var tasks []string
			for _, task := range l.Tasks {
				tasks = append(tasks, task.ID.String())
				for _, p := range task.Inputs {
					if p.Partition != task.ID.Partition || p.Partition >= l.Partitions[p.Topic] {
						t.Errorf("task %v reads %v", task.ID, p)
					}
				}
			}
			if s := strings.Join(tasks, " "); s != c.tasks {
				t.Errorf("tasks %s, want %s", s, c.tasks)
			}
		})
	}
}

// A paper is a cluster of names and numbers.
type paper struct {
	mu      sync.Mutex
	counts  map[string]int32
	configs map[string]map[string]string
	created []string
}

func (p *paper) Connect(context.Context) error { return nil }
func (p *paper) Partitions(_ context.Context, topics []string) (map[string]int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]int32)
	for _, t := range topics {
		if n, ok := p.counts[t]; ok {
			out[t] = n
		}
	}
	return out, nil
}
func (p *paper) AllTopics(context.Context) ([]string, error) { return nil, nil }
func (p *paper) Topics(ctx context.Context, names []string) (map[string]Topic, error) {
	counts, err := p.Partitions(ctx, names)
	out := make(map[string]Topic)
	for name, n := range counts {
		out[name] = Topic{Partitions: n}
	}
	return out, err
}
func (p *paper) CreateTopic(_ context.Context, topic string, partitions int32, _ int16, config map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[topic], p.configs[topic] = partitions, config
	p.created = append(p.created, topic)
	return nil
}
func (p *paper) TopicConfig(_ context.Context, topics []string, name string) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]string)
	for _, t := range topics {
		out[t] = p.configs[t][name]
	}
	return out, nil
}
func (p *paper) Offsets(context.Context, []assign.TopicPartition, int64) (map[assign.TopicPartition]int64, error) {
	return nil, nil
}
func (p *paper) DeleteRecords(context.Context, map[assign.TopicPartition]int64) error { return nil }

func TestPrepareTopics(t *testing.T) {
	topo := graph(t, "in -> -> r1", "r1 -> s -> out")
	prepare := func(p *paper) error {
		if p.configs == nil {
			p.configs = make(map[string]map[string]string)
		}
		_, err := prepareTopics(t.Context(), p, "app", topo, -1, slog.New(slog.DiscardHandler))
		return err
	}
	p := &paper{counts: map[string]int32{"in": 2}}
	if err := prepare(p); err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.created)
	if !slices.Equal(p.created, []string{"app-r1", "app-s-changelog"}) {
		t.Errorf("created %v", p.created)
	}
	if got := p.configs["app-r1"]; got["retention.ms"] != "-1" || got["cleanup.policy"] != "delete" || got["segment.bytes"] != "52428800" {
		t.Errorf("the repartition topic has %v", got)
	}
	p.created = nil
	if err := prepare(p); err != nil || len(p.created) > 0 {
		t.Errorf("the second time it created %v, error %v", p.created, err)
	}
	for what, wrong := range map[string]*paper{
		`"app-r1" has 7 partitions, but the application needs 2`: {counts: map[string]int32{"in": 2, "app-r1": 7}},
		"cleanup.policy=delete, but the application needs compact": {
			counts:  map[string]int32{"in": 2, "app-s-changelog": 2},
			configs: map[string]map[string]string{"app-s-changelog": {"cleanup.policy": "delete"}},
		},
		`do not exist: "in"`: {counts: map[string]int32{}},
	} {
		if err := prepare(wrong); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want an error that says %s", err, what)
		}
	}
}

func TestSamePolicy(t *testing.T) {
	if !samePolicy("delete,compact", "compact, delete") || samePolicy("compact", "compact,delete") {
		t.Error("policies are compared as texts")
	}
}
