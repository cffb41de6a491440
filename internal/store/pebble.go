package store

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

const (
	// memTable is how much a store gathers in memory before it writes a file. It is small, as an application has many
	// stores, and what is not applied yet is held by the overlay anyway.
	memTable = 4 << 20

	// What was applied is written to a file once it is this much, or this old when more comes.
	settleBytes = 1 << 20
	settleAfter = time.Second
)

// disk is the engine on Pebble.
type disk struct {
	db       *pebble.DB
	dir      string
	pending  int       // bytes applied since the last settling
	settled  time.Time // of the last settling
	settling <-chan struct{}
}

// openDisk opens the engine in a directory, which it makes. A directory that cannot be read is a *CorruptError.
func openDisk(dir string, r *Resources) (*disk, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	opts := &pebble.Options{
		Cache: r.blocks, FileCache: r.files, Logger: quiet{},
		DisableWAL:                  true,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		LBaseMaxBytes:               32 << 20,
		FormatMajorVersion:          pebble.FormatNewest,
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		if errors.Is(err, pebble.ErrCorruption) || pebble.IsCorruptionError(err) || hasManifest(dir) && !errors.Is(err, os.ErrPermission) {
			return nil, &CorruptError{dir, err}
		}
		return nil, err
	}
	return &disk{db: db, dir: dir, settled: time.Now()}, nil
}

// hasManifest says whether a store was in the directory before: then it is the data that cannot be opened.
func hasManifest(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	return len(found) > 0
}

func (d *disk) get(key, dst []byte) ([]byte, bool, error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, d.corrupt(err)
	}
	dst = append(dst, v...)
	return dst, true, closer.Close()
}

func (d *disk) scan(lo, hi []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
		if err != nil {
			yield(pair{}, d.corrupt(err))
			return
		}
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if !yield(pair{it.Key(), v}, err) || err != nil {
				it.Close()
				return
			}
		}
		if err := it.Close(); err != nil {
			yield(pair{}, d.corrupt(err))
		}
	}
}

func (d *disk) batch() batch { return &diskBatch{d, d.db.NewBatch()} }

type diskBatch struct {
	d *disk
	b *pebble.Batch
}

func (b *diskBatch) set(key, value []byte) error     { return b.b.Set(key, value, nil) }
func (b *diskBatch) remove(key []byte) error         { return b.b.Delete(key, nil) }
func (b *diskBatch) removeRange(lo, hi []byte) error { return b.b.DeleteRange(lo, hi, nil) }

func (b *diskBatch) apply() error {
	b.d.pending += b.b.Len()
	err := b.b.Commit(pebble.NoSync)
	if e := b.b.Close(); err == nil {
		err = e
	}
	if err != nil {
		return b.d.corrupt(err)
	}
	if b.d.pending >= settleBytes || time.Since(b.d.settled) >= settleAfter {
		return b.d.settle(false)
	}
	return nil
}

func (d *disk) settle(wait bool) error {
	if d.pending == 0 && !wait {
		return nil
	}
	select {
	case <-d.settling:
	default:
		if d.settling != nil && !wait {
			return nil // one is under way; what came since waits for the next
		}
	}
	d.pending, d.settled = 0, time.Now()
	if wait {
		return d.corrupt(d.db.Flush())
	}
	done, err := d.db.AsyncFlush()
	d.settling = done
	return d.corrupt(err)
}

func (d *disk) empty() error {
	if err := d.db.DeleteRange([]byte{0}, []byte{0xff}, pebble.NoSync); err != nil {
		return d.corrupt(err)
	}
	return d.settle(true)
}

func (d *disk) close() error {
	err := d.settle(true)
	if e := d.db.Close(); err == nil {
		err = e
	}
	return err
}

// corrupt marks errors that mean that the data cannot be trusted.
func (d *disk) corrupt(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return &CorruptError{d.dir, err}
	}
	return err
}

// quiet drops Pebble's log: what goes wrong comes back as an error.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	pebble.DefaultLogger.Fatalf(format, args...)
}
