package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

const patience = 20 * time.Second

var part = assign.TopicPartition{Topic: "app-store-changelog", Partition: 3}

// A log is a changelog: records at some of its offsets (others were compacted, or are markers), from start to end.
type log struct {
	start, end int64
	has        func(offset int64) bool
	batch      int64 // how many offsets are handed out at a time
	failAt     int64 // where a read fails once with out of range, after which the log begins at cut; 0: never
	cut        int64
	holdAt     int64 // where the log stops to hand out, 0: never

	mu         sync.Mutex
	subscribed []int64
	wg         sync.WaitGroup
}

type outOfRangeError struct{ start, end int64 }

func (e outOfRangeError) Error() string                    { return "out of range" }
func (e outOfRangeError) OffsetOutOfRange() (int64, int64) { return e.start, e.end }

type feed struct {
	stop context.CancelFunc
	wg   *sync.WaitGroup
}

func (f feed) Done(int) {}
func (f feed) Close()   { f.stop() }

func (l *log) Subscribe(p assign.TopicPartition, offset int64, sink Sink) interface {
	Done(n int)
	Close()
} {
	l.mu.Lock()
	l.subscribed = append(l.subscribed, offset)
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	l.wg.Go(func() {
		for ctx.Err() == nil && offset < l.end {
			l.mu.Lock()
			fail := l.failAt > 0 && offset >= l.failAt
			if fail {
				l.failAt, l.start = 0, l.cut
			}
			l.mu.Unlock()
			if fail {
				sink(nil, offset, l.end, fmt.Errorf("reading: %w", outOfRangeError{l.cut, l.end}))
				return
			}
			if l.holdAt > 0 && offset >= l.holdAt {
				<-ctx.Done()
				return
			}
			next := min(offset+l.batch, l.end)
			var records []topology.Record
			for o := offset; o < next; o++ {
				if l.has(o) {
					records = append(records, topology.Record{Topic: p.Topic, Partition: p.Partition, Offset: o})
				}
			}
			sink(records, next, l.end, nil)
			offset = next
		}
	})
	return feed{cancel, &l.wg}
}

func (l *log) ends(context.Context, []assign.TopicPartition) (start, end map[assign.TopicPartition]int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[assign.TopicPartition]int64{part: l.start}, map[assign.TopicPartition]int64{part: l.end}, nil
}

// A memory is a store that remembers which offsets were applied.
type memory struct {
	offsets []int64
	next    int64
	ok      bool
	wiped   int
	done    int
	fail    error
}

func (m *memory) Position() (int64, bool) { return m.next, m.ok }
func (m *memory) Restore(records []topology.Record, next int64) error {
	for _, r := range records {
		m.offsets = append(m.offsets, r.Offset)
	}
	if next < m.next {
		return fmt.Errorf("the position goes back from %d to %d", m.next, next)
	}
	m.next, m.ok = next, true
	return m.fail
}
func (m *memory) RestoreDone() error { m.done++; return nil }
func (m *memory) Wipe() error        { m.wiped++; m.offsets, m.next, m.ok = nil, 0, false; return nil }

func every(int64) bool { return true }

func run(t *testing.T, l *log, m *memory, limit int64) ([]Progress, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seen []Progress
	r := New(Config{Source: l, Ends: l.ends, Tasks: 1, Log: slog.New(slog.DiscardHandler), Observe: func(p Progress) { seen = append(seen, p) }})
	err := r.Restore(ctx, topology.TaskID{}, []Changelog{{TopicPartition: part, Name: "store", Store: m, Limit: limit}}, nil)
	l.wg.Wait()
	return seen, err
}

func between(from, to int64) (out []int64) {
	for o := from; o < to; o++ {
		out = append(out, o)
	}
	return out
}

func TestRestore(t *testing.T) {
	for _, c := range []struct {
		name      string
		log       *log
		store     memory
		limit     int64
		want      []int64
		position  int64
		wiped     int
		subscribe []int64
	}{
		{"full", &log{end: 100, has: every, batch: 7}, memory{}, NoLimit, between(0, 100), 100, 0, []int64{0}},
		{"delta", &log{end: 100, has: every, batch: 7}, memory{next: 60, ok: true}, NoLimit, between(60, 100), 100, 0, []int64{60}},
		{"nothing missing", &log{end: 100, has: every, batch: 7}, memory{next: 100, ok: true}, NoLimit, nil, 100, 0, nil},
		{"an empty log", &log{has: every, batch: 7}, memory{}, NoLimit, nil, 0, 0, nil},
		{"a log that was emptied", &log{start: 50, end: 50, has: every, batch: 7}, memory{}, NoLimit, nil, 0, 0, nil},
		{"the log begins later", &log{start: 40, end: 100, has: every, batch: 7}, memory{}, NoLimit, between(40, 100), 100, 0, []int64{40}},
		{"a marker last", &log{end: 100, has: func(o int64) bool { return o < 99 }, batch: 7}, memory{}, NoLimit, between(0, 99), 100, 0, []int64{0}},
		{"only markers", &log{end: 10, has: func(int64) bool { return false }, batch: 3}, memory{}, NoLimit, nil, 10, 0, []int64{0}},
		{"the state is older than the log", &log{start: 40, end: 100, has: every, batch: 7}, memory{next: 30, ok: true}, NoLimit, between(40, 100), 100, 1, []int64{40}},
		{"the log was truncated", &log{end: 50, has: every, batch: 7}, memory{next: 80, ok: true}, NoLimit, between(0, 50), 50, 1, []int64{0}},
		{"up to a limit", &log{end: 100, has: every, batch: 7}, memory{}, 45, between(0, 45), 45, 0, []int64{0}},
		{"the limit is the beginning", &log{end: 100, has: every, batch: 7}, memory{}, 0, nil, 0, 0, nil},
		{"beyond the limit", &log{end: 100, has: every, batch: 7}, memory{next: 50, ok: true}, 45, between(0, 45), 45, 1, []int64{0}},
		{"cut under way", &log{end: 100, has: every, batch: 7, failAt: 30, cut: 60}, memory{}, NoLimit, between(60, 100), 100, 1, []int64{0, 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.store
			events, err := run(t, c.log, &m, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.offsets, c.want) || m.next != c.position && m.ok {
				t.Errorf("applied %v and stands at %d, want %v at %d", m.offsets, m.next, c.want, c.position)
			}
			if m.wiped != c.wiped || m.done != 1 {
				t.Errorf("wiped %d times and done %d times, want %d and 1", m.wiped, m.done, c.wiped)
			}
			if !slices.Equal(c.log.subscribed, c.subscribe) {
				t.Errorf("it read from %v, want %v", c.log.subscribed, c.subscribe)
			}
			if len(events) > 0 && events[len(events)-1].Phase != End {
				t.Errorf("the last event is %v", events[len(events)-1])
			}
		})
	}
}

// A restore that is given up keeps what was applied, and says so.
func TestRestoreIsGivenUp(t *testing.T) {
	for at := int64(10); at < 100; at += 10 {
		l := &log{end: 100, has: every, batch: 5, holdAt: at}
		m := &memory{}
		ctx, cancel := context.WithCancel(t.Context())
		var last Progress
		r := New(Config{Source: l, Ends: l.ends, Tasks: 1, Log: slog.New(slog.DiscardHandler), Observe: func(p Progress) {
			last = p
			if p.Position == at {
				cancel()
			}
		}})
		log := []Changelog{{TopicPartition: part, Name: "store", Store: m, Limit: NoLimit}}
		if err := r.Restore(ctx, topology.TaskID{}, log, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		l.wg.Wait()
		if m.next != at || m.done != 0 || last.Phase != Left {
			t.Fatalf("it stands at %d, done %d times, last event %v; want %d", m.next, m.done, last, at)
		}
		l.holdAt = 0
		if err := r.Restore(t.Context(), topology.TaskID{}, log, nil); err != nil {
			t.Fatal(err)
		}
		l.wg.Wait()
		if !slices.Equal(m.offsets, between(0, 100)) {
			t.Fatalf("in two goes it applied %v", m.offsets)
		}
	}
}

// A store that fails ends the restore with an error that names it.
func TestRestoreFails(t *testing.T) {
	broken := errors.New("disk full")
	_, err := run(t, &log{end: 10, has: every, batch: 3}, &memory{fail: broken}, NoLimit)
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	p := Progress{Start: 100, Position: 300, End: 1100, Duration: 2 * time.Second}
	if p.Rate() != 100 || p.Remaining() != 8*time.Second {
		t.Errorf("rate %v, remaining %v; want 100 a second and 8s", p.Rate(), p.Remaining())
	}
	if p := (Progress{End: 10}); p.Remaining() != 0 {
		t.Errorf("remaining %v before anything is known", p.Remaining())
	}
}
