package streams_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

// globalTopology joins a stream with a global table, and with what a processor has made of another topic.
func globalTopology(t *testing.T, opts ...streams.Option) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	rows := b.GlobalTable("rows", serde.String, serde.String, append([]streams.Option{streams.As("rows")}, opts...)...)
	counts := b.KeyValueStore("counts", serde.String, serde.Int64, opts...)
	b.GlobalStore(counts, "events", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] {
		return &tally{store: counts}
	})
	b.Stream("in", serde.String, serde.String).
		JoinGlobal(rows, func(_, v string) string { return v }, func(v, row string) string { return v + "=" + row }).
		ProcessValues(func() streams.Processor[string, string, string, string] { return &readCounts{store: counts} }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// tally counts the records of each key.
type tally struct {
	store  *streams.KeyValueStore[string, int64]
	counts *streams.KeyValues[string, int64]
}

func (p *tally) Init(c *streams.Context[struct{}, struct{}]) (err error) {
	p.counts, err = p.store.Open(c)
	return err
}

func (p *tally) Process(r streams.Record[string, string]) error {
	n, _, err := p.counts.Get(r.Key)
	if err != nil {
		return err
	}
	return p.counts.Put(r.Key, n+1)
}

// readCounts adds the sum of all counts to each value.
type readCounts struct {
	store  *streams.KeyValueStore[string, int64]
	counts *streams.KeyValues[string, int64]
	ctx    *streams.Context[string, string]
}

func (p *readCounts) Init(c *streams.Context[string, string]) (err error) {
	p.ctx = c
	p.counts, err = p.store.Open(c)
	return err
}

func (p *readCounts) Process(r streams.Record[string, string]) error {
	sum := int64(0)
	for _, n := range p.counts.All() {
		sum += n
	}
	return p.ctx.Forward(r.With(fmt.Sprint(r.Value, " of ", sum)))
}

func feedPairs(t *testing.T, c *kfake.Cluster, topic, value string, keys ...string) {
	t.Helper()
	cl := client(t, c)
	var records []*kgo.Record
	for _, k := range keys {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(k), Value: []byte(value)})
	}
	if err := cl.ProduceSync(patiently(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestGlobalStores goes through starts, restarts and a kill: before anything is joined the stores have what their topics
// had at the start, they read what is new only, and no record is given to a processor twice.
func TestGlobalStores(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprintf("exactly once %v", once), func(t *testing.T) {
			c := fakeCluster(t, kfake.SeedTopics(3, "in", "out", "rows", "events"))
			topo, dir := globalTopology(t), t.TempDir()
			var opts []streams.AppOption
			if once {
				opts = append(opts, streams.ExactlyOnce())
			}
			ins := 0
			see := func(p *process, want string) { // asks for all words until each answer is as wanted
				t.Helper()
				eventually(t, want, func() bool {
					feed(t, c, "in", words(20, 20)...)
					ins += 20
					p.await(streams.StateRunning)
					var all []*kgo.Record
					awaitRecords(t, c, "out", fmt.Sprint(ins, " answers"), func(read []*kgo.Record) bool { all = read; return len(read) >= ins })
					if len(all) != ins {
						t.Fatalf("%d answers to %d questions", len(all), ins)
					}
					for _, r := range all[ins-20:] {
						if !strings.HasSuffix(string(r.Value), want) {
							return false
						}
					}
					return true
				})
			}
			restored := func(p *process, full bool, least, most int64) {
				t.Helper()
				p.mu.Lock()
				defer p.mu.Unlock()
				n := map[string]int64{}
				for _, e := range p.events {
					if e.Task.Subtopology == -1 && e.Phase == streams.RestoreEnd {
						n[e.Store] += e.Records
						if e.Full != full {
							t.Errorf("full %v: %+v", e.Full, e)
						}
					}
				}
				for store, n := range n {
					if n < least || n > most {
						t.Errorf("%d records of store %s were restored; want %d to %d", n, store, least, most)
					}
				}
				if len(n) == 0 && least > 0 {
					t.Error("nothing was restored")
				}
			}
			grow := func(value string) {
				feedPairs(t, c, "rows", value, words(20, 20)...)
				feedPairs(t, c, "events", "", words(20, 20)...)
			}
			grow("a")
			p := start(t, c, topo, append(opts, streams.StateDir(dir))...)
			see(p, "=a of 20")
			restored(p, true, 20, 20)
			grow("b") // while it runs
			see(p, "=b of 40")
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			grow("c")
			p = start(t, c, topo, append(opts, streams.StateDir(dir))...)
			see(p, "=c of 60")
			restored(p, false, 20, 20)
			grow("d")
			see(p, "=d of 80")
			counts, err := p.Store("counts", serde.String, serde.Int64)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for row, err := range counts.All(patiently(t)) {
				if n++; err != nil || row.Value != 4 {
					t.Errorf("a row is %v, %v", row, err)
				}
			}
			if v, ok, err := counts.Get(patiently(t), "word3"); n != 20 || v != 4 || !ok || err != nil {
				t.Errorf("there are %d rows, and one is %d, %v, %v", n, v, ok, err)
			}
			killed := filepath.Join(t.TempDir(), "killed") // what a kill would leave
			if err := os.CopyFS(filepath.Join(killed, "app", "global"), os.DirFS(filepath.Join(dir, "app", "global"))); err != nil {
				t.Fatal(err)
			}
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			grow("e")
			p = start(t, c, topo, append(opts, streams.StateDir(killed))...)
			see(p, "=e of 100")
			restored(p, false, 20, 40)
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// remake deletes a topic and makes it anew.
func remake(t *testing.T, c *kfake.Cluster, topic string) {
	t.Helper()
	admin := kadm.NewClient(client(t, c))
	if _, err := admin.DeleteTopic(patiently(t), topic); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(patiently(t), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

// TestGlobalStoreOfANewTopic: what a store has of a topic that was made anew meanwhile is thrown away.
func TestGlobalStoreOfANewTopic(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out", "rows", "events"))
	topo, dir := globalTopology(t), t.TempDir()
	feedPairs(t, c, "rows", "old", words(20, 20)...)
	p := start(t, c, topo, streams.StateDir(dir))
	p.await(streams.StateRunning)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	remake(t, c, "rows")
	feedPairs(t, c, "rows", "new", words(5, 5)...)
	p = start(t, c, topo, streams.StateDir(dir))
	feed(t, c, "in", words(20, 20)...)
	awaitRecords(t, c, "out", "5 answers", func(all []*kgo.Record) bool { return len(all) == 5 })
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range readAll(t, c, "out") {
		if !strings.HasSuffix(string(r.Value), "=new of 0") {
			t.Errorf("joined %s", r.Value)
		}
	}
}

// TestGlobalStoreFailures: what goes wrong ends the application, and is said.
func TestGlobalStoreFailures(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out", "rows", "numbers"))
	build := func(program func(b *streams.Builder)) *topology.Topology {
		b := streams.NewBuilder()
		b.Stream("in", serde.String, serde.String).To("out")
		program(b)
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return topo
	}
	start(t, c, build(func(b *streams.Builder) { b.GlobalTable("nowhere", serde.String, serde.String) })).
		awaitError(`topics that do not exist: "nowhere"`)
	feedPairs(t, c, "numbers", "one", "k")
	numbers := build(func(b *streams.Builder) { b.GlobalTable("numbers", serde.String, serde.Int64, streams.As("numbers")) })
	start(t, c, numbers).awaitError(`global store "numbers"`, `topic "numbers" partition 0 offset 0`, "int64 wants 8 bytes, got 3")
	skipping := start(t, c, numbers, streams.DeserializationHandler(streams.Always(streams.Skip)))
	skipping.await(streams.StateRunning)
	if err := skipping.stop(); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, build(func(b *streams.Builder) { b.GlobalTable("rows", serde.String, serde.String, streams.As("rows")) }))
	p.await(streams.StateRunning)
	feedPairs(t, c, "rows", "v", "k")
	rows, err := p.Store("rows", serde.String, serde.String)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the row", func() bool {
		_, ok, err := rows.Get(patiently(t), "k")
		return ok && err == nil
	})
	remake(t, c, "rows")
	p.awaitError("rows", "made anew")

	broken := errors.New("broken")
	p = start(t, c, build(func(b *streams.Builder) {
		b.GlobalStore(b.KeyValueStore("s", serde.String, serde.String), "rows", serde.String, serde.String,
			func() streams.Processor[string, string, struct{}, struct{}] { return breaking{broken} }, streams.As("keep"))
	}))
	p.await(streams.StateRunning)
	feedPairs(t, c, "rows", "v", "k")
	p.awaitError(`global store "s"`, `node "keep"`, "broken")
}

type breaking struct{ err error }

func (breaking) Init(*streams.Context[struct{}, struct{}]) error { return nil }
func (f breaking) Process(streams.Record[string, string]) error  { return f.err }

// TestGlobalMistakes: what Java refuses, and what cannot work, is said with its place or its store.
func TestGlobalMistakes(t *testing.T) {
	none := func() streams.Processor[string, string, struct{}, struct{}] { return breaking{} }
	for name, c := range map[string]struct {
		program func(b *streams.Builder)
		says    string
	}{
		"a topic with two uses": {func(b *streams.Builder) {
			b.Stream("t", serde.String, serde.String).To("out")
			b.GlobalTable("t", serde.String, serde.String)
		}, `topic "t" is read by source "KSTREAM-SOURCE-0000000000" already`},
		"Uses": {func(b *streams.Builder) {
			g := b.GlobalTable("t", serde.String, serde.String, streams.As("g"))
			b.Stream("in", serde.String, serde.String).
				Process(func() streams.Processor[string, string, string, string] { return nil }, streams.Uses(g)).To("out")
		}, `connected with the global store "g"; every processor can read it without that`},
		"a store taken twice": {func(b *streams.Builder) {
			s := b.KeyValueStore("s", serde.String, serde.String)
			b.GlobalStore(s, "t", serde.String, serde.String, none)
			b.GlobalStore(s, "u", serde.String, serde.String, none)
		}, "which no other verb has taken"},
		"two stores of one name": {func(b *streams.Builder) {
			b.GlobalTable("t", serde.String, serde.String, streams.As("s"))
			b.GlobalTable("u", serde.String, serde.String, streams.As("s"))
		}, `two stores have the name "s"`},
		"no table": {func(b *streams.Builder) {
			b.Stream("in", serde.String, serde.String).
				JoinGlobal(nil, func(k, _ string) string { return k }, func(v, _ string) string { return v }).To("out")
		}, "JoinGlobal takes a global table of the same Builder"},
	} {
		b := streams.NewBuilder()
		c.program(b)
		if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGlobalStoreIsReadOnly: but for the processor that keeps it, which cannot do what only tasks can.
func TestGlobalStoreIsReadOnly(t *testing.T) {
	b := streams.NewBuilder()
	s := b.KeyValueStore("s", serde.String, serde.String, streams.InMemory())
	b.GlobalStore(s, "t", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] { return &greedy{} })
	b.Stream("in", serde.String, serde.String).
		Process(func() streams.Processor[string, string, string, string] { return &writer{of: s} }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d, err := streamstest.Open(topo)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for topic, says := range map[string]string{"in": `store "s" is global`, "t": `keeps store "s": it cannot send records on`} {
		if err := d.Pipe(topology.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

type greedy struct {
	ctx *streams.Context[struct{}, struct{}]
}

func (p *greedy) Init(c *streams.Context[struct{}, struct{}]) error { p.ctx = c; return nil }
func (p *greedy) Process(streams.Record[string, string]) error {
	_ = p.ctx.Forward(streams.Record[struct{}, struct{}]{})
	return nil
}

type writer struct {
	of     *streams.KeyValueStore[string, string]
	values *streams.KeyValues[string, string]
}

func (p *writer) Init(c *streams.Context[string, string]) (err error) {
	p.values, err = p.of.Open(c)
	return err
}

func (p *writer) Process(r streams.Record[string, string]) error {
	_ = p.values.Put(r.Key, r.Value)
	return nil
}

// TestGlobalTableAlone: a program may do nothing but keep a table for readers.
func TestGlobalTableAlone(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(2, "rows"))
	b := streams.NewBuilder()
	b.GlobalTable("rows", serde.String, serde.String, streams.As("rows"), streams.InMemory())
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	feedPairs(t, c, "rows", "v", words(20, 20)...)
	p := start(t, c, topo)
	p.await(streams.StateRunning)
	rows, err := p.Store("rows", serde.String, serde.String)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range rows.All(patiently(t)) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 20 {
		t.Errorf("there are %d rows", n)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}
