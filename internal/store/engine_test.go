package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// engines are what the conformance suite runs on. reopen closes an engine and opens it again; nil where nothing
// outlives it.
var engines = []struct {
	name   string
	open   func(t *testing.T) engine
	reopen func(t *testing.T, e engine) engine
}{
	{name: "memory", open: func(*testing.T) engine { return openMemory(false) }},
	{
		name: "disk",
		open: func(t *testing.T) engine { return mustOpenDisk(t, t.TempDir(), testResources(t, Limits{})) },
		reopen: func(t *testing.T, e engine) engine {
			check(t, e.close())
			return mustOpenDisk(t, e.(*disk).dir, testResources(t, Limits{}))
		},
	},
}

func mustOpenDisk(t *testing.T, dir string, r *Resources) *disk {
	t.Helper()
	d, err := openDisk(dir, r)
	check(t, err)
	return d
}

// testResources are released after the test; the engines that use them are to be closed before.
func testResources(t testing.TB, l Limits) *Resources {
	r := NewResources(l)
	t.Cleanup(r.Close)
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An engine does what a sorted map does.
func TestEngineModel(t *testing.T) {
	for _, kind := range engines {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(kind.name, seed), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(seed, 1))
				e := kind.open(t)
				defer func() { check(t, e.close()) }()
				model := map[string]string{}
				for range 300 {
					switch n := rnd.IntN(20); {
					case n < 12:
						randomBatch(t, rnd, e, model)
					case n < 18:
						compareScan(t, rnd, e, model)
						compareGet(t, rnd, e, model)
					case n == 18 && rnd.IntN(4) == 0:
						check(t, e.empty())
						clear(model)
					case n == 19 && kind.reopen != nil:
						e = kind.reopen(t, e)
					}
				}
			})
		}
	}
}

func randomKey(rnd *rand.Rand) []byte {
	k := []byte{byte(rnd.IntN(2))} // as the prefixes are
	for range rnd.IntN(4) {
		k = append(k, []byte{0, 1, 'a', 0xfe, 0xff}[rnd.IntN(5)])
	}
	return k
}

// randomBatch applies a batch to an engine and to its model; before apply the engine is to be as it was.
func randomBatch(t *testing.T, rnd *rand.Rand, e engine, model map[string]string) {
	b := e.batch(0)
	for range rnd.IntN(20) {
		key := randomKey(rnd)
		switch rnd.IntN(8) {
		default:
			value := bytes.Repeat([]byte{byte(rnd.IntN(256))}, rnd.IntN(3)*rnd.IntN(50))
			check(t, b.set(key, value))
			model[string(key)] = string(value)
			if len(value) > 0 {
				value[0]++ // a batch keeps copies
			}
		case 0, 1:
			check(t, b.remove(key))
			delete(model, string(key))
		case 2:
			hi := randomKey(rnd)
			if bytes.Compare(key, hi) > 0 {
				key, hi = hi, key
			}
			check(t, b.removeRange(key, hi))
			maps.DeleteFunc(model, func(k, _ string) bool { return k >= string(key) && k < string(hi) })
		}
		clear(key)
	}
	check(t, b.apply())
}

func compareGet(t *testing.T, rnd *rand.Rand, e engine, model map[string]string) {
	t.Helper()
	key := randomKey(rnd)
	got, ok, err := e.get(key, []byte("before"))
	check(t, err)
	want, wantOK := model[string(key)]
	if ok != wantOK || string(got) != "before"+want {
		t.Fatalf("get(%x) = %x %v, want %x %v", key, got, ok, "before"+want, wantOK)
	}
}

func compareScan(t *testing.T, rnd *rand.Rand, e engine, model map[string]string) {
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
	if got := gather(t, e.scan(lo, hi)); !slices.Equal(got, want) {
		t.Fatalf("scan(%x, %x)\n got %q\nwant %q", lo, hi, got, want)
	}
	slices.Reverse(want)
	if got := gather(t, e.scanBackward(lo, hi)); !slices.Equal(got, want) {
		t.Fatalf("scanBackward(%x, %x)\n got %q\nwant %q", lo, hi, got, want)
	}
}

func gather(t *testing.T, scan iter.Seq2[pair, error]) (found []string) {
	t.Helper()
	for p, err := range scan {
		check(t, err)
		found = append(found, string(p.key)+"="+string(p.value))
	}
	return found
}

// A scan may be left before its end.
func TestEngineScanStops(t *testing.T) {
	for _, kind := range engines {
		t.Run(kind.name, func(t *testing.T) {
			e := kind.open(t)
			b := e.batch(0)
			for i := range 10 {
				check(t, b.set([]byte{1, byte(i)}, nil))
			}
			check(t, b.apply())
			for _, scan := range []iter.Seq2[pair, error]{e.scan([]byte{1}, nil), e.scanBackward([]byte{1}, nil)} {
				n := 0
				for _, err := range scan {
					check(t, err)
					if n++; n == 3 {
						break
					}
				}
				if n != 3 {
					t.Fatalf("the scan went on to %d", n)
				}
			}
			check(t, e.close()) // an iterator left open would be an error
		})
	}
}

// On disk a batch that is larger than a memtable is applied as a whole too, and what was closed is all there again.
func TestDiskLargeBatches(t *testing.T) {
	e := engine(mustOpenDisk(t, t.TempDir(), testResources(t, Limits{})))
	const keys = 3000
	value := make([]byte, 2*memTable/keys)
	for round := range 3 {
		b := e.batch(0)
		value[0] = byte(round)
		for i := range keys {
			check(t, b.set(binary.BigEndian.AppendUint32([]byte{1}, uint32(i*7919%keys)), value))
		}
		check(t, b.apply())
	}
	e = engines[1].reopen(t, e)
	n := 0
	for p, err := range e.scan([]byte{1}, []byte{2}) {
		check(t, err)
		if i := binary.BigEndian.Uint32(p.key[1:]); int(i) != n || p.value[0] != 2 || len(p.value) != len(value) {
			t.Fatalf("entry %d is %d with a value of %d bytes of round %d", n, i, len(p.value), p.value[0])
		}
		n++
	}
	check(t, e.close())
	if n != keys {
		t.Fatalf("%d keys, want %d", n, keys)
	}
}

// A directory that was a store's and cannot be read says so, and what to do. One that cannot be made is another matter.
func TestDiskCorrupt(t *testing.T) {
	damage := map[string]func(t *testing.T, dir string){
		"manifest cut":     func(t *testing.T, dir string) { overwrite(t, dir, "MANIFEST-*", nil) },
		"manifest garbage": func(t *testing.T, dir string) { overwrite(t, dir, "MANIFEST-*", bytes.Repeat([]byte("?"), 4096)) },
		"table missing": func(t *testing.T, dir string) {
			for _, f := range files(t, dir, "*.sst") {
				check(t, os.Remove(f))
			}
		},
		"table cut": func(t *testing.T, dir string) { overwrite(t, dir, "*.sst", []byte("?")) },
		"table garbage": func(t *testing.T, dir string) {
			for _, f := range files(t, dir, "*.sst") {
				info, err := os.Stat(f)
				check(t, err)
				check(t, os.WriteFile(f, bytes.Repeat([]byte("?"), int(info.Size())), 0o600))
			}
		},
		"format unknown": func(t *testing.T, dir string) {
			for _, f := range files(t, dir, "marker.format-version.*") {
				check(t, os.Rename(f, filepath.Join(dir, "marker.format-version.000099.099")))
			}
		},
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testResources(t, Limits{})
			dir := t.TempDir()
			d := mustOpenDisk(t, dir, r)
			b := d.batch(0)
			for i := range 1000 {
				check(t, b.set(binary.BigEndian.AppendUint32([]byte{1}, uint32(i)), []byte("value")))
			}
			check(t, b.apply())
			check(t, d.close())
			f(t, dir)
			var corrupt *CorruptError
			if err := readWhole(dir, r); !errors.As(err, &corrupt) {
				t.Fatalf("no *CorruptError: %v", err)
			} else if corrupt.Dir != dir {
				t.Fatalf("the error does not name the directory: %v", err)
			}
		})
	}
}

// readWhole opens a directory and reads all of it.
func readWhole(dir string, r *Resources) error {
	d, err := openDisk(dir, r)
	if err != nil {
		return err
	}
	defer d.close()
	if _, _, err := d.get([]byte{1, 0, 0, 0, 0}, nil); err != nil {
		return err
	}
	for _, err := range d.scan([]byte{0}, nil) {
		if err != nil {
			return err
		}
	}
	return nil
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	check(t, err)
	if len(found) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	return found
}

func overwrite(t *testing.T, dir, pattern string, with []byte) {
	t.Helper()
	for _, f := range files(t, dir, pattern) {
		check(t, os.WriteFile(f, with, 0o600))
	}
}

func TestDiskUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err := openDisk(filepath.Join(file, "store"), testResources(t, Limits{}))
	var corrupt *CorruptError
	if err == nil || errors.As(err, &corrupt) {
		t.Fatalf("a file in the way is %v", err)
	}
}

// A second process, or task, cannot open a store that is open; that does not mean that its data is bad.
func TestDiskLocked(t *testing.T) {
	r := testResources(t, Limits{})
	d := mustOpenDisk(t, t.TempDir(), r)
	defer func() { check(t, d.close()) }()
	_, err := openDisk(d.dir, r)
	var corrupt *CorruptError
	if err == nil || errors.As(err, &corrupt) {
		t.Fatalf("opening it twice: %v", err)
	}
}

// A disk that is full is an error of the batches that come after, and of close; nothing hangs.
func TestDiskFull(t *testing.T) {
	t.Run("tables", func(t *testing.T) {
		testDiskFull(t, func(name string) bool { return filepath.Ext(name) == ".sst" })
	})
	t.Run("manifest", func(t *testing.T) {
		testDiskFull(t, func(name string) bool { return strings.HasPrefix(name, "MANIFEST") })
	})
}

func testDiskFull(t *testing.T, fails func(name string) bool) {
	var full atomic.Bool
	r := testResources(t, Limits{})
	r.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && fails(filepath.Base(op.Path)) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	d := mustOpenDisk(t, t.TempDir(), r)
	b := d.batch(0)
	check(t, b.set([]byte{1}, []byte("first")))
	check(t, b.apply())
	check(t, d.settle())
	check(t, d.wait())

	full.Store(true)
	var err error
	for i := 0; err == nil && i < 1000; i++ { // more than what may be held in memory
		b := d.batch(0)
		check(t, b.set([]byte{1, byte(i)}, make([]byte, settleBytes)))
		err = b.apply()
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), d.dir) {
		t.Fatalf("the disk is full: %v", err)
	}
	if err := d.close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("closing: %v", err)
	}
	full.Store(false)
	d = mustOpenDisk(t, d.dir, r)
	if got := gather(t, d.scan([]byte{0}, nil)); !slices.Equal(got, []string{"\x01=first"}) {
		t.Fatalf("afterwards there are %d entries, want the first", len(got))
	}
	check(t, d.close())
}
