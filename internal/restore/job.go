package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A job is the restore of one task.
type job struct {
	r       *Restorer
	id      topology.TaskID
	standby bool // it goes on without end
	stores  []*restoring
	changed chan struct{} // cap 1: something was fetched
	between <-chan func() // to be called between two batches

	mu struct {
		sync.Mutex
		fetched []fetched
	}
}

// fetched is what the source handed out.
type fetched struct {
	of      *restoring
	attempt int
	records []topology.Record
	next    int64
	end     int64
	err     error
}

// restoring is one store of a job.
type restoring struct {
	Changelog
	feed interface {
		Done(n int)
		Close()
	}
	attempt int // counts the times that it began anew
	begun   time.Time
	start   int64
	end     int64
	now     int64
	records int64
	full    bool
	done    bool
	held    []fetched // beyond the limit of a standby
}

// plan looks at where the stores and their logs are, and begins with each that is behind.
func (j *job) plan(ctx context.Context, logs []Changelog) error {
	partitions := make([]assign.TopicPartition, len(logs))
	for i, l := range logs {
		partitions[i] = l.TopicPartition
	}
	starts, ends, err := j.r.cfg.Ends(ctx, partitions)
	if err != nil {
		return err
	}
	for _, l := range logs {
		s := &restoring{Changelog: l, end: ends[l.TopicPartition]}
		if l.Limit != NoLimit {
			s.end = min(s.end, l.Limit)
		}
		j.stores = append(j.stores, s)
		if err := j.begin(s, starts[l.TopicPartition]); err != nil {
			return fmt.Errorf("store %q: %w", l.Name, err)
		}
	}
	return nil
}

// begin starts to restore a store whose log begins at first. A position that the log does not have any more, or not
// yet, says that it is of another log: the state is thrown away then.
func (j *job) begin(s *restoring, first int64) error {
	next, ok := s.Store.Position()
	if ok && (next < first || next > s.end) {
		why := "the log begins later: what was deleted meanwhile is not known"
		if next > s.end {
			why = "the log ends earlier: it was truncated, or the committed offsets were set back"
		}
		j.r.cfg.Log.Warn("the state on disk does not match its changelog; it is thrown away and restored in full", "task", j.id,
			"store", s.Name, "changelog", s.TopicPartition, "position", next, "log_start", first, "log_end", s.end, "why", why)
		if err := s.Store.Wipe(); err != nil {
			return err
		}
		ok = false
	}
	if !ok {
		next = first
	}
	s.full, s.start, s.now, s.records, s.begun = !ok, next, next, 0, time.Now()
	if next >= s.end && !j.standby {
		return j.finish(s)
	}
	j.observe(s, Begin)
	j.r.cfg.Log.Info("restoring a store", "task", j.id, "store", s.Name, "changelog", s.TopicPartition,
		"from", next, "to", s.end, "full", s.full, "standby", j.standby)
	attempt := s.attempt
	s.feed = j.r.cfg.Source.Subscribe(s.TopicPartition, next, func(records []topology.Record, next, end int64, err error) {
		j.mu.Lock()
		j.mu.fetched = append(j.mu.fetched, fetched{s, attempt, records, next, end, err})
		j.mu.Unlock()
		select {
		case j.changed <- struct{}{}:
		default:
		}
	})
	return nil
}

// run applies what is fetched until every store is done.
func (j *job) run(ctx context.Context) error {
	var raise <-chan time.Time
	if j.standby && j.limited() {
		tick := time.NewTicker(j.r.cfg.LimitInterval)
		defer tick.Stop()
		raise = tick.C
	}
	for !j.done() {
		j.mu.Lock()
		batch := j.mu.fetched
		j.mu.fetched = nil
		j.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-j.changed:
			case f := <-j.between:
				f()
			case <-raise:
				if err := j.raise(ctx); err != nil {
					return err
				}
			}
			continue
		}
		for _, f := range batch {
			if err := j.gate(ctx); err != nil {
				return err
			}
			select {
			case f := <-j.between:
				f()
			default:
			}
			if f.of.done || f.attempt != f.of.attempt {
				continue
			}
			if err := j.apply(ctx, f); err != nil {
				return fmt.Errorf("store %q: %w", f.of.Name, err)
			}
		}
	}
	return nil
}

func (j *job) gate(ctx context.Context) error {
	if j.r.cfg.Gate == nil {
		return ctx.Err()
	}
	return j.r.cfg.Gate(ctx)
}

func (j *job) done() bool {
	for _, s := range j.stores {
		if !s.done {
			return false
		}
	}
	return true
}

// maxAttempts is how often a log may turn out not to have what it said it has before that is an error.
const maxAttempts = 5

func (j *job) apply(ctx context.Context, f fetched) error {
	s := f.of
	if f.err != nil {
		if e, ok := asOutOfRange(f.err); ok && s.attempt < maxAttempts {
			return j.again(ctx, s, e)
		}
		return f.err
	}
	if j.standby {
		return j.follow(s, f)
	}
	records, next := f.records, f.next
	if s.Limit != NoLimit && next > s.end {
		for len(records) > 0 && records[len(records)-1].Offset >= s.end {
			records = records[:len(records)-1]
		}
		next = s.end
	}
	if err := s.Store.Restore(records, next); err != nil {
		return err
	}
	s.now, s.records = next, s.records+int64(len(records))
	s.feed.Done(len(f.records))
	if s.now >= s.end {
		s.feed.Close()
		s.feed = nil
		return j.finish(s)
	}
	j.observe(s, Going)
	return nil
}

// again restores a store in full whose log was cut under it.
func (j *job) again(ctx context.Context, s *restoring, e outOfRange) error {
	start, end := e.OffsetOutOfRange()
	j.r.cfg.Log.Warn("the changelog does not have the next offset any more; the state is thrown away and restored in full",
		"task", j.id, "store", s.Name, "changelog", s.TopicPartition, "position", s.now, "log_start", start, "log_end", end)
	s.feed.Close()
	s.feed, s.held = nil, nil
	if err := s.Store.Wipe(); err != nil {
		return err
	}
	s.attempt++
	if s.Limit == NoLimit {
		s.end = end
	}
	return errors.Join(ctx.Err(), j.begin(s, start))
}

func (j *job) finish(s *restoring) error {
	s.done = true
	if err := s.Store.RestoreDone(); err != nil {
		return err
	}
	if s.now > s.start {
		j.r.cfg.Log.Info("restored a store", "task", j.id, "store", s.Name, "changelog", s.TopicPartition, "from", s.start,
			"to", s.now, "records", s.records, "full", s.full, "duration", time.Since(s.begun).Round(time.Millisecond))
		j.observe(s, End)
	}
	return nil
}

// close gives up what is not done.
func (j *job) close() {
	for _, s := range j.stores {
		if s.feed != nil {
			s.feed.Close()
			j.observe(s, Left)
		}
	}
}

func (j *job) observe(s *restoring, phase Phase) {
	if j.r.cfg.Observe == nil {
		return
	}
	j.r.cfg.Observe(Progress{
		Task: j.id, Store: s.Name, From: s.TopicPartition, Phase: phase, Full: s.full, Standby: j.standby,
		Start: s.start, Position: s.now, End: s.end, Records: s.records, Duration: time.Since(s.begun),
	})
}
