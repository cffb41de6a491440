package store

import (
	"bytes"
	"strings"
	"sync/atomic"

	"github.com/millrace/millrace/topology"
)

// entry is what the map holds for a key. It is in one or two of these states: dirty, in the record cache, neither logged
// nor sent on; pending, logged but not in the engine; neither: as in the engine, kept for reads.
type entry struct {
	key     string
	value   Value
	buf     []byte // the memory of value.Bytes
	dirty   bool
	pending bool
	recent  bool // read or written since the last eviction
	counted int64
	budget  *atomic.Int64 // where counted is counted; nil: nowhere

	// While the entry is dirty: what the store held below the cache, where that is known, and the record that wrote it.
	below      Value
	belowBuf   []byte
	belowKnown bool
	origin     topology.Record
	prev, next *entry
}

// overhead is what an entry takes in memory beside its key and value, about.
const overhead = 200

func (e *entry) size() int64 { return int64(len(e.key)+len(e.value.Bytes)) + overhead }

// set copies a value into the entry.
func (e *entry) set(v Value) {
	e.value.Timestamp = v.Timestamp
	if v.Bytes == nil {
		e.value.Bytes = nil
		return
	}
	e.buf = append(e.buf[:0], v.Bytes...)
	if e.buf == nil {
		e.buf = []byte{}
	}
	e.value.Bytes = e.buf
}

// keepBelow remembers the value as the one below the cache.
func (e *entry) keepBelow() {
	e.below, e.belowKnown = e.value, true
	if e.value.Bytes != nil {
		e.belowBuf = append(e.belowBuf[:0], e.value.Bytes...)
		if e.belowBuf == nil {
			e.belowBuf = []byte{}
		}
		e.below.Bytes = e.belowBuf
	}
}

// list is the dirty entries in the order of their last change (Java: NamedCache.dirtyKeys).
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

// cloneHeaders copies headers: those of a record that was fetched share the memory of all records fetched with it.
func cloneHeaders(headers []topology.Header) []topology.Header {
	if len(headers) == 0 {
		return nil
	}
	cloned := make([]topology.Header, len(headers))
	for i, h := range headers {
		cloned[i] = topology.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
	}
	return cloned
}
