package store

import (
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// What a store of two entries holds, and logs.
func forgetful(t *testing.T, change func(*state.Spec), l Limits) (*Store, *[]string) {
	t.Helper()
	spec := state.Spec{Name: "recent", Engine: state.Memory, MaxEntries: 2}
	if change != nil {
		change(&spec)
	}
	return events(t, &spec, l)
}

func holds(t *testing.T, s *Store, want ...string) {
	t.Helper()
	var got []string
	for e, err := range s.Range(nil, nil) {
		check(t, err)
		got = append(got, string(e.Key)+"="+string(e.Value.Bytes))
	}
	same(t, "entries", got, want)
}

// A key is used when it is read by Get or written, not by a range; what is forgotten is logged before what came
// (MemoryLRUCache, ChangeLoggingKeyValueBytesStore).
func TestForget(t *testing.T) {
	s, seen := forgetful(t, nil, Limits{})
	put(t, s, "a", "1", 10, 1)
	put(t, s, "b", "2", 20, 2)
	if _, err := s.Get([]byte("a")); err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a=1", "b=2")
	put(t, s, "c", "3", 30, 3)
	expect(t, seen, "log a=1@10", "log b=2@20", "log b-@30", "log c=3@30")
	holds(t, s, "a=1", "c=3")

	put(t, s, "a", "-", 40, 4) // makes room
	put(t, s, "d", "4", 50, 5)
	put(t, s, "c", "5", 60, 6) // a write is a use
	put(t, s, "e", "6", 70, 7)
	expect(t, seen, "log a-@40", "log d=4@50", "log c=5@60", "log d-@70", "log e=6@70")
	holds(t, s, "c=5", "e=6")
	if v, err := s.Get([]byte("d")); v.Bytes != nil || err != nil {
		t.Errorf("what was forgotten is %v, %v", v, err)
	}
	check(t, s.Commit(9))
	put(t, s, "", "7", 80, 8) // what is in the engine is forgotten too
	holds(t, s, "=7", "e=6")
	put(t, s, "e", "8", 90, 9)
	put(t, s, "f", "9", 95, 9) // and a key of no bytes
	holds(t, s, "e=8", "f=9")
}

// Where values have timestamps nothing is logged of what is forgotten, as in Java.
func TestForgetTimestamped(t *testing.T) {
	s, seen := forgetful(t, func(s *state.Spec) { s.Timestamped = true }, Limits{})
	put(t, s, "a", "1", 10, 1)
	put(t, s, "b", "2", 20, 2)
	put(t, s, "c", "3", 30, 3)
	expect(t, seen, "log a=1@10", "log b=2@20", "log c=3@30")
	holds(t, s, "b=2", "c=3")
}

// What is held back counts when it is flushed; what was forgotten below is nothing before.
func TestForgetCached(t *testing.T) {
	s, seen := forgetful(t, func(s *state.Spec) { s.Timestamped, s.Cached = true, true }, Limits{RecordCache: 1 << 20, Overlay: 1 << 20})
	for i, k := range []string{"a", "b", "c"} {
		put(t, s, k, k, int64(i), int64(i))
	}
	holds(t, s, "a=a", "b=b", "c=c")
	check(t, s.FlushCache())
	holds(t, s, "b=b", "c=c")
	*seen = nil
	put(t, s, "b", "B", 4, 4)
	put(t, s, "d", "d", 5, 5)
	put(t, s, "e", "e", 6, 6)
	put(t, s, "b", "b'", 7, 7) // the last: it is forgotten below before its turn comes
	check(t, s.FlushCache())
	expect(t, seen, "log d=d@5", "change d =d@5 - from 5", "log e=e@6", "change e =e@6 - from 6", "log b=b'@7", "change b =b'@7 - from 7")
	holds(t, s, "b=b'", "e=e")
}

// A restore puts the changelog's records in their order, as Java does, whether it is of all or of what is missing.
func TestForgetRestored(t *testing.T) {
	s, _ := forgetful(t, nil, Limits{})
	restore := func(next int64, kv ...string) {
		t.Helper()
		var records []topology.Record
		for i := 0; i < len(kv); i += 2 {
			r := topology.Record{Key: []byte(kv[i]), Timestamp: int64(i)}
			if kv[i+1] != "-" {
				r.Value = []byte(kv[i+1])
			}
			records = append(records, r)
		}
		check(t, s.Restore(records, next))
		check(t, s.Readable())
	}
	restore(4, "a", "1", "b", "2", "c", "3", "b", "-")
	holds(t, s, "c=3")
	restore(6, "d", "4", "c", "5")
	holds(t, s, "c=5", "d=4")
	restore(7, "e", "6")
	holds(t, s, "c=5", "e=6")
	check(t, s.RestoreDone())
	put(t, s, "f", "7", 8, 8)
	holds(t, s, "e=6", "f=7")
	check(t, s.Wipe())
	holds(t, s)
	restore(2, "a", "1", "b", "2")
	holds(t, s, "a=1", "b=2")
}

// Back at the last commit there is again what was forgotten since, and it is the first to go.
func TestForgetAbandoned(t *testing.T) {
	s, _ := forgetful(t, nil, Limits{})
	put(t, s, "a", "1", 10, 1)
	put(t, s, "b", "2", 20, 2)
	check(t, s.Commit(2))
	put(t, s, "c", "3", 30, 3)
	put(t, s, "b", "4", 40, 4)
	put(t, s, "d", "5", 50, 5)
	holds(t, s, "b=4", "d=5")
	check(t, s.Abandon())
	holds(t, s, "a=1", "b=2")
	put(t, s, "e", "6", 60, 6)
	holds(t, s, "b=2", "e=6")
}
