package node

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Entry is what a store holds for a key; Found is false where it holds nothing.
type Entry[V any] struct {
	Value V
	Time  int64
	Found bool
}

// A Getter reads the value of a table that is versioned as of a time, or the latest, and the current one of any other.
type Getter[K, V any] func(k K, at int64) (Entry[V], error)

const latest = math.MaxInt64

// A GetterFunc makes the Getter of a task.
type GetterFunc[K, V any] func(topology.Context) (Getter[K, V], error)

// keyValue is the typed view of a key-value store, or of a versioned one, by the node that writes it.
type keyValue[K, V any] struct {
	*store.Store
	versioned bool
	codec[K, V]
}

// codec encodes and decodes what is in a store. Its buffers are reused: the store copies what it keeps.
type codec[K, V any] struct {
	name     string
	key      serde.Serde[K]
	value    serde.Serde[V]
	keyBytes []byte
	bytes    []byte
	origin   topology.Record
}

func (c *codec[K, V]) encodeKey(k K) ([]byte, error) {
	b, err := c.key.Append(c.keyBytes[:0], k)
	if err != nil {
		return nil, fmt.Errorf("store %q: encoding the key: %w", c.name, err)
	}
	c.keyBytes = b
	return b, nil
}

func (c *codec[K, V]) encodeValue(v V, null bool) ([]byte, error) {
	if null {
		return nil, nil
	}
	b, err := c.value.Append(c.bytes[:0], v)
	if err != nil {
		return nil, fmt.Errorf("store %q: encoding the value: %w", c.name, err)
	}
	if b == nil {
		b = []byte{} // an empty encoding is a value, not a tombstone
	}
	c.bytes = b
	return b, nil
}

func (c *codec[K, V]) decode(v store.Value, err error) (e Entry[V], _ error) {
	if err != nil || v.Bytes == nil {
		return e, err
	}
	if e.Value, err = c.value.Decode(v.Bytes); err != nil {
		return e, fmt.Errorf("store %q: decoding the value: %w", c.name, err)
	}
	e.Time, e.Found = v.Timestamp, true
	return e, nil
}

// context describes the record in process as the store keeps it with an entry of its cache: its place, with the
// timestamp and headers that the record has at this node.
func (c *codec[K, V]) context(task topology.Context, time int64, headers []topology.Header) *topology.Record {
	in := task.Input()
	if in == nil {
		in = &topology.Record{Partition: -1, Offset: -1}
	}
	c.origin = topology.Record{Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Timestamp: time, Headers: headers}
	return &c.origin
}

func openStore(task topology.Context, name string) (*store.Store, error) {
	s, err := task.Store(name)
	if err != nil {
		return nil, err
	}
	st, ok := s.(*store.Store)
	if !ok {
		return nil, fmt.Errorf("node: store %q is a %T", name, s)
	}
	return st, nil
}

func openKeyValue[K, V any](task topology.Context, name string, key serde.Serde[K], value serde.Serde[V]) (*keyValue[K, V], error) {
	s, err := openStore(task, name)
	if err != nil {
		return nil, err
	}
	return &keyValue[K, V]{s, s.Spec().Kind == state.Versioned, codec[K, V]{name: name, key: key, value: value}}, nil
}

func (s *keyValue[K, V]) get(k K) (Entry[V], error) { return s.getAt(k, latest) }

// getAt is get as of a time, where the store is versioned.
func (s *keyValue[K, V]) getAt(k K, at int64) (e Entry[V], err error) {
	b, err := s.encodeKey(k)
	if err != nil {
		return e, err
	}
	if s.versioned {
		v, err := s.GetVersion(b, at)
		return s.decode(v.Value, err)
	}
	return s.decode(s.Get(b))
}

// put writes a value with its timestamp; a null is a tombstone, which is logged with the time of the record in process,
// unless the store is versioned. There it may be too old, and is not kept, or has its place in the history: late.
func (s *keyValue[K, V]) put(task topology.Context, k K, v V, null bool, time int64, recordTime int64, headers []topology.Header) (kept, late bool, err error) {
	kb, err := s.encodeKey(k)
	if err != nil {
		return false, false, err
	}
	vb, err := s.encodeValue(v, null)
	if err != nil {
		return false, false, err
	}
	if s.versioned {
		end, err := s.PutVersion(kb, store.Value{Bytes: vb, Timestamp: time})
		return end != store.Refused, end != store.Latest, err
	}
	if null {
		time = recordTime
	}
	return true, false, s.Put(kb, store.Value{Bytes: vb, Timestamp: time}, s.context(task, recordTime, headers))
}

// StoreGetter reads a table from its key-value store.
func StoreGetter[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) GetterFunc[K, V] {
	return func(task topology.Context) (Getter[K, V], error) {
		s, err := openKeyValue(task, name, key, value)
		if err != nil {
			return nil, err
		}
		return s.getAt, nil
	}
}

// WindowGetter reads a windowed table from its window store.
func WindowGetter[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) GetterFunc[serde.Windowed[K], V] {
	return func(task topology.Context) (Getter[serde.Windowed[K], V], error) {
		s, err := openWindows(task, name, key, value)
		if err != nil {
			return nil, err
		}
		return func(w serde.Windowed[K], _ int64) (Entry[V], error) { return s.get(w.Key, w.Window.Start) }, nil
	}
}

// windows is the typed view of a window store.
type windows[K, V any] struct {
	*store.Store
	codec[K, V]
}

func openWindows[K, V any](task topology.Context, name string, key serde.Serde[K], value serde.Serde[V]) (*windows[K, V], error) {
	s, err := openStore(task, name)
	if err != nil {
		return nil, err
	}
	return &windows[K, V]{s, codec[K, V]{name: name, key: key, value: value}}, nil
}

func (s *windows[K, V]) get(k K, start int64) (e Entry[V], err error) {
	b, err := s.encodeKey(k)
	if err != nil {
		return e, err
	}
	return s.decode(s.GetWindow(b, start))
}

func (s *windows[K, V]) put(task topology.Context, k K, start int64, v V, null bool, time int64, recordTime int64, headers []topology.Header) error {
	kb, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	vb, err := s.encodeValue(v, null)
	if err != nil {
		return err
	}
	if null {
		time = recordTime
	}
	return s.PutWindow(kb, start, store.Value{Bytes: vb, Timestamp: time}, s.context(task, recordTime, headers))
}

// forwarder sends the changes of a table on: at once, or, where its store is cached, when the cache is flushed.
type forwarder[K, V any] struct {
	out     Outputs[K, Change[V]]
	sendOld bool
	cached  bool
}

func (f *forwarder[K, V]) forward(r Record[K, Change[V]]) error {
	if f.cached {
		return nil
	}
	if !f.sendOld {
		var none V
		r.Value.Old, r.Value.NullOld = none, true
	}
	return f.out.Forward(r)
}

// onFlush sends on what the cache of s held back: the newest value of a key, in the name of the record that wrote it
// (TimestampedCacheFlushListener). What decodeKey returns may refer to the bytes.
func (f *forwarder[K, V]) onFlush(task topology.Context, s *store.Store, decodeKey func([]byte) (K, error), decode func(store.Value, error) (Entry[V], error)) {
	f.cached = s.Cached()
	if !f.cached {
		return
	}
	s.OnFlush(func(key []byte, newer, older store.Value, origin *topology.Record) error {
		k, err := decodeKey(key)
		if err != nil {
			return fmt.Errorf("store %q: decoding a key: %w", s.Spec().Name, err)
		}
		now, err := decode(newer, nil)
		if err != nil {
			return err
		}
		before, err := decode(older, nil)
		if err != nil {
			return err
		}
		r := Record[K, Change[V]]{Key: k, Time: origin.Timestamp, Headers: origin.Headers}
		r.Value = Change[V]{New: now.Value, Old: before.Value, NullNew: !now.Found, NullOld: !f.sendOld || !before.Found}
		if now.Found {
			r.Time = now.Time
		}
		was := task.Become(origin)
		err = f.out.Forward(r)
		task.Become(was) // not deferred: where it panics it is origin that was in process
		return err
	}, f.sendOld)
}

// refer returns how keys are decoded whose bytes are never changed: a string refers to them.
func refer[K any](key serde.Serde[K]) func([]byte) (K, error) {
	if any(key) != any(serde.String) {
		return key.Decode
	}
	return any(func(b []byte) (string, error) {
		return unsafe.String(unsafe.SliceData(b), len(b)), nil
	}).(func([]byte) (K, error))
}

// OptGetter reads a table whose values may be null as one that shows them.
func OptGetter[K, V any](parent GetterFunc[K, V]) GetterFunc[K, serde.Opt[V]] {
	return func(task topology.Context) (Getter[K, serde.Opt[V]], error) {
		get, err := parent(task)
		return func(k K, at int64) (Entry[serde.Opt[V]], error) {
			e, err := get(k, at)
			return Entry[serde.Opt[V]]{serde.Opt[V]{Value: e.Value, Valid: e.Found}, e.Time, e.Found}, err
		}, err
	}
}
