package assign

import (
	"maps"
	"slices"
	"testing"

	"github.com/millrace/millrace/topology"
)

// A world is a group as the broker and its members see it: what each member runs and has on disk, and how a rebalance
// changes that.
type world struct {
	opt        Options
	tasks      []Task
	ends       Ends
	unknown    bool // the ends cannot be asked for
	members    []Member
	generation int32

	disk     map[string]map[topology.TaskID]int64 // by member; that of members that are gone, too
	restored map[string]map[topology.TaskID]bool  // which of its tasks a member has restored
	slow     bool                                 // restores take until catchUp
}

// newWorld makes a group without members. All changelogs are empty.
func newWorld(tasks []Task) *world {
	w := &world{
		tasks: tasks, opt: Options{AcceptableLag: 10000, Warmups: 2}, ends: make(Ends),
		disk: make(map[string]map[topology.TaskID]int64), restored: make(map[string]map[topology.TaskID]bool),
	}
	for _, t := range tasks {
		if t.Stateful {
			w.ends[t.ID] = 0
		}
	}
	return w
}

func (w *world) inputs(id topology.TaskID) []TopicPartition {
	i := slices.IndexFunc(w.tasks, func(t Task) bool { return t.ID == id })
	return w.tasks[i].Inputs
}

// enter makes somebody a member, with what is on its disk.
func (w *world) enter(m Member) {
	m.Generation = -1
	if w.disk[m.ID] == nil {
		w.disk[m.ID] = make(map[topology.TaskID]int64)
	}
	w.restored[m.ID] = make(map[topology.TaskID]bool)
	w.members = append(w.members, m)
}

// plan asks for what comes next, with what the members say now.
func (w *world) plan() Plan {
	for i := range w.members {
		m := &w.members[i]
		m.Sums = maps.Clone(w.disk[m.ID])
		for id := range w.restored[m.ID] {
			m.Sums[id] = SumRunning
		}
	}
	ends := w.ends
	if w.unknown {
		ends = nil
	}
	return Group(w.tasks, w.members, ends, w.opt)
}

// rebalance makes every member own what it was given, and says whether another rebalance has to follow at once.
func (w *world) rebalance() (plan Plan, again bool) {
	plan = w.plan()
	w.generation++
	for i := range w.members {
		m := &w.members[i]
		share := plan.Shares[m.ID]
		m.Owned, m.Generation = nil, w.generation
		maps.DeleteFunc(w.restored[m.ID], func(id topology.TaskID, _ bool) bool { return !slices.Contains(share.Tasks, id) })
		for _, id := range share.Tasks {
			m.Owned = append(m.Owned, w.inputs(id)...)
			if end, stateful := w.ends[id]; stateful && !w.slow {
				w.restored[m.ID][id] = true
				w.disk[m.ID][id] = end
			}
		}
		for _, id := range slices.Concat(share.Tasks, share.Standbys) {
			if _, stateful := w.ends[id]; stateful {
				w.disk[m.ID][id] += 0
			}
		}
		again = again || len(share.Later) > 0
	}
	return plan, again
}

// settle rebalances until nothing is held back.
func (w *world) settle(t *testing.T) map[string]Share {
	t.Helper()
	for range 3 {
		plan, again := w.rebalance()
		if !again {
			return plan.Shares
		}
	}
	t.Fatal("the group does not come to rest: a third rebalance still holds tasks back")
	return nil
}

// write makes the changelogs longer. What runs writes it, and so has it.
func (w *world) write(n int64) {
	for id := range w.ends {
		w.ends[id] += n
	}
	for member, tasks := range w.restored {
		for id := range tasks {
			w.disk[member][id] = w.ends[id]
		}
	}
}

// catchUp brings what the plan gave a member up to date.
func (w *world) catchUp(member string, share Share) {
	for _, id := range slices.Concat(share.Tasks, share.Standbys) {
		if end, stateful := w.ends[id]; stateful {
			w.disk[member][id] = end
			if slices.Contains(share.Tasks, id) {
				w.restored[member][id] = true
			}
		}
	}
}
