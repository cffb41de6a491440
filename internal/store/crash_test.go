package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// What is written to the stores of these tests is a function of the position alone: record n of the changelog is for
// key n·7919 mod crashKeys and says n, or deletes it. So the state that belongs to a position is known.
const crashKeys = 2000

func crashRecord(n int64) topology.Record {
	r := topology.Record{Key: binary.BigEndian.AppendUint16(nil, uint16(n*7919%crashKeys)), Timestamp: n}
	if n%7 != 0 {
		r.Value = fmt.Append(nil, "value ", n)
	}
	return r
}

// crashState is the state after the records before a position.
func crashState(position int64) map[string]string {
	m := map[string]string{}
	for n := max(0, position-crashKeys); n < position; n++ { // each key comes once in so many
		if r := crashRecord(n); r.Value != nil {
			m[string(r.Key)] = show(Value{r.Value, r.Timestamp})
		}
	}
	return m
}

func openCrash(dir string, r *Resources) (*Store, error) {
	return Open(Config{Spec: onDisk(state.Spec{Name: "crash", Timestamped: true}), Application: "app", Changelog: "log", Dir: dir, Resources: r})
}

// TestCrashChild is no test: it is what the tests below run as a process, and kill. It continues where the store is,
// and prints each position that it has committed.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv("MILLRACE_TEST_STORE")
	if dir == "" {
		t.SkipNow()
	}
	s, err := openCrash(dir, NewResources(Limits{}))
	check(t, err)
	n, _ := s.Position()
	rnd := rand.New(rand.NewPCG(uint64(n), 3))
	pace := time.Nanosecond
	if os.Getenv("MILLRACE_TEST_PACE") != "" {
		pace = 10 * time.Millisecond
	}
	for range time.Tick(pace) {
		next := n + 1 + rnd.Int64N(500)
		var records []topology.Record
		for ; n < next; n++ {
			records = append(records, crashRecord(n))
		}
		if next%2 == 0 {
			check(t, s.Restore(records, next))
		} else {
			for _, r := range records {
				check(t, s.Put(r.Key, Value{r.Value, r.Timestamp}, &r))
			}
			check(t, s.Commit(next))
		}
		fmt.Println(next)
	}
}

// crash runs the child for a while and kills it. It returns the positions that the child has committed, with the times
// of that, and the time of its death.
func crash(t *testing.T, dir, pace string, after time.Duration) (positions []int64, at []time.Time, death time.Time) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), "MILLRACE_TEST_STORE="+dir, "MILLRACE_TEST_PACE="+pace)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	killed := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() }) // should it hang
	defer killed.Stop()
	start := time.Time{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("the child says %q", lines.Text())
			break
		}
		positions, at = append(positions, p), append(at, time.Now())
		if len(at) == 1 {
			start = at[0]
		}
		if time.Since(start) >= after {
			break
		}
	}
	death = time.Now()
	check(t, child.Process.Kill())
	_ = child.Wait() // what it returns says that it was killed
	if len(positions) == 0 {
		t.Fatal("the child did nothing")
	}
	return positions, at, death
}

// recovered checks that what is on disk is the state of the position that it names, and returns that.
func recovered(t *testing.T, dir string) int64 {
	t.Helper()
	r := NewResources(Limits{})
	defer r.Close()
	s, err := openCrash(dir, r)
	check(t, err)
	position, _ := s.Position()
	want := crashState(position)
	for e, err := range s.Range(nil, nil) {
		check(t, err)
		if got := show(e.Value); got != want[string(e.Key)] {
			t.Fatalf("at %d, key %x has %s, want %s", position, e.Key, got, want[string(e.Key)])
		}
		delete(want, string(e.Key))
	}
	if len(want) > 0 {
		t.Fatalf("at %d, %d keys are missing", position, len(want))
	}
	check(t, s.Close())
	return position
}

// Whatever moment a process is killed at, what it leaves on disk is a prefix of the changelog and says which, and no
// older than what was committed a few seconds before.
func TestCrash(t *testing.T) {
	for _, pace := range []string{"", "slow"} {
		t.Run("pace="+pace, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(4, 5))
			dir := t.TempDir()
			last := int64(0)
			for kill := range 7 {
				after := time.Duration(rnd.IntN(400)) * time.Millisecond
				if kill == 6 {
					after = 3500 * time.Millisecond
				}
				positions, at, death := crash(t, dir, pace, after)
				got := recovered(t, dir)
				if got < last {
					t.Fatalf("it was at %d before, and is at %d", last, got)
				}
				last = got
				i := len(at) - 1
				for i >= 0 && death.Sub(at[i]) < 2500*time.Millisecond {
					i--
				}
				if i >= 0 && got < positions[i] {
					t.Errorf("on disk is %d; committed 2.5 s before the death was %d", got, positions[i])
				}
				t.Logf("killed after %v: committed %d, on disk %d", after, positions[len(positions)-1], got)
			}
			if last == 0 {
				t.Error("nothing reached the disk")
			}
		})
	}
}

// A disk that fills up while a store is restored or committed leaves a prefix too, whatever is called after the error.
func TestFullDiskLeavesPrefix(t *testing.T) {
	for seed := range uint64(9) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		dir := t.TempDir()
		var left atomic.Int64
		left.Store(1 + rnd.Int64N(100))
		r := NewResources(Limits{Overlay: []int64{100_000, 100_000, 8 << 20}[seed%3]})
		r.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if (filepath.Ext(op.Path) == ".sst" || filepath.Base(op.Path) == ingestName) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) < 0 {
				return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
			}
			return nil
		}))
		s, err := openCrash(dir, r)
		check(t, err)
		for n := int64(0); err == nil && n < 1e7; {
			var records []topology.Record
			for next := n + 1 + rnd.Int64N(5000); n < next; n++ {
				records = append(records, crashRecord(n))
			}
			if seed%3 != 1 { // 0: through memtables, 2: as files
				err = s.Restore(records, n)
				continue
			}
			for _, r := range records {
				check(t, s.Put(r.Key, Value{r.Value, r.Timestamp}, &r))
			}
			err = s.Commit(n)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := errors.Join(s.RestoreDone(), s.Close()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		r.Close()
		recovered(t, dir)
	}
}

// What could not become a file is not taken for restored when there is room again, whatever is called then.
func TestFailedFileIsNotRestored(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	full.Store(true)
	r := NewResources(Limits{Overlay: 8 << 20})
	defer r.Close()
	r.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && filepath.Base(op.Path) == ingestName && op.Kind == errorfs.OpFileWrite {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	s, err := openCrash(dir, r)
	check(t, err)
	var records []topology.Record
	for n := range int64(40_000) { // more than is written as a batch
		records = append(records, crashRecord(n))
	}
	check(t, s.Restore(records, 40_000))
	if err := s.RestoreDone(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	full.Store(false)
	for _, call := range []func() error{s.RestoreDone, s.Abandon, s.Close} {
		if err := call(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("what is called after the error says %v", err)
		}
	}
	if got := recovered(t, dir); got != 0 {
		t.Errorf("restored is up to %d", got)
	}
}
