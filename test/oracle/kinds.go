package oracle

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// Processors with stores of each kind: they put, read and delete as the timestamps say, and send on what they found.

// processorStore returns the options of a processor's store.
func (s *Step) processorStore() []streams.Option {
	opts := []streams.Option{streams.OnDisk()}
	switch st := s.Store; {
	case st.LRU > 0:
		opts[0] = streams.MaxEntries(st.LRU)
	case st.Kind == "memory":
		opts[0] = streams.InMemory()
	}
	if l := s.Store.Logging; l != nil && !*l {
		opts = append(opts, streams.Unlogged())
	}
	return opts
}

// teller says what it finds for each record.
type teller[V any] interface {
	open(streams.StoreUser) error
	tell(r streams.Record[optString, V]) (string, error)
}

// telling is the processor of a teller.
type telling[V any] struct {
	teller[V]
	ctx *streams.Context[optString, optString]
}

func told[V any](from aStream[optString, V], make func() teller[V], store streams.AnyStore) any {
	return aStream[optString, optString]{from.Process(func() streams.Processor[optString, V, optString, optString] {
		return &telling[V]{teller: make()}
	}, streams.Uses(store))}
}

func (p *telling[V]) Init(ctx *streams.Context[optString, optString]) error {
	p.ctx = ctx
	return p.open(ctx)
}

func (p *telling[V]) Process(r streams.Record[optString, V]) error {
	if r.NullKey {
		return nil
	}
	said, err := p.tell(r)
	if err != nil {
		return err
	}
	return p.ctx.Forward(streams.Record[optString, optString]{Key: r.Key, Value: streams.Some(said), Time: r.Time, Headers: r.Headers})
}

// remember has a plain store, or one with timestamps.
type remember[V any] struct {
	store       *streams.KeyValueStore[optString, V]
	of          *streams.KeyValues[optString, V]
	timestamped bool
}

func (p *remember[V]) open(c streams.StoreUser) (err error) {
	p.of, err = p.store.Open(c)
	return err
}

func (p *remember[V]) tell(r streams.Record[optString, V]) (said string, err error) {
	t := r.Time.UnixMilli()
	was := func() (string, bool) {
		v, at, ok, e := p.of.GetTimed(r.Key)
		err = e
		if ok && p.timestamped {
			return fmt.Sprint(text(toAny(v)), "@", at.UnixMilli()), ok
		}
		return text(toAny(v)), ok
	}
	put := func() error {
		if p.timestamped {
			return p.of.PutTimed(r.Key, r.Value, time.UnixMilli(max(0, t-5)))
		}
		return p.of.Put(r.Key, r.Value)
	}
	switch t % 7 {
	case 0:
		old, had := was()
		if said = "had " + old; !had && err == nil {
			err = put()
		}
	case 1:
		old, _ := was()
		said = "was " + old
		if err == nil {
			err = p.of.Delete(r.Key)
		}
	case 2, 3:
		old, _ := was()
		said = "is " + old
	default:
		said, err = "put", put()
	}
	all := p.of.All()
	if t%2 != 0 {
		all = p.of.RangeBackward(streams.Some("b"), streams.Some("d"))
	}
	for k, v := range all {
		said += " " + k.Value + "=" + text(toAny(v))
	}
	return said, err
}

func keptText[V any](v streams.Kept[V], ok, timed bool) string {
	if !ok {
		return "null"
	}
	s := text(toAny(v.Value))
	if timed {
		s += fmt.Sprint("@", v.Time.UnixMilli())
	}
	var headers []string
	for _, h := range v.Headers {
		value := "null"
		if h.Value != nil {
			value = hex.EncodeToString(h.Value)
		}
		headers = append(headers, hex.EncodeToString([]byte(h.Key))+":"+value)
	}
	return s + "[" + strings.Join(headers, " ") + "]"
}

// keepOf makes a value of a record, with its headers, none, or more.
func keepOf[V any](r streams.Record[optString, V]) streams.Kept[V] {
	t := r.Time.UnixMilli()
	k := streams.Kept[V]{Value: r.Value, Time: r.Time}
	if t%5 == 0 {
		k.Time = time.UnixMilli(t / 2)
	}
	switch t % 3 {
	case 1:
		k.Headers = r.Headers
	case 2:
		k.Headers = append(slices.Clone(r.Headers), serde.Header{Key: "h", Value: []byte{}}, serde.Header{Key: "\u00e9"})
	}
	return k
}

type kept[V any] struct {
	store *streams.KeyValueStore[optString, streams.Kept[V]]
	of    *streams.KeyValues[optString, streams.Kept[V]]
}

func (p *kept[V]) open(c streams.StoreUser) (err error) {
	p.of, err = p.store.Open(c)
	return err
}

func (p *kept[V]) tell(r streams.Record[optString, V]) (said string, err error) {
	t := r.Time.UnixMilli()
	switch t % 7 {
	case 0:
		var old streams.Kept[V]
		var had bool
		old, had, err = p.of.PutIfAbsent(r.Key, keepOf(r))
		said = "had " + keptText(old, had, true)
	case 1, 2:
		old, had, e := p.of.Get(r.Key)
		if said, err = "is "+keptText(old, had, true), e; t%7 == 1 && err == nil {
			said, err = "was "+keptText(old, had, true), p.of.Delete(r.Key)
		}
	default:
		said, err = "put", p.of.Put(r.Key, keepOf(r))
	}
	all := p.of.All()
	if t%2 != 0 {
		all = p.of.RangeBackward(streams.Some("b"), streams.Some("d"))
	}
	for k, v := range all {
		said += " " + k.Value + "=" + keptText(v, true, true)
	}
	return said, err
}

type keptWindows[V any] struct {
	store *streams.WindowStore[optString, streams.Kept[V]]
	of    *streams.WindowValues[optString, streams.Kept[V]]
}

func (p *keptWindows[V]) open(c streams.StoreUser) (err error) {
	p.of, err = p.store.Open(c)
	return err
}

func (p *keptWindows[V]) tell(r streams.Record[optString, V]) (said string, err error) {
	t := r.Time.UnixMilli()
	start := time.UnixMilli(t - t%50)
	old, ok, err := p.of.Get(r.Key, start)
	if err != nil {
		return "", err
	}
	said = "was " + keptText(old, ok, true)
	if t%7 == 1 {
		err = p.of.Delete(r.Key, start)
	} else {
		err = p.of.Put(r.Key, start, keepOf(r))
	}
	for at, v := range p.of.Of(r.Key, time.UnixMilli(max(0, t-100)), r.Time) {
		said += fmt.Sprint(" ", at.UnixMilli(), "=", keptText(v, true, true))
	}
	return said, err
}

type keptSessions[V any] struct {
	store *streams.SessionStore[optString, streams.Kept[V]]
	of    *streams.SessionValues[optString, streams.Kept[V]]
}

func (p *keptSessions[V]) open(c streams.StoreUser) (err error) {
	p.of, err = p.store.Open(c)
	return err
}

func (p *keptSessions[V]) tell(r streams.Record[optString, V]) (said string, err error) {
	t := r.Time.UnixMilli()
	start, end := time.UnixMilli(t-t%50), time.UnixMilli(t-t%10)
	old, ok, err := p.of.Get(r.Key, start, end)
	if err != nil {
		return "", err
	}
	said = "was " + keptText(old, ok, false)
	if t%7 == 1 {
		err = p.of.Remove(r.Key, start, end)
	} else {
		k := keepOf(r)
		k.Time = time.Time{} // Java's have none
		err = p.of.Put(r.Key, start, end, k)
	}
	for s, v := range p.of.Find(r.Key, time.UnixMilli(max(0, t-100)), r.Time) {
		said += fmt.Sprint(" ", s.Window.Start, "/", s.Window.End, "=", keptText(v, true, false))
	}
	return said, err
}

// history puts each value into a versioned store, and says which versions there are around its time.
type history[V any] struct {
	history int64
	store   *streams.VersionedStore[optString, V]
	of      *streams.VersionedValues[optString, V]
}

func (p *history[V]) open(c streams.StoreUser) (err error) {
	p.of, err = p.store.Open(c)
	return err
}

func (p *history[V]) tell(r streams.Record[optString, V]) (said string, err error) {
	if _, _, err = p.of.Put(r.Key, r.Value, r.Time); err != nil {
		return "", err
	}
	t, h := r.Time.UnixMilli(), p.history
	for _, span := range [][2]int64{{0, t + h + 10000}, {t - h, t + 10000}, {t - h/2 - 1, t + 10000}, {t, t + 10000}, {t + 1, t + 10000}, {t - h - 1, t - h - 1}} {
		from, to := time.UnixMilli(max(0, span[0])), time.UnixMilli(max(0, span[1]))
		found := p.of.Versions(r.Key, from, to)
		if t%2 != 0 {
			found = p.of.VersionsBackward(r.Key, from, to)
		}
		said += "("
		for v := range found {
			until := ""
			if !v.Until.IsZero() {
				until = fmt.Sprint(v.Until.UnixMilli())
			}
			said += fmt.Sprint(" ", text(toAny(v.Value)), "@", v.From.UnixMilli(), "-", until)
		}
		said += " )"
	}
	return said, nil
}
