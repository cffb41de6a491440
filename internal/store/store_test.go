package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

var (
	table   = state.Spec{Name: "table", Timestamped: true, Engine: state.Memory}
	windows = state.Spec{Name: "windows", Kind: state.Window, Timestamped: true, Engine: state.Memory, Retention: 3 * time.Minute}
)

func cached(s state.Spec) *state.Spec { s.Cached = true; return &s }
func onDisk(s state.Spec) *state.Spec { s.Engine = state.Disk; return &s }

// events opens a store and notes what it logs, sends on and drops.
func events(t *testing.T, spec *state.Spec, l Limits) (*Store, *[]string) {
	t.Helper()
	var seen []string
	c := Config{
		Spec: spec, Application: "app", Changelog: "app-" + spec.Name + "-changelog", Dir: t.TempDir(), Resources: testResources(t, l),
		Log: func(key, value []byte, timestamp int64, _ []topology.Header) error {
			seen = append(seen, fmt.Sprintf("log %s%s", key, showLogged(Value{value, timestamp})))
			return nil
		},
		Expired: func(key []byte, start int64) { seen = append(seen, fmt.Sprintf("expired %s %d", key, start)) },
	}
	s, err := Open(c)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	s.OnFlush(func(key []byte, newer, older Value, origin *topology.Record) error {
		seen = append(seen, fmt.Sprintf("change %s %s %s from %d", key, show(newer), show(older), origin.Offset))
		return nil
	}, true)
	return s, &seen
}

func put(t *testing.T, s *Store, key, value string, ts, offset int64) {
	t.Helper()
	v := Value{Timestamp: ts}
	if value != "-" {
		v.Bytes = []byte(value)
	}
	check(t, s.Put([]byte(key), v, &topology.Record{Offset: offset}))
}

func expect(t *testing.T, seen *[]string, want ...string) {
	t.Helper()
	same(t, "events", *seen, want)
	*seen = nil
}

// What leaves the cache is logged and sent on in the order of the last changes, with the value before, and each in the
// name of the record that wrote it last; from nothing to nothing is no change
// (NamedCache.put, CachingKeyValueStore.putAndMaybeForward).
func TestFlushOrder(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	put(t, s, "a", "1", 10, 1)
	put(t, s, "b", "2", 20, 2)
	put(t, s, "c", "3", 30, 3)
	put(t, s, "a", "4", 5, 4) // to the end
	put(t, s, "d", "5", 6, 5)
	put(t, s, "d", "-", 7, 6) // nothing to nothing
	put(t, s, "e", "-", 8, 7)
	expect(t, seen)
	check(t, s.FlushCache())
	expect(t, seen, "log b=2@20", "change b =2@20 - from 2", "log c=3@30", "change c =3@30 - from 3", "log a=4@5", "change a =4@5 - from 4")

	put(t, s, "c", "-", 40, 8) // a tombstone is logged with the time it was put with, that of its record
	put(t, s, "a", "6", 41, 9)
	put(t, s, "a", "", 42, 10) // empty is a value
	check(t, s.FlushCache())
	expect(t, seen, "log c-@40", "change c - =3@30 from 8", "log a=@42", "change a =@42 =4@5 from 10")
	check(t, s.FlushCache())
	expect(t, seen)
}

// A store that is not cached logs all, in order.
func TestUncachedLogs(t *testing.T) {
	s, seen := events(t, &table, Limits{RecordCache: 1 << 20})
	put(t, s, "a", "1", 10, 1)
	put(t, s, "a", "-", 11, 1)
	put(t, s, "b", "-", 12, 1)
	expect(t, seen, "log a=1@10", "log a-@11", "log b-@12")

	s, seen = events(t, cached(table), Limits{}) // no record cache: as not cached
	if s.Cached() {
		t.Fatal("cached without a cache")
	}
	put(t, s, "a", "1", 10, 1)
	expect(t, seen, "log a=1@10")
}

// What is put while the cache is flushed waits for the next flush.
func TestPutWhileFlushing(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	var flushed []string
	s.OnFlush(func(key []byte, newer, older Value, _ *topology.Record) error {
		flushed = append(flushed, string(key)+show(newer)+show(older))
		if len(flushed) < 3 {
			put(t, s, string(key), string(newer.Bytes)+"'", 1, 1)
			put(t, s, "new", "1", 1, 1)
		}
		return nil
	}, true)
	put(t, s, "a", "1", 1, 1)
	put(t, s, "b", "2", 1, 1)
	check(t, s.FlushCache())
	same(t, "flushed", flushed, []string{"a=1@1-", "b=2@1-"})
	check(t, s.FlushCache())
	same(t, "flushed", flushed[2:], []string{"a=1'@1=1@1", "b=2'@1=2@1", "new=1@1-"})
	if s.Dirty() {
		t.Fatal("dirty")
	}
	expect(t, seen, "log a=1@1", "log b=2@1", "log a=1'@1", "log b=2'@1", "log new=1@1")
}

// An error of the changelog or of what is behind ends the flush.
func TestFlushErrors(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	boom := errors.New("boom")
	s.OnFlush(func([]byte, Value, Value, *topology.Record) error { return boom }, false)
	put(t, s, "a", "1", 1, 1)
	put(t, s, "b", "1", 1, 1)
	if err := s.FlushCache(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	expect(t, seen, "log a=1@1")
	s.Config.Log = func([]byte, []byte, int64, []topology.Header) error { return boom }
	if err := s.FlushCache(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
}

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

// A window store on disk keeps and hides as Java's segments do, in memory as Java's in-memory store: retention 180 s,
// segments of 90 s.
func TestExpired(t *testing.T) {
	for _, disk := range []bool{false, true} {
		t.Run(fmt.Sprint("disk=", disk), func(t *testing.T) {
			spec := &windows
			if disk {
				spec = onDisk(windows)
			}
			s, seen := events(t, spec, Limits{})
			putAt := func(start int64) {
				t.Helper()
				check(t, s.PutWindow([]byte("k"), start, Value{[]byte("v"), 1}, &topology.Record{}))
			}
			getAt := func(start int64, want string) {
				t.Helper()
				v, err := s.GetWindow([]byte("k"), start)
				check(t, err)
				if got := show(v); got != want {
					t.Fatalf("at %d there is %s, want %s", start, got, want)
				}
			}
			putAt(0)
			putAt(100_000)
			putAt(270_000) // the segment of 90 s to 180 s is the first that is kept, and 90 s the last window that is not seen
			check(t, s.Commit(3))
			getAt(0, "-")
			getAt(90_000, "-")
			getAt(100_000, "=v@1")
			*seen = nil
			putAt(89_999)
			putAt(90_000)
			putAt(90_001)
			getAt(89_999, "-")
			getAt(90_000, "-")
			getAt(90_001, "=v@1")
			expired := 0
			for _, e := range *seen {
				if strings.HasPrefix(e, "expired k ") {
					expired++
				}
			}
			if want := map[bool]int{false: 2, true: 1}[disk]; expired != want {
				t.Fatalf("%d are expired, want %d: %q", expired, want, *seen)
			}
			if len(*seen) != 3+expired {
				t.Fatalf("not all of them are logged: %q", *seen)
			}
			check(t, s.Commit(6))
			for p, err := range s.engine.scan([]byte{dataPrefix}, []byte{dataPrefix + 1}) {
				check(t, err)
				if _, start := SplitWindowKey(s.mapKey(nil, p.key)); start < 90_000 {
					t.Fatalf("the window of %d is still in the engine", start)
				}
			}
		})
	}
}

// What Windows and GetWindow say does not depend on whether a value is kept for reads.
func TestReadsDoNotDependOnTheReadCache(t *testing.T) {
	s, _ := events(t, onDisk(windows), Limits{})
	k, v := []byte("k"), Value{[]byte("v"), 1}
	check(t, s.PutWindow(k, 0, v, &topology.Record{}))
	check(t, s.Commit(1))
	if got, err := s.GetWindow(k, 0); err != nil || show(got) != "=v@1" {
		t.Fatal(got, err)
	}
	check(t, s.PutWindow(k, 180_000, v, &topology.Record{}))
	if got, err := s.GetWindow(k, 0); err != nil || got.Bytes != nil {
		t.Fatalf("an expired window is read as %s %v", show(got), err)
	}
}

// The windows of a key are found in a store that does not know its stream time, as it was just opened, without a look
// at each segment that there might be.
func TestWindowsOfAfterOpen(t *testing.T) {
	s, _ := events(t, onDisk(windows), Limits{})
	var want []string
	for _, start := range []int64{1_700_000_000_000, 1_700_000_090_000, 1_700_000_170_000} {
		for _, k := range []string{"a", "k", "kk"} {
			check(t, s.PutWindow([]byte(k), start, Value{[]byte("v"), 1}, &topology.Record{}))
		}
		want = append(want, fmt.Sprintf("%d 6b=v@1", start))
	}
	check(t, s.Commit(1))
	check(t, s.Close())
	again, err := Open(s.Config)
	check(t, err)
	s.engine = again.engine // for the cleanup
	same(t, "windows", gatherWindows(t, all2(t)(again.WindowsOf(nil, []byte("k"), math.MinInt64, math.MaxInt64))), want)
}

// What is put while the cache is flushed waits for the next flush, and takes nothing from this one; a flush within a
// flush takes what was put since that one began (NamedCache.flush: the changes are gathered first).
func TestPutDuringFlush(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	note := s.flush
	s.OnFlush(func(key []byte, newer, older Value, origin *topology.Record) error {
		check(t, note(key, newer, older, origin))
		if origin.Offset != 1 {
			return nil
		}
		put(t, s, "a", "A", 30, 11)
		put(t, s, "c", "C", 40, 12)
		put(t, s, "d", "D", 50, 13)
		put(t, s, "c", "CC", 60, 14)
		if v, err := s.Get([]byte("c")); err != nil || show(v) != "=CC@60" {
			t.Fatalf("c is %s, %v", show(v), err)
		}
		*seen = append(*seen, "meanwhile")
		return nil
	}, true)
	for i, k := range []string{"a", "b", "c"} {
		put(t, s, k, fmt.Sprint(i), 10, int64(i)+1)
	}
	check(t, s.FlushCache())
	expect(t, seen, "log a=0@10", "change a =0@10 - from 1", "meanwhile",
		"log b=1@10", "change b =1@10 - from 2", "log c=2@10", "change c =2@10 - from 3")
	check(t, s.Commit(3)) // of what is put later, what is below goes into the engine
	check(t, s.FlushCache())
	expect(t, seen, "log a=A@30", "change a =A@30 =0@10 from 11", "log d=D@50", "change d =D@50 - from 13",
		"log c=CC@60", "change c =CC@60 =2@10 from 14")
}

// A deletion of what is deleted below the cache is no change, also where another change of the key came meanwhile.
func TestPutDuringFlushOfNothing(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	put(t, s, "b", "in the engine", 10, 1)
	check(t, s.FlushCache())
	check(t, s.Commit(1))
	put(t, s, "b", "-", 20, 2)
	check(t, s.FlushCache())
	note := s.flush
	s.OnFlush(func(key []byte, newer, older Value, origin *topology.Record) error {
		if origin.Offset == 3 {
			put(t, s, "b", "again", 30, 5)
		}
		return note(key, newer, older, origin)
	}, true)
	put(t, s, "a", "1", 30, 3)
	put(t, s, "b", "-", 30, 4)
	*seen = nil
	check(t, s.FlushCache())
	expect(t, seen, "log a=1@30", "change a =1@30 - from 3")
	check(t, s.FlushCache())
	expect(t, seen, "log b=again@30", "change b =again@30 - from 5")
}

// A flush within a flush, as what is put meanwhile is too much for the cache, takes what was put since that one began.
func TestFlushDuringFlush(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	note := s.flush
	s.OnFlush(func(key []byte, newer, older Value, origin *topology.Record) error {
		check(t, note(key, newer, older, origin))
		if origin.Offset != 1 {
			return nil
		}
		put(t, s, "x", "X", 30, 11)
		put(t, s, "y", "Y", 40, 12)
		check(t, s.FlushCache())
		put(t, s, "b", "B", 50, 13)
		return nil
	}, true)
	for i, k := range []string{"a", "b", "c"} {
		put(t, s, k, fmt.Sprint(i), 10, int64(i)+1)
	}
	check(t, s.FlushCache())
	expect(t, seen, "log a=0@10", "change a =0@10 - from 1", "log x=X@30", "change x =X@30 - from 11",
		"log y=Y@40", "change y =Y@40 - from 12", "log b=1@10", "change b =1@10 - from 2", "log c=2@10", "change c =2@10 - from 3")
	check(t, s.FlushCache())
	expect(t, seen, "log b=B@50", "change b =B@50 =1@10 from 13")
}

// A flush that fails has not lost what it did not come to, and all that is counted is counted back.
func TestFlushFails(t *testing.T) {
	s, seen := events(t, cached(table), Limits{RecordCache: 1 << 20})
	failure := errors.New("no")
	s.OnFlush(func(_ []byte, _, _ Value, origin *topology.Record) error {
		if origin.Offset == 1 {
			put(t, s, "b", "B", 50, 13)
			return failure
		}
		return nil
	}, true)
	put(t, s, "a", "0", 10, 1)
	put(t, s, "b", "1", 10, 2)
	if err := s.FlushCache(); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	*seen = nil
	check(t, s.FlushCache())
	expect(t, seen, "log b=1@10", "log b=B@50")
	put(t, s, "a", "0", 10, 1)
	put(t, s, "b", "1", 10, 2)
	if err := s.FlushCache(); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	check(t, s.Abandon())
	if n := s.Resources.dirty.Load() + s.Resources.overlay.Load(); n != 0 || s.Dirty() {
		t.Fatalf("%d bytes are left", n)
	}
}

// Changelogs are read by Java too: the bytes are fixed.
func TestChangelogBytes(t *testing.T) {
	type record struct{ key, value string }
	var got []record
	log := func(key, value []byte, _ int64, _ []topology.Header) error {
		r := record{hex.EncodeToString(key), hex.EncodeToString(value)}
		if value == nil {
			r.value = "null"
		}
		got = append(got, r)
		return nil
	}
	r := testResources(t, Limits{})
	s, err := Open(Config{Spec: &table, Resources: r, Log: log})
	check(t, err)
	check(t, s.Put([]byte("key"), Value{[]byte("value"), 1}, &topology.Record{}))
	check(t, s.Put([]byte("key"), Value{[]byte{}, 1}, &topology.Record{}))
	check(t, s.Put([]byte("key"), Value{nil, 1}, &topology.Record{}))
	w, err := Open(Config{Spec: &windows, Resources: r, Log: log})
	check(t, err)
	check(t, w.PutWindow([]byte("key"), 1_700_000_000_000, Value{[]byte("value"), 1}, &topology.Record{}))
	check(t, w.PutWindow(nil, 0, Value{[]byte("value"), 1}, &topology.Record{}))
	same(t, "changelog", got, []record{
		{"6b6579", "76616c7565"}, {"6b6579", ""}, {"6b6579", "null"},
		{"6b6579" + "0000018bcfe56800" + "00000000", "76616c7565"},
		{"0000000000000000" + "00000000", "76616c7565"},
	})
}

// The layout on disk is fixed by formatVersion: a change of it must not go by unnoticed.
func TestEngineBytes(t *testing.T) {
	key := appendWindowKey(nil, []byte("key"), 1_700_000_000_000) // segment 18888888 of 90 s
	byTime := windows
	byTime.TimeFirst = true
	for _, c := range []struct {
		spec state.Spec
		key  []byte
		want string
	}{
		{table, []byte("key"), "01" + "6b6579"},
		{windows, key, "01" + "00000000012038b8" + "6b6579" + "0000018bcfe56800" + "00000000"},
		{byTime, key, "01" + "00000000012038b8" + "0000018bcfe56800" + "6b6579" + "00000000"},
	} {
		s := Store{Config: Config{Spec: &c.spec}}
		s.windowed.init(&c.spec)
		if got := hex.EncodeToString(s.engineKey(nil, c.key)); got != c.want {
			t.Errorf("%s: %s, want %s", s.layout(), got, c.want)
		}
		if got := hex.EncodeToString(s.encode(nil, Value{[]byte("v"), 258})); got != "000000000000010276" {
			t.Errorf("value %s", got)
		}
	}
}

// A directory with other data is refused, with the directory and what to do in the message.
func TestIdentity(t *testing.T) {
	fs := vfs.NewMem()
	open := func(change func(c *Config)) error {
		t.Helper()
		r := testResources(t, Limits{})
		r.fs = fs
		c := Config{Spec: onDisk(windows), Application: "app", Changelog: "log", Partition: 1, Dir: "some/dir", Resources: r}
		change(&c)
		s, err := Open(c)
		if err == nil {
			check(t, s.Close())
		}
		return err
	}
	check(t, open(func(*Config) {}))
	check(t, open(func(*Config) {}))
	for name, change := range map[string]func(c *Config){
		"application": func(c *Config) { c.Application = "other" },
		"changelog":   func(c *Config) { c.Changelog = "other" },
		"partition":   func(c *Config) { c.Partition = 2 },
		"kind":        func(c *Config) { c.Spec = onDisk(table) },
		"segments":    func(c *Config) { s := *onDisk(windows); s.Retention *= 2; c.Spec = &s },
		"order":       func(c *Config) { s := *onDisk(windows); s.TimeFirst = true; c.Spec = &s },
	} {
		err := open(change)
		var foreign *ForeignError
		if !errors.As(err, &foreign) || foreign.Dir != "some/dir" {
			t.Errorf("another %s: %v", name, err)
			continue
		}
		for _, part := range []string{"some/dir", "remove it", `store "`, `application "app"`} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("another %s: %q does not say %s", name, err, part)
			}
		}
	}
}

// rewrite sets an entry of a store's engine behind its back.
func rewrite(t *testing.T, dir string, key, value []byte) {
	t.Helper()
	r := NewResources(Limits{})
	defer r.Close()
	d := mustOpenDisk(t, dir, r)
	b := d.batch(0)
	check(t, b.set(key, value))
	check(t, b.apply())
	check(t, d.close())
}

// What was written by a newer version or damaged is told by type.
func TestUnreadableEntries(t *testing.T) {
	newer, err := json.Marshal(identity{Format: formatVersion + 1, Application: "app", Changelog: "app-table-changelog", Layout: "key"})
	check(t, err)
	for name, c := range map[string]struct {
		key, value []byte
		foreign    bool
	}{
		"newer format": {identityKey, newer, true},
		"no identity":  {identityKey, []byte("{"), false},
		"position":     {positionKey, []byte("1234567"), false},
		"value":        {[]byte("\x01k"), []byte("1234567"), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := events(t, onDisk(table), Limits{})
			put(t, s, "other", "1", 1, 1)
			check(t, s.Commit(1))
			c2 := s.Config
			check(t, s.Close())
			defer func() { s.engine = openMemory(false) }() // closed already
			rewrite(t, c2.Dir, c.key, c.value)

			again, err := Open(c2)
			if err == nil {
				defer again.Close()
				if _, err = again.Get([]byte("k")); err != nil {
					for _, e := range again.Range(nil, nil) {
						if e != nil && e.Error() != err.Error() {
							t.Errorf("Range: %v", e)
						}
					}
				}
			}
			var corrupt *CorruptError
			var foreign *ForeignError
			if !errors.As(err, &corrupt) && !c.foreign || !errors.As(err, &foreign) && c.foreign {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), c2.Dir) || !strings.Contains(err.Error(), "remove") {
				t.Fatalf("%q does not name the directory and the remedy", err)
			}
		})
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

// Wipe, of an open store and of a directory, leaves nothing behind.
func TestWipe(t *testing.T) {
	s, _ := events(t, onDisk(table), Limits{})
	for i := range 3 {
		put(t, s, fmt.Sprint(i), "v", 1, 1)
		check(t, s.Commit(int64(i)))
	}
	put(t, s, "pending", "v", 1, 1)
	check(t, s.Wipe())
	for e, err := range s.Range(nil, nil) {
		t.Fatal("an entry is left:", e, err)
	}
	if _, ok := s.Position(); ok {
		t.Fatal("a position is left")
	}
	c := s.Config
	c.Application = "other"
	check(t, s.Close())
	check(t, Wipe(c.Dir))
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	other, err := Open(c) // another's, as it is empty
	check(t, err)
	s.engine = other.engine // for the cleanup
}

// Changes of a batch of a restore that are for one key leave the last; a null deletes, a null key is skipped, and
// nothing of it is logged.
func TestRestoreBatch(t *testing.T) {
	for _, spec := range []*state.Spec{&table, onDisk(table)} {
		s, seen := events(t, spec, Limits{})
		check(t, s.Restore([]topology.Record{
			{Key: []byte("a"), Value: []byte("1"), Timestamp: 1}, {Key: []byte("b"), Value: []byte("1"), Timestamp: 2},
			{Value: []byte("?")}, {Key: []byte("a"), Value: []byte("2"), Timestamp: 3}, {Key: []byte("b"), Timestamp: 4},
			{Key: []byte("c"), Timestamp: 4}, {Key: []byte("c"), Value: []byte{}, Timestamp: 5}, {Key: []byte{}, Value: []byte("e"), Timestamp: 6},
		}, 100))
		check(t, s.Restore(nil, 120)) // transaction markers only
		check(t, s.RestoreDone())
		var got []string
		for e, err := range s.Range(nil, nil) {
			check(t, err)
			got = append(got, string(e.Key)+show(e.Value))
		}
		same(t, "entries", got, []string{"=e@6", "a=2@3", "c=@5"})
		if next, ok := s.Position(); next != 120 || !ok {
			t.Fatal(next, ok)
		}
		expect(t, seen)
	}
}

// A record that cannot be one of a window store's changelog is an error, not state.
func TestRestoreForeignRecord(t *testing.T) {
	s, _ := events(t, &windows, Limits{})
	err := s.Restore([]topology.Record{{Topic: "log", Partition: 3, Offset: 17, Key: []byte("short"), Value: []byte("v")}}, 18)
	if err == nil || !strings.Contains(err.Error(), `topic "log" partition 3 offset 17`) {
		t.Fatal(err)
	}
}

// Reads, writes and ranges at the ends of what numbers and keys can be.
func TestExtremes(t *testing.T) {
	for _, spec := range []*state.Spec{&windows, onDisk(windows)} {
		s, _ := events(t, spec, Limits{})
		for _, start := range []int64{0, 1, math.MaxInt64 - 1, math.MaxInt64} {
			check(t, s.PutWindow([]byte("k"), start, Value{[]byte("v"), 1}, &topology.Record{}))
		}
		check(t, s.Commit(1))
		for span, want := range map[[2]int64]int{
			{math.MinInt64, math.MaxInt64}: 2, {math.MaxInt64, math.MaxInt64}: 1, {5, 4}: 0, {0, -1}: 0, {math.MaxInt64, math.MinInt64}: 0,
		} {
			for name, windows := range map[string]iter.Seq2[WindowEntry, error]{
				"all": s.Windows(span[0], span[1]), "of k": all2(t)(s.WindowsOf(nil, []byte("k"), span[0], span[1])),
			} {
				n := 0
				for _, err := range windows {
					check(t, err)
					n++
				}
				if n != want {
					t.Errorf("%s: %d windows from %d to %d, want %d", name, n, span[0], span[1], want)
				}
			}
		}
	}
	s, _ := events(t, onDisk(table), Limits{})
	long := strings.Repeat("k", 100_000)
	put(t, s, "", "empty", 1, 1)
	put(t, s, long, strings.Repeat("v", 1<<20), 1, 1)
	check(t, s.Commit(1))
	check(t, s.Abandon())
	s.forget()
	for _, k := range []string{"", long} {
		if v, err := s.Get([]byte(k)); err != nil || v.Bytes == nil {
			t.Fatal(err)
		}
	}
}

// fuzzed is a store of each layout without an engine, for what decodes and encodes.
func fuzzed(kind, timeFirst bool) *Store {
	spec := table
	if kind {
		spec = windows
	}
	spec.TimeFirst = timeFirst
	s := &Store{Config: Config{Spec: &spec}}
	s.windowed.init(&spec)
	return s
}

func FuzzSplitWindowKey(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendWindowKey(nil, []byte("key"), 1_700_000_000_000))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, start := SplitWindowKey(b)
		if len(b) < windowSuffix {
			if !bytes.Equal(key, b) || start != 0 {
				t.Fatal("a short key is changed")
			}
		} else if again := appendWindowKey(nil, key, start); !bytes.Equal(again[:len(b)-4], b[:len(b)-4]) {
			t.Fatalf("%x becomes %x", b, again)
		}
	})
}

func FuzzSplitSessionKey(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendSessionKey(nil, []byte("key"), 1_700_000_000_000, 1_700_000_000_001))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, start, end := SplitSessionKey(b)
		if len(b) < sessionSuffix {
			if !bytes.Equal(key, b) || start != 0 || end != 0 {
				t.Fatal("a short key is changed")
			}
		} else if again := appendSessionKey(nil, key, start, end); !bytes.Equal(again, b) {
			t.Fatalf("%x becomes %x", b, again)
		}
	})
}

// A key of the changelog comes back from the engine's; any bytes in either place do not panic.
func FuzzEngineKey(f *testing.F) {
	f.Add(appendWindowKey(nil, []byte("key"), 1_700_000_000_000), true, true)
	f.Add([]byte("k"), false, false)
	f.Fuzz(func(t *testing.T, b []byte, window, timeFirst bool) {
		s := fuzzed(window, timeFirst)
		s.mapKey(nil, append([]byte{dataPrefix}, b...))
		s.restorable(b)
		s.hides(b)
		if window && len(b) < windowSuffix {
			return // Restore refuses it
		}
		if back := s.mapKey(nil, s.engineKey(nil, b)); !bytes.Equal(back, b) {
			t.Fatalf("%x comes back as %x", b, back)
		}
		if !window || int64(binary.BigEndian.Uint64(b[len(b)-windowSuffix:])) < 0 {
			return
		}
		_, start := SplitWindowKey(b)
		lo, hi := s.timeBounds(start, start)
		if k := s.engineKey(nil, b); bytes.Compare(k, lo) < 0 || bytes.Compare(k, hi) >= 0 {
			t.Fatalf("%x is not within %x and %x", k, lo, hi)
		}
	})
}

func FuzzDecodeValue(f *testing.F) {
	f.Add([]byte("12345678value"), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, timestamp int64) {
		s := fuzzed(false, false)
		if v, err := s.decode(b); (err == nil) != (len(b) >= 8) || err == nil && v.Bytes == nil {
			t.Fatal(v, err)
		}
		want := Value{append([]byte{}, b...), timestamp}
		if v, err := s.decode(s.encode(nil, want)); err != nil || show(v) != show(want) {
			t.Fatal(v, err)
		}
	})
}

// What was restored is there as soon as the restore is done, however much it was.
func TestRestoreDoneIsReadable(t *testing.T) {
	for range 5 {
		s, _ := events(t, onDisk(state.Spec{Name: "counts", Timestamped: true}), Limits{})
		var records []topology.Record
		for n := range 40_000 { // more than is written as a batch
			records = append(records, topology.Record{Key: fmt.Appendf(nil, "key-%06d", n), Value: []byte("a value of some bytes"), Offset: int64(n)})
		}
		check(t, s.Restore(records, int64(len(records))))
		check(t, s.RestoreDone())
		for _, n := range []int{0, 20_000, 39_999} {
			if v, err := s.Get(fmt.Appendf(nil, "key-%06d", n)); err != nil || v.Bytes == nil {
				t.Fatalf("key %d is not there: %v, %v", n, v, err)
			}
		}
		if next, ok := s.Position(); !ok || next != int64(len(records)) {
			t.Errorf("the position is %d, %v", next, ok)
		}
	}
}
