package restore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// follow runs a standby of one store until a position is reached, and returns what was observed.
func follow(t *testing.T, cfg Config, l *log, m *memory, limit, until int64) []Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seen []Progress
	cfg.Source, cfg.Ends, cfg.Log = l, l.ends, slog.New(slog.DiscardHandler)
	cfg.Observe = func(p Progress) {
		seen = append(seen, p)
		if p.Position >= until {
			cancel()
		}
	}
	err := New(cfg).Follow(ctx, topology.TaskID{}, []Changelog{{TopicPartition: part, Name: "store", Store: m, Limit: limit}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.wg.Wait()
	if m.next < until {
		t.Fatalf("waited %v for position %d, it is %d", patience, until, m.next)
	}
	return seen
}

// A standby goes past the end that there was at first, ends without being done, and can then be restored further.
func TestStandbyFollows(t *testing.T) {
	l := &log{end: 100, has: every, batch: 10, holdAt: 60}
	m := &memory{}
	seen := follow(t, Config{}, l, m, NoLimit, 60)
	if m.done != 0 || m.wiped != 0 || !slices.Equal(m.offsets, between(0, 60)) {
		t.Fatalf("it applied %v, was done %d times and wiped %d times", m.offsets, m.done, m.wiped)
	}
	if first, last := seen[0], seen[len(seen)-1]; first.Phase != Begin || last.Phase != Left || !first.Standby || last.Position != 60 || last.End != 100 {
		t.Errorf("it was observed from %+v to %+v", first, last)
	}
	l.holdAt = 0
	if _, err := run(t, l, m, NoLimit); err != nil {
		t.Fatal(err)
	}
	if m.done != 1 || !slices.Equal(m.offsets, between(0, 100)) {
		t.Errorf("in the end it has %v, done %d times", m.offsets, m.done)
	}
}

// Of an input that serves as changelog a standby has what is committed and no more.
func TestStandbyKeepsToWhatIsCommitted(t *testing.T) {
	l := &log{end: 100, has: every, batch: 30}
	m := &memory{}
	limits := []int64{5, 25, 31, 31, 90}
	asked := int64(3)
	follow(t, Config{
		LimitInterval: time.Millisecond,
		Limits: func(_ context.Context, p []assign.TopicPartition) (map[assign.TopicPartition]int64, error) {
			if m.next > asked {
				t.Errorf("it has come to %d, and committed is %d", m.next, asked)
			}
			if len(limits) > 0 {
				asked, limits = limits[0], limits[1:]
			}
			return map[assign.TopicPartition]int64{p[0]: asked}, nil
		},
	}, l, m, 3, 90)
	if !slices.Equal(m.offsets, between(0, 90)) {
		t.Errorf("it applied %v, want up to 90", m.offsets)
	}
}

// A log that was cut under a standby makes it begin again.
func TestStandbyBeginsAgain(t *testing.T) {
	l := &log{end: 100, has: every, batch: 10, failAt: 40, cut: 70}
	m := &memory{}
	follow(t, Config{}, l, m, NoLimit, 100)
	if m.wiped != 1 || !slices.Equal(m.offsets, between(70, 100)) {
		t.Errorf("it was wiped %d times and has %v", m.wiped, m.offsets)
	}
}

// Nothing is applied while the gate is closed.
func TestRestorePauses(t *testing.T) {
	l := &log{end: 100, has: every, batch: 10}
	m := &memory{}
	waiting, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	gate := func(ctx context.Context) error {
		once.Do(func() { close(waiting) })
		select {
		case <-open:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	go func() {
		<-waiting
		if len(m.offsets) > 0 {
			t.Errorf("%d records were applied while it was paused", len(m.offsets))
		}
		close(open)
	}()
	follow(t, Config{Gate: gate}, l, m, NoLimit, 100)
}
