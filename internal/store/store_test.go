package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
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
