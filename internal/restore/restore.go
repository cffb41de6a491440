// Package restore brings the stores of a task up to date from their changelogs before the task runs.
//
// A restore begins where the store says that it is (a delta), or at the beginning of the log (in full), and ends where
// the log ended when it began: by position, not by a last record, for the last offset can be a transaction's marker or
// lie in what compaction emptied. Only committed records are applied.
package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A Store is what is restored. One goroutine uses it at a time.
type Store interface {
	// Position is the offset that the store's content goes up to; ok is false if it has none that it can trust.
	Position() (next int64, ok bool)
	// Restore applies records of the changelog, in order, and sets the position to next.
	Restore(records []topology.Record, next int64) error
	// RestoreDone makes the store ready to be used.
	RestoreDone() error
	// Wipe empties the store.
	Wipe() error
}

// A Changelog is a store to be restored and the partition to restore it from.
type Changelog struct {
	assign.TopicPartition
	Name  string // of the store
	Store Store

	// Limit is the offset not to go beyond, or NoLimit. Where an input topic serves as changelog it is the committed
	// offset of the input: what comes after is still to be processed.
	Limit int64
}

// NoLimit restores up to the end.
const NoLimit int64 = -1

// Sink takes what was fetched: see kafka.Sink.
type Sink = func(records []topology.Record, next, end int64, err error)

// Source reads changelogs, committed records only.
type Source interface {
	// Subscribe reads a partition from an offset on. Done makes room for more; after Close the sink is not called.
	Subscribe(p assign.TopicPartition, offset int64, sink Sink) interface {
		Done(n int)
		Close()
	}
}

// Ends returns the first and the next offset of each partition's log.
type Ends func(ctx context.Context, partitions []assign.TopicPartition) (start, end map[assign.TopicPartition]int64, err error)

// Config is what a Restorer is made of.
type Config struct {
	Source Source
	Ends   Ends
	Tasks  int // how many tasks are restored at the same time; the others wait

	// Limits returns how far inputs are committed that serve as changelogs. A standby asks for it every LimitInterval.
	Limits        func(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]int64, error)
	LimitInterval time.Duration

	Log *slog.Logger

	// Gate, where not nil, is waited for before each batch: it is how restores are paused.
	Gate func(ctx context.Context) error

	// Observe, where not nil, is told of each store's restore: when it begins, after each batch, and when it ends. It
	// is called from several goroutines.
	Observe func(Progress)
}

// Phase says where a restore is.
type Phase uint8

// The phases of a restore.
const (
	Begin Phase = iota // nothing was applied yet
	Going
	End  // all was applied; a standby never comes to that
	Left // given up: the task went to another member, or a standby becomes active, or the application stops
)

func (p Phase) String() string {
	return [...]string{"begin", "going", "end", "left"}[p]
}

// Progress is how far the restore of one store is.
type Progress struct {
	Task     topology.TaskID
	Store    string
	From     assign.TopicPartition
	Phase    Phase
	Standby  bool          // it is one that is kept up to date, without end
	Full     bool          // from the beginning of the log, not from the store's own position
	Start    int64         // the offset it began at
	Position int64         // the offset it has come to
	End      int64         // the offset it goes to
	Records  int64         // how many records were applied; fewer than the offsets where the log is compacted
	Duration time.Duration // since it began
}

// Rate is how many offsets are restored a second.
func (p Progress) Rate() float64 {
	if p.Duration <= 0 {
		return 0
	}
	return float64(p.Position-p.Start) / p.Duration.Seconds()
}

// Remaining is how long it still takes, at the rate so far; 0 where that is not known yet.
func (p Progress) Remaining() time.Duration {
	rate := p.Rate()
	if rate <= 0 {
		return 0
	}
	return time.Duration(float64(max(0, p.End-p.Position)) / rate * float64(time.Second))
}

// A Restorer restores tasks, a few at a time.
type Restorer struct {
	cfg   Config
	slots chan struct{}
}

// New makes a restorer.
func New(cfg Config) *Restorer {
	return &Restorer{cfg: cfg, slots: make(chan struct{}, max(cfg.Tasks, 1))}
}

// Restore brings the stores of a task up to date, in the goroutine of the caller, who owns them. It returns early when
// ctx ends; what was applied until then stays and counts as position. What comes over between is called between two
// batches: it may use the stores.
func (r *Restorer) Restore(ctx context.Context, id topology.TaskID, logs []Changelog, between <-chan func()) error {
	if len(logs) == 0 {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.do(ctx, &job{r: r, id: id, between: between}, logs)
}

// Follow keeps the stores of a standby up to date until ctx ends, which is not an error. It may be called from several
// goroutines. The stores can be restored further, or closed, afterwards. between is as of Restore.
func (r *Restorer) Follow(ctx context.Context, id topology.TaskID, logs []Changelog, between <-chan func()) error {
	err := r.do(ctx, &job{r: r, id: id, standby: true, between: between}, logs)
	if err != nil && ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *Restorer) do(ctx context.Context, j *job, logs []Changelog) error {
	j.changed = make(chan struct{}, 1)
	defer j.close()
	if err := j.plan(ctx, logs); err != nil {
		return fmt.Errorf("restore: task %v: %w", j.id, err)
	}
	if err := j.run(ctx); err != nil {
		return fmt.Errorf("restore: task %v: %w", j.id, err)
	}
	return nil
}

// outOfRange is implemented by the error of a source that has no such offset.
type outOfRange interface {
	OffsetOutOfRange() (start, end int64)
}

func asOutOfRange(err error) (outOfRange, bool) {
	var e outOfRange
	ok := errors.As(err, &e)
	return e, ok
}
