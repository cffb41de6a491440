package streams_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// guarantees are what tests of handlers run with.
var guarantees = map[string][]streams.AppOption{"at least once": nil, "exactly once": {streams.ExactlyOnce()}}

// narrow makes a topic that takes batches of this size.
func narrow(t *testing.T, c *kfake.Cluster, topic string, bytes int, more ...string) {
	t.Helper()
	configs := map[string]string{"max.message.bytes": fmt.Sprint(bytes)}
	for i := 0; i < len(more); i += 2 {
		configs[more[i]] = more[i+1]
	}
	if err := c.CreateTopic(topic, 1, configs); err != nil {
		t.Fatal(err)
	}
}

// values reads what is committed in a topic until there are n different ones, and returns all, in their order.
func values(t *testing.T, c *kfake.Cluster, topic string, n int) (all []string) {
	t.Helper()
	cl := client(t, c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, seen := patiently(t), map[string]bool{}
	for len(seen) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("waited for %d values in %q: %v; there are %d: %.100q", n, topic, err, len(seen), all)
		}
		f.EachRecord(func(r *kgo.Record) { all, seen[string(r.Value)] = append(all, string(r.Value)), true })
	}
	return all
}

// refusals is input of which some records come to be refused, by the client (over a megabyte) and by the broker (over
// 10 kB); together the others are more than the broker takes in a batch.
func refusals() (in, good, bad []string) {
	for i := range 100 {
		v := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500))
		switch i {
		case 30, 31, 70:
			v += strings.Repeat("y", 20_000)
		case 50:
			v += strings.Repeat("z", 1<<20)
		}
		in = append(in, v)
		if len(v) < 1000 {
			good = append(good, v)
		} else {
			bad = append(bad, v)
		}
	}
	return in, good, bad
}

// What cannot be written because of itself is dropped, or a dead letter, and all else is there: once, in its order.
func TestAppProductionHandler(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t)
			narrow(t, c, "in", 4<<20)
			narrow(t, c, "dead", 4<<20)
			narrow(t, c, "out", 10_000)
			in, good, bad := refusals()
			cl := client(t, c, kgo.ProducerBatchMaxBytes(3<<20))
			for _, v := range in {
				if err := cl.ProduceSync(patiently(t), &kgo.Record{Topic: "in", Value: []byte(v)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			var mu sync.Mutex
			asked := map[int64]bool{}
			p := start(t, c, copyTopology(t), append(opts, streams.ProductionHandler(func(f *streams.Failure) streams.Decision {
				mu.Lock()
				defer mu.Unlock()
				asked[f.Record.Offset] = true
				if f.Output == nil || f.Output.Topic != "out" || string(f.Output.Value) != string(f.Record.Value) {
					t.Errorf("offset %d: the output is not told", f.Record.Offset)
				}
				if f.Record.Offset == 50 {
					return streams.Skip // its dead letter would be as large
				}
				return streams.DeadLetter
			}), streams.DeadLetterTopic("dead"), streams.Linger(5*time.Millisecond))...)
			out := values(t, c, "out", len(good))
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			if name == "exactly once" && !slices.Equal(out, good) {
				t.Errorf("%d values came out, want %d, each once and in order", len(out), len(good))
			}
			dead := values(t, c, "dead", 3)
			if want := slices.DeleteFunc(bad, func(v string) bool { return len(v) > 1<<20 }); name == "exactly once" && !slices.Equal(dead, want) {
				t.Errorf("there are %d dead letters, want %d", len(dead), len(want))
			}
			if len(asked) != 4 {
				t.Errorf("the handler was asked about %v", asked)
			}
			if got := committed(t, c, "in"); got < int64(len(in)) {
				t.Errorf("%d is committed, want %d", got, len(in))
			}
		})
	}
}

// Without a handler the application stops, and says which record it was.
func TestAppRefusedRecord(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t, kfake.SeedTopics(1, "in"))
			narrow(t, c, "out", 10_000)
			feed(t, c, "in", "one", strings.Repeat("x", 20_000), "three")
			start(t, c, copyTopology(t), opts...).awaitError("KSTREAM-SINK", `topic "in" partition 0 offset 1`, `"out"`, "MESSAGE_TOO_LARGE", "max.message.bytes")
			if name == "exactly once" {
				feed(t, c, "in", "four")
				start(t, c, copyTopology(t), append(opts, streams.ProductionHandler(streams.Always(streams.Skip)))...)
				if got := values(t, c, "out", 3); !slices.Equal(got, []string{"one", "three", "four"}) {
					t.Errorf("%q came out", got)
				}
			}
		})
	}
}

// A change of a store that its changelog refuses is no matter of a handler.
func TestAppRefusedChange(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
			narrow(t, c, "app-counts-changelog", 10_000, "cleanup.policy", "compact")
			feed(t, c, "in", "one", strings.Repeat("x", 20_000))
			skip := streams.Always(streams.Skip)
			start(t, c, runningTopology(t), append(opts, streams.ProductionHandler(skip), streams.ProcessingHandler(skip))...).
				awaitError(`store "counts"`, "key of 20000 bytes", `"app-counts-changelog"`, "MESSAGE_TOO_LARGE")
		})
	}
}

// A record that cannot be encoded is a matter of the production handler.
func TestAppUnencodable(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	odd := serde.Func(func(dst []byte, v string) ([]byte, error) {
		if v == "odd" {
			return dst, errors.New("it is odd")
		}
		return append(dst, v...), nil
	}, serde.String.Decode)
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).To("out", streams.WithValue(odd))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	feed(t, c, "in", "one", "odd", "two")
	start(t, c, topo, streams.ProcessingHandler(streams.Always(streams.Skip))).awaitError("encoding the value", `"out"`, "it is odd", "offset 1")
	start(t, c, topo, streams.ProductionHandler(streams.Always(streams.Skip)))
	values(t, c, "out", 2)
}

// flaky copies what a function lets pass.
func flaky(t *testing.T, f func(v string) error) func(c *kfake.Cluster, opts ...streams.AppOption) *process {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).TryMapValues(func(_ context.Context, _, v string) (string, error) { return v, f(v) }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *kfake.Cluster, opts ...streams.AppOption) *process { return start(t, c, topo, opts...) }
}

// A record that is retried is processed again until it works, and counts once.
func TestAppRetries(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	feed(t, c, "in", "one", "two", "three")
	var tries atomic.Int32
	app := flaky(t, func(v string) error {
		if v == "two" && tries.Add(1) < 4 {
			return errors.New("no answer")
		}
		return nil
	})
	p := app(c, streams.ExactlyOnce(), streams.ProcessingHandler(streams.Always(streams.Retry)))
	if got := values(t, c, "out", 3); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("%q came out", got)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if got := tries.Load(); got != 4 {
		t.Errorf("the record was processed %d times, want 4", got)
	}
}

// To retry has an end, which the error names; and it is none for what cannot be decoded.
func TestAppRetriesInVain(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	feed(t, c, "in", "one", "two")
	app := flaky(t, func(string) error { return errors.New("no answer") })
	app(c, streams.ProcessingHandler(streams.Always(streams.Retry)), streams.TaskTimeout(300*time.Millisecond)).
		awaitError("no answer", "offset 0", "option TaskTimeout")

	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.Int64).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, topo, streams.DeserializationHandler(streams.Always(streams.Retry))).awaitError("decoding the value", "offset 0")
}

// letter reads the first dead letter.
func letter(t *testing.T, c *kfake.Cluster) (first *kgo.Record) {
	awaitRecords(t, c, "dead", "a dead letter", func(all []*kgo.Record) bool {
		if len(all) > 0 {
			first = all[0]
		}
		return first != nil
	})
	return first
}

// Dead letters have Java's headers, after the record's own, and are part of the transaction.
func TestAppDeadLetters(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t, kfake.SeedTopics(1, "in", "out", "dead"))
			rec := &kgo.Record{Topic: "in", Key: []byte("k"), Value: []byte("bad"), Headers: []kgo.RecordHeader{{Key: "own", Value: []byte("1")}}, Timestamp: time.UnixMilli(1234)}
			if err := client(t, c).ProduceSync(patiently(t), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
			p := flaky(t, func(string) error { return errors.New("it is bad") })(c, append(opts,
				streams.ProcessingHandler(streams.Always(streams.DeadLetter)), streams.DeadLetterTopic("dead"))...)
			values(t, c, "dead", 1)
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			r := letter(t, c)
			want := [][2]string{
				{"own", "1"}, {"__streams.errors.exception", "*errors.errorString"}, {"__streams.errors.message", "it is bad"},
				{"__streams.errors.stacktrace", `task 0_0: node "KSTREAM-MAPVALUES-0000000001": topic "in" partition 0 offset 0: it is bad`},
				{"__streams.errors.topic", "in"}, {"__streams.errors.partition", "0"}, {"__streams.errors.offset", "0"},
			}
			var got [][2]string
			for _, h := range r.Headers {
				got = append(got, [2]string{h.Key, string(h.Value)})
			}
			if !slices.Equal(got, want) {
				t.Errorf("the headers are\n%q, want\n%q", got, want)
			}
			if string(r.Key) != "k" || string(r.Value) != "bad" || r.Timestamp.UnixMilli() != 1234 {
				t.Errorf("the dead letter is %v", r)
			}
			if transactional := r.Attrs.IsTransactional(); transactional != (name == "exactly once") {
				t.Errorf("in a transaction: %v", transactional)
			}
		})
	}
}
