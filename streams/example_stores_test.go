package streams_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// step is a processor of two functions.
type step struct {
	init    func(*streams.Context[string, string]) error
	process func(streams.Record[string, string]) error
}

func (s *step) Init(c *streams.Context[string, string]) error           { return s.init(c) }
func (s *step) Process(r streams.Record[string, string]) error          { return s.process(r) }
func (s *step) make() streams.Processor[string, string, string, string] { return s }

// The methods of a key-value store that keeps timestamps.
func ExampleKeyValues() {
	d := run(func(b *streams.Builder) {
		store := b.KeyValueStore("s", serde.String, serde.Int64, streams.Timestamped(), streams.Cached(), streams.OnDisk())
		var values *streams.KeyValues[string, int64]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = store.Open(c); return err },
			func(streams.Record[string, string]) error {
				err := errors.Join(values.Put("ann", 1), values.PutTimed("anna", 2, at(7)), values.Put("bob", 3))
				old, had, err2 := values.PutIfAbsent("bob", 4)
				fmt.Println("bob had", old, had)
				v, at, ok, err3 := values.GetTimed("anna")
				fmt.Println("anna", v, at.Unix(), ok)
				for k, v := range values.Prefix([]byte("ann")) {
					fmt.Println("prefix", k, v)
				}
				for k := range values.Backward() {
					fmt.Println("backward", k)
				}
				for k := range values.RangeBackward("ann", "anna") {
					fmt.Println("range", k)
				}
				return errors.Join(err, err2, err3)
			},
		}).make, streams.Uses(store))
	})
	d.Input("in", serde.String, serde.String).Send("k", "v")
	// Output:
	// bob had 3 true
	// anna 2 7 true
	// prefix ann 1
	// prefix anna 2
	// backward bob
	// backward anna
	// backward ann
	// range anna
	// range ann
}

// The methods of a window store.
func ExampleWindowValues() {
	d := run(func(b *streams.Builder) {
		store := b.WindowStore("s", time.Minute, time.Hour, serde.String, serde.Int64)
		var values *streams.WindowValues[string, int64]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = store.Open(c); return err },
			func(streams.Record[string, string]) error {
				err := errors.Join(values.Put("a", at(0), 1), values.Put("b", at(60), 2), values.Put("a", at(120), 3), values.Delete("a", at(0)))
				fmt.Println(values.Get("a", at(120)))
				for w, v := range values.All(at(0), at(600)) {
					fmt.Println(w, v)
				}
				return err
			},
		}).make, streams.Uses(store))
	})
	d.Input("in", serde.String, serde.String).Send("k", "v")
	// Output:
	// 3 true <nil>
	// [b@60000/120000] 2
	// [a@120000/180000] 3
}

// The methods of a session store.
func ExampleSessionValues() {
	d := run(func(b *streams.Builder) {
		store := b.SessionStore("s", time.Hour, serde.String, serde.Int64)
		var values *streams.SessionValues[string, int64]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = store.Open(c); return err },
			func(streams.Record[string, string]) error {
				err := errors.Join(values.Put("a", at(0), at(5), 1), values.Put("b", at(3), at(9), 2), values.Remove("a", at(0), at(5)))
				fmt.Println(values.Get("b", at(3), at(9)))
				for w, v := range values.All(at(0), at(600)) {
					fmt.Println(w, v)
				}
				return err
			},
		}).make, streams.Uses(store))
	})
	d.Input("in", serde.String, serde.String).Send("k", "v")
	// Output:
	// 2 true <nil>
	// [b@3000/9000] 2
}

// The methods of a store that keeps history: a deletion is part of it.
func ExampleVersionedValues() {
	d := run(func(b *streams.Builder) {
		store := b.VersionedStore("s", time.Hour, serde.String, serde.Int64)
		var values *streams.VersionedValues[string, int64]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = store.Open(c); return err },
			func(streams.Record[string, string]) error {
				_, _, err := values.Put("tea", 3, at(10))
				was, ok, err2 := values.Delete("tea", at(20))
				fmt.Println("it was", was, ok)
				_, _, ok, err3 := values.Get("tea")
				fmt.Println("now there is one:", ok)
				v, from, ok, err4 := values.GetAt("tea", at(15))
				fmt.Println("there was:", v, from.Unix(), ok)
				_, _, err5 := values.Put("tea", 5, at(30))
				for v := range values.Versions("tea", at(0), at(60)) {
					fmt.Println("from", v.From.Unix(), "on", v.Value, v.Until.IsZero())
				}
				for v := range values.VersionsBackward("tea", at(0), at(15)) {
					fmt.Println("until", v.Until.Unix(), "it was", v.Value)
				}
				return errors.Join(err, err2, err3, err4, err5)
			},
		}).make, streams.Uses(store))
	})
	d.Input("in", serde.String, serde.String).Send("k", "v")
	// Output:
	// it was 3 true
	// now there is one: false
	// there was: 3 10 true
	// from 10 on 3 false
	// from 30 on 5 true
	// until 20 it was 3
}

// A store that keeps headers and a timestamp with each value.
func ExampleKept() {
	d := run(func(b *streams.Builder) {
		store := b.KeyValueStore("s", serde.String, serde.KeepHeaders(serde.String))
		var values *streams.KeyValues[string, streams.Kept[string]]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = store.Open(c); return err },
			func(r streams.Record[string, string]) error {
				before, ok, err := values.Get(r.Key)
				if ok {
					fmt.Println(before.Value, before.Time.UnixMilli(), string(before.Headers[0].Value))
				}
				return errors.Join(err, values.Put(r.Key, streams.Kept[string]{Value: r.Value, Headers: r.Headers}))
			},
		}).make, streams.Uses(store))
	})
	for i, value := range []string{"first", "second"} {
		err := d.Pipe(topology.Record{
			Topic: "in", Key: []byte("k"), Value: []byte(value), Timestamp: int64(i + 1),
			Headers: []streams.Header{{Key: "trace", Value: []byte("t" + fmt.Sprint(i))}},
		})
		if err != nil {
			panic(err)
		}
	}
	// Output:
	// first 1 t0
}

// A store that forgets what was used least recently.
func ExampleMaxEntries() {
	d := run(func(b *streams.Builder) {
		seen := b.KeyValueStore("seen", serde.String, serde.Bool, streams.MaxEntries(2))
		var values *streams.KeyValues[string, bool]
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { values, err = seen.Open(c); return err },
			func(r streams.Record[string, string]) error {
				_, again, err := values.PutIfAbsent(r.Key, true)
				fmt.Println(r.Key, again)
				return err
			},
		}).make, streams.Uses(seen))
	})
	in := d.Input("in", serde.String, serde.String)
	for _, key := range []string{"ann", "bob", "ann", "eve", "bob"} {
		in.Send(key, "")
	}
	// Output:
	// ann false
	// bob false
	// ann true
	// eve false
	// bob false
}

// What a processor has of its task, and how it chooses among the steps behind it.
func ExampleContext() {
	d := run(func(b *streams.Builder) {
		var ctx *streams.Context[string, string]
		s := b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) error {
				ctx = c
				fmt.Println(c.Application(), c.Task(), c.Name())
				stop, err := c.EveryFrom(at(3600), time.Hour, streams.WallClock, func(now time.Time) error {
					fmt.Println("it is", now.Unix())
					return nil
				})
				_ = stop // ends it
				return err
			},
			func(r streams.Record[string, string]) error {
				latest, _ := ctx.StreamTime()
				fmt.Println(ctx.Now().Unix(), latest.Unix())
				ctx.Commit() // soon
				return errors.Join(ctx.ForwardTo("left", r), ctx.ForwardTo("right", r.WithKey("other")))
			},
		}).make, streams.As("fork"))
		s.To("left", streams.As("left"))
		s.To("right", streams.As("right"))
	})
	d.Input("in", serde.String, serde.String).SendAt("k", "v", at(5))
	if err := d.Advance(time.Hour); err != nil {
		fmt.Println(err)
	}
	show(d, "left", serde.String, serde.String)
	show(d, "right", serde.String, serde.String)
	// Output:
	// app 0_0 fork
	// 0 5
	// it is 3600
	// k=v@5000
	// other=v@5000
}

// Every processor may read a global table.
func ExampleGlobalTable_Open() {
	d := run(func(b *streams.Builder) {
		cities := b.GlobalTable("cities", serde.String, serde.String)
		var (
			ctx  *streams.Context[string, string]
			rows *streams.KeyValues[string, string]
		)
		b.Stream("in", serde.String, serde.String).Process((&step{
			func(c *streams.Context[string, string]) (err error) { ctx = c; rows, err = cities.Open(c); return err },
			func(r streams.Record[string, string]) error {
				city, _, err := rows.Get(r.Value)
				return errors.Join(err, ctx.Forward(r.With(city)))
			},
		}).make).To("out")
	})
	d.Input("cities", serde.String, serde.String).Send("osl", "Oslo")
	d.Input("in", serde.String, serde.String).Send("k", "osl")
	show(d, "out", serde.String, serde.String)
	// Output: k=Oslo@0
}

// A store may be in an engine of the program's choice, such as that of the module state/rocksdb.
func ExampleInEngine() {
	b := streams.NewBuilder()
	open := func(dir string) (state.Engine, error) { return nil, errors.New("this engine is not installed") }
	b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts"), streams.InEngine(open))
	_, err := b.Build() // nothing is opened yet
	fmt.Println(err)
	// Output: <nil>
}

// A source may begin elsewhere than the others: here with the records of the last hour.
func ExampleFrom() {
	b := streams.NewBuilder()
	b.Stream("prices", serde.String, serde.Int64, streams.From(streams.Past(time.Hour))).To("recent")
	b.Stream("orders", serde.String, serde.Int64, streams.From(streams.Latest)).To("new")
	_, err := b.Build()
	fmt.Println(err)
	// Output: <nil>
}

// A row that is null is deleted.
func ExampleNone() {
	d := run(func(b *streams.Builder) {
		b.Stream("moves", serde.String, serde.Int64).GroupByKey().
			Aggregate(func() streams.Opt[int64] { return streams.Some[int64](0) },
				func(_ string, n int64, stock streams.Opt[int64]) streams.Opt[int64] {
					if left := stock.Or(0) + n; left > 0 {
						return streams.Some(left)
					}
					return streams.None[int64]()
				}).
			ToStream().To("stock")
	})
	moves := d.Input("moves", serde.String, serde.Int64)
	moves.Send("tea", 3)
	moves.Send("tea", -3)
	show(d, "stock", serde.String, serde.Int64)
	// Output:
	// tea=3@0
	// tea=null@0
}

func ExampleFirst() {
	d := run(func(b *streams.Builder) {
		b.Stream("logins", serde.String, serde.String).GroupByKey().Reduce(streams.First, streams.As("first")).ToStream().To("first-logins")
	})
	logins := d.Input("logins", serde.String, serde.String)
	logins.Send("ann", "phone")
	logins.Send("ann", "laptop")
	show(d, "first-logins", serde.String, serde.String)
	// Output:
	// ann=phone@0
	// ann=phone@0
}

func ExampleTimeWindowed_Collect() {
	d := run(func(b *streams.Builder) {
		b.Stream("pages", serde.String, serde.String).GroupByKey().WindowedBy(streams.Tumbling(time.Minute)).Collect().ToStream().To("visits")
	})
	pages := d.Input("pages", serde.String, serde.String)
	pages.SendAt("ann", "/", at(1))
	pages.SendAt("ann", "/cart", at(2))
	show(d, "visits", serde.TimeWindowed(serde.String, time.Minute), serde.List(serde.String))
	// Output:
	// [ann@0/60000]=[/]@1000
	// [ann@0/60000]=[/ /cart]@2000
}

func ExampleCogrouped_Sliding() {
	add := func(_ string, n, sum int64) int64 { return sum + n }
	d := run(func(b *streams.Builder) {
		in := b.Stream("in", serde.String, serde.Int64).GroupByKey()
		out := b.Stream("out", serde.String, serde.Int64).GroupByKey()
		in.Cogroup(add).And(out, add).Sliding(streams.Apart(10 * time.Second)).
			Aggregate(func() int64 { return 0 }).ToStream().To("moved")
	})
	d.Input("in", serde.String, serde.Int64).SendAt("tea", 3, at(20))
	d.Input("out", serde.String, serde.Int64).SendAt("tea", 1, at(25))
	show(d, "moved", serde.TimeWindowed(serde.String, 10*time.Second), serde.Int64)
	// Output:
	// [tea@10000/20000]=3@20000
	// [tea@20001/30001]=1@25000
	// [tea@15000/25000]=4@25000
}

// A payment may come within an hour after the order.
func ExampleJoinWindows_After() {
	d := run(func(b *streams.Builder) {
		payments := b.Stream("payments", serde.String, serde.JSON[[]int64]())
		b.Stream("orders", serde.String, serde.String).
			Join(payments, streams.Within(0).After(time.Hour), func(order string, paid []int64) string { return fmt.Sprint(order, " ", paid) },
				streams.WithOther(serde.JSON[[]int64]())).
			To("paid")
	})
	d.Input("orders", serde.String, serde.String).SendAt("o-1", "shoes", at(0))
	payments := d.Input("payments", serde.String, serde.JSON[[]int64]())
	payments.SendAt("o-1", []int64{50}, at(1800))
	payments.SendAt("o-1", []int64{20}, at(3601))
	show(d, "paid", serde.String, serde.String)
	// Output: o-1=shoes [50]@1800000
}

// Where a buffer is full, processing fails rather than send on what may change still.
func ExampleSuppression_FailWhenFull() {
	d := run(func(b *streams.Builder) {
		counts := b.Stream("in", serde.String, serde.String).GroupByKey().Count()
		counts.Suppress(streams.UntilTimeLimit(time.Minute).MaxBytes(100).FailWhenFull(), streams.As("hold"))
		b.Stream("in", serde.String, serde.String).GroupByKey().WindowedBy(streams.Tumbling(time.Minute)).Count().
			Suppress(streams.UntilWindowCloses().MaxRecords(1000))
	})
	for _, key := range []string{"a", "b", "c"} {
		if err := d.Pipe(raw("in", key, "v")); err != nil {
			fmt.Println(key+":", err)
		}
	}
	// Output:
	// c: task 0_0: node "hold": topic "in" partition 0 offset 2: the buffer of node "hold" is full: it holds 3 records (of any number at most) and 117 bytes (of 100)
}
