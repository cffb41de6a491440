package store

import (
	"context"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
)

// Limits bound the memory of all stores of a process together, in bytes. What is 0 has its default, except RecordCache.
type Limits struct {
	// BlockCache holds blocks of files on disk: 32 MiB by default.
	BlockCache int64

	// RecordCache holds changes that were neither logged nor forwarded yet (statestore.cache.max.bytes); 0: stores are not
	// cached. An application has 10 MiB by default.
	RecordCache int64

	// Overlay holds changes that were logged but are not in the engine yet, as they are not committed: 32 MiB by default.
	// When it is full a commit is asked for. Stores that are restored gather as much before they apply it.
	Overlay int64

	// ReadCache holds values as they are in the engine, for reads: 16 MiB by default, and what the overlay leaves.
	ReadCache int64
}

// Resources are what all stores of a process share. They may be used from many goroutines.
type Resources struct {
	limits                Limits
	fs                    vfs.FS
	engine                state.OpenEngine // where a store names none; nil: Pebble
	blocks                *pebble.Cache
	files                 *pebble.FileCache
	dirty, overlay, clean atomic.Int64
	stores                atomic.Int64 // that are open
	filters               atomic.Int64 // bytes of the stores' filters
	open                  registry
	restoring             atomic.Int64 // stores that are
}

// NewResources makes the resources of a process.
func NewResources(l Limits) *Resources {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.BlockCache, 32<<20)
	def(&l.Overlay, 32<<20)
	def(&l.ReadCache, 16<<20)
	return &Resources{limits: l, fs: vfs.Default, blocks: pebble.NewCache(l.BlockCache), files: pebble.NewFileCache(4, 1024)}
}

// Use lets stores on disk that name no engine have this one; nil leaves it as it is.
func (r *Resources) Use(open state.OpenEngine) {
	if open != nil {
		r.engine = open
	}
}

type fsKey struct{}

// WithFS returns a context in which stores are kept on another file system: one that a test can fill up, or copy in the
// middle of a write. Nothing else uses it.
func WithFS(ctx context.Context, fs vfs.FS) context.Context {
	return context.WithValue(ctx, fsKey{}, fs)
}

// ResourcesIn is NewResources on the file system of the context, if it has one.
func ResourcesIn(ctx context.Context, l Limits) *Resources {
	r := NewResources(l)
	if fs, ok := ctx.Value(fsKey{}).(vfs.FS); ok {
		r.fs = fs
	}
	return r
}

// CommitWanted says that the overlay is full: a commit would empty it.
func (r *Resources) CommitWanted() bool { return r.overlay.Load() > r.limits.Overlay }

// readRoom is how much memory values for reads may take: with the overlay, or what is gathered by stores that are
// restored, no more than both limits together.
func (r *Resources) readRoom() int64 {
	if r.restoring.Load() > 0 {
		return r.limits.ReadCache
	}
	return r.limits.ReadCache + max(0, r.limits.Overlay-r.overlay.Load())
}

// Close releases the resources, after all stores are closed.
func (r *Resources) Close() {
	r.blocks.Unref()
	r.files.Unref()
}
