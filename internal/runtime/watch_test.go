package runtime

import (
	"strings"
	"testing"
	"time"
)

// A topic that brokers miss for a moment, as one does that starts again, is not gone; what they say in one look is enough
// to see that it is another.
func TestWatcher(t *testing.T) {
	topo := graph(t, "in -> -> r1", "r1 -> s -> out")
	layout, err := Lay("app", topo, map[string]int32{"in": 2})
	if err != nil {
		t.Fatal(err)
	}
	i := New(Config{Application: "app", Topology: topo}, Ports{})
	i.layout = layout
	w := i.newWatcher()
	all := func(ids ...byte) map[string]Topic {
		topics := make(map[string]Topic)
		for n, name := range []string{"in", "app-r1", "app-s-changelog"} {
			if ids[n] > 0 {
				topics[name] = Topic{ID: [16]byte{ids[n]}, Partitions: 2}
			}
		}
		return topics
	}
	now := time.Now()
	look := func(after time.Duration, topics map[string]Topic) error {
		now = now.Add(after)
		return w.gone(now, topics)
	}
	for n, topics := range []map[string]Topic{all(1, 2, 3), all(0, 2, 3), all(0, 0, 3), all(1, 2, 3), all(0, 2, 3), all(0, 2, 3)} {
		if err := look(missingFor/2, topics); err != nil {
			t.Fatalf("look %d: %v", n, err)
		}
	}
	for _, c := range []struct {
		topics map[string]Topic
		says   []string
	}{
		{all(0, 2, 3), []string{`the input topic "in" does not exist (any more)`, "for 5s", "create it"}},
		{all(1, 2, 4), []string{`the changelog topic "app-s-changelog" was deleted and made anew`, "build the state again"}},
		{all(1, 4, 3), []string{`the repartition topic "app-r1" was deleted and made anew`, "process its input again"}},
	} {
		err := look(missingFor/2, c.topics)
		for _, s := range c.says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("got %v, want it to say %q", err, s)
			}
		}
	}
	topics := all(1, 2, 3)
	topics["in"] = Topic{Partitions: 1}
	if err := w.grown(topics); err != nil {
		t.Errorf("a broker that has not heard of a partition yet ends the application: %v", err)
	}
	topics["app-s-changelog"] = Topic{Partitions: 3}
	if err := w.grown(topics); err == nil || !strings.Contains(err.Error(), `"app-s-changelog" has 3 partitions, and had 2`) {
		t.Errorf("got %v", err)
	}
}
