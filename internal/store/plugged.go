package store

import (
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/state"
)

// plugged is an engine that the program brings.
type plugged struct {
	state.Engine
	dir     string
	pending int       // bytes applied since the last settling
	settled time.Time // when that was

	applies *atomic.Uint64 // batches applied, for readers
	seen    uint64         // of them, by a reader
	reads   bool           // it is a reader
}

func openPlugged(open state.OpenEngine, dir string) (*plugged, error) {
	p := &plugged{dir: dir, settled: time.Now(), applies: new(atomic.Uint64)}
	var err error
	if p.Engine, err = open(dir); err != nil {
		return nil, p.trouble(err)
	}
	return p, nil
}

// trouble says what an error means, as that of disk does.
func (p *plugged) trouble(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrCorrupt):
		return &CorruptError{p.dir, err}
	}
	return &DiskError{p.dir, err}
}

func (p *plugged) get(key, dst []byte) ([]byte, bool, error) {
	v, ok, err := p.Get(key, dst)
	return v, ok, p.trouble(err)
}

func (p *plugged) scan(lo, hi []byte) iter.Seq2[pair, error]         { return p.iterate(lo, hi, false) }
func (p *plugged) scanBackward(lo, hi []byte) iter.Seq2[pair, error] { return p.iterate(lo, hi, true) }

func (p *plugged) iterate(lo, hi []byte, backward bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for e, err := range p.Scan(lo, hi, backward) {
			if !yield(pair{e.Key, e.Value}, p.trouble(err)) {
				return
			}
		}
	}
}

func (p *plugged) visit(lo, hi []byte, v visitor) error {
	for e, err := range p.Scan(lo, hi, false) {
		if err != nil {
			return p.trouble(err)
		}
		if more, err := v.visited(e.Key, e.Value); !more || err != nil {
			return err
		}
	}
	return nil
}

func (p *plugged) batch(size int) batch { return &pluggedBatch{p, p.Batch(size), 0} }

func (p *plugged) sorted() (batch, error) { return nil, nil }

type pluggedBatch struct {
	p    *plugged
	b    state.Batch
	size int
}

func (b *pluggedBatch) set(key, value []byte) error {
	b.size += len(key) + len(value)
	return b.p.trouble(b.b.Set(key, value))
}

func (b *pluggedBatch) remove(key []byte) error {
	b.size += len(key)
	return b.p.trouble(b.b.Remove(key))
}

func (b *pluggedBatch) removeRange(lo, hi []byte) error {
	b.size += len(lo) + len(hi)
	return b.p.trouble(b.b.RemoveRange(lo, hi))
}

func (b *pluggedBatch) apply() error {
	if err := b.b.Apply(); err != nil {
		return b.p.trouble(err)
	}
	b.p.applies.Add(1)
	b.p.pending += b.size
	if b.p.pending < settleBytes && time.Since(b.p.settled) < settleAfter {
		return nil
	}
	return b.p.settle()
}

func (p *plugged) settle() error {
	if p.pending == 0 {
		return nil
	}
	p.pending, p.settled = 0, time.Now()
	return p.trouble(p.Settle())
}

func (p *plugged) reader() engine {
	return &plugged{Engine: p.Engine, dir: p.dir, applies: p.applies, seen: p.applies.Load(), reads: true}
}

func (p *plugged) refresh() bool {
	now := p.applies.Load()
	changed := now != p.seen
	p.seen = now
	return changed
}

func (p *plugged) empty() error {
	p.applies.Add(1)
	return p.trouble(p.Empty())
}

func (p *plugged) close() error {
	if p.reads {
		return nil
	}
	return p.trouble(p.Close())
}
