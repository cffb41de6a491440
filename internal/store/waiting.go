package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Waiting is the view of a key-value store in which records wait for their time. In its changelog as in the map, the key
// of one is a zero, its time (8 bytes), its key, and a number (4 bytes) that no other has; so they lie in the order of
// their times. The value is that of a change that waits, of which there is only the new value (Java:
// RocksDBTimeOrderedKeyValueBuffer).
type Waiting struct {
	store  *Store
	loaded bool
	first  int64 // nothing waits with a lesser time; math.MaxInt64: nothing waits
	number uint32

	key, value []byte // scratch
	ready      []Entry
	bytes      []byte // of ready
	topic      Buffer // of which the name of the topic is kept
}

const waitingPrefix, waitingSuffix = 1 + 8, 4

// NewWaiting makes the view of a store, which may still be restored until the view is first used.
func NewWaiting(s *Store) *Waiting {
	s.Passing()
	return &Waiting{store: s}
}

// Load looks at what waits from the start, and returns the greatest time of it; -1: nothing waits.
func (w *Waiting) Load() (last int64, err error) {
	if w.loaded {
		return -1, nil
	}
	return w.load()
}

func (w *Waiting) load() (last int64, err error) {
	w.first, w.number, last = math.MaxInt64, uint32(max(0, w.store.next))&math.MaxInt32, -1
	for e, err := range w.store.RangeBackward(nil, nil) {
		if err == nil {
			last, err = w.time(e.Key)
		}
		if err != nil {
			return last, err
		}
		break
	}
	if last >= 0 {
		w.first = 0
	}
	w.loaded = true
	return last, nil
}

// time returns the time of a key of the store.
func (w *Waiting) time(key []byte) (int64, error) {
	if len(key) < waitingPrefix+waitingSuffix || key[0] != 0 || key[1] > math.MaxInt8 {
		return 0, &CorruptError{w.store.Dir, fmt.Errorf("the key %x is not that of a record that waits", key)}
	}
	return int64(binary.BigEndian.Uint64(key[1:])), nil
}

func appendWaitingTime(dst []byte, time int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0), uint64(time))
}

// Put lets a record wait. REQUIRES: Load was called.
func (w *Waiting) Put(key []byte, time int64, v Buffered) error {
	w.number = (w.number + 1) & math.MaxInt32
	w.key = append(appendWaitingTime(w.key[:0], time), key...)
	w.key = binary.BigEndian.AppendUint32(w.key, w.number)
	w.value = v.append(w.value[:0])
	w.first = min(w.first, time)
	return w.store.Put(w.key, Value{Bytes: w.value, Timestamp: -1}, nil)
}

// Take gives the records whose time has come to f, by their time, and then removes each. Headers are f's to keep, other
// bytes are valid during the call. REQUIRES: Load was called.
func (w *Waiting) Take(until int64, f func(key []byte, v Buffered) error) error {
	if until < w.first {
		return nil
	}
	if err := w.gather(until); err != nil {
		return err
	}
	for _, e := range w.ready {
		v, err := w.topic.parse(e.Value.Bytes)
		if err != nil || v.New == nil {
			return &CorruptError{w.store.Dir, errors.Join(fmt.Errorf("the record that waits with key %x cannot be read", e.Key), err)}
		}
		v.Origin.Headers, _ = cloneHeaders(v.Origin.Headers) // they go on to a producer
		if err := f(e.Key[waitingPrefix:len(e.Key)-waitingSuffix], v); err != nil {
			return err
		}
		if err := w.store.Put(e.Key, Value{Timestamp: -1}, nil); err != nil {
			return err
		}
	}
	return nil
}

// gather copies what is ready: the store must not be changed while it is read.
func (w *Waiting) gather(until int64) error {
	w.ready, w.bytes = w.ready[:0], w.bytes[:0]
	w.key = appendWaitingTime(w.key[:0], w.first)
	n := len(w.key)
	w.key = appendWaitingTime(w.key, until+1)
	w.first = min(until, math.MaxInt64-1) + 1
	for e, err := range w.store.Range(w.key[:n:n], w.key[n:]) {
		if err == nil {
			_, err = w.time(e.Key)
		}
		if err != nil {
			return err
		}
		e.Key, e.Value.Bytes = w.copy(e.Key), w.copy(e.Value.Bytes)
		w.ready = append(w.ready, e)
	}
	return nil
}

// copy copies bytes; what was copied before stays where it is.
func (w *Waiting) copy(b []byte) []byte {
	if cap(w.bytes)-len(w.bytes) < len(b) {
		w.bytes = make([]byte, 0, max(1<<10, 2*cap(w.bytes), len(b)))
	}
	n := len(w.bytes)
	w.bytes = append(w.bytes, b...)
	return w.bytes[n:len(w.bytes):len(w.bytes)]
}
