package assign

import (
	"cmp"
	"math"
	"slices"
)

// standbys decides where the standbys shall be: one of each task, then the second of each, and so on. Only the last are
// held to what each process shall have of all of them; then the others are looked at again. So copies that are in place
// stay there, whichever of them is looked at first.
func (pl *planner) standbys() {
	last := min(pl.opt.Standbys, pl.staying()-1) - 1
	if last < 0 {
		return
	}
	bins := pl.quotas()
	for n := range last {
		bound(bins, math.MaxInt32)
		for i := range bins {
			bins[i].low = 0
		}
		pl.copy(n, bins)
	}
	bound(bins, (last+1)*len(pl.tasks))
	pl.copy(last, bins)
	for n := range last {
		pl.copy(n, bins)
	}
}

// copy decides where the n-th standby of each task shall be, the others being where they are.
func (pl *planner) copy(n int, bins []quota) {
	for i := range pl.tasks {
		if n < len(pl.tasks[i].copies) {
			bins[pl.tasks[i].copies[n]].count--
		}
	}
	at := pl.spread(pl.ids(), bins, func(t, p int) int64 {
		task := &pl.tasks[t]
		if other := slices.Index(task.copies, p); p == task.target || other >= 0 && other != n {
			return never
		}
		return pl.together(task, n, p)*costTag + task.state[p].standby()
	})
	for i, p := range at {
		if t := &pl.tasks[i]; n < len(t.copies) {
			t.copies[n] = p
		} else {
			t.copies = append(t.copies, p)
		}
	}
}

// together counts the other copies of a task, but for its n-th standby, that have the value of a rack tag in common with
// a process, for each tag.
func (pl *planner) together(t *place, n, p int) (same int64) {
	for _, key := range pl.opt.RackTags {
		mine, tagged := pl.procs[p].Tags[key]
		if !tagged {
			continue
		}
		for i, c := range append([]int{t.target}, t.copies...) {
			if v, ok := pl.procs[c].Tags[key]; ok && v == mine && i != n+1 {
				same++
			}
		}
	}
	return same
}

// replicas decides where the standbys are now, and which warm-ups there are (rules 6 and 7).
func (pl *planner) replicas() {
	for i := range pl.tasks {
		pl.hold(&pl.tasks[i])
	}
	var moving []*place
	for i := range pl.tasks {
		if _, known := pl.ends[pl.tasks[i].id]; known && len(pl.tasks[i].cold) > 0 {
			moving = append(moving, &pl.tasks[i])
		}
	}
	warmups := max(pl.opt.Warmups, 1)
	for _, actives := range []bool{true, false} {
		for _, w := range pl.missing(moving, actives) {
			if warmups == 0 {
				return
			}
			w.task.extra = append(w.task.extra, w.at)
			warmups--
		}
	}
}

// hold decides where the standbys of one task are now. Where copies shall be, the active one included, and it does not
// run, there is a standby if its state is caught up. For those that are missing, standbys are kept at other processes
// that are caught up; only where there are none they begin where they shall be.
func (pl *planner) hold(t *place) {
	n := len(t.copies)
	for _, p := range append([]int{t.target}, t.copies...) {
		switch {
		case p == t.active:
		case t.state[p].warm:
			t.extra = append(t.extra, p)
		default:
			t.cold = append(t.cold, p)
		}
	}
	taken := append([]int{t.active}, t.extra...)
	byLag := func(a, b int) int { return cmp.Compare(t.state[a].lag, t.state[b].lag) }
	others := slices.DeleteFunc(pl.numbers(), func(p int) bool {
		return !t.state[p].warm || slices.Contains(taken, p)
	})
	slices.SortStableFunc(others, byLag)
	t.extra = append(t.extra, others[:max(0, min(n-len(t.extra), len(others)))]...)

	// The target comes first: nothing but its state keeps the task from where it shall run.
	slices.SortStableFunc(t.cold, func(a, b int) int {
		return cmp.Or(-compareBool(a == t.target, b == t.target), byLag(a, b))
	})
	begin := min(max(0, n-len(t.extra)), len(t.cold))
	t.extra = append(t.extra, t.cold[:begin]...)
	t.cold = t.cold[begin:]
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// A warmup is a replica that is wanted beside the standbys.
type warmup struct {
	task *place
	at   int
}

// missing returns the warm-ups that are wanted, of what shall be active or of standbys: those first that have begun, and
// of those the ones that will be ready first.
func (pl *planner) missing(moving []*place, actives bool) (out []warmup) {
	for _, t := range moving {
		for _, p := range t.cold {
			if (p == t.target) == actives {
				out = append(out, warmup{t, p})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b warmup) int {
		return cmp.Compare(a.task.state[a.at].standby(), b.task.state[b.at].standby())
	})
	return out
}
