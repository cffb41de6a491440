package node

import (
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/topology"
)

// SelfJoin joins each record of a stream with those of the same stream that came before it, and with itself, from one
// store instead of two (KStreamKStreamSelfJoin). The results are those of JoinThis for both sides, in the same order;
// retention is how long the store keeps records, in milliseconds.
func SelfJoin[K, A, R any](name string, j StreamJoin[K, A, A, R], retention int64) topology.NewFunc {
	return func(task topology.Context, children []any) (any, error) {
		out, err := wire[K, R](name, children)
		if err != nil {
			return nil, err
		}
		s, err := openWindows(task, j.StoreA, j.Key, j.A)
		return &selfJoin[K, A, R]{base: baseOf(name, task), StreamJoin: j, store: s, nulls: nullsOf[R](), out: out, retention: retention, streamTime: -1}, err
	}
}

type selfJoin[K, A, R any] struct {
	base
	StreamJoin[K, A, A, R]
	store      *windows[K, A]
	nulls      nulls[R]
	out        Outputs[K, R]
	retention  int64
	streamTime int64 // the greatest timestamp seen; -1: none
	entries    []store.WindowEntry
}

func (n *selfJoin[K, A, R]) Receive(r Record[K, A]) error {
	if r.NullKey || r.NullValue {
		return n.drop("null key or value")
	}
	n.streamTime = max(n.streamTime, r.Time)
	withItself := r.Time > n.streamTime-n.retention+1
	if err := n.find(r, n.Before, n.After); err != nil {
		return err
	}
	for _, e := range n.entries {
		other, err := n.store.decode(e.Value, nil)
		if err != nil {
			return err
		}
		if err := n.send(r, r.Value, other.Value, max(r.Time, e.Start)); err != nil {
			return err
		}
	}
	if err := n.find(r, n.After, n.Before); err != nil {
		return err
	}
	for _, e := range n.entries {
		if withItself && e.Start > r.Time {
			withItself = false
			if err := n.send(r, r.Value, r.Value, r.Time); err != nil {
				return err
			}
		}
		other, err := n.store.decode(e.Value, nil)
		if err != nil {
			return err
		}
		if err := n.send(r, other.Value, r.Value, max(r.Time, e.Start)); err != nil {
			return err
		}
	}
	if withItself {
		return n.send(r, r.Value, r.Value, r.Time)
	}
	return nil
}

// find reads the records around one.
func (n *selfJoin[K, A, R]) find(r Record[K, A], before, after int64) error {
	key, err := n.store.encodeKey(r.Key)
	if err != nil {
		return err
	}
	n.entries, err = n.store.WindowsOf(n.entries[:0], key, max(0, r.Time-before), max(0, r.Time+after))
	return err
}

func (n *selfJoin[K, A, R]) send(r Record[K, A], a, b A, time int64) error {
	v, err := n.Join(n.enter(), r.Key, a, true, b, true)
	if err != nil {
		return n.failed(err)
	}
	return n.out.Forward(Record[K, R]{Key: r.Key, Value: v, NullValue: n.nulls.is(v), Time: time, Headers: r.Headers})
}
