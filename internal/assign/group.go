package assign

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/topology"
)

// Group decides what each member of a group does next; the result has an entry for each member. It first spreads the
// tasks over the processes (see [Processes]), then a process's tasks over its members, and then holds back each task
// of which another member still owns a partition.
//
// A member that missed a rebalance may still claim partitions that have gone to others since. So the claim of the
// highest generation says who owns a partition (KIP-792); but whoever claims it may still be reading it, so that it is
// not given to anybody else.
func Group(tasks []Task, members []Member) map[string]Share {
	c := newClaims(tasks, members)
	target := Processes(tasks, c.processes())
	shares := make(map[string]Share, len(members))
	for _, m := range c.members {
		shares[m.ID] = Share{}
	}
	for process, ids := range target {
		for member, ids := range c.split(process, ids) {
			shares[member] = c.holdBack(member, ids)
		}
	}
	return shares
}

// claims is what the members own by their own account.
type claims struct {
	members []Member // by id
	tasks   map[topology.TaskID]Task
	owner   map[topology.TaskID]string                 // the member with the newest claim to any of the task's inputs
	others  map[TopicPartition]map[string]int32        // who claims a partition, as of which generation
	newest  map[TopicPartition]int32                   // the highest of those
	sums    map[ProcessID]map[topology.TaskID]int64    // by process
	owned   map[ProcessID]map[topology.TaskID]struct{} // by process
}

func newClaims(tasks []Task, members []Member) *claims {
	c := &claims{
		members: slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }),
		tasks:   make(map[topology.TaskID]Task, len(tasks)),
		owner:   make(map[topology.TaskID]string),
		others:  make(map[TopicPartition]map[string]int32),
		newest:  make(map[TopicPartition]int32),
		sums:    make(map[ProcessID]map[topology.TaskID]int64),
		owned:   make(map[ProcessID]map[topology.TaskID]struct{}),
	}
	process := make(map[string]ProcessID, len(members))
	for _, m := range c.members {
		process[m.ID] = m.Process
		if c.sums[m.Process] == nil {
			c.sums[m.Process] = make(map[topology.TaskID]int64)
			c.owned[m.Process] = make(map[topology.TaskID]struct{})
		}
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
		p := Process{ID: id, Workers: n, Sums: c.sums[id]}
		for t := range c.owned[id] {
			p.Owned = append(p.Owned, t)
		}
		out = append(out, p)
	}
	return out
}

// split spreads the tasks of a process over its members, evenly by their workers; a task stays with its owner.
func (c *claims) split(process ProcessID, ids []topology.TaskID) map[string][]topology.TaskID {
	s := &spread{}
	byBin := make(map[*bin]string)
	for _, m := range c.members {
		if m.Process != process {
			continue
		}
		b := &bin{Process: Process{Workers: max(m.Workers, 1)}, owned: make(map[topology.TaskID]bool)}
		for _, id := range ids {
			b.owned[id] = c.owner[id] == m.ID
		}
		byBin[b] = m.ID
		s.bins = append(s.bins, b)
		s.workers += b.Workers
	}
	s.place(slices.Clone(ids), len(ids))
	out := make(map[string][]topology.TaskID, len(s.bins))
	for _, b := range s.bins {
		out[byBin[b]] = sortTasks(b.tasks)
	}
	return out
}

// holdBack divides what the member shall have into what it can have now and what it has to wait for.
func (c *claims) holdBack(member string, ids []topology.TaskID) Share {
	var s Share
	for _, id := range ids {
		free := !slices.ContainsFunc(c.tasks[id].Inputs, func(p TopicPartition) bool {
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
		if free {
			s.Tasks = append(s.Tasks, id)
		} else {
			s.Later = append(s.Later, id)
		}
	}
	return s
}
