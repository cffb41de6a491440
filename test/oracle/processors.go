package oracle

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// process adds a processor with a store of its own.
func process[K, V any](b *interpreter, f aStream[K, V], s *Step) (any, error) {
	from, ok := any(f).(aStream[optString, V])
	if !ok {
		return nil, fmt.Errorf("%w: process on another key than a string", ErrUnsupported)
	}
	var value serde.Serde[V]
	switch v := any(&value).(type) {
	case *serde.Serde[optString]:
		*v = strings_
	case *serde.Serde[optLong]:
		*v = longs
	default:
		return nil, fmt.Errorf("%w: process on these values", ErrUnsupported)
	}
	opts := []streams.Option{streams.OnDisk()}
	if s.Store.Kind == "memory" {
		opts[0] = streams.InMemory()
	}
	if s.Store.Logging != nil && !*s.Store.Logging {
		opts = append(opts, streams.Unlogged())
	}
	last := &lastValues[V]{store: b.b.KeyValueStore(s.Store.Name, strings_, value, opts...)}
	opts = append(s.as(), streams.Uses(last.store))
	var make func() streams.Processor[optString, V, optString, V]
	switch s.Fn {
	case "distinct":
		make = func() streams.Processor[optString, V, optString, V] { return &distinct[V]{lastValues: *last} }
	case "ticker":
		clock := streams.WallClock
		if s.Clock == "stream" {
			clock = streams.StreamTime
		}
		every := time.Duration(s.EveryMs) * time.Millisecond
		make = func() streams.Processor[optString, V, optString, V] {
			return &ticker[V]{lastValues: *last, every: every, clock: clock}
		}
	default:
		return nil, fmt.Errorf("%w: processor %s", ErrUnsupported, s.Fn)
	}
	return aStream[optString, V]{from.Process(make, opts...)}, nil
}

// lastValues keeps a value a key.
type lastValues[V any] struct {
	store *streams.KeyValueStore[optString, V]
	of    *streams.KeyValues[optString, V]
	ctx   *streams.Context[optString, V]
}

func (l *lastValues[V]) Init(ctx *streams.Context[optString, V]) (err error) {
	l.ctx = ctx
	l.of, err = l.store.Open(ctx)
	return err
}

// distinct sends a record on only when its value differs from the key's last one.
type distinct[V any] struct{ lastValues[V] }

func (d *distinct[V]) Process(r streams.Record[optString, V]) error {
	if r.NullKey {
		return nil
	}
	last, _, err := d.of.Get(r.Key)
	if err != nil || toAny(last) == toAny(r.Value) {
		return err
	}
	if err := d.of.Put(r.Key, r.Value); err != nil {
		return err
	}
	return d.ctx.Forward(r)
}

// ticker keeps the last value a key; on each tick it sends on and deletes all of them, stamped with the tick's time.
type ticker[V any] struct {
	lastValues[V]
	every time.Duration
	clock streams.Clock
}

func (t *ticker[V]) Init(ctx *streams.Context[optString, V]) error {
	if err := t.lastValues.Init(ctx); err != nil {
		return err
	}
	_, err := ctx.Every(t.every, t.clock, func(at time.Time) error {
		for k, v := range t.of.All() {
			if err := ctx.Forward(streams.Record[optString, V]{Key: k, Value: v, Time: at}); err != nil {
				return err
			}
			if err := t.of.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (t *ticker[V]) Process(r streams.Record[optString, V]) error {
	if r.NullKey {
		return nil
	}
	return t.of.Put(r.Key, r.Value)
}
