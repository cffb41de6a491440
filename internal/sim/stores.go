package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// judgeStores opens every directory that a process has left, and compares what is in it with the changelogs up to where
// it says that it is.
func (w *world) judgeStores() {
	if w.mixed() {
		return
	}
	for _, p := range w.lives {
		dir := p.dir
		if p.left != "" {
			dir = p.left
		}
		if err := w.judgeDir(p.name, filepath.Join(dir, application)); err != nil {
			w.journal.violation(err)
		}
	}
}

// mixed says whether two members can have written to a changelog at the same time, which at-least-once allows: then it
// holds what no store ever did.
func (w *world) mixed() bool {
	return w.plan.guarantee == check.AtLeastOnce && !w.plan.quiet()
}

func (w *world) judgeDir(process, dir string) error {
	r := store.NewResources(store.Limits{BlockCache: 1 << 20})
	defer r.Close()
	var errs []error
	for _, sub := range w.topology.Subtopologies() {
		for n := range w.plan.partitions {
			id := topology.TaskID{Subtopology: sub.ID, Partition: n}
			for _, s := range sub.Stores {
				at := filepath.Join(dir, id.String(), s.Name)
				if _, err := os.Stat(at); err != nil {
					continue
				}
				err := w.judgeStore(r, s, at, n)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s, task %v: %w", process, id, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (w *world) judgeStore(r *store.Resources, s *topology.Store, dir string, partition int32) error {
	changelog := s.ChangelogName(application)
	opened, err := store.Open(store.Config{
		Spec: s.Spec, Application: application, Changelog: changelog, Partition: partition, Dir: dir, Resources: r,
	})
	if err != nil {
		return err
	}
	position, known := opened.Position()
	holds, err := contents(opened)
	if err == nil && !known && len(holds) > 0 {
		err = fmt.Errorf("store %q holds %d keys and has no position", s.Name, len(holds))
	}
	if err == nil && known {
		err = check.Store(fmt.Sprintf("store %q at %d", s.Name, position), holds, w.history.of(changelog, partition), position)
	}
	return errors.Join(err, opened.Close())
}

// contents returns what a store holds, by the key that its changelog has.
func contents(s *store.Store) (map[string]check.Record, error) {
	all := make(map[string]check.Record)
	if s.Spec().Kind == state.Window {
		for e, err := range s.Windows(0, 1<<62) {
			if err != nil {
				return nil, err
			}
			key := binary.BigEndian.AppendUint64(append([]byte{}, e.Key...), uint64(e.Start))
			all[string(append(key, 0, 0, 0, 0))] = check.Record{Value: append([]byte{}, e.Value.Bytes...), Timestamp: e.Value.Timestamp}
		}
		return all, nil
	}
	for e, err := range s.Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		all[string(e.Key)] = check.Record{Value: append([]byte{}, e.Value.Bytes...), Timestamp: e.Value.Timestamp}
	}
	return all, nil
}
