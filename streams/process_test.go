package streams_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

type (
	text    = streams.Record[string, string]
	textCtx = streams.Context[string, string]
)

// acts is a processor made of functions.
type acts struct {
	init    func(*textCtx) error
	process func(text) error
	close   func() error
}

func (a *acts) Init(c *textCtx) error {
	if a.init == nil {
		return nil
	}
	return a.init(c)
}

func (a *acts) Process(r text) error {
	if a.process == nil {
		return nil
	}
	return a.process(r)
}

func (a *acts) Close() error {
	if a.close == nil {
		return nil
	}
	return a.close()
}

func processor(a *acts) func() streams.Processor[string, string, string, string] {
	return func() streams.Processor[string, string, string, string] { return a }
}

// processing runs a program with one processor, named "p", whose output goes to "out".
func processing(t *testing.T, a *acts, opts ...streams.Option) *streamstest.Driver {
	t.Helper()
	return drive(t, func(b *streams.Builder) {
		b.Stream("in", serde.String, serde.String).Process(processor(a), append(opts, streams.As("p"))...).To("out", streams.As("sink"))
	})
}

func drive(t *testing.T, make func(*streams.Builder)) *streamstest.Driver {
	t.Helper()
	b := streams.NewBuilder()
	make(b)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return streamstest.New(t, program, streamstest.StartAt(time.UnixMilli(0)))
}

func pipe(t *testing.T, d *streamstest.Driver, key, value string, at int64) {
	t.Helper()
	if err := d.Pipe(topology.Record{Topic: "in", Key: []byte(key), Value: []byte(value), Timestamp: at}); err != nil {
		t.Fatal(err)
	}
}

func sentOn(d *streamstest.Driver) (all []string) {
	for _, r := range d.Produced("out") {
		all = append(all, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
	}
	return all
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: %s, want %s", what, g, w)
	}
}

// Punctuations come at the times at which Java has them: by stream time at once and at whole intervals, by the wall clock
// when an interval is over, anchored ones at their times only; what was missed comes once.
func TestPunctuation(t *testing.T) {
	var calls []string
	d := processing(t, &acts{init: func(c *textCtx) error {
		note := func(name string) func(time.Time) error {
			return func(at time.Time) error {
				calls = append(calls, fmt.Sprint(name, at.UnixMilli()))
				return nil
			}
		}
		_, err1 := c.Every(100*time.Millisecond, streams.StreamTime, note("s"))
		_, err2 := c.Every(100*time.Millisecond, streams.WallClock, note("w"))
		_, err3 := c.EveryFrom(time.UnixMilli(130), 100*time.Millisecond, streams.StreamTime, note("S"))
		_, err4 := c.EveryFrom(time.UnixMilli(30), 100*time.Millisecond, streams.WallClock, note("W"))
		return errors.Join(err1, err2, err3, err4)
	}})
	expect := func(want ...string) {
		t.Helper()
		same(t, "calls", calls, want)
		calls = nil
	}
	advance := func(by time.Duration) {
		t.Helper()
		if err := d.Advance(by * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	expect()
	pipe(t, d, "k", "v", 50)
	expect("s50")
	pipe(t, d, "k", "v", 99)
	expect()
	pipe(t, d, "k", "v", 120)
	expect("s120")
	pipe(t, d, "k", "v", 131)
	expect("S131")
	pipe(t, d, "k", "v", 655)
	expect("s655", "S655")
	pipe(t, d, "k", "v", 729)
	expect("s729")
	pipe(t, d, "k", "v", 730)
	expect("S730")
	advance(29)
	expect()
	advance(71)
	expect("W100", "w100")
	advance(30)
	expect("W130")
	advance(500)
	expect("w630", "W630")
}

// A punctuation that is stopped does not come again, also if it stops itself.
func TestPunctuationStops(t *testing.T) {
	n := 0
	d := processing(t, &acts{init: func(c *textCtx) (err error) {
		var stop func()
		stop, err = c.Every(time.Second, streams.StreamTime, func(time.Time) error {
			if n++; n == 2 {
				stop()
			}
			return nil
		})
		return err
	}})
	for i := range int64(5) {
		pipe(t, d, "k", "v", 1000*i)
	}
	same(t, "calls", n, 2)
}

// A record goes to the child that is named, and nowhere else; one that is not there is an error.
func TestForwardTo(t *testing.T) {
	var ctx *textCtx
	a := &acts{init: func(c *textCtx) error { ctx = c; return nil }}
	a.process = func(r text) error { return ctx.ForwardTo(r.Value, r) }
	d := drive(t, func(b *streams.Builder) {
		s := b.Stream("in", serde.String, serde.String).Process(processor(a), streams.As("p"))
		s.To("out", streams.As("left"))
		s.To("other", streams.As("right"))
	})
	pipe(t, d, "k", "left", 1)
	pipe(t, d, "k", "right", 2)
	same(t, "to the left", sentOn(d), []string{"k=left@1"})
	same(t, "to the right", len(d.Produced("other")), 1)
	err := d.Pipe(topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("middle"), Timestamp: 3})
	says(t, err, `node "p"`, `no child "middle"`, `"left" "right"`)
}

// says checks that an error has each of the words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error %v does not say %q", err, w)
		}
	}
}

// What a processor does wrong is an error that names its node, and the place of the record, if there is one.
func TestProcessorFails(t *testing.T) {
	in := topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("v"), Timestamp: 5}
	var ctx *textCtx
	keep := func(c *textCtx) error { ctx = c; return nil }
	for name, c := range map[string]struct {
		acts *acts
		says []string
	}{
		"an error":             {&acts{process: func(text) error { return errors.New("no way") }}, []string{`node "p"`, "offset 0", "no way"}},
		"a panic":              {&acts{process: func(text) error { panic("no way") }}, []string{`node "p"`, "offset 0", "panic: no way"}},
		"a negative timestamp": {&acts{init: keep, process: func(r text) error { r.Time = time.UnixMilli(-1); return ctx.Forward(r) }}, []string{`node "p"`, "negative timestamp -1"}},
		"a punctuation's error": {&acts{init: func(c *textCtx) error {
			_, err := c.Every(time.Second, streams.StreamTime, func(time.Time) error { return errors.New("no way") })
			return err
		}}, []string{`node "p"`, "no way"}},
		"a punctuation's panic": {&acts{init: func(c *textCtx) error {
			_, err := c.Every(time.Second, streams.StreamTime, func(time.Time) error { panic("no way") })
			return err
		}}, []string{`node "p"`, "panic: no way"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, processing(t, c.acts).Pipe(in), c.says...) })
	}
}

// A processor that cannot be opened is an error of the start: what it asks for is named.
func TestProcessorCannotBegin(t *testing.T) {
	build := func(uses bool, init func(*textCtx, *streams.KeyValueStore[string, string]) error) error {
		b := streams.NewBuilder()
		store := b.KeyValueStore("s", serde.String, serde.String)
		in := b.Stream("in", serde.String, serde.String)
		in.Process(processor(&acts{}), streams.Uses(store), streams.As("other"))
		opts := []streams.Option{streams.As("p")}
		if uses {
			opts = append(opts, streams.Uses(store))
		}
		in.Process(processor(&acts{init: func(c *textCtx) error { return init(c, store) }}), opts...)
		program, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		d, err := streamstest.Open(program)
		if err == nil {
			err = d.Close()
		}
		return err
	}
	open := func(c *textCtx, s *streams.KeyValueStore[string, string]) error {
		_, err := s.Open(c)
		return err
	}
	if err := build(true, open); err != nil {
		t.Error(err)
	}
	says(t, build(false, open), `node "p"`, `store "s"`, "Uses")
	says(t, build(true, func(*textCtx, *streams.KeyValueStore[string, string]) error { return errors.New("no key") }), `node "p"`, "no key")
	says(t, build(true, func(c *textCtx, _ *streams.KeyValueStore[string, string]) error {
		_, err := c.Every(time.Microsecond, streams.WallClock, nil)
		return err
	}), `node "p"`, "one millisecond")
	says(t, build(true, func(*textCtx, *streams.KeyValueStore[string, string]) error { panic("no way") }), `node "p"`, "panic: no way")
}

// A processor sees nulls, the headers and the place of a record, and sends nulls on.
func TestProcessorSeesAll(t *testing.T) {
	var seen []text
	var ctx *textCtx
	a := &acts{init: func(c *textCtx) error { ctx = c; return nil }}
	a.process = func(r text) error {
		seen = append(seen, r)
		p, ok := ctx.Place()
		at, known := ctx.StreamTime()
		same(t, "place", fmt.Sprint(p, ok), fmt.Sprintf("{in 0 %d} true", len(seen)-1))
		same(t, "stream time", fmt.Sprint(at.UnixMilli(), known), "7 true")
		return ctx.Forward(r)
	}
	d := processing(t, a)
	headers := []topology.Header{{Key: "h", Value: []byte("x")}}
	for _, r := range []topology.Record{{Value: []byte("v")}, {Key: []byte("k"), Headers: headers}} {
		r.Topic, r.Timestamp = "in", 7
		if err := d.Pipe(r); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "seen", seen, []text{{Value: "v", NullKey: true, Time: time.UnixMilli(7)}, {Key: "k", NullValue: true, Time: time.UnixMilli(7), Headers: headers}})
	out := d.Produced("out")
	if len(out) != 2 || out[0].Key != nil || out[1].Value != nil || len(out[1].Headers) != 1 {
		t.Errorf("sent on: %+v", out)
	}
}

// A store may be changed while it is iterated: what is ahead is seen as it is then. All orders and bounds are those of the
// keys' bytes.
func TestStoreOfProcessor(t *testing.T) {
	for name, opts := range map[string][]streams.Option{"disk": nil, "memory": {streams.InMemory()}, "cached": {streams.Cached()}, "timestamped": {streams.Timestamped()}} {
		t.Run(name, func(t *testing.T) {
			var kv *streams.KeyValues[string, string]
			b := streams.NewBuilder()
			store := b.KeyValueStore("s", serde.String, serde.String, opts...)
			check := func(text) error {
				for i := range 100 {
					if err := kv.Put(fmt.Sprintf("key-%02d", i), fmt.Sprint(i)); err != nil {
						return err
					}
				}
				if err := kv.Put("empty", ""); err != nil {
					return err
				}
				n := 0
				for k := range kv.All() {
					if n++; strings.HasPrefix(k, "key") {
						if err := kv.Delete(k); err != nil {
							return err
						}
						if err := kv.Delete("key-99"); err != nil {
							return err
						}
					}
				}
				same(t, "visited", n, 100) // the last one was deleted before its turn
				same(t, "left", maps.Collect(kv.All()), map[string]string{"empty": ""})
				for _, k := range []string{"a", "b", "b\xff", "b\xffc", "c"} {
					old, had, err := kv.PutIfAbsent(k, "v"+k)
					if err != nil || had {
						t.Error(old, had, err)
					}
				}
				if old, had, err := kv.PutIfAbsent("a", "w"); old != "va" || !had || err != nil {
					t.Error(old, had, err)
				}
				keys := func(all func(func(string, string) bool)) []string {
					var keys []string
					for k := range all {
						keys = append(keys, k)
					}
					return keys
				}
				same(t, "range", keys(kv.Range("b", "b\xffc")), []string{"b", "b\xff", "b\xffc"})
				same(t, "range backward", keys(kv.RangeBackward("a", "b")), []string{"b", "a"})
				same(t, "empty range", len(keys(kv.Range("c", "a"))), 0)
				same(t, "backward", keys(kv.Backward()), []string{"empty", "c", "b\xffc", "b\xff", "b", "a"})
				same(t, "prefix", keys(kv.Prefix([]byte("b\xff"))), []string{"b\xff", "b\xffc"})
				for range kv.All() {
					break
				}
				return nil
			}
			b.Stream("in", serde.String, serde.String).Process(processor(&acts{
				init:    func(c *textCtx) (err error) { kv, err = store.Open(c); return err },
				process: check,
			}), streams.Uses(store))
			program, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			d := streamstest.New(t, program, streamstest.StateDir(t.TempDir()))
			pipe(t, d, "k", "v", 1)
		})
	}
}

// A timestamped store gives back the times that it was given; what it writes to its changelog carries them.
func TestTimestampedStore(t *testing.T) {
	var kv *streams.KeyValues[string, string]
	d := drive(t, func(b *streams.Builder) {
		store := b.KeyValueStore("s", serde.String, serde.String, streams.Timestamped())
		b.Stream("in", serde.String, serde.String).Process(processor(&acts{
			init: func(c *textCtx) (err error) { kv, err = store.Open(c); return err },
			process: func(r text) error {
				if err := kv.PutTimed(r.Key, r.Value, time.UnixMilli(42)); err != nil {
					return err
				}
				_, at, ok, err := kv.GetTimed(r.Key)
				same(t, "time", fmt.Sprint(at.UnixMilli(), ok), "42 true")
				return err
			},
		}), streams.Uses(store))
	})
	pipe(t, d, "k", "v", 7)
	if log := d.Produced("app-s-changelog"); len(log) != 1 || log[0].Timestamp != 42 || string(log[0].Value) != "v" {
		t.Errorf("the changelog has %+v", log)
	}
}

// What was opened is closed, and told apart by task.
func TestProcessorCloses(t *testing.T) {
	var calls []string
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).Process(processor(&acts{
		init:  func(c *textCtx) error { calls = append(calls, "init "+c.Name()+" "+c.Task().String()); return nil },
		close: func() error { calls = append(calls, "close"); return errors.New("it sticks") },
	}), streams.As("p"))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d, err := streamstest.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	says(t, d.Close(), `node "p"`, "it sticks")
	if !slices.Equal(calls, []string{"init p 0_0", "close"}) {
		t.Errorf("calls: %q", calls)
	}
}
