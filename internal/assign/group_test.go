package assign

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace/millrace/topology"
)

func makeTasks(r *rand.Rand, n int) []Task {
	var tasks []Task
	for i := range n {
		id := topology.TaskID{Subtopology: i % 3, Partition: int32(i / 3)}
		t := Task{ID: id, Stateful: r.IntN(2) == 0}
		for topic := range 1 + r.IntN(2) {
			t.Inputs = append(t.Inputs, TopicPartition{fmt.Sprintf("t%d-%d", id.Subtopology, topic), id.Partition})
		}
		tasks = append(tasks, t)
	}
	return tasks
}

func (w *world) workers() (n int) {
	for _, m := range w.members {
		n += m.Workers
	}
	return n
}

// check asserts that each task is given once and that the members are balanced, all tasks and the stateful ones alone.
func (w *world) check(t *testing.T, shares map[string]Share) {
	t.Helper()
	given := make(map[topology.TaskID]string)
	stateful := make(map[topology.TaskID]bool)
	nstateful := 0
	for _, task := range w.tasks {
		stateful[task.ID] = task.Stateful
		if task.Stateful {
			nstateful++
		}
	}
	for member, s := range shares {
		for _, id := range s.Tasks {
			if other, twice := given[id]; twice {
				t.Fatalf("task %v is given to %s and to %s", id, other, member)
			}
			given[id] = member
		}
	}
	if len(given) != len(w.tasks) {
		t.Fatalf("%d of %d tasks are given", len(given), len(w.tasks))
	}
	balanced := func(what string, n, total, mine int, m Member) {
		t.Helper()
		low, high := total/n*m.Workers, (total/n+1)*m.Workers
		if mine < low || mine > high {
			t.Fatalf("%s has %d %s of %d on %d of %d workers, want %d to %d", m.ID, mine, what, total, m.Workers, n, low, high)
		}
	}
	for _, m := range w.members {
		ids := shares[m.ID].Tasks
		s := 0
		for _, id := range ids {
			if stateful[id] {
				s++
			}
		}
		balanced("tasks", w.workers(), len(w.tasks), len(ids), m)
		balanced("stateful tasks", w.workers(), nstateful, s, m)
	}
}

func (w *world) join(r *rand.Rand, name int) {
	w.enter(Member{ID: fmt.Sprintf("m%02d", name), Workers: 1 + r.IntN(3), Process: ProcessID{byte(name)}})
}

// Members come and go at random; at rest every task is given once and the group is balanced.
func TestGroupStaysBalanced(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(makeTasks(r, r.IntN(40)))
		for step := range 12 {
			if len(w.members) == 0 || r.IntN(3) > 0 {
				w.join(r, step)
			} else {
				i := r.IntN(len(w.members))
				w.members = slices.Delete(w.members, i, i+1)
			}
			if len(w.members) > 0 {
				w.check(t, w.settle(t))
			}
		}
	}
}

// No task is in two members' hands at once: while one owns it, no other is given it.
func TestOwnedTasksAreHeldBack(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(makeTasks(r, 1+r.IntN(30)))
		for name := range 1 + r.IntN(4) {
			w.join(r, name)
		}
		w.settle(t)
		owner := make(map[TopicPartition]string)
		for _, m := range w.members {
			for _, p := range m.Owned {
				owner[p] = m.ID
			}
		}
		w.join(r, 50)
		for member, s := range w.plan().Shares {
			for _, id := range s.Tasks {
				for _, p := range w.inputs(id) {
					if o := owner[p]; o != "" && o != member {
						t.Fatalf("seed %d: task %v goes to %s while %s still owns %v", seed, id, member, o, p)
					}
				}
			}
		}
	}
}

// Nothing moves without need: a group at rest stays as it is; where one leaves, only its tasks move; where one joins,
// tasks move to it only. (With equal workers; else the bounds of the others shift too.)
func TestMovesAreMinimal(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(makeTasks(r, 1+r.IntN(30)))
		for i := range w.tasks {
			w.tasks[i].Stateful = true
		}
		for name := range 2 + r.IntN(4) {
			w.join(r, name)
			w.members[name].Workers = 1
		}
		before := w.settle(t)
		if again := w.settle(t); !reflect.DeepEqual(before, again) {
			t.Fatalf("seed %d: a group at rest moved from %v to %v", seed, before, again)
		}
		gone := w.members[0].ID
		w.members = slices.Clone(w.members[1:])
		after := w.settle(t)
		for _, m := range w.members {
			for _, id := range before[m.ID].Tasks {
				if !slices.Contains(after[m.ID].Tasks, id) {
					t.Fatalf("seed %d: %s left, and yet %v moved away from %s", seed, gone, id, m.ID)
				}
			}
		}
		w.join(r, 77)
		w.members[len(w.members)-1].Workers = 1
		joined := w.settle(t)
		for _, m := range w.members[:len(w.members)-1] {
			for _, id := range joined[m.ID].Tasks {
				if !slices.Contains(after[m.ID].Tasks, id) {
					t.Fatalf("seed %d: m77 joined, and yet %v moved to %s", seed, id, m.ID)
				}
			}
		}
	}
}

// The plan does not depend on the order in which members and tasks are listed.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 4))
		w := newWorld(makeTasks(r, 20))
		for name := range 4 {
			w.join(r, name)
		}
		w.opt.Standbys = 2
		w.write(20_000)
		for _, m := range w.members {
			for id := range w.ends {
				if sum := r.Int64N(30_000); r.IntN(2) == 0 {
					w.disk[m.ID][id] = sum
				}
			}
		}
		want := w.plan()
		r.Shuffle(len(w.tasks), func(i, j int) { w.tasks[i], w.tasks[j] = w.tasks[j], w.tasks[i] })
		r.Shuffle(len(w.members), func(i, j int) { w.members[i], w.members[j] = w.members[j], w.members[i] })
		if got := w.plan(); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %v, in another order %v", seed, want, got)
		}
	}
}

// A task nobody runs goes where its state is: to a process that restarted with its directory, say.
func TestTasksGoToTheirState(t *testing.T) {
	w := newWorld([]Task{
		{ID: taskID("0_0"), Stateful: true, Inputs: []TopicPartition{{"t", 0}}},
		{ID: taskID("0_1"), Stateful: true, Inputs: []TopicPartition{{"t", 1}}},
	})
	a := Member{ID: "a", Workers: 1, Process: ProcessID{1}, Sums: map[topology.TaskID]int64{taskID("0_1"): 500, taskID("0_0"): 2}}
	b := Member{ID: "b", Workers: 1, Process: ProcessID{2}, Sums: map[topology.TaskID]int64{taskID("0_0"): 10}}
	w.members = []Member{a, b}
	w.ends = Ends{taskID("0_0"): 1000, taskID("0_1"): 1000}
	got := Group(w.tasks, w.members, w.ends, Options{}).Shares
	if !slices.Equal(got["a"].Tasks, []topology.TaskID{taskID("0_1")}) || !slices.Equal(got["b"].Tasks, []topology.TaskID{taskID("0_0")}) {
		t.Errorf("got %v, want 0_1 for a and 0_0 for b", got)
	}
}

// A claim of an older generation does not count as owning (KIP-792), but is waited for all the same.
func TestOlderClaims(t *testing.T) {
	task := Task{ID: taskID("0_0"), Inputs: []TopicPartition{{"t", 0}}}
	stale := Member{ID: "a", Workers: 1, Process: ProcessID{1}, Generation: 3, Owned: task.Inputs}
	owner := Member{ID: "b", Workers: 1, Process: ProcessID{2}, Generation: 5, Owned: task.Inputs}
	got := Group([]Task{task}, []Member{stale, owner}, nil, Options{}).Shares
	if !slices.Equal(got["b"].Tasks, []topology.TaskID{task.ID}) || len(got["a"].Tasks)+len(got["a"].Later) != 0 {
		t.Errorf("got %v, want the task to stay with b", got)
	}
}

// Where processes have several members, each has its part of what its process is given: no task or standby is with two of
// them, no standby where a member of the same process runs the task, and at rest the members of a process are balanced.
func TestMembersShareAlike(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 6))
		w := newWorld(makeTasks(r, r.IntN(30)))
		w.opt.Standbys = r.IntN(3)
		w.write(int64(r.IntN(2)) * 50_000)
		for p := range 3 {
			for n := range 1 + r.IntN(3) {
				w.enter(Member{ID: fmt.Sprintf("p%d-%d", p, n), Process: ProcessID{byte(p)}, Workers: 1})
			}
			for round := 0; ; round++ {
				plan, again := w.rebalance()
				w.checkMembers(t, plan)
				for member, share := range plan.Shares {
					w.catchUp(member, share)
				}
				if !again && !plan.Probe {
					w.checkLevel(t, plan)
					break
				}
				if round > 60 {
					t.Fatalf("seed %d: the group does not come to rest", seed)
				}
			}
		}
	}
}

// checkMembers holds that nothing is twice where it must be once.
func (w *world) checkMembers(t *testing.T, plan Plan) {
	t.Helper()
	given := make(map[topology.TaskID]int)
	type copyAt struct {
		process ProcessID
		task    topology.TaskID
	}
	copies := make(map[copyAt]int)
	for _, m := range w.members {
		share := plan.Shares[m.ID]
		for _, id := range slices.Concat(share.Tasks, share.Later) {
			given[id]++
		}
		for _, id := range slices.Concat(share.Tasks, share.Standbys) {
			copies[copyAt{m.Process, id}]++
		}
	}
	for _, task := range w.tasks {
		if given[task.ID] != 1 {
			t.Fatalf("%v is given %d times", task.ID, given[task.ID])
		}
	}
	for at, n := range copies {
		if n > 1 {
			t.Fatalf("%v is at the process %v %d times", at.task, at.process, n)
		}
	}
}

// checkLevel holds that the members of one process have as many tasks, and as many tasks and standbys, each.
func (w *world) checkLevel(t *testing.T, plan Plan) {
	t.Helper()
	for _, a := range w.members {
		for _, b := range w.members {
			x, y := plan.Shares[a.ID], plan.Shares[b.ID]
			if a.Process == b.Process && (len(x.Tasks) > len(y.Tasks)+1 || len(x.Tasks)+len(x.Standbys) > len(y.Tasks)+len(y.Standbys)+1) {
				t.Fatalf("%s has %v, %s has %v", a.ID, x, b.ID, y)
			}
		}
	}
}

// Several members of one process, as Java's stream threads are, share what the process gets.
func TestMembersOfOneProcess(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	w := newWorld(makeTasks(r, 12))
	for i := range 3 {
		w.members = append(w.members, Member{ID: fmt.Sprintf("thread-%d", i), Workers: 1, Process: ProcessID{7}})
	}
	shares := w.plan().Shares
	for member, s := range shares {
		if len(s.Tasks) != 4 {
			t.Errorf("%s got %v, want 4 tasks", member, s.Tasks)
		}
	}
}
