package store

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// The record cache is bounded for all stores together: the put that fills it flushes its store, all of it.
func TestEvictionFromRecordCache(t *testing.T) {
	const limit = 20_000
	r := testResources(t, Limits{RecordCache: limit})
	var flushed int
	open := func(name string) *Store {
		spec := cached(table)
		spec.Name = name
		s, err := Open(Config{Spec: spec, Resources: r})
		check(t, err)
		t.Cleanup(func() { check(t, s.Close()) })
		s.OnFlush(func(key []byte, _, _ Value, _ *topology.Record) error {
			if want := fmt.Sprint(flushed); string(key) != want {
				t.Fatalf("flushed %s, want %s", key, want)
			}
			flushed++
			return nil
		}, false)
		return s
	}
	a, b := open("a"), open("b")
	put(t, b, "other", "1", 1, 1)
	most := int64(0)
	for i := range 1000 {
		before := flushed
		put(t, a, fmt.Sprint(i), "value", 1, 1)
		if flushed > before && flushed != i+1 {
			t.Fatalf("at %d, %d were flushed", i, flushed)
		}
		most = max(most, r.dirty.Load())
		if r.dirty.Load() > limit {
			t.Fatalf("%d bytes in the cache", r.dirty.Load())
		}
	}
	if flushed == 0 || most < limit/2 || !b.Dirty() {
		t.Fatalf("%d flushed, %d bytes in the cache at most; the other store has something: %v", flushed, most, b.Dirty())
	}
}

// The overlay asks for a commit when it is full; a commit empties it.
func TestCommitWanted(t *testing.T) {
	s, _ := events(t, &table, Limits{Overlay: 10_000})
	r := s.Resources
	n := 0
	for ; !r.CommitWanted(); n++ {
		put(t, s, fmt.Sprint(n), "value", 1, 1)
	}
	if n < 10 || n > 200 {
		t.Fatalf("a commit is wanted after %d entries", n)
	}
	check(t, s.Commit(1))
	if r.CommitWanted() || r.overlay.Load() != 0 {
		t.Fatalf("%d bytes are left", r.overlay.Load())
	}
}

// All that is counted is counted back.
func TestBudgetsReturnToZero(t *testing.T) {
	for _, spec := range variants() {
		d := drive(t, spec, 7)
		for range 500 {
			d.put()
			_, err := d.store.Get([]byte(d.randomKey()))
			check(t, err)
			switch d.rnd.IntN(20) {
			case 0:
				check(t, d.store.FlushCache())
			case 1:
				check(t, d.store.Commit(1))
			case 2:
				check(t, d.store.Abandon())
			}
		}
		check(t, d.store.Close())
		r := d.config.Resources
		if a, b, c := r.dirty.Load(), r.overlay.Load(), r.clean.Load(); a != 0 || b != 0 || c != 0 {
			t.Errorf("%s: %d dirty, %d in the overlay, %d clean", describe(spec), a, b, c)
		}
	}
}

// What the budgets count is what entries take, so that they bound the memory of the process.
func TestEntrySize(t *testing.T) {
	for _, spec := range []*state.Spec{&table, cached(table), &windows, cached(windows)} {
		r := testResources(t, Limits{RecordCache: 1 << 30})
		s, err := Open(Config{Spec: spec, Resources: r})
		check(t, err)
		const n = 50_000
		put := func(i int) {
			k, v := fmt.Appendf(nil, "a key of some length %08d", i), Value{[]byte("12345678"), 1}
			if spec.Kind == state.Window {
				check(t, s.PutWindow(k, int64(i), v, &topology.Record{}))
			} else {
				check(t, s.Put(k, v, &topology.Record{}))
			}
		}
		before := heap()
		for i := range n {
			put(i)
		}
		if spec.Cached { // half of them have a value below, too
			check(t, s.FlushCache())
			for i := range n {
				put(i * 2)
			}
		}
		took, counted := heap()-before, r.dirty.Load()+r.overlay.Load()
		if took < counted*8/10 || took > counted*12/10 {
			t.Errorf("%s: %d bytes are counted, %d taken", describe(spec), counted, took)
		}
		check(t, s.Close())
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what was pooled is gone only now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
