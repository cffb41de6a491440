package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// A Position says up to which record of each input partition something goes: by topic and partition, the offset of the
// last one. (Java: Position, KIP-796)
type Position map[string]map[int32]int64

// At returns the position with a record in it, as the producer of the record knows its place.
func (p Position) At(topic string, partition int32, offset int64) Position {
	q := make(Position, len(p)+1)
	for t, offsets := range p {
		q[t] = maps.Clone(offsets)
	}
	if q[topic] == nil {
		q[topic] = make(map[int32]int64)
	}
	q[topic][partition] = max(offset, q[topic][partition])
	return q
}

// missing says which of the records that p wants a task has not processed, or "". What the task does not read it need not
// have.
func (p Position) missing(id topology.TaskID, reached map[string]int64) string {
	for topic, offsets := range p {
		next, reads := reached[topic]
		if want, ok := offsets[id.Partition]; ok && reads && next <= want {
			return fmt.Sprintf("topic %q partition %d is processed up to offset %d, not %d", topic, id.Partition, next-1, want)
		}
	}
	return ""
}

// A ReadOption says which copy of a store may be read.
type ReadOption func(*reading)

// Copies lets standbys answer too, and tasks that are still restored: they may be behind. (Java: enableStaleStores)
func Copies() ReadOption { return func(r *reading) { r.copies = true } }

// MaxLag is [Copies] as long as they lack at most so many offsets of their changelog, as far as is known here; with 0,
// none. Reads of one that lacks more fail with a [BehindError].
func MaxLag(offsets int64) ReadOption {
	return func(r *reading) { r.copies, r.maxLag = true, &offsets }
}

// AtLeast makes a read wait until the records of a position are processed, as long as its context allows; then it fails
// with a [BehindError]. Only the task itself knows its position, so copies are not read. (Java: PositionBound)
func AtLeast(p Position) ReadOption { return func(r *reading) { r.atLeast = p } }

// InPartition reads a partition of the store, whatever the keys say: for programs that choose partitions by themselves.
func InPartition(partition int32) ReadOption {
	return func(r *reading) { r.partition = &partition }
}

// NotHereError says that a partition of a store is in another process, or on its way; its Home is where the group's last
// assignment has it.
type NotHereError struct {
	Store string
	Home
}

func (e *NotHereError) Error() string {
	where := "; no process says with the option Endpoint that it has it"
	if e.Active != "" {
		where = "; " + e.Active + " has it"
	}
	if len(e.Standbys) > 0 {
		where += ", and copies are at " + strings.Join(e.Standbys, ", ")
	}
	return fmt.Sprintf("streams: partition %d of store %q cannot be read in this process now%s", e.Partition, e.Store, where)
}

// BehindError says that a store is further behind than the options of the read allow. It is the context's error too,
// where it was waited for.
type BehindError struct {
	Store     string
	Partition int32
	Reason    string
	Err       error // of the context; nil: it was not waited for
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("streams: partition %d of store %q is behind: %s", e.Partition, e.Store, e.Reason)
}

func (e *BehindError) Unwrap() error { return e.Err }

// reading is how a store is read from outside.
type reading struct {
	app       *App
	name      string
	copies    bool
	maxLag    *int64
	atLeast   Position
	partition *int32
}

// reading looks a store up in the topology.
func (a *App) reading(name string, kind state.Kind, opts []ReadOption) (*reading, error) {
	s := a.cfg.topology.Store(name)
	switch {
	case s == nil:
		return nil, fmt.Errorf("streams: the topology has no store %q; name the table or store with As", name)
	case s.Kind != kind:
		return nil, fmt.Errorf("streams: store %q is a %v store, not a %v store", name, s.Kind, kind)
	}
	r := &reading{app: a, name: name}
	for _, opt := range opts {
		opt(r)
	}
	if r.atLeast != nil {
		r.copies = false
	}
	return r, nil
}

// in reads one partition. f may be called more than once, while a position is waited for.
func (r *reading) in(ctx context.Context, id topology.TaskID, f func(*store.Store) error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, maxReadPause) {
		err := r.once(ctx, id, f)
		var behind *BehindError
		if !errors.As(err, &behind) || r.atLeast == nil {
			return err
		}
		select {
		case <-ctx.Done():
			behind.Err = ctx.Err()
			return behind
		case <-time.After(pause):
		}
	}
}

// maxReadPause is how long a read that waits for a position looks away at most.
const maxReadPause = 20 * time.Millisecond

func (r *reading) once(ctx context.Context, id topology.TaskID, f func(*store.Store) error) error {
	err := r.app.instance.Load().Read(ctx, id, r.name, r.copies, func(l runtime.Reading) error {
		if why := r.atLeast.missing(id, l.Reached); why != "" {
			return &BehindError{Store: r.name, Partition: id.Partition, Reason: why}
		}
		if r.maxLag != nil && l.Lag > *r.maxLag {
			return &BehindError{Store: r.name, Partition: id.Partition, Reason: fmt.Sprintf("the copy lacks %d offsets; at most %d are allowed", l.Lag, *r.maxLag)}
		}
		return f(l.Store)
	})
	if errors.Is(err, runtime.ErrNotHere) {
		return r.app.notHere(r.name, id)
	}
	return err
}

func (a *App) notHere(name string, id topology.TaskID) error {
	h, err := a.home(id)
	if err != nil {
		return err
	}
	return &NotHereError{name, h}
}

// task returns the task that has the partition of a key.
func (r *reading) task(key []byte) (topology.TaskID, error) {
	at, err := r.app.instance.Load().Locate(r.name)
	if err != nil {
		return topology.TaskID{}, err
	}
	n := int32(len(at.Tasks))
	p := int32(0)
	if r.partition != nil {
		p = *r.partition
	} else if n > 0 {
		p = topology.Partition(key, n)
	}
	if p < 0 || p >= n {
		return topology.TaskID{}, fmt.Errorf("streams: store %q has no partition %d; it has %d", r.name, p, n)
	}
	return at.Tasks[p], nil
}

// of reads the partition of a key.
func (r *reading) of(ctx context.Context, key []byte, f func(*store.Store) error) error {
	id, err := r.task(key)
	if err != nil {
		return err
	}
	return r.in(ctx, id, f)
}

// tasks returns the tasks to read all of a store: that of the partition that was asked for, else those that are here.
func (r *reading) tasks() ([]topology.TaskID, error) {
	if r.partition != nil {
		id, err := r.task(nil)
		return []topology.TaskID{id}, err
	}
	at, err := r.app.instance.Load().Locate(r.name)
	if err != nil {
		return nil, err
	}
	return r.app.instance.Load().Readable(at.Tasks, r.copies), nil
}

// Row is a row of a store that is read from outside. Time is its timestamp; the zero time where the store keeps none.
type Row[K, V any] struct {
	Key   K
	Value V
	Time  time.Time
}

// A raw row is one whose bytes are the reader's own.
type raw struct {
	key        []byte
	start, end int64 // of windows and sessions
	value      store.Value
}

func cloned(v store.Value) store.Value {
	return store.Value{Bytes: bytes.Clone(v.Bytes), Timestamp: v.Timestamp}
}

// chunkRows and chunkBytes are how much of a store is read at a time, while the task waits.
const (
	chunkRows  = 256
	chunkBytes = 256 << 10
)

// rows reads the partitions one after the other, chunk by chunk. next reads the next chunk of a partition; more says that
// there may be another.
func rows[K, V any](ctx context.Context, r *reading, begin func() (next func(*store.Store) (chunk []raw, more bool, err error)), decode func(raw) (Row[K, V], error)) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		tasks, err := r.tasks()
		if err != nil {
			yield(Row[K, V]{}, err)
			return
		}
		for _, id := range tasks {
			next := begin()
			for more := true; more; {
				var chunk []raw
				err := r.in(ctx, id, func(s *store.Store) (err error) {
					chunk, more, err = next(s)
					return err
				})
				if err != nil {
					yield(Row[K, V]{}, err)
					return
				}
				for _, one := range chunk {
					row, err := decode(one)
					if !yield(row, err) || err != nil {
						return
					}
				}
			}
		}
	}
}

// reader is what the readers of all kinds of stores have.
type reader[K, V any] struct {
	*reading
	key   serde.Serde[K]
	value serde.Serde[V]
}

func newReader[K, V any](a *App, name string, kind state.Kind, key serde.Serde[K], value serde.Serde[V], opts []ReadOption) (r reader[K, V], err error) {
	r.key, r.value = key, value
	if key == nil || value == nil {
		return r, fmt.Errorf("streams: reading store %q: a serde is missing", name)
	}
	if r.reading, err = a.reading(name, kind, opts); err != nil {
		return r, err
	}
	if r.value, err = state.Reading(a.cfg.topology.Store(name).Spec, value); err != nil {
		err = fmt.Errorf("streams: %w", err)
	}
	return r, err
}

// Home says where the partition of a key is. (Java: queryMetadataForKey)
func (r reader[K, V]) Home(k K) (Home, error) {
	key, err := r.bytes(k)
	if err != nil {
		return Home{}, err
	}
	id, err := r.task(key)
	if err != nil {
		return Home{}, err
	}
	return r.app.home(id)
}

// Position returns what the partitions of the store that are active in this process have processed: a read that comes
// later sees that at least.
func (r reader[K, V]) Position(ctx context.Context) (Position, error) {
	tasks, err := r.tasks()
	if err != nil {
		return nil, err
	}
	p := Position{}
	for _, id := range tasks {
		err := r.app.instance.Load().Read(ctx, id, r.name, false, func(l runtime.Reading) error {
			for topic, next := range l.Reached {
				if next > 0 {
					p = p.At(topic, id.Partition, next-1)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, runtime.ErrNotHere) {
			return nil, err
		}
	}
	return p, nil
}

func (r reader[K, V]) bytes(k K) ([]byte, error) {
	b, err := r.key.Append(nil, k)
	if err != nil {
		return nil, fmt.Errorf("streams: store %q: encoding the key: %w", r.name, err)
	}
	return b, nil
}

// one reads one value of a key.
func (r reader[K, V]) one(ctx context.Context, k K, get func(s *store.Store, key []byte) (store.Value, error)) (row Row[K, V], ok bool, err error) {
	key, err := r.bytes(k)
	if err != nil {
		return row, false, err
	}
	var v store.Value
	err = r.of(ctx, key, func(s *store.Store) error {
		got, err := get(s, key)
		v = cloned(got)
		return err
	})
	if err != nil || v.Bytes == nil {
		return row, false, err
	}
	row.Key, row.Time = k, r.time(v)
	if row.Value, err = r.value.Decode(v.Bytes); err != nil {
		return row, false, fmt.Errorf("streams: store %q: decoding the value: %w", r.name, err)
	}
	return row, true, nil
}

// time returns the timestamp of a value; of a store that keeps none there may be one in memory only.
func (r reader[K, V]) time(v store.Value) time.Time {
	if s := r.app.cfg.topology.Store(r.name); !s.Timestamped && !s.Headers && s.Kind != state.Versioned {
		return time.Time{}
	}
	return time.UnixMilli(v.Timestamp)
}

// row decodes a row of a store by key.
func (r reader[K, V]) row(one raw) (row Row[K, V], err error) {
	if row.Key, err = r.key.Decode(one.key); err != nil {
		return row, fmt.Errorf("streams: store %q: decoding a key: %w", r.name, err)
	}
	if row.Value, err = r.value.Decode(one.value.Bytes); err != nil {
		return row, fmt.Errorf("streams: store %q: decoding a value: %w", r.name, err)
	}
	row.Time = r.time(one.value)
	return row, nil
}
