package assign

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace/millrace/topology"
)

// fleet is a world in which members come and go at random, and state takes time to be built.
type fleet struct {
	*world
	t    *testing.T
	r    *rand.Rand
	what []string // what happened
	gone []Member
	next int
}

func newFleet(t *testing.T, seed uint64) *fleet {
	r := rand.New(rand.NewPCG(seed, 5))
	f := &fleet{world: newWorld(makeTasks(r, r.IntN(25))), t: t, r: r}
	f.opt = Options{Standbys: r.IntN(3), AcceptableLag: 100, Warmups: 1 + r.IntN(3)}
	if r.IntN(2) == 0 {
		f.opt.RackTags = []string{"zone"}
	}
	f.slow = r.IntN(2) == 0
	f.write(int64(r.IntN(3)) * 10_000)
	return f
}

func (f *fleet) fatalf(format string, args ...any) {
	f.t.Helper()
	for _, s := range f.what {
		f.t.Log(s)
	}
	f.t.Fatalf(format, args...)
}

// change lets a member come, go, or come back.
func (f *fleet) change() {
	switch n := f.r.IntN(5); {
	case len(f.members) == 0 || n == 0:
		f.next++
		f.what = append(f.what, fmt.Sprintf("m%d joins", f.next))
		f.enter(Member{
			ID: fmt.Sprintf("m%02d", f.next), Process: ProcessID{byte(f.r.IntN(200)), byte(f.next)}, Workers: 1 + f.r.IntN(2),
			Tags: map[string]string{"zone": fmt.Sprint("z", f.r.IntN(3))},
		})
	case n == 1 && len(f.gone) > 0:
		i := f.r.IntN(len(f.gone))
		f.what = append(f.what, f.gone[i].ID+" comes back")
		f.enter(f.gone[i])
		f.gone = slices.Delete(f.gone, i, i+1)
	case n == 2:
		m := &f.members[f.r.IntN(len(f.members))]
		m.Draining = !m.Draining
		f.what = append(f.what, fmt.Sprintf("%s draining: %v", m.ID, m.Draining))
	default:
		i := f.r.IntN(len(f.members))
		m := f.members[i]
		f.what = append(f.what, m.ID+" goes")
		delete(f.restored, m.ID)
		m.Owned = nil
		f.gone = append(f.gone, m)
		f.members = slices.Delete(f.members, i, i+1)
	}
}

// processes is what the plan is made of.
func (f *fleet) processes() []Process {
	f.plan()
	return newClaims(f.tasks, f.members).processes()
}

// check holds a placement against the rules that hold at any time.
func (f *fleet) check(procs []Process, got Placement) {
	f.t.Helper()
	active, copies := make(map[topology.TaskID]int), make(map[topology.TaskID][]int)
	for i, p := range procs {
		for _, id := range got.Active[p.ID] {
			if _, twice := active[id]; twice {
				f.fatalf("task %v is active twice", id)
			}
			active[id] = i
		}
		for _, id := range got.Standbys[p.ID] {
			if slices.Contains(copies[id], i) {
				f.fatalf("two standbys of %v are at one process", id)
			}
			copies[id] = append(copies[id], i)
		}
	}
	if len(active) != len(f.tasks) {
		f.fatalf("%d of %d tasks are active", len(active), len(f.tasks))
	}
	beyond := 0
	for id := range f.ends {
		at := active[id]
		if slices.Contains(copies[id], at) {
			f.fatalf("%v has a standby where it is active", id)
		}
		want := min(f.opt.Standbys, len(staying(procs))-1)
		if len(copies[id]) < want {
			f.fatalf("%v has %d standbys, want %d", id, len(copies[id]), want)
		}
		beyond += len(copies[id]) - want
		f.checkWarm(id, standings(id, procs, f.ends, f.opt.AcceptableLag), at, copies[id], want)
	}
	if beyond > f.opt.Warmups {
		f.fatalf("there are %d warm-ups, at most %d are wanted", beyond, f.opt.Warmups)
	}
}

// checkWarm holds that a task is active, and has its standbys, where its state is.
func (f *fleet) checkWarm(id topology.TaskID, state []standing, at int, copies []int, standbys int) {
	f.t.Helper()
	warm := 0
	for _, s := range state {
		if s.lag < state[at].lag && !state[at].warm {
			f.fatalf("%v runs where %d records are missing, elsewhere only %d are", id, state[at].lag, s.lag)
		}
		if s.warm {
			warm++
		}
	}
	hot := 0
	for _, p := range copies {
		if state[p].warm {
			hot++
		}
	}
	if want := min(standbys, warm-1); state[at].warm && hot < want {
		f.fatalf("%v has %d standbys that are caught up, could have %d", id, hot, want)
	}
}

// checkUnknown holds that what runs stays if the ends of the changelogs are not known.
func (f *fleet) checkUnknown(procs []Process) {
	f.t.Helper()
	placed := Processes(f.tasks, procs, nil, f.opt)
	if len(f.ends) > 0 && !placed.Probe {
		f.fatalf("the ends are not known, and nobody shall ask again")
	}
	for _, p := range procs {
		for _, id := range p.Owned {
			if _, stateful := f.ends[id]; stateful && !slices.Contains(placed.Active[p.ID], id) {
				f.fatalf("the end of %v is not known, and yet it moves", id)
			}
		}
	}
}

// staying are the processes that shall have something: those that are not draining, unless all are.
func staying(procs []Process) []Process {
	out := slices.DeleteFunc(slices.Clone(procs), func(p Process) bool { return p.Draining })
	if len(out) == 0 {
		return procs
	}
	return out
}

// checkRest holds a placement against the rules that hold when nothing is missing any more.
func (f *fleet) checkRest(procs []Process, got Placement) {
	f.t.Helper()
	for _, p := range procs {
		if n := len(got.Active[p.ID]) + len(got.Standbys[p.ID]); p.Draining && n > 0 && len(staying(procs)) < len(procs) {
			f.fatalf("%v is draining, and has %d tasks and standbys", p.ID, n)
		}
	}
	procs = staying(procs)
	workers := 0
	for _, p := range procs {
		workers += p.Workers
	}
	for _, p := range procs {
		stateful := 0
		for _, id := range got.Active[p.ID] {
			if _, is := f.ends[id]; is {
				stateful++
			}
		}
		for what, n := range map[string][2]int{"tasks": {len(f.tasks), len(got.Active[p.ID])}, "stateful tasks": {len(f.ends), stateful}} {
			if low, high := n[0]/workers*p.Workers, (n[0]/workers+1)*p.Workers; n[1] < low || n[1] > high {
				f.fatalf("%v has %d %s, want %d to %d", p.ID, n[1], what, low, high)
			}
		}
	}
	f.checkStandbys(procs, got)
}

// checkStandbys holds that no standby could be elsewhere so that the load is more even, and that zones differ.
func (f *fleet) checkStandbys(procs []Process, got Placement) {
	f.t.Helper()
	has := func(p Process, id topology.TaskID) bool {
		return slices.Contains(got.Active[p.ID], id) || slices.Contains(got.Standbys[p.ID], id)
	}
	zones := make(map[string]bool)
	for _, p := range procs {
		zones[p.Tags["zone"]] = true
	}
	for id := range f.ends {
		used := make(map[string]bool)
		n := 0
		for _, p := range procs {
			if has(p, id) {
				used[p.Tags["zone"]] = true
				n++
			}
		}
		if want := min(n, len(zones)); len(f.opt.RackTags) > 0 && len(used) < want {
			f.fatalf("the copies of %v are in %d zones, could be in %d", id, len(used), want)
		}
	}
	for _, p := range procs {
		for _, q := range procs {
			if len(f.opt.RackTags) > 0 && p.Tags["zone"] != q.Tags["zone"] {
				continue
			}
			from, to := float64(len(got.Standbys[p.ID]))/float64(p.Workers), float64(len(got.Standbys[q.ID]))/float64(q.Workers)
			for _, id := range got.Standbys[p.ID] {
				if from-to > 2 && !has(q, id) {
					f.fatalf("%v has %d standbys and %v %d; %v could move", p.ID, len(got.Standbys[p.ID]), q.ID, len(got.Standbys[q.ID]), id)
				}
			}
		}
	}
}

// Whatever happens, each round keeps the rules; and once nothing happens any more, the group comes to rest after so many
// rounds as it takes to build what is missing by the warm-ups there may be.
func TestHistories(t *testing.T) {
	for seed := range uint64(300) {
		f := newFleet(t, seed)
		for range 8 {
			for range 1 + f.r.IntN(2) {
				f.change()
			}
			if len(f.members) > 0 {
				f.rest()
			}
		}
	}
}

// rest rebalances until nothing is wanted any more.
func (f *fleet) rest() {
	f.t.Helper()
	most := 4 + 2*len(f.ends)*(1+f.opt.Standbys)/f.opt.Warmups
	for round := 0; ; round++ {
		procs := f.processes()
		placed := Processes(f.tasks, procs, f.ends, f.opt)
		f.check(procs, placed)
		f.checkUnknown(procs)
		plan, again := f.rebalance()
		for _, m := range f.members {
			f.what = append(f.what, fmt.Sprintf("   %s: %v", m.ID, plan.Shares[m.ID]))
			if f.r.IntN(4) > 0 || round > 2 {
				f.catchUp(m.ID, plan.Shares[m.ID])
			}
		}
		f.write(1 + int64(f.r.IntN(40)))
		if !again && !plan.Probe {
			f.still(procs, placed, plan)
			return
		}
		if round > most {
			f.fatalf("after %d rounds the group is not at rest", round)
		}
	}
}

// still holds that a group at rest stays as it is.
func (f *fleet) still(procs []Process, placed Placement, plan Plan) {
	f.t.Helper()
	f.checkRest(procs, placed)
	for range 2 {
		for _, m := range f.members {
			f.catchUp(m.ID, plan.Shares[m.ID])
		}
		if again := f.plan(); !reflect.DeepEqual(again, plan) {
			f.fatalf("a group at rest moved from %v to %v", plan, again)
		}
		f.write(30)
	}
}
