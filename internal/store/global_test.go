package store

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/millrace/millrace/state"
)

// TestReaders: readers on other goroutines see what was published, whole batches, while it is written.
func TestReaders(t *testing.T) {
	for _, engine := range []state.EngineKind{state.Disk, state.Memory} {
		t.Run(fmt.Sprint(engine), func(t *testing.T) {
			r := NewResources(Limits{})
			defer r.Close()
			spec := &state.Spec{Name: "s", Engine: engine}
			s, err := Open(Config{Spec: spec, Dir: t.TempDir(), Resources: r, Shared: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			const keys, rounds = 20, 300
			publish := func(round int) {
				for k := range keys {
					if err := s.Put(fmt.Append(nil, "key", k), Value{Bytes: fmt.Append(nil, round)}, nil); err != nil {
						t.Fatal(err)
					}
				}
				s.SetPosition(7, int64(round))
				if err := s.Commit(-1); err != nil {
					t.Fatal(err)
				}
				if err := s.Publish(); err != nil {
					t.Fatal(err)
				}
			}
			publish(0)
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					read := s.Reader()
					defer read.Close()
					for seen := ""; seen != fmt.Sprint(rounds-1); {
						v, err := read.Get([]byte("key3"))
						if err != nil {
							t.Error(err)
							return
						}
						seen = string(v.Bytes)
						n, first := 0, ""
						for e, err := range read.Range(nil, nil) {
							if err != nil {
								t.Error(err)
								return
							}
							if n++; n == 1 {
								first = string(e.Value.Bytes)
							}
							if string(e.Value.Bytes) != first {
								t.Errorf("one scan sees %s and %s", first, e.Value.Bytes)
								return
							}
						}
						if n != keys {
							t.Errorf("a scan sees %d keys", n)
							return
						}
					}
				})
			}
			for round := range rounds {
				publish(round)
			}
			readers.Wait()
			read := s.Reader()
			defer read.Close()
			if err := read.Put([]byte("k"), Value{Bytes: []byte("v")}, nil); err == nil {
				t.Error("a reader writes")
			}
			if at, err := s.Positions(); err != nil || len(at) != 1 || at[7] != rounds-1 {
				t.Errorf("the positions are %v, %v", at, err)
			}
			if err := s.Wipe(); err != nil {
				t.Fatal(err)
			}
			if v, err := read.Get([]byte("key3")); err != nil || v.Bytes != nil {
				t.Errorf("a reader finds %q in what was wiped, %v", v.Bytes, err)
			}
			if at, err := s.Positions(); err != nil || len(at) != 0 {
				t.Errorf("the positions are %v, %v", at, err)
			}
		})
	}
}

// Readers of windows leave away what is older than the retention, as the store does, though its segment is there still.
func TestReadersOfWindows(t *testing.T) {
	for _, engine := range []state.EngineKind{state.Disk, state.Memory} {
		spec := windows
		spec.Engine = engine
		s, err := Open(Config{Spec: &spec, Dir: t.TempDir(), Resources: testResources(t, Limits{}), Shared: true})
		check(t, err)
		read := s.Reader()
		put := func(start int64) {
			t.Helper()
			check(t, s.PutWindow([]byte("k"), start, Value{Bytes: []byte("v")}, nil))
			check(t, s.Commit(-1))
			check(t, s.Publish())
		}
		put(1)
		for _, at := range []int64{2, 180_000, 180_001} {
			put(at)
			late := s.Reader()
			for name, r := range map[string]*Store{"the store": s, "its reader": read, "a new reader": late} {
				v, err := r.GetWindow([]byte("k"), 1)
				check(t, err)
				n := len(gatherWindows(t, r.Windows(0, 10)))
				if there := at < 180_001; (v.Bytes != nil) != there || (n == 2) != there {
					t.Errorf("%v, at %d: %s has %q and %d windows", engine, at, name, v.Bytes, n)
				}
			}
			check(t, late.Close())
		}
		check(t, read.Close())
		check(t, s.Close())
	}
}

// What is no position of a partition is an error, and one comes back as it was set.
func FuzzPartition(f *testing.F) {
	f.Add([]byte(partitionPrefix+"\x00\x00\x00\x07"), []byte("\x00\x00\x00\x00\x00\x00\x00\x09"))
	f.Add([]byte(partitionPrefix), []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		partition, next, err := parsePartition(key, value)
		if err != nil {
			return
		}
		var s Store
		s.SetPosition(partition, next)
		c := &s.stage.changes[0]
		if got := s.stage.keyOf(c); !bytes.Equal(got, key) || !bytes.Equal(s.stage.bytes[len(got):], value) {
			t.Fatalf("%x %x becomes %x", key, value, s.stage.bytes)
		}
	})
}
