package node

import (
	"bytes"
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// ForeignJoin joins rows of a table with the rows of another one that they name by its key. A row with the key k and the
// value v asks for the row Extract(k, v): a subscription goes to that one's partition, a response comes back.
type ForeignJoin[K, V, FK, V2, R any] struct {
	Extract func(ctx context.Context, k K, v V) (FK, error)
	Join    func(ctx context.Context, k K, v V, other V2, has bool) (R, error)
	Left    bool // rows that name none are joined too
	// Versioned and OtherVersioned say of which table what is late is dropped, counted.
	Versioned, OtherVersioned bool
	Key                       serde.Serde[K]
	Value                     serde.Serde[V]
	Foreign                   serde.Serde[FK]
	Store                     string // of subscriptions
}

// Send subscribes for each change of the first table (SubscriptionSendProcessorSupplier).
func (j ForeignJoin[K, V, FK, V2, R]) Send(name string) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[FK, Subscription](name, children)
		return &foreignSend[K, V, FK, V2, R]{base: baseOf(name, task), ForeignJoin: j, keys: nullsOf[FK](), out: out}, err
	}
}

type foreignSend[K, V, FK, V2, R any] struct {
	base
	ForeignJoin[K, V, FK, V2, R]
	keys nulls[FK]
	out  Outputs[FK, Subscription]
	buf  []byte

	before, now, primary []byte // scratch
}

func (n *foreignSend[K, V, FK, V2, R]) Receive(r Record[K, Change[V]]) error {
	if n.Versioned && r.Value.Late {
		return n.drop(lateChange)
	}
	before, err := n.extract(n.before, r.Key, r.Value.Old, r.Value.NullOld)
	if err != nil {
		return n.failed(err)
	}
	now, err := n.extract(n.now, r.Key, r.Value.New, r.Value.NullNew)
	if err != nil {
		return n.failed(err)
	}
	n.before, n.now = before.bytes, now.bytes
	s := Subscription{Partition: -1}
	if in := n.task.Input(); in != nil {
		s.Partition = in.Partition
	}
	if n.primary, err = n.Key.Append(n.primary[:0], r.Key); err != nil {
		return fmt.Errorf("node %q: encoding the key: %w", n.name, err)
	}
	s.Primary = n.primary
	if !r.Value.NullNew {
		if n.buf, err = n.Value.Append(n.buf[:0], r.Value.New); err != nil {
			return fmt.Errorf("node %q: encoding the value: %w", n.name, err)
		}
		s.Hash = hashOf(n.buf)
	}
	if n.Left {
		return n.left(r, s, before, now)
	}
	return n.inner(r, s, before, now)
}

// named is a foreign key, encoded to be compared.
type named[FK any] struct {
	key   FK
	null  bool
	bytes []byte
}

func (n *foreignSend[K, V, FK, V2, R]) extract(scratch []byte, k K, v V, null bool) (f named[FK], err error) {
	f.bytes = scratch[:0]
	if f.null = true; null {
		return f, nil
	}
	if f.key, err = n.Extract(n.enter(), k, v); err != nil {
		return f, err
	}
	if f.null = n.keys.is(f.key); f.null {
		return f, nil
	}
	if f.bytes, err = n.Foreign.Append(f.bytes, f.key); err != nil {
		return f, fmt.Errorf("encoding the foreign key: %w", err)
	}
	return f, nil
}

func (f named[FK]) differs(other named[FK]) bool {
	return f.null != other.null || !bytes.Equal(f.bytes, other.bytes)
}

// left asks for a response in any case, so that there is always a result.
func (n *foreignSend[K, V, FK, V2, R]) left(r Record[K, Change[V]], s Subscription, before, now named[FK]) error {
	if r.Value.NullOld && r.Value.NullNew {
		return nil
	}
	if !before.null && before.differs(now) {
		if err := n.send(r, s, before, unsubscribe); err != nil {
			return err
		}
	}
	return n.send(r, s, now, subscribeAndTell)
}

func (n *foreignSend[K, V, FK, V2, R]) inner(r Record[K, Change[V]], s Subscription, before, now named[FK]) error {
	switch {
	case r.Value.NullNew && before.null:
		return nil
	case r.Value.NullNew:
		return n.send(r, s, before, unsubscribeAndTell)
	case now.null:
		if err := n.drop("null foreign key"); err != nil || before.null {
			return err
		}
		return n.send(r, s, before, unsubscribeAndTell)
	case before.null || !before.differs(now):
		return n.send(r, s, now, subscribeIfThereIs)
	}
	if err := n.send(r, s, before, unsubscribe); err != nil {
		return err
	}
	return n.send(r, s, now, subscribeAndTell)
}

func (n *foreignSend[K, V, FK, V2, R]) send(r Record[K, Change[V]], s Subscription, f named[FK], i Instruction) error {
	s.Instruction = i
	return n.out.Forward(Record[FK, Subscription]{Key: f.key, NullKey: f.null, Value: s, Time: r.Time, Headers: r.Headers})
}

// Keep keeps subscriptions, and sends them on (SubscriptionReceiveProcessorSupplier).
func (j ForeignJoin[K, V, FK, V2, R]) Keep(name string) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[FK, Subscription](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openStore(task, j.Store)
		return &foreignKeep[FK]{base: baseOf(name, task), foreign: j.Foreign, store: s, out: out}, err
	}
}

type foreignKeep[FK any] struct {
	base
	foreign    serde.Serde[FK]
	store      *store.Store
	out        Outputs[FK, Subscription]
	key, value []byte
	origin     topology.Record
}

func (n *foreignKeep[FK]) Receive(r Record[FK, Subscription]) (err error) {
	s := r.Value
	if r.NullValue || r.NullKey && s.Instruction != subscribeAndTell {
		return n.drop("null foreign key")
	}
	if r.NullKey {
		return n.out.Forward(r)
	}
	if n.key, err = foreignKey(n.key[:0], n.foreign, r.Key); err != nil {
		return fmt.Errorf("node %q: encoding the foreign key: %w", n.name, err)
	}
	n.key = append(n.key, s.Primary...)
	v := store.Value{Timestamp: r.Time}
	if s.Instruction == subscribeAndTell || s.Instruction == subscribeIfThereIs {
		if n.value, err = appendSubscription(n.value[:0], s); err != nil {
			return err
		}
		v.Bytes = n.value
	}
	n.origin = topology.Record{Timestamp: r.Time, Headers: r.Headers}
	if err := n.store.Put(n.key, v, &n.origin); err != nil {
		return err
	}
	return n.out.Forward(r)
}

// Look responds to subscriptions with the row that they are for (SubscriptionJoinProcessorSupplier).
func (j ForeignJoin[K, V, FK, V2, R]) Look(name string, other GetterFunc[FK, V2]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, Response[V2]](name, children)
		if err != nil {
			return nil, err
		}
		get, err := other(task)
		return &foreignLook[K, FK, V2]{base: baseOf(name, task), key: j.Key, get: get, out: out}, err
	}
}

type foreignLook[K, FK, V2 any] struct {
	base
	key serde.Serde[K]
	get Getter[FK, V2]
	out Outputs[K, Response[V2]]
}

func (n *foreignLook[K, FK, V2]) Receive(r Record[FK, Subscription]) (err error) {
	var row Entry[V2]
	n.enter() // the row may be computed by functions
	if !r.NullKey {
		if row, err = n.get(r.Key, latest); err != nil {
			return err
		}
	}
	s := r.Value
	time := r.Time
	if row.Found {
		time = max(time, row.Time)
	}
	switch {
	case s.Instruction == unsubscribe, s.Instruction == subscribeIfThereIs && !row.Found:
		return nil
	case s.Instruction == unsubscribeAndTell:
		row = Entry[V2]{}
	}
	return respond(n.out, n.name, n.key, s, row.Value, !row.Found, time, r.Headers)
}

// respond sends a response to whoever subscribed.
func respond[K, V2 any](out Outputs[K, Response[V2]], name string, key serde.Serde[K], s Subscription, v V2, null bool, time int64, headers []topology.Header) error {
	k, err := key.Decode(s.Primary)
	if err != nil {
		return fmt.Errorf("node %q: decoding a primary key: %w", name, err)
	}
	return out.Forward(Record[K, Response[V2]]{Key: k, Value: Response[V2]{s.Hash, v, null, s.Partition}, Time: time, Headers: headers})
}

// Tell responds to all that subscribed for a row when it changes (ForeignTableJoinProcessorSupplier).
func (j ForeignJoin[K, V, FK, V2, R]) Tell(name string) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, Response[V2]](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openStore(task, j.Store)
		n := &foreignTell[K, FK, V2]{base: baseOf(name, task), key: j.Key, foreign: j.Foreign, versioned: j.OtherVersioned, store: s, out: out}
		n.tell = n.answer
		return n, err
	}
}

type foreignTell[K, FK, V2 any] struct {
	base
	key       serde.Serde[K]
	foreign   serde.Serde[FK]
	versioned bool
	store     *store.Store
	out       Outputs[K, Response[V2]]
	change    Record[FK, Change[V2]] // in process
	tell      func(store.Entry) (more bool, err error)
	prefix    []byte
	end       []byte // scratch
}

func (n *foreignTell[K, FK, V2]) Receive(r Record[FK, Change[V2]]) (err error) {
	if r.NullKey {
		return n.drop("null key")
	}
	if n.versioned && r.Value.Late {
		return n.drop(lateChange)
	}
	if n.prefix, err = foreignKey(n.prefix[:0], n.foreign, r.Key); err != nil {
		return fmt.Errorf("node %q: encoding the foreign key: %w", n.name, err)
	}
	n.end = append(n.end[:0], n.prefix...)
	n.change = r
	return n.store.Visit(n.prefix, after(n.end), n.tell)
}

// answer responds to one that subscribed.
func (n *foreignTell[K, FK, V2]) answer(e store.Entry) (more bool, err error) {
	s, err := parseSubscription(e.Value.Bytes)
	if err != nil {
		return false, fmt.Errorf("node %q: %w", n.name, err)
	}
	s.Primary = e.Key[len(n.prefix):]
	c := &n.change
	return true, respond(n.out, n.name, n.key, s, c.Value.New, c.Value.NullNew, c.Time, c.Headers)
}

// after makes a prefix the first key behind all that begin with it; nil: there is none.
func after(end []byte) []byte {
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Resolve makes results of responses (ResponseJoinProcessorSupplier): one that was for another value than the row has
// now is dropped, counted.
func (j ForeignJoin[K, V, FK, V2, R]) Resolve(name string, first GetterFunc[K, V]) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, R](name, children)
		if err != nil {
			return nil, err
		}
		get, err := first(task)
		return &foreignResolve[K, V, FK, V2, R]{base: baseOf(name, task), ForeignJoin: j, get: get, nulls: nullsOf[R](), out: out}, err
	}
}

type foreignResolve[K, V, FK, V2, R any] struct {
	base
	ForeignJoin[K, V, FK, V2, R]
	get   Getter[K, V]
	nulls nulls[R]
	out   Outputs[K, R]
	buf   []byte
}

func (n *foreignResolve[K, V, FK, V2, R]) Receive(r Record[K, Response[V2]]) error {
	n.enter() // the row may be computed by functions
	row, err := n.get(r.Key, latest)
	if err != nil {
		return err
	}
	var hash Hash
	if row.Found {
		if n.buf, err = n.Value.Append(n.buf[:0], row.Value); err != nil {
			return fmt.Errorf("node %q: encoding the value: %w", n.name, err)
		}
		hash = hashOf(n.buf)
	}
	if hash != r.Value.Hash {
		return n.drop("the row has changed since it subscribed")
	}
	result := Record[K, R]{Key: r.Key, NullKey: r.NullKey, NullValue: true, Time: r.Time, Headers: r.Headers}
	if row.Found && (n.Left || !r.Value.Null) {
		if result.Value, err = n.Join(n.enter(), r.Key, row.Value, r.Value.Value, !r.Value.Null); err != nil {
			return n.failed(err)
		}
		result.NullValue = n.nulls.is(result.Value)
	}
	return n.out.Forward(result)
}
