package streams_test

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// dedupe sends a record on when its value is another than the last one of its key.
type dedupe struct {
	store *streams.KeyValueStore[string, string]
	ctx   *streams.Context[string, string]
	last  *streams.KeyValues[string, string]
}

func (d *dedupe) Init(ctx *streams.Context[string, string]) (err error) {
	d.ctx = ctx
	d.last, err = d.store.Open(ctx)
	return err
}

func (d *dedupe) Process(r streams.Record[string, string]) error {
	last, seen, err := d.last.Get(r.Key)
	if err != nil || seen && last == r.Value {
		return err
	}
	if err := d.last.Put(r.Key, r.Value); err != nil {
		return err
	}
	return d.ctx.Forward(r)
}

func ExampleStream_Process() {
	d := run(func(b *streams.Builder) {
		last := b.KeyValueStore("last-state", serde.String, serde.String)
		b.Stream("states", serde.String, serde.String).
			Process(func() streams.Processor[string, string, string, string] { return &dedupe{store: last} }, streams.Uses(last)).
			To("changes")
	})
	states := d.Input("states", serde.String, serde.String)
	states.SendAt("door", "open", at(1))
	states.SendAt("door", "open", at(2))
	states.SendAt("door", "shut", at(3))
	show(d, "changes", serde.String, serde.String)
	// Output:
	// door=open@1000
	// door=shut@3000
}

// place puts in front of each value where it came from.
type place struct {
	ctx *streams.Context[string, string]
}

func (p *place) Init(ctx *streams.Context[string, string]) error {
	p.ctx = ctx
	return nil
}

func (p *place) Process(r streams.Record[string, string]) error {
	from, _ := p.ctx.Place()
	return p.ctx.Forward(r.With(fmt.Sprintf("%s/%d/%d %s", from.Topic, from.Partition, from.Offset, r.Value)))
}

// The keys stay as they are, so that counting by key needs no repartition topic.
func ExampleStream_ProcessValues() {
	d := run(func(b *streams.Builder) {
		b.Stream("lines", serde.String, serde.String).
			ProcessValues(func() streams.Processor[string, string, string, string] { return &place{} }).
			To("placed")
	})
	lines := d.Input("lines", serde.String, serde.String)
	lines.SendAt("k", "a", at(0))
	lines.SendAt("k", "b", at(0))
	show(d, "placed", serde.String, serde.String)
	// Output:
	// k=lines/0/0 a@0
	// k=lines/0/1 b@0
}

// batch gathers values and sends them on together every ten seconds of stream time.
type batch struct {
	store  *streams.KeyValueStore[string, string]
	ctx    *streams.Context[string, string]
	values *streams.KeyValues[string, string]
}

func (b *batch) Init(ctx *streams.Context[string, string]) (err error) {
	b.ctx = ctx
	if b.values, err = b.store.Open(ctx); err != nil {
		return err
	}
	_, err = ctx.Every(10*time.Second, streams.StreamTime, b.flush)
	return err
}

func (b *batch) Process(r streams.Record[string, string]) error {
	old, _, err := b.values.Get(r.Key)
	if err != nil {
		return err
	}
	return b.values.Put(r.Key, old+r.Value)
}

func (b *batch) flush(at time.Time) error {
	for k, v := range b.values.All() {
		if err := b.ctx.Forward(streams.Record[string, string]{Key: k, Value: v, Time: at}); err != nil {
			return err
		}
		if err := b.values.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func ExampleContext_Every() {
	d := run(func(b *streams.Builder) {
		gathered := b.KeyValueStore("gathered", serde.String, serde.String)
		b.Stream("letters", serde.String, serde.String).
			Process(func() streams.Processor[string, string, string, string] { return &batch{store: gathered} }, streams.Uses(gathered)).
			To("batches")
	})
	letters := d.Input("letters", serde.String, serde.String)
	letters.SendAt("k", "a", at(11)) // it is after 10 s: what is there is sent on at once
	letters.SendAt("k", "b", at(12))
	letters.SendAt("k", "c", at(13))
	letters.SendAt("k", "d", at(20))
	show(d, "batches", serde.String, serde.String)
	// Output:
	// k=a@11000
	// k=bcd@20000
}

// stores shows what each kind of store can be asked.
type stores struct {
	sums   *streams.KeyValueStore[string, int64]
	hours  *streams.WindowStore[string, int64]
	visits *streams.SessionStore[string, int64]
	of     struct {
		sums   *streams.KeyValues[string, int64]
		hours  *streams.WindowValues[string, int64]
		visits *streams.SessionValues[string, int64]
	}
}

func (s *stores) Init(ctx *streams.Context[string, int64]) (err error) {
	if s.of.sums, err = s.sums.Open(ctx); err != nil {
		return err
	}
	if s.of.hours, err = s.hours.Open(ctx); err != nil {
		return err
	}
	s.of.visits, err = s.visits.Open(ctx)
	return err
}

func (s *stores) Process(r streams.Record[string, int64]) error {
	old, _, err := s.of.sums.Get(r.Key)
	if err != nil {
		return err
	}
	if err := s.of.sums.Put(r.Key, old+r.Value); err != nil {
		return err
	}
	if err := s.of.hours.Put(r.Key, r.Time.Truncate(time.Hour), r.Value); err != nil {
		return err
	}
	if err := s.of.visits.Put(r.Key, r.Time, r.Time.Add(time.Minute), r.Value); err != nil {
		return err
	}
	if r.Key != "end" {
		return nil
	}
	for k, sum := range s.of.sums.Range("a", "c") {
		fmt.Println("sum", k, sum)
	}
	for start, v := range s.of.hours.Of("a", at(0), at(24*3600)) {
		fmt.Println("a, hour", start.UTC().Hour(), v)
	}
	for w, v := range s.of.visits.Find("b", at(3600), at(3610)) {
		fmt.Println("b, visit of", (w.Window.End-w.Window.Start)/1000, "s", v)
	}
	return nil
}

func program(b *streams.Builder) {
	sums := b.KeyValueStore("sums", serde.String, serde.Int64)
	hours := b.WindowStore("hours", time.Hour, 24*time.Hour, serde.String, serde.Int64)
	visits := b.SessionStore("visits", 24*time.Hour, serde.String, serde.Int64)
	b.Stream("numbers", serde.String, serde.Int64).
		Process(func() streams.Processor[string, int64, string, int64] {
			return &stores{sums: sums, hours: hours, visits: visits}
		}, streams.Uses(sums, hours, visits))
}

func ExampleBuilder_KeyValueStore() {
	askStores()
	// Output:
	// sum a 3
	// sum b 4
	// a, hour 0 1
	// a, hour 2 2
	// b, visit of 60 s 4
}

func ExampleBuilder_WindowStore() {
	askStores()
	// Output:
	// sum a 3
	// sum b 4
	// a, hour 0 1
	// a, hour 2 2
	// b, visit of 60 s 4
}

func ExampleBuilder_SessionStore() {
	askStores()
	// Output:
	// sum a 3
	// sum b 4
	// a, hour 0 1
	// a, hour 2 2
	// b, visit of 60 s 4
}

func askStores() {
	d := run(program)
	numbers := d.Input("numbers", serde.String, serde.Int64)
	numbers.SendAt("a", 1, at(0))
	numbers.SendAt("a", 2, at(2*3600))
	numbers.SendAt("b", 4, at(3600))
	numbers.SendAt("end", 0, at(3*3600))
}

// charge charges an order at the price of its time; an order of less than nothing is a new price.
type charge struct {
	prices *streams.VersionedStore[string, int64]
	of     *streams.VersionedValues[string, int64]
	ctx    *streams.Context[string, int64]
}

func (c *charge) Init(ctx *streams.Context[string, int64]) (err error) {
	c.ctx = ctx
	c.of, err = c.prices.Open(ctx)
	return err
}

func (c *charge) Process(r streams.Record[string, int64]) error {
	if r.Value < 0 { // a new price
		_, _, err := c.of.Put(r.Key, -r.Value, r.Time)
		return err
	}
	price, _, ok, err := c.of.GetAt(r.Key, r.Time)
	if err != nil || !ok {
		return err
	}
	return c.ctx.Forward(r.With(r.Value * price))
}

func ExampleBuilder_VersionedStore() {
	d := run(func(b *streams.Builder) {
		prices := b.VersionedStore("prices", time.Hour, serde.String, serde.Int64)
		b.Stream("orders", serde.String, serde.Int64).
			Process(func() streams.Processor[string, int64, string, int64] { return &charge{prices: prices} }, streams.Uses(prices)).
			To("charges")
	})
	orders := d.Input("orders", serde.String, serde.Int64)
	orders.SendAt("tea", -3, at(0))
	orders.SendAt("tea", -5, at(60))
	orders.SendAt("tea", 2, at(50))
	show(d, "charges", serde.String, serde.Int64)
	// Output: tea=6@50000
}
func ExampleTable_TransformValues() {
	d := run(func(b *streams.Builder) {
		rates := b.KeyValueStore("rates", serde.String, serde.Float64)
		b.Stream("rate", serde.String, serde.Float64).Process(func() streams.Processor[string, float64, string, float64] { return &keep{store: rates} }, streams.Uses(rates))
		b.Table("prices", serde.String, serde.Float64).
			TransformValues(func(ctx *streams.Context[string, float64]) (func(string, float64) (float64, error), error) {
				open, err := rates.Open(ctx)
				return func(_ string, price float64) (float64, error) {
					rate, _, err := open.Get("EUR")
					return price * rate, err
				}, err
			}, streams.Uses(rates), streams.As("in-euro")).
			ToStream().
			To("euros")
	})
	d.Input("rate", serde.String, serde.Float64).SendAt("EUR", 0.5, at(1))
	d.Input("prices", serde.String, serde.Float64).SendAt("tea", 3, at(2))
	show(d, "euros", serde.String, serde.Float64)
	// Output:
	// tea=1.5@2000
}

// keep puts each record into a store.
type keep struct {
	store *streams.KeyValueStore[string, float64]
	open  *streams.KeyValues[string, float64]
}

func (k *keep) Init(ctx *streams.Context[string, float64]) (err error) {
	k.open, err = k.store.Open(ctx)
	return err
}

func (k *keep) Process(r streams.Record[string, float64]) error { return k.open.Put(r.Key, r.Value) }
