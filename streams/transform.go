package streams

import (
	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// TransformValues makes a new value of each row with a function that may use stores of the program and be called at times.
// open returns the function; it is called once a task, when the stores are restored, and its [Context] cannot send records.
// A deleted row stays deleted, unless the type shows nulls: then the function is called for it too.
//
// The result is computed, unless As keeps it in a store. Where something needs the old value of a row, or reads the table,
// and it is not kept, the function is called again for that, so its result should depend on the row alone, or the table be
// kept. It is called with the record in process, but for a read, which has none.
//
// Options: As names a store and keeps the result there, Named names the node; Uses connects it with stores; WithValue sets the
// serde of the new type; InMemory, OnDisk, Uncached, Unlogged, LogConfig and Versioned are about the store. Java: KTable.transformValues
// (KIP-292). Names: KTABLE-TRANSFORMVALUES-n.
func (t *Table[K, V]) TransformValues[V2 any](open func(*Context[K, V2]) (func(K, V) (V2, error), error), opts ...Option) *Table[K, V2] {
	b := t.b
	b.function("TransformValues", open)
	o := b.options("TransformValues", opts, tableOptions|usesOption)
	name := b.nameOr(o.node, "KTABLE-TRANSFORMVALUES-")
	key, value := given(b, "TransformValues", o.key, t.key), given(b, "TransformValues", o.value, carried[V, V2](t.value))
	if o.name != "" {
		key, value = serdeFor(b, key, "key", "streams.WithKey"), serdeFor(b, value, "value", "streams.WithValue")
	}
	kept := &kept{store: o.name, above: t.kept, inherits: !o.store && o.name == "", history: o.history}
	start := func(p *node.Processing[K, V2]) (node.Transform[K, V, V2], error) {
		return open(&Context[K, V2]{p})
	}
	spec := o.spec(o.name, state.KeyValue)
	make := node.TableTransform(name, o.uses, start, node.TableStore[K, V2]{Name: kept.storeName, Key: key, Value: value, SendOld: kept.sendsOld})
	st := b.add(t.step, &step{name: name, write: func(tb *topology.Builder, parents []string) {
		tb.AddProcessor(name, make, parents...)
		if kept.store != "" {
			tb.AddStore(spec, name)
		}
		for _, store := range o.uses {
			tb.Connect(name, store)
		}
	}})
	return &Table[K, V2]{
		b: b, step: st, name: name, key: key, value: value, sources: t.sources, kept: kept,
		getter: func() node.GetterFunc[K, V2] {
			if kept.store != "" {
				return node.StoreGetter(kept.store, key, value)
			}
			return node.TransformGetter(name, t.getter(), o.uses, start)
		},
	}
}
