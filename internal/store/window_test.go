package store

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/topology"
)

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
