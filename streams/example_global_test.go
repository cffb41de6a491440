package streams_test

import (
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Orders name a product; each process knows all products.
func ExampleStream_JoinGlobal() {
	d := run(func(b *streams.Builder) {
		products := b.GlobalTable("products", serde.String, serde.String)
		b.Stream("orders", serde.String, serde.String).
			JoinGlobal(products, func(_, product string) string { return product },
				func(product, name string) string { return product + " is a " + name }).
			To("named")
	})
	d.Input("products", serde.String, serde.String).Send("p-1", "hat")
	orders := d.Input("orders", serde.String, serde.String)
	orders.SendAt("ann", "p-1", at(1))
	orders.SendAt("bob", "p-2", at(2)) // there is none
	show(d, "named", serde.String, serde.String)
	// Output: ann=p-1 is a hat@1000
}

func ExampleStream_LeftJoinGlobal() {
	d := run(func(b *streams.Builder) {
		products := b.GlobalTable("products", serde.String, serde.String)
		b.Stream("orders", serde.String, serde.String).
			LeftJoinGlobal(products, func(_, product string) string { return product },
				func(product string, name streams.Opt[string]) string { return product + " is a " + name.Or("mystery") }).
			To("named")
	})
	d.Input("orders", serde.String, serde.String).SendAt("bob", "p-2", at(2))
	show(d, "named", serde.String, serde.String)
	// Output: bob=p-2 is a mystery@2000
}

// A processor keeps the longest name of each first letter; another one, of any task, reads it.
func ExampleBuilder_GlobalStore() {
	d := run(func(b *streams.Builder) {
		longest := b.KeyValueStore("longest", serde.String, serde.String)
		b.GlobalStore(longest, "names", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] {
			return &keepLongest{of: longest}
		})
		b.Stream("letters", serde.String, serde.String).
			ProcessValues(func() streams.Processor[string, string, string, string] { return &lookUp{in: longest} }).
			To("answers")
	})
	names := d.Input("names", serde.String, serde.String)
	for _, name := range []string{"ann", "anna", "amy"} {
		names.Send("", name)
	}
	d.Input("letters", serde.String, serde.String).SendAt("q", "a", at(1))
	show(d, "answers", serde.String, serde.String)
	fmt.Println(d.Store("longest", serde.String, serde.String).Get("a"))
	// Output:
	// q=anna@1000
	// anna true
}

type keepLongest struct {
	of    *streams.KeyValueStore[string, string]
	names *streams.KeyValues[string, string]
}

func (p *keepLongest) Init(c *streams.Context[struct{}, struct{}]) (err error) {
	p.names, err = p.of.Open(c)
	return err
}

func (p *keepLongest) Process(r streams.Record[string, string]) error {
	if old, _, err := p.names.Get(r.Value[:1]); err != nil || len(old) >= len(r.Value) {
		return err
	}
	return p.names.Put(r.Value[:1], r.Value)
}

type lookUp struct {
	in    *streams.KeyValueStore[string, string]
	names *streams.KeyValues[string, string]
	ctx   *streams.Context[string, string]
}

func (p *lookUp) Init(c *streams.Context[string, string]) (err error) {
	p.ctx = c
	p.names, err = p.in.Open(c)
	return err
}

func (p *lookUp) Process(r streams.Record[string, string]) error {
	name, _, err := p.names.Get(r.Value)
	if err != nil {
		return err
	}
	return p.ctx.Forward(r.With(name))
}
