package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/topology"
)

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
