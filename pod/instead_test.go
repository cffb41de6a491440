package pod_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/pod"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// words returns a file in place of the container's termination message, and what is in it.
func words(t *testing.T) func() string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(file, []byte("of before, and longer than what follows"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pod.LastWords(file))
	return func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func counting(t *testing.T, stores ...string) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	in := b.Stream("in", serde.String, serde.String).GroupByKey()
	for _, s := range stores {
		in.Count(streams.As(s)).ToStream().To("out")
	}
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func TestRunChecksItsTopology(t *testing.T) {
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("%s-%d", strings.Repeat("s", 40), i)
	}
	for name, c := range map[string]struct {
		before, now *topology.Topology
		want        string
	}{
		"the same":     {counting(t, "counts"), counting(t, "counts"), ""},
		"a store more": {counting(t, "counts"), counting(t, "counts", "more"), ""},
		"another":      {counting(t, "counts"), counting(t, "sums"), `has no store "counts" any more`},
		"many others":  {counting(t, many...), counting(t, "sums"), "more"},
	} {
		said := words(t)
		text, err := json.Marshal(c.before.Outline())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "topology.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = pod.Run(t.Context(), c.now, []string{"MILLRACE_TOPOLOGY_CHECK=" + file}, &out)
		if errors.Is(err, pod.ErrIncompatible) != (c.want != "") || err != nil && c.want == "" {
			t.Errorf("%s: %v", name, err)
		}
		var v struct {
			Hash   string
			Breaks []string
		}
		if err := json.Unmarshal([]byte(said()), &v); err != nil || v.Hash != c.now.Outline().Hash() || len(said()) > 4096 {
			t.Errorf("%s: %v: %s", name, err, said())
		}
		if (len(v.Breaks) > 0) != (c.want != "") || len(v.Breaks) > 0 && !strings.Contains(v.Breaks[len(v.Breaks)-1], c.want) {
			t.Errorf("%s: it says %q, want %q", name, v.Breaks, c.want)
		}
	}
	for file, want := range map[string]string{"/nowhere": "no such file", "instead_test.go": "is no outline"} {
		if err := pod.Run(t.Context(), counting(t, "counts"), []string{"MILLRACE_TOPOLOGY_CHECK=" + file}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// TestRunResets plans and runs the reset of a program's own application: of what it reads, what it writes and reads again, and what is
// its own.
func TestRunResets(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in-a", "in-b", "through", "out", "other", "app-counts-changelog", "app-counts-repartition"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	var before kadm.Offsets
	for _, topic := range []string{"in-a", "in-b", "through", "other"} {
		for range 5 {
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		before.Add(kadm.Offset{Topic: topic, At: 3, LeaderEpoch: -1})
	}
	if err := admin.CommitAllOffsets(t.Context(), "app", before); err != nil {
		t.Fatal(err)
	}
	b := streams.NewBuilder()
	b.Stream(regexp.MustCompile("in-.*"), serde.String, serde.String).To("through")
	b.Stream("through", serde.String, serde.String).GroupBy(func(_, v string) string { return v }, streams.As("counts")).Count(streams.As("counts")).ToStream().To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	env := func(mode string, more ...string) []string {
		return append(more, "KAFKA_APPLICATION_ID=app", "KAFKA_BOOTSTRAP_SERVERS="+strings.Join(c.ListenAddrs(), ","), "MILLRACE_RESET="+mode)
	}
	committed := func() string {
		offsets, err := admin.FetchOffsets(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		offsets.Each(func(o kadm.OffsetResponse) { s = append(s, fmt.Sprintf("%s %d", o.Topic, o.At)) })
		slices.Sort(s)
		return strings.Join(s, ", ")
	}
	said := words(t)
	var out bytes.Buffer
	if err := pod.Run(t.Context(), topo, env("plan"), &out); err != nil {
		t.Fatal(err)
	}
	if got := committed(); got != "in-a 3, in-b 3, other 3, through 3" || said() != out.String() || !strings.Contains(said(), "delete topic app-counts-changelog") {
		t.Errorf("after the plan: %s; it says\n%s", got, said())
	}
	if err := pod.Run(t.Context(), topo, env("run", "MILLRACE_RESET_OUTPUTS=true"), &out); err != nil {
		t.Fatal(err)
	}
	if got := committed(); got != "in-a 0, in-b 0, other 3, through 5" {
		t.Errorf("after the reset: %s", got)
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := topics.Names(); !slices.Equal(got, []string{"in-a", "in-b", "other", "through"}) {
		t.Errorf("the topics are %q", got)
	}
	for wrong, want := range map[string]string{"MILLRACE_RESET_TO=soon": "MILLRACE_RESET_TO=soon", "MILLRACE_RESET=now": "plan or run", "KAFKA_SECURITY_PROTOCOL=NONE": "security.protocol"} {
		if err := pod.Run(t.Context(), topo, append(env("plan"), wrong), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", wrong, err, want)
		}
	}
}
