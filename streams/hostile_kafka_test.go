//go:build kafka

package streams_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/streams"
)

// soon bounds how long an application takes to say that a topic is gone, and to end: docs/guarantees.md has 10 s, and
// the machine may be busy.
const soon = 20 * time.Second

// awaitEnd waits until the application ends by itself, and checks what it says.
func (r *real) awaitEnd(t *testing.T, within time.Duration, says ...string) {
	t.Helper()
	began := time.Now()
	select {
	case <-r.ended:
	case <-time.After(within):
		t.Fatalf("it did not end within %v", within)
	}
	err := r.stop()
	t.Logf("ended after %v: %v", time.Since(began).Round(time.Millisecond), err)
	if err == nil {
		t.Fatal("it ended without an error")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
}

// keepFeeding writes into a topic until the test ends, whatever comes of it.
func keepFeeding(t *testing.T, c *kafkatest.Cluster, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			for i := range 100 {
				cl.Produce(ctx, kgo.StringRecord(fmt.Sprint("word", i)), nil)
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; cl.Close() })
}

// A topic that goes away under a busy application ends it soon, with the name of the topic, under either guarantee.
func TestTopicsGoneOnKafka(t *testing.T) {
	withTopics(t, []string{"input", "repartition", "changelog", "output"}, func(t *testing.T, c *kafkatest.Cluster, r *real, topic string) {
		if _, err := c.Admin().DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		r.awaitEnd(t, soon, fmt.Sprintf("%q", topic), "does not exist (any more)", "reset the application")
	})
}

// So does one that is deleted and made anew, before anything is done with the new one.
func TestTopicsMadeAnewOnKafka(t *testing.T) {
	withTopics(t, []string{"input", "repartition", "changelog"}, func(t *testing.T, c *kafkatest.Cluster, r *real, topic string) {
		if _, err := c.Admin().DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for {
			_, err := c.Admin().CreateTopic(t.Context(), 2, -1, nil, topic)
			if err == nil {
				break
			}
			if !errors.Is(err, kerr.TopicAlreadyExists) { // not deleted yet
				t.Fatal(err)
			}
			<-again.C
		}
		r.awaitEnd(t, soon, topic, "was deleted and made anew", "reset the application")
	})
}

// withTopics does something to a topic of each kind, under a busy application, with either guarantee.
func withTopics(t *testing.T, kinds []string, do func(t *testing.T, c *kafkatest.Cluster, r *real, topic string)) {
	c := kafkatest.Shared(t)
	for name, opts := range guarantees {
		for _, kind := range kinds {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				r, in, out := startBusy(t, c, opts...)
				do(t, c, r, map[string]string{
					"input": in, "output": out, "repartition": "app-" + in + "-counts-repartition", "changelog": "app-" + in + "-counts-changelog",
				}[kind])
			})
		}
	}
}

// startBusy starts an application with much to do, and returns when its output is committed.
func startBusy(t *testing.T, c *kafkatest.Cluster, opts ...streams.AppOption) (r *real, in, out string) {
	t.Helper()
	in, out = c.Topic(t, "in", 2), c.Topic(t, "out", 2)
	r = startReal(t, []string{c.Bootstrap()}, "app-"+in, in, out, t.TempDir(), append(opts, streams.Workers(2))...)
	keepFeeding(t, c, in)
	r.wait(t, "output", func() bool { return ends(t, c.Admin(), out) > 0 })
	return r, in, out
}

// ends adds up where the partitions of a topic end.
func ends(t *testing.T, admin *kadm.Client, topic string) (sum int64) {
	t.Helper()
	offsets, err := admin.ListEndOffsets(t.Context(), topic)
	if err = errors.Join(err, offsets.Error()); err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}
