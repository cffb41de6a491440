package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

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
