package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// StreamJoin joins records of two streams that have the same key: a of the first, b of the second. hasA and hasB say
// whether there is one; those of an outer side may be alone.
type StreamJoin[K, A, B, R any] struct {
	Join   func(ctx context.Context, k K, a A, hasA bool, b B, hasB bool) (R, error)
	Key    serde.Serde[K]
	A      serde.Serde[A]
	B      serde.Serde[B]
	StoreA string // records of the first stream
	StoreB string
	OuterA bool // records of the first stream without a partner join with nothing
	OuterB bool
	Alone  string // store of records without a partner so far; empty where no side is outer
	Before int64  // how much earlier b may be than a, in milliseconds
	After  int64  // and how much later
	Grace  int64

	reversed bool // A and B have changed places
}

// Reversed returns the join as the second stream sees it.
func (j StreamJoin[K, A, B, R]) Reversed() StreamJoin[K, B, A, R] {
	return StreamJoin[K, B, A, R]{
		Join: func(ctx context.Context, k K, b B, hasB bool, a A, hasA bool) (R, error) {
			return j.Join(ctx, k, a, hasA, b, hasB)
		},
		Key: j.Key, A: j.B, B: j.A, StoreA: j.StoreB, StoreB: j.StoreA, OuterA: j.OuterB, OuterB: j.OuterA, Alone: j.Alone,
		Before: j.After, After: j.Before, Grace: j.Grace, reversed: !j.reversed,
	}
}

// JoinWindow sends each record on and then keeps it for the other side (KStreamJoinWindow). A null key is not kept.
func JoinWindow[K, V any](name, store string, key serde.Serde[K], value serde.Serde[V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, V](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openWindows(task, store, key, value)
		return &joinWindow[K, V]{baseOf(name, task), s, out}, err
	}
}

type joinWindow[K, V any] struct {
	base
	store *windows[K, V]
	out   Outputs[K, V]
}

func (n *joinWindow[K, V]) Receive(r Record[K, V]) error {
	if err := n.out.Forward(r); err != nil || r.NullKey {
		return err
	}
	key, err := n.store.encodeKey(r.Key)
	if err != nil {
		return err
	}
	value, err := n.store.encodeValue(r.Value, r.NullValue)
	if err != nil {
		return err
	}
	origin := n.store.context(n.task, r.Time, r.Headers)
	return n.store.PutDuplicate(key, r.Time, store.Value{Bytes: value, Timestamp: r.Time}, origin)
}

// JoinThis joins each record of the first stream with those of the second that are in its window (KStreamKStreamJoin). A
// result has the greater of both timestamps. A null value is dropped, and so is a null key, unless the side is outer: then
// it has no partner. An outer side's record without a partner is joined with nothing once its window has closed by the
// greatest timestamp that either side has seen, in the order of their timestamps; at once where that is so already.
func JoinThis[K, A, B, R any](name string, j StreamJoin[K, A, B, R]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, R](name, children)
		if err != nil {
			return nil, err
		}
		n := &streamJoin[K, A, B, R]{base: baseOf(name, task), StreamJoin: j, nulls: nullsOf[R](), out: out}
		if n.others, err = openWindows(task, j.StoreB, j.Key, j.B); err != nil || j.Alone == "" {
			n.clock = &joinClock{}
			return n, err
		}
		n.clock = task.Shared(j.Alone, func() any { return &joinClock{streamTime: -1, first: math.MaxInt64} }).(*joinClock)
		if n.alone, err = openStore(task, j.Alone); err == nil {
			n.alone.Passing()
		}
		return n, err
	}
}

// joinClock is what both sides of an outer join know of time.
type joinClock struct {
	streamTime int64 // the greatest timestamp seen; -1: none
	first      int64 // of those without a partner, at least as far as is known
	next       int64 // the wall clock before which they are not looked through
}

type streamJoin[K, A, B, R any] struct {
	base
	StreamJoin[K, A, B, R]
	others  *windows[K, B]
	alone   *store.Store // nil: no side is outer
	clock   *joinClock
	nulls   nulls[R]
	out     Outputs[K, R]
	entries []store.WindowEntry
	lonely  []byte // scratch: a key of alone
	list    []byte
	closed  []closedKey
	bytes   []byte // of closed
}

func (n *streamJoin[K, A, B, R]) Receive(r Record[K, A]) error {
	n.clock.streamTime = max(n.clock.streamTime, r.Time)
	switch {
	case n.OuterA && r.NullKey && !r.NullValue:
		return n.single(r)
	case r.NullKey || r.NullValue:
		return n.drop("null key or value")
	}
	if n.alone != nil && r.Time == n.clock.streamTime {
		if err := n.settle(r); err != nil {
			return err
		}
	}
	key, err := n.others.encodeKey(r.Key)
	if err != nil {
		return err
	}
	to := max(0, r.Time+n.After)
	if n.entries, err = n.others.WindowsOf(n.entries[:0], key, max(0, r.Time-n.Before), to); err != nil {
		return err
	}
	for _, e := range n.entries {
		if err := n.match(r, key, e); err != nil {
			return err
		}
	}
	switch {
	case len(n.entries) > 0 || !n.OuterA:
		return nil
	case to < n.clock.streamTime:
		return n.single(r)
	}
	return n.wait(r, key)
}

// match joins a record with one of the other side, which has a partner then.
func (n *streamJoin[K, A, B, R]) match(r Record[K, A], key []byte, e store.WindowEntry) error {
	if n.alone != nil {
		n.lonely = appendLonely(n.lonely[:0], e.Start, n.reversed, key)
		there, err := n.alone.Peek(n.lonely)
		if err != nil {
			return err
		}
		if there.Bytes != nil {
			if err := n.alone.Put(n.lonely, store.Value{Timestamp: r.Time}, nil); err != nil {
				return err
			}
		}
	}
	other, err := n.others.decode(e.Value, nil)
	if err != nil {
		return err
	}
	v, err := n.Join(n.enter(), r.Key, r.Value, true, other.Value, true)
	if err != nil {
		return n.failed(err)
	}
	return n.out.Forward(Record[K, R]{Key: r.Key, Value: v, NullValue: n.nulls.is(v), Time: max(r.Time, e.Start), Headers: r.Headers})
}

// single joins a record with nothing.
func (n *streamJoin[K, A, B, R]) single(r Record[K, A]) error {
	var none B
	v, err := n.Join(n.enter(), r.Key, r.Value, true, none, false)
	if err != nil {
		return n.failed(err)
	}
	return n.out.Forward(Record[K, R]{Key: r.Key, Value: v, NullKey: r.NullKey, NullValue: n.nulls.is(v), Time: r.Time, Headers: r.Headers})
}

// wait keeps a record that has no partner so far, beside others of its key and time.
func (n *streamJoin[K, A, B, R]) wait(r Record[K, A], key []byte) error {
	n.clock.first = min(n.clock.first, r.Time)
	n.lonely = appendLonely(n.lonely[:0], r.Time, !n.reversed, key)
	there, err := n.alone.Peek(n.lonely)
	if err != nil {
		return err
	}
	n.list = append(n.list[:0], there.Bytes...)
	if there.Bytes == nil {
		n.list = append(n.list, listOfSized, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint32(n.list[1:], binary.BigEndian.Uint32(n.list[1:])+1)
	at := len(n.list)
	n.list = append(n.list, 0, 0, 0, 0, sideByte(!n.reversed))
	if n.list, err = n.A.Append(n.list, r.Value); err != nil {
		return fmt.Errorf("store %q: encoding the value: %w", n.Alone, err)
	}
	binary.BigEndian.PutUint32(n.list[at:], uint32(len(n.list)-at-4))
	return n.alone.Put(n.lonely, store.Value{Bytes: n.list, Timestamp: r.Time}, nil)
}

// settle joins records with nothing whose windows have closed, and forgets them.
func (n *streamJoin[K, A, B, R]) settle(r Record[K, A]) error {
	now := n.task.Wall()
	if n.clock.first+n.After+n.Grace >= n.clock.streamTime || now < n.clock.next {
		return nil
	}
	n.clock.next = now + n.task.EmitInterval()
	if err := n.findClosed(); err != nil {
		return err
	}
	for _, c := range n.closed {
		key, values := n.bytes[c.key:c.values], n.bytes[c.values:c.end]
		if err := n.settleKey(r, key, values); err != nil {
			return err
		}
		if err := n.alone.Put(key, store.Value{Timestamp: r.Time}, nil); err != nil {
			return err
		}
	}
	return nil
}

// settleKey joins the records of one key and time with nothing: a list of values that have their lengths in front.
func (n *streamJoin[K, A, B, R]) settleKey(r Record[K, A], key, values []byte) error {
	if len(values) < listPrefix || values[0] != listOfSized {
		return fmt.Errorf("store %q: %d bytes are not a list of values", n.Alone, len(values))
	}
	for list := values[listPrefix:]; len(list) > 0; {
		size := uint32(math.MaxUint32)
		if len(list) >= 4 {
			size, list = binary.BigEndian.Uint32(list), list[4:]
		}
		if uint64(size) > uint64(len(list)) {
			return fmt.Errorf("store %q: a list of values of %d bytes ends within one", n.Alone, len(values))
		}
		if err := n.lone(r, key, list[:size:size]); err != nil {
			return err
		}
		list = list[size:]
	}
	return nil
}

// A list has in front how it is encoded, and the number of values (serde.List).
const (
	listPrefix  = 5
	listOfSized = 1 // each value has its length in front
)

// closedKey is where key and values of records are that have waited long enough, in streamJoin.bytes.
type closedKey struct{ key, values, end int }

// findClosed finds what has waited long enough, in the order of time. It stops at the first of each side that has not.
func (n *streamJoin[K, A, B, R]) findClosed() error {
	openA, openB := false, false
	n.closed, n.bytes = n.closed[:0], n.bytes[:0]
	n.clock.first = math.MaxInt64
	for e, err := range n.alone.Range(nil, nil) {
		if err != nil {
			return err
		}
		time, first, _, ok := splitLonely(e.Key)
		if !ok || len(e.Value.Bytes) == 0 {
			return fmt.Errorf("store %q: a key of %d bytes with a value of %d is not one of a join", n.Alone, len(e.Key), len(e.Value.Bytes))
		}
		n.clock.first = time
		if openA && openB {
			break
		}
		ours := first == !n.reversed
		span, open := n.Before, &openB
		if ours {
			span, open = n.After, &openA
		}
		if time+span+n.Grace >= n.clock.streamTime {
			*open = true
			continue
		}
		at := len(n.bytes)
		n.bytes = append(append(n.bytes, e.Key...), e.Value.Bytes...)
		n.closed = append(n.closed, closedKey{at, at + len(e.Key), len(n.bytes)})
	}
	return nil
}

// lone joins a record of either side with nothing.
func (n *streamJoin[K, A, B, R]) lone(r Record[K, A], key, value []byte) (err error) {
	var a A
	var b B
	time, first, key, _ := splitLonely(key)
	out := Record[K, R]{Time: time, Headers: r.Headers}
	if out.Key, err = n.Key.Decode(key); err != nil {
		return fmt.Errorf("store %q: decoding a key: %w", n.Alone, err)
	}
	ours := first == !n.reversed
	if len(value) == 0 {
		err = fmt.Errorf("it is empty")
	} else if ours {
		a, err = n.A.Decode(value[1:])
	} else {
		b, err = n.B.Decode(value[1:])
	}
	if err != nil {
		return fmt.Errorf("store %q: decoding a value: %w", n.Alone, err)
	}
	if out.Value, err = n.Join(n.enter(), out.Key, a, ours, b, !ours); err != nil {
		return n.failed(err)
	}
	out.NullValue = n.nulls.is(out.Value)
	return n.out.Forward(out)
}

// lonelyPrefix is what a key of the store of those without a partner has in front: the time and the side
// (TimestampedKeyAndJoinSideSerializer).
const lonelyPrefix = 9

func appendLonely(dst []byte, time int64, first bool, key []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(time))
	return append(append(dst, sideByte(first)), key...)
}

// splitLonely is the opposite of appendLonely; ok is false for a key that is too short.
func splitLonely(b []byte) (time int64, first bool, key []byte, ok bool) {
	if len(b) < lonelyPrefix {
		return 0, false, nil, false
	}
	return int64(binary.BigEndian.Uint64(b)), b[lonelyPrefix-1] == sideByte(true), b[lonelyPrefix:], true
}

func sideByte(first bool) byte {
	if first {
		return 1
	}
	return 0
}
