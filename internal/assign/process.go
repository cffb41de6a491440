package assign

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/topology"
)

// A Placement says which process runs which tasks, and which keeps a standby of which. Probe is as in [Plan].
type Placement struct {
	Active, Standbys map[ProcessID][]topology.TaskID
	Probe            bool
}

// Processes spreads tasks and standbys over processes. It decides first where each shall be:
//
//  1. Every task is active at exactly one process. Its standbys are at others, at no process twice; there are as many as
//     asked for, or as many as there are other processes.
//  2. A process of w workers gets between ⌊n/W⌋·w and (⌊n/W⌋+1)·w of the n tasks, W being the workers of all; so the
//     workers of the group differ by one task at most. The stateful tasks alone are spread as evenly, and so are the
//     standbys, as far as rules 1 and 4 let them.
//  3. Within that, as little state as can be has to be built; then, as few tasks as can be move.
//  4. The copies of a task, the active one among them, are at processes with different values of each rack tag, as far
//     as there are such processes; that goes before rule 3.
//
// A process that is draining shall have nothing, and counts nowhere above, unless all are draining.
//
// What it gives out now is that, but for where state is missing (KIP-441):
//
//  5. No stateful task runs where its state is not caught up while it is elsewhere. It runs at a caught-up process: the
//     one that runs it, else one with a standby, else the least loaded; if there is none, where the least is missing.
//  6. Nor does a standby that is caught up give way to one that is not, unless it takes over as the active one.
//  7. Where a task or a standby shall go, its state is built meanwhile, by a replica beside the standbys. There are as
//     many of those at a time as there may be warm-ups; the others wait. Probe is set as long as there are any of either.
//
// A task of which the end is not known stays where it runs, or goes where most of its state is, and is not warmed up;
// Probe is set, so that the end is asked for again.
//
// The result depends on the input only, not on its order. There must be at least one process.
func Processes(tasks []Task, processes []Process, ends Ends, opt Options) Placement {
	pl := newPlanner(tasks, processes, ends, opt)
	pl.target()
	pl.standbys()
	pl.actives()
	pl.replicas()
	return pl.placement()
}

// A planner makes a placement.
type planner struct {
	opt   Options
	ends  Ends
	procs []Process // by id
	tasks []place   // the stateful ones, by id
	rest  []topology.TaskID
	at    []int // where the rest run
	count []quota
}

// A place is what becomes of a stateful task. Numbers are those of processes.
type place struct {
	id     topology.TaskID
	state  []standing // of each process
	target int        // where it shall run, and the standbys be
	copies []int
	active int // where it runs and is copied for now
	extra  []int
	cold   []int // where its state shall be built, if there may be another warm-up
}

func newPlanner(tasks []Task, processes []Process, ends Ends, opt Options) *planner {
	pl := &planner{opt: opt, ends: ends, procs: slices.Clone(processes)}
	slices.SortFunc(pl.procs, func(a, b Process) int { return slices.Compare(a.ID[:], b.ID[:]) })
	for i := range pl.procs {
		p := &pl.procs[i]
		p.Workers, p.Owned = max(p.Workers, 1), sortTasks(slices.Clone(p.Owned))
	}
	if slices.ContainsFunc(pl.procs, func(p Process) bool { return !p.Draining }) {
		for i := range pl.procs {
			if pl.procs[i].Draining {
				pl.procs[i].Workers = 0
			}
		}
	}
	for _, t := range tasks {
		if t.Stateful {
			pl.tasks = append(pl.tasks, place{id: t.ID, state: standings(t.ID, pl.procs, ends, opt.AcceptableLag)})
		} else {
			pl.rest = append(pl.rest, t.ID)
		}
	}
	slices.SortFunc(pl.tasks, func(a, b place) int { return a.id.Compare(b.id) })
	sortTasks(pl.rest)
	return pl
}

func (pl *planner) quotas() []quota {
	var out []quota
	for _, p := range pl.procs {
		out = append(out, quota{workers: p.Workers})
	}
	return out
}

func (pl *planner) ids() (ids []topology.TaskID) {
	for _, t := range pl.tasks {
		ids = append(ids, t.id)
	}
	return ids
}

// spread is spreadTasks, but to no process that is draining.
func (pl *planner) spread(ids []topology.TaskID, bins []quota, cost func(task, process int) int64) []int {
	return spreadTasks(ids, bins, func(t, p int) int64 {
		if pl.procs[p].Workers == 0 {
			return never
		}
		return cost(t, p)
	})
}

// staying counts the processes that are not draining.
func (pl *planner) staying() (n int) {
	for _, p := range pl.procs {
		if p.Workers > 0 {
			n++
		}
	}
	return n
}

// target decides where the tasks shall run.
func (pl *planner) target() {
	bins := pl.quotas()
	bound(bins, len(pl.tasks))
	at := pl.spread(pl.ids(), bins, func(t, p int) int64 { return pl.tasks[t].state[p].active() })
	for i := range pl.tasks {
		pl.tasks[i].target = at[i]
	}
	bound(bins, len(pl.tasks)+len(pl.rest))
	pl.at = pl.spread(pl.rest, bins, func(t, p int) int64 {
		if pl.procs[p].owns(pl.rest[t]) {
			return 0
		}
		return costMove
	})
}

// actives decides where the tasks run now (rule 5).
func (pl *planner) actives() {
	pl.count = pl.quotas()
	var wait []*place
	for i := range pl.tasks {
		t := &pl.tasks[i]
		t.active = t.target
		better := slices.ContainsFunc(t.state, func(s standing) bool { return s.lag < t.state[t.target].lag })
		if t.state[t.target].warm || !better {
			pl.count[t.target].count++
		} else {
			wait = append(wait, t)
		}
	}
	for _, t := range wait {
		t.active = pl.best(t)
		pl.count[t.active].count++
	}
}

// best returns where a task runs that cannot run yet where it shall.
func (pl *planner) best(t *place) int {
	rank := func(p int) (rank int) {
		s := t.state[p]
		switch {
		case s.warm && s.runs:
			return 0
		case s.warm && slices.Contains(t.copies, p):
			return 1
		case s.warm:
			return 2
		}
		return 3
	}
	return slices.MinFunc(pl.numbers(), func(a, b int) int {
		if c := cmp.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		byLag := cmp.Compare(t.state[a].lag, t.state[b].lag)
		if !t.state[a].warm && byLag != 0 {
			return byLag
		}
		return cmp.Or(cmp.Compare(pl.count[a].fuller(1), pl.count[b].fuller(1)), byLag)
	})
}

func (pl *planner) numbers() []int {
	out := make([]int, len(pl.procs))
	for i := range out {
		out[i] = i
	}
	return out
}

// placement says it in terms of processes.
func (pl *planner) placement() Placement {
	out := Placement{Active: make(map[ProcessID][]topology.TaskID), Standbys: make(map[ProcessID][]topology.TaskID)}
	give := func(to map[ProcessID][]topology.TaskID, p int, id topology.TaskID) {
		to[pl.procs[p].ID] = append(to[pl.procs[p].ID], id)
	}
	for i := range pl.tasks {
		t := &pl.tasks[i]
		give(out.Active, t.active, t.id)
		for _, p := range t.extra {
			give(out.Standbys, p, t.id)
		}
		_, known := pl.ends[t.id]
		out.Probe = out.Probe || t.active != t.target || len(t.cold) > 0 || !known
	}
	for i, id := range pl.rest {
		give(out.Active, pl.at[i], id)
	}
	for _, p := range pl.procs {
		sortTasks(out.Active[p.ID])
		sortTasks(out.Standbys[p.ID])
	}
	return out
}
