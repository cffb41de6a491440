package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/enginetest"
)

// Each engine does what state.Engine says: here it is held to it by the names that it has for the outside.
func TestEngines(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		enginetest.Run(t, func(string) (state.Engine, error) { return public{openMemory(false)}, nil }, false)
	})
	t.Run("disk", func(t *testing.T) {
		r := testResources(t, Limits{})
		enginetest.Run(t, func(dir string) (state.Engine, error) {
			d, err := openDisk(dir, r)
			return public{d}, err
		}, true)
	})
	t.Run("plugged", func(t *testing.T) {
		r := testResources(t, Limits{})
		enginetest.Run(t, func(dir string) (state.Engine, error) {
			p, err := openPlugged(func(dir string) (state.Engine, error) {
				d, err := openDisk(dir, r)
				return public{d}, err
			}, dir)
			return public{p}, err
		}, true)
	})
}

// public is an engine as a program would bring it.
type public struct{ engine }

func (p public) Get(key, dst []byte) ([]byte, bool, error) { return p.get(key, dst) }
func (p public) Batch(size int) state.Batch                { return publicBatch{p.batch(size)} }
func (p public) Settle() error                             { return p.settle() }
func (p public) Empty() error                              { return p.empty() }
func (p public) Close() error                              { return p.close() }

func (p public) Scan(lo, hi []byte, backward bool) iter.Seq2[state.Pair, error] {
	scan := p.scan(lo, hi)
	if backward {
		scan = p.scanBackward(lo, hi)
	}
	return func(yield func(state.Pair, error) bool) {
		for e, err := range scan {
			if !yield(state.Pair{Key: e.key, Value: e.value}, err) {
				return
			}
		}
	}
}

type publicBatch struct{ batch }

func (b publicBatch) Set(key, value []byte) error     { return b.set(key, value) }
func (b publicBatch) Remove(key []byte) error         { return b.remove(key) }
func (b publicBatch) RemoveRange(lo, hi []byte) error { return b.removeRange(lo, hi) }
func (b publicBatch) Apply() error                    { return b.apply() }

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

func gather(t *testing.T, scan iter.Seq2[pair, error]) (found []string) {
	t.Helper()
	for p, err := range scan {
		check(t, err)
		found = append(found, string(p.key)+"="+string(p.value))
	}
	return found
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
