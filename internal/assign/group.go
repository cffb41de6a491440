package assign

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/topology"
)

// Group decides what each member of a group does next; the result has a share for each member. It first spreads the
// tasks and standbys over the processes (see [Processes]), then those of a process over its members, and then holds back
// each task of which another member still owns a partition. Where a member has state of a stateful task that is held
// back, it keeps it as a standby until it gets the task.
//
// A member that missed a rebalance may still claim partitions that have gone to others since. So the claim of the
// highest generation says who owns a partition (KIP-792); but whoever claims it may still be reading it, so that it is
// not given to anybody else.
func Group(tasks []Task, members []Member, ends Ends, opt Options) Plan {
	c := newClaims(tasks, members)
	processes := c.processes()
	placed := Processes(tasks, processes, ends, opt)
	plan := Plan{Shares: make(map[string]Share, len(members)), Probe: placed.Probe}
	for _, p := range processes {
		for member, s := range c.split(p.ID, placed.Active[p.ID], placed.Standbys[p.ID]) {
			plan.Shares[member] = c.holdBack(p.ID, member, s)
		}
	}
	return plan
}

// claims is what the members own by their own account.
type claims struct {
	members []Member // by id
	tasks   map[topology.TaskID]Task
	owner   map[topology.TaskID]string              // the member with the newest claim to any of the task's inputs
	others  map[TopicPartition]map[string]int32     // who claims a partition, as of which generation
	newest  map[TopicPartition]int32                // the highest of those
	sums    map[ProcessID]map[topology.TaskID]int64 // by process
	tags    map[ProcessID]map[string]string
	owned   map[ProcessID]map[topology.TaskID]struct{} // by process
	drained map[ProcessID]bool
}

func newClaims(tasks []Task, members []Member) *claims {
	c := &claims{
		members: slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }),
		tasks:   make(map[topology.TaskID]Task, len(tasks)),
		owner:   make(map[topology.TaskID]string),
		others:  make(map[TopicPartition]map[string]int32),
		newest:  make(map[TopicPartition]int32),
		sums:    make(map[ProcessID]map[topology.TaskID]int64),
		tags:    make(map[ProcessID]map[string]string),
		owned:   make(map[ProcessID]map[topology.TaskID]struct{}),
		drained: make(map[ProcessID]bool),
	}
	process := make(map[string]ProcessID, len(members))
	for _, m := range c.members {
		process[m.ID] = m.Process
		if c.sums[m.Process] == nil {
			c.sums[m.Process] = make(map[topology.TaskID]int64)
			c.owned[m.Process] = make(map[topology.TaskID]struct{})
			c.tags[m.Process] = m.Tags
		}
		c.drained[m.Process] = c.drained[m.Process] || m.Draining
		for id, sum := range m.Sums {
			if old, ok := c.sums[m.Process][id]; !ok || sum == SumRunning || old != SumRunning && sum > old {
				c.sums[m.Process][id] = sum
			}
		}
		for _, p := range m.Owned {
			if c.others[p] == nil {
				c.others[p] = make(map[string]int32)
				c.newest[p] = m.Generation
			}
			c.others[p][m.ID] = m.Generation
			c.newest[p] = max(c.newest[p], m.Generation)
		}
	}
	for _, t := range tasks {
		c.tasks[t.ID] = t
		if o, ok := c.ownerOf(t); ok {
			c.owner[t.ID] = o
			c.owned[process[o]][t.ID] = struct{}{}
		}
	}
	return c
}

func (c *claims) ownerOf(t Task) (member string, ok bool) {
	for _, p := range t.Inputs {
		for _, m := range c.members {
			if g, claims := c.others[p][m.ID]; claims && g == c.newest[p] {
				return m.ID, true
			}
		}
	}
	return "", false
}

func (c *claims) processes() []Process {
	workers := make(map[ProcessID]int)
	for _, m := range c.members {
		workers[m.Process] += max(m.Workers, 1)
	}
	var out []Process
	for id, n := range workers {
		p := Process{ID: id, Workers: n, Tags: c.tags[id], Sums: c.sums[id], Draining: c.drained[id]}
		for t := range c.owned[id] {
			p.Owned = append(p.Owned, t)
		}
		sortTasks(p.Owned)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Process) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return out
}

// split spreads what a process has over its members, evenly by their workers: stateful tasks, then the others, then
// standbys. A task stays with its owner, a standby with who has its state.
func (c *claims) split(process ProcessID, tasks, standbys []topology.TaskID) map[string]Share {
	var members []Member
	var bins []quota
	for _, m := range c.members {
		if m.Process == process {
			members = append(members, m)
			bins = append(bins, quota{workers: max(m.Workers, 1)})
		}
	}
	total := 0
	give := func(ids []topology.TaskID, keeps func(m Member, id topology.TaskID) bool) [][]topology.TaskID {
		total += len(ids)
		bound(bins, total)
		at := spreadTasks(ids, bins, func(t, b int) int64 {
			if keeps(members[b], ids[t]) {
				return 0
			}
			return costMove
		})
		out := make([][]topology.TaskID, len(members))
		for i, b := range at {
			out[b] = append(out[b], ids[i])
		}
		return out
	}
	owns := func(m Member, id topology.TaskID) bool { return c.owner[id] == m.ID }
	stateful := give(c.filter(tasks, true), owns)
	stateless := give(c.filter(tasks, false), owns)
	copies := give(standbys, func(m Member, id topology.TaskID) bool { _, has := m.Sums[id]; return has })
	out := make(map[string]Share, len(members))
	for i, m := range members {
		out[m.ID] = Share{Tasks: sortTasks(slices.Concat(stateful[i], stateless[i])), Standbys: copies[i]}
	}
	return out
}

func (c *claims) filter(ids []topology.TaskID, stateful bool) (out []topology.TaskID) {
	for _, id := range ids {
		if c.tasks[id].Stateful == stateful {
			out = append(out, id)
		}
	}
	return out
}

// holdBack divides what the member shall have into what it can have now and what it has to wait for. No standby is kept
// for a task that another member of the same process runs until then: they would share a directory.
func (c *claims) holdBack(process ProcessID, member string, given Share) Share {
	s := Share{Standbys: given.Standbys}
	for _, id := range given.Tasks {
		if c.free(id, member) {
			s.Tasks = append(s.Tasks, id)
			continue
		}
		s.Later = append(s.Later, id)
		if _, here := c.owned[process][id]; c.tasks[id].Stateful && !here && c.has(member, id) {
			s.Standbys = append(s.Standbys, id)
		}
	}
	sortTasks(s.Standbys)
	return s
}

// free reports whether the member can have the task now.
func (c *claims) free(id topology.TaskID, member string) bool {
	return !slices.ContainsFunc(c.tasks[id].Inputs, func(p TopicPartition) bool {
		if g, mine := c.others[p][member]; mine && g == c.newest[p] {
			return false
		}
		for other := range c.others[p] {
			if other != member {
				return true
			}
		}
		return false
	})
}

// has reports whether the member has state of the task.
func (c *claims) has(member string, id topology.TaskID) bool {
	i := slices.IndexFunc(c.members, func(m Member) bool { return m.ID == member })
	_, has := c.members[i].Sums[id]
	return has
}
