// Package enginetest holds engines of stores to what [state.Engine] says.
package enginetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/state"
)

// Run tests an engine as one goroutine uses it; see [Readers] for the rest. open is called with directories of the test; lasting says that an engine which is closed and opened
// again has what it had.
func Run(t *testing.T, open state.OpenEngine, lasting bool) {
	s := suite{open, lasting}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("model", seed), func(t *testing.T) { t.Parallel(); s.model(t, seed) })
	}
	t.Run("scans that are left", s.leftScans)
	t.Run("large batches", s.largeBatches)
	t.Run("changes between scans", s.changedScan)
}

type suite struct {
	open    state.OpenEngine
	lasting bool
}

func (s suite) in(t *testing.T, dir string) state.Engine {
	t.Helper()
	e, err := s.open(dir)
	check(t, err)
	return e
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// model compares an engine with a sorted map.
func (s suite) model(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	e := s.in(t, dir)
	defer func() { check(t, e.Close()) }()
	model := map[string]string{}
	for range 300 {
		switch n := rnd.IntN(20); {
		case n < 12:
			randomBatch(t, rnd, e, model)
		case n < 18:
			compareScan(t, rnd, e, model)
			compareGet(t, rnd, e, model)
		case n == 18 && rnd.IntN(4) == 0:
			check(t, e.Empty())
			clear(model)
		case n == 18:
			check(t, e.Settle())
		case s.lasting:
			check(t, e.Close())
			e = s.in(t, dir)
		}
	}
}

func randomKey(rnd *rand.Rand) []byte {
	k := []byte{byte(rnd.IntN(2))}
	for range rnd.IntN(4) {
		k = append(k, []byte{0, 1, 'a', 0xfe, 0xff}[rnd.IntN(5)])
	}
	return k
}

// randomBatch applies a batch to an engine and to its model.
func randomBatch(t *testing.T, rnd *rand.Rand, e state.Engine, model map[string]string) {
	t.Helper()
	b := e.Batch(0)
	for range rnd.IntN(20) {
		key := randomKey(rnd)
		switch rnd.IntN(8) {
		default:
			value := bytes.Repeat([]byte{byte(rnd.IntN(256))}, rnd.IntN(3)*rnd.IntN(50))
			check(t, b.Set(key, value))
			model[string(key)] = string(value)
			if len(value) > 0 {
				value[0]++ // a batch keeps copies
			}
		case 0, 1:
			check(t, b.Remove(key))
			delete(model, string(key))
		case 2:
			hi := randomKey(rnd)
			if bytes.Compare(key, hi) > 0 {
				key, hi = hi, key
			}
			check(t, b.RemoveRange(key, hi))
			maps.DeleteFunc(model, func(k, _ string) bool { return k >= string(key) && k < string(hi) })
		}
		clear(key)
	}
	check(t, b.Apply())
}

func compareGet(t *testing.T, rnd *rand.Rand, e state.Engine, model map[string]string) {
	t.Helper()
	key := randomKey(rnd)
	got, ok, err := e.Get(key, []byte("before"))
	check(t, err)
	want, wantOK := model[string(key)]
	if ok != wantOK || string(got) != "before"+want {
		t.Fatalf("Get(%x) = %x %v, want %x %v", key, got, ok, "before"+want, wantOK)
	}
}

func compareScan(t *testing.T, rnd *rand.Rand, e state.Engine, model map[string]string) {
	t.Helper()
	lo, hi := randomKey(rnd), randomKey(rnd)
	if rnd.IntN(4) == 0 {
		hi = nil
	}
	var want []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			want = append(want, k+"="+model[k])
		}
	}
	for _, backward := range []bool{false, true} {
		if got := gather(t, e.Scan(lo, hi, backward)); !slices.Equal(got, want) {
			t.Fatalf("Scan(%x, %x, %v)\n got %q\nwant %q", lo, hi, backward, got, want)
		}
		slices.Reverse(want)
	}
}

func gather(t *testing.T, scan iter.Seq2[state.Pair, error]) (found []string) {
	t.Helper()
	for p, err := range scan {
		check(t, err)
		found = append(found, string(p.Key)+"="+string(p.Value))
	}
	return found
}

// leftScans leaves scans before their end: what they hold has to be let go.
func (s suite) leftScans(t *testing.T) {
	e := s.in(t, t.TempDir())
	b := e.Batch(0)
	for i := range 10 {
		check(t, b.Set([]byte{1, byte(i)}, nil))
	}
	check(t, b.Apply())
	for _, backward := range []bool{false, true} {
		n := 0
		for _, err := range e.Scan([]byte{1}, nil, backward) {
			check(t, err)
			if n++; n == 3 {
				break
			}
		}
		if n != 3 {
			t.Fatalf("the scan went on to %d", n)
		}
	}
	check(t, e.Close())
}

// largeBatches applies batches of many megabytes, a key in them again and again.
func (s suite) largeBatches(t *testing.T) {
	dir := t.TempDir()
	e := s.in(t, dir)
	const keys = 3000
	value := make([]byte, 1<<10)
	for round := range 3 {
		b := e.Batch(keys * len(value))
		value[0] = byte(round)
		for i := range keys {
			check(t, b.Set(binary.BigEndian.AppendUint32([]byte{1}, uint32(i*7919%keys)), value))
		}
		check(t, b.Apply())
	}
	if s.lasting {
		check(t, e.Close())
		e = s.in(t, dir)
	}
	n := 0
	for p, err := range e.Scan([]byte{1}, []byte{2}, false) {
		check(t, err)
		if i := binary.BigEndian.Uint32(p.Key[1:]); int(i) != n || p.Value[0] != 2 || len(p.Value) != len(value) {
			t.Fatalf("entry %d is %d with a value of %d bytes of round %d", n, i, len(p.Value), p.Value[0])
		}
		n++
	}
	check(t, e.Close())
	if n != keys {
		t.Fatalf("%d keys, want %d", n, keys)
	}
}

// changedScan reads the same range before and after a batch.
func (s suite) changedScan(t *testing.T) {
	e := s.in(t, t.TempDir())
	for i := range 5 {
		b := e.Batch(0)
		check(t, b.Set([]byte{1, byte(i)}, []byte{byte(i)}))
		check(t, b.Apply())
		if got := gather(t, e.Scan([]byte{1}, nil, false)); len(got) != i+1 {
			t.Fatalf("after %d batches there are %q", i+1, got)
		}
	}
	check(t, e.Close())
}

// Readers tests an engine that is read by others while it is written. Each batch sets all keys to one value, and a scan finds
// no other.
func Readers(t *testing.T, open state.OpenEngine) {
	e, err := open(t.TempDir())
	check(t, err)
	const keys = 20
	apply := func(value byte) {
		b := e.Batch(0)
		for k := range byte(keys) {
			check(t, b.Set([]byte{1, k}, []byte{value}))
		}
		check(t, b.Apply())
	}
	apply(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var values []byte
				for p, err := range e.Scan([]byte{1}, []byte{2}, false) {
					if err != nil {
						t.Error(err)
						return
					}
					values = append(values, p.Value...)
				}
				if len(values) != keys || len(slices.Compact(values)) != 1 {
					t.Errorf("a scan beside the writer found %v", values)
					return
				}
				if _, ok, err := e.Get([]byte{1, 0}, nil); !ok || err != nil {
					t.Errorf("a read beside the writer found %v, %v", ok, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		apply(byte(i))
	}
	close(stop)
	wg.Wait()
	check(t, e.Close())
}
