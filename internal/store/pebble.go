package store

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// memTable is how much a store gathers in memory before it writes a file. It is small, as an application has many
	// stores, whose memtables are taken from the block cache. What is not applied yet is held by the overlay anyway, and
	// a batch of more than half a memtable goes around it.
	memTable = 512 << 10

	// fileSize is the size of files. Small ones are costly to write, large ones are rewritten for a few changes.
	fileSize = 16 << 20

	// What was applied is written to a file once it is this much, or this old when more comes.
	settleBytes = 1 << 20
	settleAfter = time.Second

	// l0Files is how many files may lie above the sorted levels before writers wait.
	l0Files = 32

	// What is applied waits for the last settling once it is this much more.
	stallBytes = 8 << 20
)

// disk is the engine on Pebble.
type disk struct {
	db       *pebble.DB
	dir      string
	opts     *pebble.Options
	lock     *pebble.Lock
	spare    *pebble.Iterator // for the next scan; nil: there is none
	version  uint64           // changes with each batch
	applies  *atomic.Uint64   // batches applied, for readers
	seen     uint64           // of them, by a reader
	reads    bool             // it is a reader
	pending  int              // bytes applied since the last settling
	settled  time.Time        // of the last settling
	settling <-chan struct{}

	// The first error of Pebble's own goroutines, once failed is closed: what is applied does not reach the disk.
	failed chan struct{}
	once   sync.Once
	err    error
}

// openDisk opens the engine in a directory, which it makes. A directory that cannot be read is a *CorruptError.
func openDisk(dir string, r *Resources) (*disk, error) {
	if err := r.fs.MkdirAll(dir, 0o750); err != nil {
		return nil, &DiskError{dir, err}
	}
	d := &disk{dir: dir, settled: time.Now(), failed: make(chan struct{}), applies: &atomic.Uint64{}}
	opts := &pebble.Options{
		FS: r.fs, Cache: r.blocks, FileCache: r.files, Logger: quiet{d},
		EventListener: &pebble.EventListener{
			DataCorruption:  func(pebble.DataCorruptionInfo) {}, // whoever reads gets the error; by default the process ends
			BackgroundError: d.fail,
		},
		DisableWAL:                  true,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: 1000, // see wait
		L0CompactionThreshold:       16,   // a restore is faster where its files are merged after it
		L0StopWritesThreshold:       l0Files,
		LBaseMaxBytes:               32 << 20,
		FormatMajorVersion:          pebble.FormatNewest,
	}
	for i := range opts.TargetFileSizes {
		opts.TargetFileSizes[i] = fileSize
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	d.opts = opts
	if err := d.open(opts); err != nil {
		return nil, err
	}
	return d, nil
}

// reader reads the same database, with iterators of its own.
func (d *disk) reader() engine {
	return &disk{db: d.db, dir: d.dir, opts: d.opts, applies: d.applies, seen: d.applies.Load(), reads: true}
}

func (d *disk) refresh() bool {
	now := d.applies.Load()
	if now == d.seen {
		return false
	}
	d.seen = now
	d.changes()
	return true
}

func (d *disk) open(opts *pebble.Options) error {
	lock, err := pebble.LockDirectory(d.dir, opts.FS)
	if err != nil {
		return fmt.Errorf("the directory %s is in use by another task or process: %w", d.dir, err)
	}
	opts.Lock = lock
	_ = opts.FS.Remove(opts.FS.PathJoin(d.dir, ingestName)) // there is none, mostly
	if d.db, err = pebble.Open(d.dir, opts); err != nil {
		switch {
		case environmental(err):
			err = &DiskError{d.dir, err}
		case hasManifest(opts.FS, d.dir):
			err = &CorruptError{d.dir, err}
		}
		return errors.Join(err, lock.Close())
	}
	d.lock = lock
	return nil
}

// environmental says whether an error is the system's, so that it says nothing about the data: too many open files, no
// permission. A file that is missing is the data's.
func environmental(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ENOENT
}

// hasManifest says whether a store was in the directory before: then it is the data that cannot be opened.
func hasManifest(fs vfs.FS, dir string) bool {
	names, _ := fs.List(dir)
	return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "MANIFEST-") })
}

func (d *disk) get(key, dst []byte) ([]byte, bool, error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, d.trouble(err)
	}
	dst = append(dst, v...)
	return dst, true, closer.Close()
}

func (d *disk) scan(lo, hi []byte) iter.Seq2[pair, error] {
	return d.iterate(lo, hi, (*pebble.Iterator).First, (*pebble.Iterator).Next)
}

func (d *disk) scanBackward(lo, hi []byte) iter.Seq2[pair, error] {
	return d.iterate(lo, hi, (*pebble.Iterator).Last, (*pebble.Iterator).Prev)
}

func (d *disk) visit(lo, hi []byte, v visitor) error {
	version := d.version
	it, err := d.iterator(lo, hi)
	if err != nil {
		return d.trouble(err)
	}
	more := true
	for ok := it.First(); ok && more && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			err = d.trouble(err)
			break
		}
		more, err = v.visited(it.Key(), value)
	}
	if err == nil {
		err = d.trouble(it.Error())
	}
	return errors.Join(err, d.iterated(it, err == nil && version == d.version))
}

func (d *disk) iterate(lo, hi []byte, first, next func(*pebble.Iterator) bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		version := d.version
		it, err := d.iterator(lo, hi)
		if err != nil {
			yield(pair{}, d.trouble(err))
			return
		}
		for ok := first(it); ok; ok = next(it) {
			v, err := it.ValueAndErr()
			if !yield(pair{it.Key(), v}, d.trouble(err)) || err != nil {
				_ = d.iterated(it, err == nil && version == d.version)
				return
			}
		}
		if err := d.iterated(it, it.Error() == nil && version == d.version); err != nil {
			yield(pair{}, d.trouble(err))
		}
	}
}

// iterator returns an iterator over a range. Making one costs more than most scans, so that one is kept from a batch to
// the next: between them the engine does not change.
func (d *disk) iterator(lo, hi []byte) (*pebble.Iterator, error) {
	if it := d.spare; it != nil {
		d.spare = nil
		it.SetBounds(lo, hi)
		return it, nil
	}
	return d.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
}

// iterated keeps an iterator for the next scan, if it is of use and there is none.
func (d *disk) iterated(it *pebble.Iterator, useful bool) error {
	if d.spare != nil || !useful {
		return it.Close()
	}
	d.spare = it
	return nil
}

// changes is called before the engine changes: what an iterator that is kept would see is of the past then.
func (d *disk) changes() {
	d.version++
	if d.spare != nil {
		_ = d.spare.Close() // its errors came up when it was used
		d.spare = nil
	}
}

func (d *disk) batch(size int) batch { return &diskBatch{d, d.db.NewBatchWithSize(size)} }

type diskBatch struct {
	d *disk
	b *pebble.Batch
}

func (b *diskBatch) set(key, value []byte) error     { return b.b.Set(key, value, nil) }
func (b *diskBatch) remove(key []byte) error         { return b.b.Delete(key, nil) }
func (b *diskBatch) removeRange(lo, hi []byte) error { return b.b.DeleteRange(lo, hi, nil) }

func (b *diskBatch) apply() error {
	if err := b.d.failure(); err != nil {
		return errors.Join(err, b.b.Close())
	}
	b.d.changes()
	n := b.b.Len()
	err := b.b.Commit(pebble.NoSync)
	if e := b.b.Close(); err == nil {
		err = e
	}
	if err != nil {
		return b.d.trouble(err)
	}
	b.d.applies.Add(1)
	return b.d.applied(n)
}

// applied counts what was applied, and settles it when it is due and no settling is under way; what comes much faster
// than the disk takes it waits.
func (d *disk) applied(n int) error {
	d.pending += n
	if d.pending < settleBytes && time.Since(d.settled) < settleAfter {
		return nil
	}
	if d.settling != nil && d.pending < stallBytes {
		select {
		case <-d.settling:
		default:
			return nil
		}
	}
	if err := d.wait(); err != nil {
		return err
	}
	return d.settle()
}

func (d *disk) settle() error {
	if d.pending == 0 {
		return nil
	}
	d.pending, d.settled = 0, time.Now()
	var err error
	d.settling, err = d.db.AsyncFlush()
	return d.trouble(err)
}

// wait waits until the last settling has ended. It does not leave that to Pebble, which would try, and block, for ever
// on a full disk.
func (d *disk) wait() error {
	if d.settling == nil {
		return nil
	}
	select {
	case <-d.settling:
		return nil
	case <-d.failed:
		return d.failure()
	}
}

// fail keeps the first error of the background.
func (d *disk) fail(err error) {
	d.once.Do(func() {
		d.err = err
		close(d.failed)
	})
}

// failure returns the error of the background, if there is one.
func (d *disk) failure() error {
	select {
	case <-d.failed:
		return d.trouble(d.err)
	default:
		return nil
	}
}

func (d *disk) empty() error {
	d.changes()
	if err := d.db.DeleteRange([]byte{0}, []byte{0xff}, pebble.NoSync); err != nil {
		return d.trouble(err)
	}
	d.applies.Add(1)
	return d.applied(1)
}

func (d *disk) close() error {
	d.changes()
	if d.reads {
		return nil
	}
	err := d.failure()
	if err == nil {
		err = d.settle()
	}
	if err == nil {
		err = d.wait()
	}
	return errors.Join(err, d.db.Close(), d.lock.Close())
}

// trouble says what an error means: that the data cannot be trusted, or that the disk cannot be used.
func (d *disk) trouble(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return &CorruptError{d.dir, err}
	}
	return &DiskError{d.dir, err}
}

// quiet drops Pebble's log: what goes wrong comes back as an error.
type quiet struct{ d *disk }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf would end the process. Where the manifest cannot be written, on a full disk say, Pebble gives an error back after
// it, and the engine is not used any more but to be closed; opening it again finds what the manifest had before.
func (q quiet) Fatalf(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); strings.HasPrefix(text, "MANIFEST") {
		for _, a := range args {
			if err, ok := a.(error); ok {
				q.d.fail(err)
			}
		}
		q.d.fail(errors.New(text))
		return
	}
	pebble.DefaultLogger.Fatalf(format, args...)
}
