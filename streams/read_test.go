package streams_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	"github.com/millrace/millrace/topology"
)

// produced produces a record and returns where it is.
func produced(t *testing.T, cl *kgo.Client, topic, key, value string, at time.Time) streams.Position {
	t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Timestamp: at}
	if err := cl.ProduceSync(patiently(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return streams.Position{}.At(r.Topic, r.Partition, r.Offset)
}

// readRows collects what a reader gives.
func readRows[K, V any](t *testing.T, rows iter.Seq2[streams.Row[K, V], error]) (keys []K, all []V) {
	t.Helper()
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		keys, all = append(keys, row.Key), append(all, row.Value)
	}
	return keys, all
}

// countsByKey counts by key, plainly, by minute and by session.
func countsByKey(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	g := b.Stream("in", serde.String, serde.String).GroupByKey()
	g.Count(streams.As("counts"))
	g.WindowedBy(streams.Tumbling(time.Minute).Grace(time.Hour)).Count(streams.As("per-minute"))
	g.Sessions(streams.Gap(time.Minute).Grace(time.Hour)).Count(streams.As("sessions")) // what is older is dropped with a commit
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func reader(t *testing.T, p *process, opts ...streams.ReadOption) *streams.Reader[string, int64] {
	t.Helper()
	r, err := p.Store("counts", serde.String, serde.Int64, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadStore(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(3, "in"))
	cl := client(t, c)
	began := time.UnixMilli(1_700_000_000_000)
	p := start(t, c, countsByKey(t), streams.Workers(2), streams.CommitInterval(time.Hour)) // nothing is committed: it is read all the same
	p.await(streams.StateRunning)
	seen := streams.Position{}
	const n = 1000 // more than one chunk in each partition
	for i := range n {
		r := &kgo.Record{Topic: "in", Key: fmt.Appendf(nil, "key%04d", i), Value: []byte("x"), Timestamp: began.Add(time.Duration(i))}
		cl.Produce(t.Context(), r, func(r *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(patiently(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		for topic, offsets := range produced(t, cl, "in", fmt.Sprintf("key%04d", i), "y", began.Add(time.Second)) {
			for partition, offset := range offsets {
				seen = seen.At(topic, partition, offset)
			}
		}
	}
	r := reader(t, p, streams.AtLeast(seen))
	for i, want := range map[int]int64{0: 2, 29: 2, 30: 1, n - 1: 1} {
		if got, ok, err := r.Get(patiently(t), fmt.Sprintf("key%04d", i)); err != nil || !ok || got != want {
			t.Errorf("key %d has %d, %v, %v; want %d", i, got, ok, err, want)
		}
	}
	if row, ok, err := r.Row(patiently(t), "key0000"); err != nil || !ok || !row.Time.Equal(began.Add(time.Second)) {
		t.Errorf("the row is %+v, %v, %v", row, ok, err)
	}
	if _, ok, err := r.Get(patiently(t), "nobody"); ok || err != nil {
		t.Errorf("a key that is not there: %v, %v", ok, err)
	}
	sum := func(all []int64) (sum int64) {
		for _, v := range all {
			sum += v
		}
		return sum
	}
	keys, all := readRows(t, r.All(patiently(t)))
	if len(keys) != n || sum(all) != n+30 {
		t.Errorf("%d keys with a sum of %d; want %d with %d", len(keys), sum(all), n, n+30)
	}
	back, _ := readRows(t, r.Backward(patiently(t)))
	slices.Sort(back)
	slices.Sort(keys)
	if !slices.Equal(back, keys) {
		t.Error("backward there are other keys than forward")
	}
	keys, all = readRows(t, r.Range(patiently(t), "key0010", "key0039"))
	if len(keys) != 30 || sum(all) != 50 {
		t.Errorf("the range has %d keys with a sum of %d", len(keys), sum(all))
	}
	if keys, _ = readRows(t, r.RangeBackward(patiently(t), "key0010", "key0039")); len(keys) != 30 {
		t.Errorf("backward the range has %d keys", len(keys))
	}
	if keys, _ = readRows(t, r.Range(patiently(t), "key0039", "key0010")); len(keys) != 0 {
		t.Errorf("a range from behind to before has %d keys", len(keys))
	}
	if keys, _ = readRows(t, r.Prefix(patiently(t), []byte("key09"))); len(keys) != 100 {
		t.Errorf("the prefix has %d keys", len(keys))
	}
	for _, err := range r.All(patiently(t)) { // left early
		if err != nil {
			t.Error(err)
		}
		break
	}
	position, err := r.Position(patiently(t))
	if err != nil || len(position["in"]) != 3 {
		t.Errorf("the position is %v, %v", position, err)
	}
	home, err := r.Home("key0000")
	if err != nil || home.Active != "" || home.Partition != topology.Partition([]byte("key0000"), 3) {
		t.Errorf("the home is %+v, %v", home, err)
	}
	one := reader(t, p, streams.InPartition(1))
	if keys, _ = readRows(t, one.All(patiently(t))); len(keys) == 0 || len(keys) >= n {
		t.Errorf("one partition of three has %d keys", len(keys))
	}
	for _, key := range keys {
		if topology.Partition([]byte(key), 3) != 1 {
			t.Errorf("%q is not of that partition", key)
		}
	}
	if _, _, err := reader(t, p, streams.InPartition(3)).Get(patiently(t), "key0000"); err == nil || !strings.Contains(err.Error(), "no partition 3") {
		t.Errorf("a partition that is not there: %v", err)
	}
}

func TestReadWindows(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in"))
	cl := client(t, c)
	began := time.UnixMilli(1_700_000_040_000) // a whole minute
	p := start(t, c, countsByKey(t))
	p.await(streams.StateRunning)
	var last streams.Position
	for _, r := range []struct {
		key   string
		after time.Duration
	}{{"a", 0}, {"a", time.Second}, {"b", time.Minute}, {"a", 3 * time.Minute}, {"a", 10 * time.Minute}} {
		for topic, offsets := range produced(t, cl, "in", r.key, "x", began.Add(r.after)) {
			for partition, offset := range offsets {
				last = last.At(topic, partition, offset)
			}
		}
	}
	windows, err := p.WindowStore("per-minute", serde.String, serde.Int64, streams.AtLeast(last))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok, err := windows.Get(patiently(t), "a", began); n != 2 || !ok || err != nil {
		t.Errorf("the first minute has %d, %v, %v", n, ok, err)
	}
	keys, all := readRows(t, windows.Of(patiently(t), "a", began, began.Add(5*time.Minute)))
	if len(keys) != 2 || keys[1].Window.Start != began.Add(3*time.Minute).UnixMilli() || keys[1].Window.End != keys[1].Window.Start+60_000 || !slices.Equal(all, []int64{2, 1}) {
		t.Errorf("the windows of the key are %v with %v", keys, all)
	}
	if keys, _ = readRows(t, windows.All(patiently(t), time.UnixMilli(0), began.Add(time.Hour))); len(keys) != 4 {
		t.Errorf("all windows are %v", keys)
	}
	if keys, _ = readRows(t, windows.All(patiently(t), began.Add(time.Minute), began.Add(3*time.Minute))); len(keys) != 2 {
		t.Errorf("the windows of three minutes are %v", keys)
	}
	sessions, err := p.SessionStore("sessions", serde.String, serde.Int64, streams.AtLeast(last))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok, err := sessions.Get(patiently(t), "a", began, began.Add(time.Second)); n != 2 || !ok || err != nil {
		t.Errorf("the first session has %d, %v, %v", n, ok, err)
	}
	if keys, all = readRows(t, sessions.Find(patiently(t), "a", began.Add(time.Minute), began.Add(time.Hour))); len(keys) != 2 || !slices.Equal(all, []int64{1, 1}) {
		t.Errorf("the sessions of the key are %v with %v", keys, all)
	}
	if keys, _ = readRows(t, sessions.All(patiently(t), time.UnixMilli(0), began.Add(time.Hour))); len(keys) != 4 {
		t.Errorf("all sessions are %v", keys)
	}
}

// What is elsewhere is said to be there, and copies answer where they are allowed to.
func TestReadElsewhere(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "in"))
	cl := client(t, c)
	opts := []streams.AppOption{streams.Standbys(1), streams.AcceptableRecoveryLag(0), streams.ProbingRebalanceInterval(time.Second)}
	one := start(t, c, countsByKey(t), append(opts, streams.Endpoint("one:1"))...)
	one.await(streams.StateRunning)
	two := start(t, c, countsByKey(t), append(opts, streams.Endpoint("two:2"))...)
	two.await(streams.StateRunning)
	eventually(t, "each to have a task and a standby", func() bool {
		hosts, err := one.HostsOf("counts")
		if err != nil {
			t.Fatal(err)
		}
		return len(hosts) == 2 && len(hosts[0].Active) == 1 && len(hosts[1].Active) == 1 && len(hosts[0].Standbys) == 1 && len(hosts[1].Standbys) == 1 &&
			len(one.Tasks()) == 1 && len(two.Tasks()) == 1
	})
	at := produced(t, cl, "in", "a", "x", time.Now())
	home, err := reader(t, one).Home("a")
	if err != nil {
		t.Fatal(err)
	}
	has, hasNot := one, two
	if home.Active == "two:2" {
		has, hasNot = two, one
	}
	if n, ok, err := reader(t, has, streams.AtLeast(at)).Get(patiently(t), "a"); n != 1 || !ok || err != nil {
		t.Errorf("where it is there is %d, %v, %v", n, ok, err)
	}
	var elsewhere *streams.NotHereError
	if _, _, err := reader(t, hasNot).Get(patiently(t), "a"); !errors.As(err, &elsewhere) || elsewhere.Active != home.Active || len(elsewhere.Standbys) != 1 {
		t.Errorf("elsewhere there is %v; it is %+v", err, home)
	}
	eventually(t, "the copy to answer", func() bool {
		n, ok, err := reader(t, hasNot, streams.Copies()).Get(patiently(t), "a")
		if err != nil && !errors.As(err, &elsewhere) { // the group has given it, but it may not be open yet
			t.Fatal(err)
		}
		return ok && n == 1
	})
	if keys, _ := readRows(t, reader(t, hasNot, streams.MaxLag(1000)).All(patiently(t))); len(keys) != 1 {
		t.Errorf("the copies have %q", keys)
	}
	if _, _, err := reader(t, hasNot, streams.MaxLag(-1)).Get(patiently(t), "a"); !errors.As(err, new(*streams.BehindError)) {
		t.Errorf("a copy that may not even be up to date: %v", err)
	}
}

func TestReadWaitsForAPosition(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"))
	p := start(t, c, countsByKey(t))
	p.await(streams.StateRunning)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var behind *streams.BehindError
	_, _, err := reader(t, p, streams.AtLeast(streams.Position{}.At("in", 0, 99))).Get(ctx, "a")
	if !errors.As(err, &behind) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not 99") {
		t.Errorf("a position that is never reached: %v", err)
	}
}

func TestReadMistakes(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"))
	p := start(t, c, countsByKey(t))
	p.await(streams.StateRunning)
	for _, mistake := range []struct {
		err  func() error
		says string
	}{
		{func() error { _, err := p.Store("count", serde.String, serde.Int64); return err }, `no store "count"`},
		{func() error { _, err := p.Store("sessions", serde.String, serde.Int64); return err }, "is a session store"},
		{func() error { _, err := p.WindowStore("counts", serde.String, serde.Int64); return err }, "is a key-value store"},
		{func() error { _, err := p.SessionStore("counts", serde.String, serde.Int64); return err }, "is a key-value store"},
		{func() error { _, err := p.Store[string, int64]("counts", nil, serde.Int64); return err }, "a serde is missing"},
		{func() error { _, err := p.HostsOf("count"); return err }, `no store "count"`},
	} {
		if err := mistake.err(); err == nil || !strings.Contains(err.Error(), mistake.says) {
			t.Errorf("got %v, want %q", err, mistake.says)
		}
	}
	r := reader(t, p)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Get(patiently(t), "a"); err == nil {
		t.Error("an application that has ended answers")
	}
}

// Reads go on while workers come and go, and never see a count fall.
func TestReadUnderChange(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in"))
	cl := client(t, c)
	p := start(t, c, countsByKey(t), streams.ExactlyOnce(), streams.CommitInterval(20*time.Millisecond))
	p.await(streams.StateRunning)
	r := reader(t, p)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 4 {
		wg.Go(func() {
			last := map[string]int64{}
			for i := 0; ctx.Err() == nil; i++ {
				k := fmt.Sprint("key", i%20)
				n, _, err := r.Get(ctx, k)
				if errors.As(err, new(*streams.NotHereError)) || ctx.Err() != nil {
					continue // its task is on the way from one worker to another
				}
				if err != nil || n < last[k] {
					t.Errorf("%s fell from %d to %d, %v", k, last[k], n, err)
					return
				}
				last[k] = n
				reads.Add(1)
			}
		})
	}
	var at streams.Position
	for i, n := range []int{2, 4, 1, 3} {
		for j := range 200 {
			at = produced(t, cl, "in", fmt.Sprint("key", (200*i+j)%20), "x", time.Now())
		}
		if err := p.SetWorkers(patiently(t), n); err != nil {
			t.Fatal(err)
		}
	}
	if n, ok, err := reader(t, p, streams.AtLeast(at)).Get(patiently(t), "key19"); n != 40 || !ok || err != nil {
		t.Errorf("in the end there are %d, %v, %v", n, ok, err)
	}
	stop()
	wg.Wait()
	if reads.Load() < 100 {
		t.Errorf("there were %d reads", reads.Load())
	}
}
