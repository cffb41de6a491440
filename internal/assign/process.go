package assign

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/topology"
)

// Processes spreads tasks over processes:
//
//  1. Every task is given to exactly one process.
//  2. A process of w workers gets between ⌊n/W⌋·w and (⌊n/W⌋+1)·w of the n tasks, W being the workers of all; so the
//     workers of the group differ by one task at most. The stateful tasks alone are spread as evenly.
//  3. Within that, a task stays where it runs. Else it goes where most of its state is; else to the process with the
//     most room.
//
// The result depends on the input only, not on its order. There must be at least one process.
func Processes(tasks []Task, processes []Process) map[ProcessID][]topology.TaskID {
	s := newSpread(processes)
	var stateful, stateless []topology.TaskID
	for _, t := range tasks {
		if t.Stateful {
			stateful = append(stateful, t.ID)
		} else {
			stateless = append(stateless, t.ID)
		}
	}
	s.place(sortTasks(stateful), len(stateful))
	s.place(sortTasks(stateless), len(tasks))

	out := make(map[ProcessID][]topology.TaskID, len(s.bins))
	for _, b := range s.bins {
		out[b.ID] = sortTasks(b.tasks)
	}
	return out
}

// A bin is a process being filled.
type bin struct {
	Process
	owned map[topology.TaskID]bool
	tasks []topology.TaskID
}

type spread struct {
	bins    []*bin // by process id
	workers int    // of all

	// Every worker gets base tasks; extras more tasks are left that go to one worker each.
	base, extras int
}

func newSpread(processes []Process) *spread {
	s := &spread{}
	for _, p := range processes {
		p.Workers = max(p.Workers, 1)
		b := &bin{Process: p, owned: make(map[topology.TaskID]bool, len(p.Owned))}
		for _, id := range p.Owned {
			b.owned[id] = true
		}
		s.bins = append(s.bins, b)
		s.workers += p.Workers
	}
	slices.SortFunc(s.bins, func(a, b *bin) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return s
}

// place gives out ids, so that afterwards total tasks are placed, evenly. What stays where it runs is settled before
// anything is moved: first up to the base, then with the extras.
func (s *spread) place(ids []topology.TaskID, total int) {
	s.base = total / s.workers
	s.extras = total - s.base*s.workers
	for _, b := range s.bins {
		s.extras -= max(0, len(b.tasks)-s.base*b.Workers)
	}
	for _, room := range []int{2, 1} {
		ids = slices.DeleteFunc(ids, func(id topology.TaskID) bool {
			b := s.home(id)
			if b == nil || s.room(b) < room {
				return false
			}
			s.put(b, id)
			return true
		})
	}
	for _, id := range ids {
		s.put(s.best(id), id)
	}
}

// room says whether the process can take a task: 2, below its base; 1, as one of the extras; 0, no.
func (s *spread) room(b *bin) int {
	switch n := len(b.tasks); {
	case n < s.base*b.Workers:
		return 2
	case s.extras > 0 && n < (s.base+1)*b.Workers:
		return 1
	}
	return 0
}

func (s *spread) put(b *bin, id topology.TaskID) {
	if s.room(b) == 1 {
		s.extras--
	}
	b.tasks = append(b.tasks, id)
}

// home returns the process that runs the task now, or nil. If more than one claims it, the smallest id counts.
func (s *spread) home(id topology.TaskID) *bin {
	for _, b := range s.bins {
		if b.owned[id] {
			return b
		}
	}
	return nil
}

// best returns the process that a task without a place goes to: of those with room the one with the most of its
// state, then one below its base, then the least loaded.
func (s *spread) best(id topology.TaskID) *bin {
	return slices.MinFunc(s.bins, func(a, b *bin) int {
		ra, rb := s.room(a), s.room(b)
		if ra == 0 || rb == 0 {
			return cmp.Compare(rb, ra)
		}
		return cmp.Or(
			cmp.Compare(stateOf(b.Sums, id), stateOf(a.Sums, id)),
			cmp.Compare(rb, ra),
			cmp.Compare(len(a.tasks)*b.Workers, len(b.tasks)*a.Workers), // n/w against m/v
		)
	})
}

// stateOf orders how much state of a task a process has: nothing -1, else the sum of positions, running most of all.
func stateOf(sums map[topology.TaskID]int64, id topology.TaskID) int64 {
	sum, ok := sums[id]
	switch {
	case !ok:
		return -1
	case sum == SumRunning:
		return 1<<63 - 1
	}
	return max(sum, -1)
}
