package store

import (
	"bytes"
	"iter"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// memory is the engine that keeps everything in memory. Readers have the tree as it was after the last batch.
type memory struct {
	tree   *btree.BTreeG[pair]
	shared *atomic.Pointer[btree.BTreeG[pair]] // nil: it has no readers
}

func openMemory(shared bool) *memory {
	less := func(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }
	m := &memory{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
	if shared {
		m.shared = &atomic.Pointer[btree.BTreeG[pair]]{}
		m.share()
	}
	return m
}

// share shows readers what there is: a copy, whose nodes are copied as they are written.
func (m *memory) share() {
	if m.shared != nil {
		m.shared.Store(m.tree.Copy())
	}
}

func (m *memory) reader() engine { return &memory{m.shared.Load(), m.shared} }

func (m *memory) refresh() bool {
	before := m.tree
	m.tree = m.shared.Load()
	return m.tree != before
}

func (m *memory) get(key, dst []byte) ([]byte, bool, error) {
	p, ok := m.tree.Get(pair{key: key})
	return append(dst, p.value...), ok, nil
}

func (m *memory) scan(lo, hi []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		m.tree.Ascend(pair{key: lo}, func(p pair) bool {
			return (hi == nil || bytes.Compare(p.key, hi) < 0) && yield(p, nil)
		})
	}
}

func (m *memory) visit(lo, hi []byte, v visitor) (err error) {
	m.tree.Ascend(pair{key: lo}, func(p pair) (more bool) {
		if hi != nil && bytes.Compare(p.key, hi) >= 0 {
			return false
		}
		more, err = v.visited(p.key, p.value)
		return more && err == nil
	})
	return err
}

func (m *memory) scanBackward(lo, hi []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		visit := func(p pair) bool {
			if hi != nil && bytes.Equal(p.key, hi) {
				return true // it is not before itself
			}
			return bytes.Compare(p.key, lo) >= 0 && yield(p, nil)
		}
		if hi == nil {
			m.tree.Reverse(visit)
		} else {
			m.tree.Descend(pair{key: hi}, visit)
		}
	}
}

// batch applies changes at once: nothing can come between them and apply.
func (m *memory) batch(int) batch { return (*memoryBatch)(m) }

func (m *memory) sorted() (batch, error) { return nil, nil }

type memoryBatch memory

func (m *memoryBatch) set(key, value []byte) error {
	b := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	m.tree.Set(pair{b[:len(key):len(key)], b[len(key):]})
	return nil
}

func (m *memoryBatch) remove(key []byte) error {
	m.tree.Delete(pair{key: key})
	return nil
}

func (m *memoryBatch) removeRange(lo, hi []byte) error {
	var gone []pair
	m.tree.Ascend(pair{key: lo}, func(p pair) bool {
		if bytes.Compare(p.key, hi) >= 0 {
			return false
		}
		gone = append(gone, p)
		return true
	})
	for _, p := range gone {
		m.tree.Delete(p)
	}
	return nil
}

func (m *memoryBatch) apply() error {
	(*memory)(m).share()
	return nil
}

func (m *memory) settle() error { return nil }

func (m *memory) empty() error {
	m.tree.Clear()
	m.share()
	return nil
}

func (m *memory) close() error { return nil }
