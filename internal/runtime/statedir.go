package runtime

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A StateDir is the directory of one application on this machine:
//
//	<base>/<application>/
//	    lock              held by the process as long as it runs
//	    process.json      the process's id, kept over restarts
//	    global/<store>/   one for each global store
//	    <task>/           one for each task that ran here
//	        positions     how much state there is, for the assignment; written when the task is closed
//	        <store>/      the store's own
//
// An application whose state is all in memory has none (Path is empty), and a new id each time.
type StateDir struct {
	Path string
	ID   assign.ProcessID
	lock *os.File
	log  *slog.Logger
}

// The files of a state directory.
const (
	lockFile      = "lock"
	processFile   = "process.json"
	positionsFile = "positions"
	memberFile    = "member"
	globalDir     = "global"
)

// OpenStateDir makes the directory if need be, takes it for this process and reads the process's id. With an empty base
// there is no directory.
func OpenStateDir(base, application string, log *slog.Logger) (*StateDir, error) {
	d := &StateDir{log: log}
	if base == "" {
		d.ID = newProcessID()
		return d, nil
	}
	d.Path = filepath.Join(base, application)
	if err := os.MkdirAll(d.Path, 0o750); err != nil {
		return nil, fmt.Errorf("runtime: the state directory %s cannot be made: %w; choose one that can be written to (option StateDir)", d.Path, err)
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.readID(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *StateDir) takeLock() error {
	f, err := os.OpenFile(filepath.Join(d.Path, lockFile), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return fmt.Errorf("runtime: the state directory %s cannot be written to: %w; choose another one (option StateDir)", d.Path, err)
	}
	if err := tryLock(f); err != nil {
		return errors.Join(fmt.Errorf("runtime: the state directory %s is in use by another process of this application: %w; give each "+
			"process on a machine its own directory (option StateDir), or stop the other one", d.Path, err), f.Close())
	}
	d.lock = f
	return nil
}

type processInfo struct {
	ProcessID string `json:"processId"`
}

func (d *StateDir) readID() error {
	path := filepath.Join(d.Path, processFile)
	text, err := os.ReadFile(path)
	if err == nil {
		var info processInfo
		if err = json.Unmarshal(text, &info); err == nil {
			if d.ID, err = assign.ParseProcessID(info.ProcessID); err == nil {
				return nil
			}
		}
		d.log.Warn("the file with the process id cannot be read, a new id is made", "file", path, "error", err)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("runtime: reading the process id: %w", err)
	}
	d.ID = newProcessID()
	text, err = json.Marshal(processInfo{d.ID.String()})
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

func newProcessID() (id assign.ProcessID) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40 // version 4: random
	id[8] = id[8]&0x3f | 0x80
	return id
}

// writeFile replaces a file in one step.
func writeFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o640); err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	return nil
}

// TaskDir returns the directory of a task. It may not exist.
func (d *StateDir) TaskDir(id topology.TaskID) string {
	if d.Path == "" {
		return ""
	}
	return filepath.Join(d.Path, id.String())
}

// putAside moves the directory of a store out of the way, for whoever wants to know what happened to it. The one that was
// there before is removed.
func putAside(dir string) error {
	aside := dir + ".corrupt"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	return nil
}

// Tasks returns the tasks that have a directory.
func (d *StateDir) Tasks() []topology.TaskID {
	if d.Path == "" {
		return nil
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		d.log.Warn("the state directory cannot be read", "error", err)
	}
	var ids []topology.TaskID
	for _, e := range entries {
		if id, err := topology.ParseTaskID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids
}

// NotePositions writes down the sum of the positions of a task's stores. It is a hint for the assignment: what counts
// is the position in each store.
func (d *StateDir) NotePositions(id topology.TaskID, sum int64) {
	dir := d.TaskDir(id)
	if dir == "" {
		return
	}
	if _, err := os.Stat(dir); err != nil {
		return // it has nothing on disk
	}
	if err := writeFile(filepath.Join(dir, positionsFile), fmt.Append(nil, sum, "\n")); err != nil {
		d.log.Warn("the positions of a task cannot be noted", "task", id, "error", err)
	}
}

// NoteMember keeps the name that the group has given the process. Empty: it has left.
func (d *StateDir) NoteMember(member string) {
	if d.Path == "" {
		return
	}
	if err := writeFile(filepath.Join(d.Path, memberFile), []byte(member)); err != nil {
		d.log.Warn("the name in the group cannot be noted", "error", err)
	}
}

// Member returns what was noted last. As we have the lock of the directory, the process of that name is gone.
func (d *StateDir) Member() string {
	if d.Path == "" {
		return ""
	}
	member, err := os.ReadFile(filepath.Join(d.Path, memberFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Warn("the name in the group that was noted cannot be read", "error", err)
	}
	return string(member)
}

// Sums returns how much state there is of each task, as far as was noted; 0 for one that was not closed in order.
func (d *StateDir) Sums() map[topology.TaskID]int64 {
	sums := make(map[topology.TaskID]int64)
	for _, id := range d.Tasks() {
		sums[id] = 0
		if text, err := os.ReadFile(filepath.Join(d.TaskDir(id), positionsFile)); err == nil {
			if sum, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				sums[id] = max(sum, 0)
			}
		}
	}
	return sums
}

// Clean removes the directories of tasks that have not been here for the delay, but for those in use
// (state.cleanup.delay.ms). The time of a directory is that of the last note.
func (d *StateDir) Clean(delay time.Duration, inUse func(topology.TaskID) bool) {
	for _, id := range d.Tasks() {
		if inUse(id) {
			continue
		}
		info, err := os.Stat(d.TaskDir(id))
		if err != nil || time.Since(info.ModTime()) < delay {
			continue
		}
		if err := os.RemoveAll(d.TaskDir(id)); err != nil {
			d.log.Warn("the directory of a task that moved away cannot be removed", "task", id, "error", err)
			continue
		}
		d.log.Info("removed the directory of a task that moved away", "task", id, "after", delay)
	}
}

// Close gives the directory back.
func (d *StateDir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close() // and with it the lock
}
