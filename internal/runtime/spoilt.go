package runtime

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/topology"
)

// spoilt says whether an error is of the files of a task, which then has to be opened anew.
func (i *Instance) spoilt(err error, id topology.TaskID) bool {
	var corrupt *store.CorruptError
	var disk *store.DiskError
	dir := ""
	switch {
	case errors.As(err, &corrupt):
		dir = corrupt.Dir
	case errors.As(err, &disk):
		dir = disk.Dir
	}
	return dir != "" && strings.HasPrefix(dir, i.dir.TaskDir(id)+string(filepath.Separator))
}

// abandon closes a task whose work is void, and puts those of its files aside that cannot be read, if that is the cause.
// It is opened again when it is needed.
func (i *Instance) abandon(r *running, cause error) {
	if r.Task == nil {
		return
	}
	if r.unlend != nil {
		r.unlend()
	}
	if err := i.closeTask(r.Task, false); err != nil {
		i.log.Warn("trouble with closing a task that is given up", "task", r.id, "error", err)
	}
	r.Task = nil
	var corrupt *store.CorruptError
	if !errors.As(cause, &corrupt) {
		return
	}
	i.log.Error("a store cannot be read; it is put aside and restored in full", "task", r.id, "directory", corrupt.Dir, "error", cause)
	if err := putAside(corrupt.Dir); err != nil {
		i.log.Warn("the files of a store cannot be put aside", "task", r.id, "error", err)
	}
}
