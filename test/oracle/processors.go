package oracle

import (
	"fmt"
	"math"
	"strings"
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
	if s.Fn == "versions" {
		v := versions[V]{history: *s.Store.VersionedMs}
		v.store = b.b.VersionedStore(s.Store.Name, ms(v.history), strings_, value)
		return aStream[optString, optString]{from.Process(func() streams.Processor[optString, V, optString, optString] {
			mine := v
			return &mine
		}, streams.Uses(v.store))}, nil
	}
	opts := s.processorStore()
	switch s.Fn {
	case "history":
		h := history[V]{history: *s.Store.VersionedMs}
		h.store = b.b.VersionedStore(s.Store.Name, ms(h.history), strings_, value)
		return told[V](from, func() teller[V] { mine := h; return &mine }, h.store), nil
	case "remember":
		if s.Store.Timestamped {
			opts = append(opts, streams.Timestamped())
		}
		store := b.b.KeyValueStore(s.Store.Name, strings_, value, opts...)
		return told[V](from, func() teller[V] { return &remember[V]{store: store, timestamped: s.Store.Timestamped} }, store), nil
	case "kept":
		store := b.b.KeyValueStore(s.Store.Name, strings_, serde.KeepHeaders(value), opts...)
		return told[V](from, func() teller[V] { return &kept[V]{store: store} }, store), nil
	case "keptWindows":
		store := b.b.WindowStore(s.Store.Name, ms(50), ms(200), strings_, serde.KeepHeaders(value), opts...)
		return told[V](from, func() teller[V] { return &keptWindows[V]{store: store} }, store), nil
	case "keptSessions":
		store := b.b.SessionStore(s.Store.Name, ms(200), strings_, serde.KeepHeaders(value), opts...)
		return told[V](from, func() teller[V] { return &keptSessions[V]{store: store} }, store), nil
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

// versions puts each value into a versioned store, or deletes, and sends on what the store said and holds at times near.
type versions[V any] struct {
	history int64
	store   *streams.VersionedStore[optString, V]
	of      *streams.VersionedValues[optString, V]
	ctx     *streams.Context[optString, optString]
}

func (p *versions[V]) Init(ctx *streams.Context[optString, optString]) (err error) {
	p.ctx = ctx
	p.of, err = p.store.Open(ctx)
	return err
}

func (p *versions[V]) Process(r streams.Record[optString, V]) error {
	if r.NullKey {
		return nil
	}
	said, err := p.put(r)
	if err != nil {
		return err
	}
	latest, from, ok, err := p.of.Get(r.Key)
	said += " latest " + versionText(latest, from, ok)
	t := r.Time.UnixMilli()
	for _, at := range []int64{t - 1, t, t + 1, t + p.history/10, t - p.history/3, t - p.history, t - p.history - 1, t + p.history} {
		if err != nil {
			return err
		}
		var v V
		v, from, ok, err = p.of.GetAt(r.Key, time.UnixMilli(max(0, at)))
		said += " " + versionText(v, from, ok)
	}
	if err != nil {
		return err
	}
	return p.ctx.Forward(streams.Record[optString, optString]{Key: r.Key, Value: streams.Some(said), Time: r.Time, Headers: r.Headers})
}

func (p *versions[V]) put(r streams.Record[optString, V]) (string, error) {
	if r.NullValue && r.Time.UnixMilli()%2 == 0 {
		was, ok, err := p.of.Delete(r.Key, r.Time)
		return "was " + strings.SplitAfter(versionText(was, time.Time{}, ok), "@")[0], err
	}
	until, kept, err := p.of.Put(r.Key, r.Value, r.Time)
	switch {
	case !kept:
		return fmt.Sprint("until ", int64(math.MinInt64)), err
	case until.IsZero():
		return "until -1", err
	}
	return fmt.Sprint("until ", until.UnixMilli()), err
}

func versionText[V any](v V, from time.Time, ok bool) string {
	if !ok {
		return "-"
	}
	return fmt.Sprint(text(toAny(v)), "@", from.UnixMilli())
}
