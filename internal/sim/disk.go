package sim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk is the file system of a process's stores: the real one, so that a process that is killed leaves what it has
// written, be it synced or not. It can be full, and be copied between any two writes.
type disk struct {
	vfs.FS
	writes sync.RWMutex // held shared by each write, and alone by a copy
	full   atomic.Bool

	wasFull bool // at some time; a store that was not used since then says so when it is closed
}

// fullPause is what a write takes that does not fit. Pebble tries again at once, and the time would stand still.
const fullPause = 10 * time.Millisecond

func newDisk() *disk {
	d := &disk{}
	d.FS = errorfs.Wrap(unsynced{vfs.Default, d}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		// The others are small and always fit; a MANIFEST that cannot be written ends the program, whatever we do.
		if d.full.Load() && filepath.Ext(op.Path) == ".sst" && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			time.Sleep(fullPause)
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	return d
}

// copy copies a directory as it is between two writes.
func (d *disk) copy(from, to string) error {
	d.writes.Lock()
	defer d.writes.Unlock()
	err := os.CopyFS(to, os.DirFS(from))
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(to, 0o750) // it was killed before it wrote anything
	}
	return err
}

// unsynced leaves out what takes time and makes no difference to a process that is killed: the system keeps what was
// written.
type unsynced struct {
	vfs.FS
	d *disk
}

func (u unsynced) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f, u.d}, nil
}

func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.wrap(u.FS.Create(name, c))
}

func (u unsynced) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.wrap(u.FS.OpenReadWrite(name, c, opts...))
}

func (u unsynced) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.wrap(u.FS.ReuseForWrite(from, to, c))
}

func (u unsynced) OpenDir(name string) (vfs.File, error) { return u.wrap(u.FS.OpenDir(name)) }

func (u unsynced) Rename(from, to string) error {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.FS.Rename(from, to)
}

func (u unsynced) Link(from, to string) error {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.FS.Link(from, to)
}

func (u unsynced) Remove(name string) error {
	u.d.writes.RLock()
	defer u.d.writes.RUnlock()
	return u.FS.Remove(name)
}

func (u unsynced) Unwrap() vfs.FS { return u.FS }

type unsyncedFile struct {
	vfs.File
	d *disk
}

func (f unsyncedFile) Write(b []byte) (int, error) {
	f.d.writes.RLock()
	defer f.d.writes.RUnlock()
	return f.File.Write(b)
}

func (f unsyncedFile) WriteAt(b []byte, at int64) (int, error) {
	f.d.writes.RLock()
	defer f.d.writes.RUnlock()
	return f.File.WriteAt(b, at)
}

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }
