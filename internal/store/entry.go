package store

import (
	"bytes"
	"strings"
	"sync"
	"unsafe"

	"github.com/millrace/millrace/topology"
)

// entry is what the map holds for a key. It is in one or two of these states: dirty, in the record cache, neither logged
// nor sent on; pending, logged but not in the engine; neither: as in the engine, kept for reads.
//
// There are as many of them as fit into the budgets, so they are small. Neither an entry nor the memory of its key is ever
// used again for another: whoever points to one, a range that is read, a change on its way out of the cache or a commit,
// has it as it is, and what a flush sends on may refer to the key for as long as it likes.
type entry struct {
	key        string // never changed
	buf        []byte // the value, unless null
	time       int64
	held       *held // while the entry is dirty
	prev, next *entry
	counted    uint32
	at         place
	null       bool
	pending    bool
	recent     bool // read or written since it was last looked at for eviction
}

// place is where an entry is counted and listed.
type place uint8

const (
	nowhere place = iota
	clean
	overlay
	cache
)

// held is what the record cache holds beside a value: what is below the cache, where that is known, and the record that
// wrote the value.
type held struct {
	below Value
	buf   []byte // the memory of below
	known bool

	number uint64 // of the change, in the store
	split  bool   // the entry is not that of the map, see Store.split

	topic            string
	partition, epoch int32
	offset, time     int64
	headers          []topology.Header
	headerBytes      int
}

const (
	// entrySize is what an entry takes in memory beside its key and value: itself, its slot in the map (24 bytes and
	// one, in tables between half and seven eighths full), and what the allocator adds to the key and to the value.
	entrySize = int64(unsafe.Sizeof(entry{})) + 38 + 2*6

	heldSize = int64(unsafe.Sizeof(held{}))

	// mostRoom is how many bytes of a value lie behind its key.
	mostRoom = 128
)

func (e *entry) dirty() bool { return e.held != nil }

// state returns where the entry belongs.
func (e *entry) state() place {
	switch {
	case e.dirty():
		return cache
	case e.pending:
		return overlay
	}
	return clean
}

// size is what the entry takes in memory.
func (e *entry) size() int64 {
	n := int64(len(e.key)+cap(e.buf)) + entrySize
	if h := e.held; h != nil {
		n += heldSize + int64(cap(h.buf)+h.headerBytes)
	}
	return n
}

// keyBytes returns the key, which is not to be changed.
func (e *entry) keyBytes() []byte { return unsafe.Slice(unsafe.StringData(e.key), len(e.key)) }

// value returns what the entry says of its key; the bytes are the entry's.
func (e *entry) value() Value {
	if e.null {
		return Value{Timestamp: e.time}
	}
	return Value{e.buf, e.time}
}

// set copies a value into the entry.
func (e *entry) set(v Value) {
	e.time, e.null = v.Timestamp, v.Bytes == nil
	e.buf = append(e.buf[:0], v.Bytes...)
	if e.buf == nil {
		e.buf = []byte{} // an empty value is one
	}
}

// hold makes the entry dirty, by h. known says that its value is that below the cache, which is kept.
func (e *entry) hold(h *held, known bool) {
	if h.known = known; known {
		h.below = e.value()
	}
	if h.below.Bytes != nil {
		e.buf, h.buf = h.buf[:0], e.buf
	}
	e.held = h
}

// from notes the record that wrote the value.
func (h *held) from(r *topology.Record) {
	h.topic, h.partition, h.epoch, h.offset, h.time = r.Topic, r.Partition, r.LeaderEpoch, r.Offset, r.Timestamp
	h.headers, h.headerBytes = cloneHeaders(r.Headers)
}

func (h *held) origin() topology.Record {
	return topology.Record{
		Topic: h.topic, Partition: h.partition, LeaderEpoch: h.epoch, Offset: h.offset, Timestamp: h.time, Headers: h.headers,
	}
}

// spare are helds that are not in use.
var spare sync.Pool

// release gives a held back. Its headers went on with the record.
func (h *held) release() {
	*h = held{buf: h.buf[:0]}
	spare.Put(h)
}

// cloneHeaders copies headers: those of a record that was fetched share the memory of all records fetched with it.
func cloneHeaders(headers []topology.Header) (cloned []topology.Header, size int) {
	if len(headers) == 0 {
		return nil, 0
	}
	cloned = make([]topology.Header, len(headers))
	for i, h := range headers {
		cloned[i] = topology.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
		size += int(unsafe.Sizeof(h)) + len(h.Key) + len(h.Value)
	}
	return cloned, size
}

// list is entries in an order: of those in the record cache the order of their last change (Java:
// NamedCache.dirtyKeys), of those kept for reads that of eviction.
type list struct {
	first, last *entry
	n           int
}

func (l *list) push(e *entry) {
	e.prev, e.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.n++
}

func (l *list) remove(e *entry) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}

// replace puts an entry into the place of another.
func (l *list) replace(e, by *entry) {
	by.prev, by.next = e.prev, e.next
	if e.prev == nil {
		l.first = by
	} else {
		e.prev.next = by
	}
	if e.next == nil {
		l.last = by
	} else {
		e.next.prev = by
	}
	e.prev, e.next = nil, nil
}
