package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Buffered is a change of a table that waits: the newest one of its key. A nil value is null.
type Buffered struct {
	Time   int64           // which its place in the buffer is by
	Prior  []byte          // the value that was sent on last, as far as is known: the old value of the key's first change
	Old    []byte          // the old value of the newest change
	New    []byte          // its new value
	Origin topology.Record // its place, timestamp and headers
}

// A Buffer is the view of a buffer store: changes wait in it for their time. Which key is next is known in memory; the
// changes themselves are in the store as they are in its changelog (Java: BufferValue, version 3). There, only the last
// change between two commits is written.
type Buffer struct {
	store   *Store
	waiting keysByTime
	bytes   int64
	loaded  bool

	topic             string // that was read last: mostly it is the same
	key, value, taken []byte // scratch
	keys              []byte // where those that wait are handed out from
	origin            topology.Record
}

// NewBuffer makes the view of a buffer store, which may still be restored until the view is first used.
func NewBuffer(s *Store) (*Buffer, error) {
	if s.Config.Spec.Kind != state.Buffer {
		return nil, fmt.Errorf("store %q is a %v store, not a buffer", s.Config.Spec.Name, s.Config.Spec.Kind)
	}
	return &Buffer{store: s}, nil
}

// Passing says that no key comes again once its change was taken.
func (b *Buffer) Passing() { b.store.Passing() }

// load looks at what the store has had from the start.
func (b *Buffer) load() error {
	if b.loaded {
		return nil
	}
	return b.loadAll()
}

func (b *Buffer) loadAll() error {
	for e, err := range b.store.Range(nil, nil) {
		if err != nil {
			return err
		}
		v, err := b.parse(e.Value.Bytes)
		if err != nil {
			return b.corrupt(e.Key, err)
		}
		b.waiting.push(keyTime{v.Time, b.keep(e.Key)})
		b.bytes += v.size(e.Key)
	}
	b.loaded = true
	return nil
}

func (b *Buffer) corrupt(key []byte, err error) error {
	return &CorruptError{b.store.Dir, fmt.Errorf("the buffered change of key %x: %w", key, err)}
}

// Get returns the change of a key that waits. Its bytes are valid until the next call.
func (b *Buffer) Get(key []byte) (v Buffered, ok bool, err error) {
	e, err := b.store.Get(key)
	if err != nil || e.Bytes == nil {
		return v, false, err
	}
	if v, err = b.parse(e.Bytes); err != nil {
		return v, false, b.corrupt(key, err)
	}
	return v, true, nil
}

// Put lets a change wait. One of the same key that waits already is replaced, and leaves its place and what was before
// it to the new one.
func (b *Buffer) Put(key []byte, v Buffered) error {
	if err := b.load(); err != nil {
		return err
	}
	there, ok, err := b.Get(key)
	if err != nil {
		return err
	}
	if ok {
		v.Time, v.Prior = there.Time, there.Prior
		b.bytes -= there.size(key)
	} else {
		v.Prior = v.Old
		b.waiting.push(keyTime{v.Time, b.keep(key)})
	}
	b.bytes += v.size(key)
	b.value, b.origin = v.append(b.value[:0]), v.Origin
	return b.store.Put(key, Value{Bytes: b.value, Timestamp: -1}, &b.origin)
}

// keep returns a key that waits. They go about in the order in which they come, so that they may share memory.
func (b *Buffer) keep(key []byte) string {
	if len(key) > cap(b.keys)-len(b.keys) {
		b.keys = make([]byte, 0, max(1<<10, len(key)))
	}
	n := len(b.keys)
	b.keys = append(b.keys, key...)
	return unsafeString(b.keys[n:])
}

// First returns the time of the change that is next, and whether there is one.
func (b *Buffer) First() (time int64, ok bool, err error) {
	if err := b.load(); err != nil || len(b.waiting) == 0 {
		return 0, false, err
	}
	return b.waiting[0].time, true, nil
}

// Take gives the change that is next to f, and then removes it. There is one. Its headers are f's to keep, its bytes are
// valid during the call.
func (b *Buffer) Take(f func(key []byte, v Buffered) error) error {
	b.key = append(b.key[:0], b.waiting[0].key...)
	key := b.key
	e, err := b.store.Get(key)
	if err != nil {
		return err
	}
	if e.Bytes == nil {
		return b.corrupt(key, errors.New("it is gone"))
	}
	b.taken = append(b.taken[:0], e.Bytes...) // f may use the store
	v, err := b.parse(b.taken)
	if err != nil {
		return b.corrupt(key, err)
	}
	v.Origin.Headers, _ = cloneHeaders(v.Origin.Headers) // they go on to a producer
	if err := f(key, v); err != nil {
		return err
	}
	b.waiting.pop()
	b.bytes -= v.size(key)
	b.origin = v.Origin
	return b.store.Put(key, Value{Timestamp: -1}, &b.origin)
}

// Size returns how many changes wait, and about how many bytes they have in Java's memory.
func (b *Buffer) Size() (records, bytes int64) { return int64(len(b.waiting)), b.bytes }

type keyTime struct {
	time int64
	key  string
}

// keysByTime is a heap: the key with the least time, of several the least, is the first.
type keysByTime []keyTime

func (h keysByTime) less(i, j int) bool {
	return h[i].time < h[j].time || h[i].time == h[j].time && h[i].key < h[j].key
}

func (h *keysByTime) push(k keyTime) {
	*h = append(*h, k)
	all := *h
	for i := len(all) - 1; i > 0; {
		above := (i - 1) / 2
		if !all.less(i, above) {
			return
		}
		all[i], all[above] = all[above], all[i]
		i = above
	}
}

// pop removes the first.
func (h *keysByTime) pop() {
	all := *h
	last := len(all) - 1
	all[0], all[last] = all[last], keyTime{}
	all = all[:last]
	*h = all
	for i := 0; ; {
		least := i
		for below := 2*i + 1; below <= 2*i+2 && below < len(all); below++ {
			if all.less(below, least) {
				least = below
			}
		}
		if least == i {
			return
		}
		all[i], all[least] = all[least], all[i]
		i = least
	}
}

// size counts as InMemoryTimeOrderedKeyValueChangeBuffer.computeRecordSize.
func (v *Buffered) size(key []byte) int64 {
	n := 8 + len(key) + len(v.Prior) + len(v.New) + 8 + 8 + len(v.Origin.Topic) + 4
	if !sameBytes(v.Prior, v.Old) {
		n += len(v.Old)
	}
	for _, h := range v.Origin.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

const (
	nullLength  = math.MaxUint32     // -1: null
	priorLength = math.MaxUint32 - 1 // -2: the same as the prior value
)

// bufferVersion is the header of a changelog record that holds a buffered change.
var bufferVersion = []topology.Header{{Key: "v", Value: []byte{3}}}

// append appends the change as the changelog has it: origin (timestamp, offset, topic, partition, headers), prior value,
// old value, new value, each with its length, and the time.
func (v *Buffered) append(dst []byte) []byte {
	o := &v.Origin
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Timestamp))
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Offset))
	dst = appendSized(dst, []byte(o.Topic))
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.Partition))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(o.Headers)))
	for _, h := range o.Headers {
		dst = appendSized(appendSized(dst, []byte(h.Key)), h.Value)
	}
	dst = appendSized(dst, v.Prior)
	if v.Old != nil && sameBytes(v.Old, v.Prior) {
		dst = binary.BigEndian.AppendUint32(dst, priorLength)
	} else {
		dst = appendSized(dst, v.Old)
	}
	return binary.BigEndian.AppendUint64(appendSized(dst, v.New), uint64(v.Time))
}

func appendSized(dst, b []byte) []byte {
	if b == nil {
		return binary.BigEndian.AppendUint32(dst, nullLength)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// parse reads a change; all but its topic refers to the bytes.
func (b *Buffer) parse(data []byte) (Buffered, error) {
	v, err := parseBuffered(data)
	if v.Origin.Topic != b.topic {
		b.topic = strings.Clone(v.Origin.Topic)
	}
	v.Origin.Topic = b.topic
	return v, err
}

// parseBuffered reads what append wrote; the change refers to the bytes, also its topic.
func parseBuffered(b []byte) (v Buffered, err error) {
	r := bufferReader{b: b}
	v.Origin.Timestamp, v.Origin.Offset = int64(r.uint64()), int64(r.uint64())
	v.Origin.Topic, v.Origin.Partition = unsafeString(r.sized()), int32(r.uint32())
	if n := r.uint32(); n != nullLength {
		for range n {
			if r.failed {
				break
			}
			v.Origin.Headers = append(v.Origin.Headers, topology.Header{Key: string(r.sized()), Value: r.sized()})
		}
	}
	v.Prior = r.sized()
	switch n := r.uint32(); n {
	case nullLength:
	case priorLength:
		v.Old = v.Prior
	default:
		v.Old = r.take(n)
	}
	v.New, v.Time = r.sized(), int64(r.uint64())
	if r.failed || len(r.b) > 0 {
		return v, fmt.Errorf("%d bytes are not a buffered change of version 3", len(b))
	}
	return v, nil
}

// bufferReader reads what is left of bytes; once they are too few, it reads zeros.
type bufferReader struct {
	b      []byte
	failed bool
}

func (r *bufferReader) take(n uint32) []byte {
	if r.failed || uint64(n) > uint64(len(r.b)) {
		r.failed = true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *bufferReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *bufferReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *bufferReader) sized() []byte {
	n := r.uint32()
	if n == nullLength {
		return nil
	}
	return r.take(n)
}
