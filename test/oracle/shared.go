package oracle

import (
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// aKept is a store that a processor keeps from a topic, for others to read.
type aKept struct {
	store  streams.AnyStore
	reader func(streams.StoreUser) (func(optString) (any, error), error)
}

func (b *interpreter) kept(s *Step) any {
	switch {
	case s.Value == "string":
		return keep(b, s, strings_, strings_)
	case s.Fn == "concat":
		return keep(b, s, longs, strings_)
	}
	return keep(b, s, longs, longs)
}

// keep adds a store with values of the topic, or with what is made of them.
func keep[V, S any](b *interpreter, s *Step, values serde.Serde[V], stored serde.Serde[S]) any {
	engine := streams.OnDisk()
	if s.Store.Kind == "memory" {
		engine = streams.InMemory()
	}
	store := b.b.KeyValueStore(s.Store.Name, strings_, stored, engine)
	make := func() streams.Processor[optString, V, struct{}, struct{}] {
		return &keeper[V, S]{store: store, concat: s.Fn == "concat"}
	}
	if s.Op == "globalStore" {
		b.b.GlobalStore(store, s.Topic, strings_, values, make)
	} else {
		b.later = append(b.later, func() {
			b.b.ReadOnlyStore(store, s.Topic, strings_, values, make, streams.As(s.Store.Name+"-keeper"))
		})
	}
	return aKept{store, func(c streams.StoreUser) (func(optString) (any, error), error) {
		opened, err := store.Open(c)
		return func(k optString) (any, error) {
			v, _, err := opened.Get(k)
			return toAny(v), err
		}, err
	}}
}

// keeper keeps the last value of each key, or all that there were.
type keeper[V, S any] struct {
	store  *streams.KeyValueStore[optString, S]
	values *streams.KeyValues[optString, S]
	concat bool
}

func (p *keeper[V, S]) Init(c *streams.Context[struct{}, struct{}]) (err error) {
	p.values, err = p.store.Open(c)
	return err
}

func (p *keeper[V, S]) Process(r streams.Record[optString, V]) error {
	if r.NullKey {
		return nil
	}
	if !p.concat {
		return p.values.Put(r.Key, fromAny[S](toAny(r.Value)))
	}
	old, _, err := p.values.Get(r.Key)
	if err != nil {
		return err
	}
	return p.values.Put(r.Key, fromAny[S](text(toAny(old))+"+"+text(toAny(r.Value))))
}

// lookUp joins each value with what a store that is kept has for the key.
func lookUp[K, V any](b *interpreter, f aStream[K, V], s *Step) (any, error) {
	from, ok := any(f).(aStream[optString, V])
	if !ok {
		return nil, fmt.Errorf("%w: process on another key than a string", ErrUnsupported)
	}
	in := b.made[s.With].(aKept)
	opts := s.as()
	if s.Connect {
		opts = append(opts, streams.Uses(in.store))
	}
	return aStream[optString, optString]{from.Process(func() streams.Processor[optString, V, optString, optString] {
		return &looker[V]{in: in}
	}, opts...)}, nil
}

type looker[V any] struct {
	in  aKept
	get func(optString) (any, error)
	ctx *streams.Context[optString, optString]
}

func (p *looker[V]) Init(c *streams.Context[optString, optString]) (err error) {
	p.ctx = c
	p.get, err = p.in.reader(c)
	return err
}

func (p *looker[V]) Process(r streams.Record[optString, V]) error {
	var found any
	if !r.NullKey {
		var err error
		if found, err = p.get(r.Key); err != nil {
			return err
		}
	}
	return p.ctx.Forward(r.With(streams.Some(text(toAny(r.Value)) + "|" + text(found))))
}

// routed returns the options of a step that writes to partitions which a function chooses.
func routed[K, V any](s *Step) []streams.Option {
	opts := s.as()
	if s.PartitionFn == "" {
		return opts
	}
	return append(opts, streams.Partitioner(func(_ string, _ K, v V, _ int) []int {
		switch {
		case s.PartitionFn == "default":
			return nil
		case s.PartitionFn == "dropSome" && (toAny(v) == nil || len(text(toAny(v)))%2 == 0):
			return []int{}
		}
		return []int{0}
	}))
}

func topicOf[K, V any](fn string) func(K, V, streams.Place) string {
	return func(k K, _ V, from streams.Place) string {
		if fn == "byPlace" {
			topic := from.Topic
			if topic == "" {
				topic = "null" // what Java prints of none
			}
			return fmt.Sprint("to-", topic, "-", from.Offset%2)
		}
		return "to-" + text(toAny(k))
	}
}
