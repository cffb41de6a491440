package decide_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/streams"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pod is one that works, with active tasks and standbys.
func pod(n int, revision string, tasks ...streams.ReportTask) decide.Pod {
	return decide.Pod{
		Name: fmt.Sprintf("app-%d", n), Ordinal: n, Revision: revision, Ready: true, Created: noon.Add(-time.Minute),
		Report: &streams.Report{State: "RUNNING", Ready: true, Started: true, Tasks: tasks, Workers: 1},
	}
}

func active(id string) streams.ReportTask {
	return streams.ReportTask{ID: id, Role: streams.RoleActive, Stores: []streams.ReportStore{{Name: "s"}}}
}

func standby(id string, lag int64) streams.ReportTask {
	return streams.ReportTask{ID: id, Role: streams.RoleStandby, Stores: []streams.ReportStore{{Name: "s", Lag: lag}}}
}

func restoring(p decide.Pod, id string, offsets int64) decide.Pod {
	p.Ready, p.Report.Ready = false, false
	p.Report.State = "REBALANCING"
	p.Report.Tasks = append(p.Report.Tasks, streams.ReportTask{ID: id, Role: streams.RoleRestoring})
	p.Report.Restores = append(p.Report.Restores, streams.ReportRestore{Task: id, Remaining: offsets})
	return p
}

func silent(n int, revision, trouble string, hopeless bool) decide.Pod {
	return decide.Pod{Name: fmt.Sprintf("app-%d", n), Ordinal: n, Revision: revision, Created: noon.Add(-time.Minute), Trouble: decide.Trouble{What: trouble, Hopeless: hopeless}}
}

func TestRoll(t *testing.T) {
	leaving := pod(1, "old")
	leaving.Leaving = true
	late := restoring(pod(2, "new"), "0_2", 500)
	late.Created = noon.Add(-time.Hour)
	for name, c := range map[string]struct {
		roll decide.Roll
		want decide.Step
	}{
		"the pod with the fewest tasks is first": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old", active("0_0")), pod(1, "old", active("0_1"), active("0_2")), pod(2, "old", active("0_3"))}},
			decide.Step{Take: "app-2", Stay: true},
		},
		"none is taken while another is away": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), leaving, pod(2, "old")}}, decide.Step{Wait: "app-1 is being deleted"},
		},
		"nor while another is not made yet": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), pod(2, "old")}}, decide.Step{Wait: "pod 1 is not there yet"},
		},
		"nor while another restores": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), pod(1, "old"), restoring(pod(2, "new"), "0_2", 500)}},
			decide.Step{Wait: "app-2 restores 1 tasks, 500 offsets to go"},
		},
		"nor so soon after a task has moved": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), pod(1, "old"), pod(2, "old")}, QuietSince: noon.Add(-10 * time.Second)},
			decide.Step{Wait: "tasks moved, or pods changed, 10s ago; 20s more without that are waited for"},
		},
		"a pod that crashes on the new revision ends it": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), pod(1, "old"), silent(2, "new", "ended with status 1, 4 times: boom", true)}},
			decide.Step{Failed: "app-2 ended with status 1, 4 times: boom"},
		},
		"and so does one that is late": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old"), pod(1, "old"), late}},
			decide.Step{Failed: "app-2 restores 1 tasks, 500 offsets to go, 1h0m0s after it was made; the deadline is 15m0s (update.podDeadline)"},
		},
		"a pod that does not work anyway is taken whatever the others do": {
			decide.Roll{Pods: []decide.Pod{silent(0, "old", "ended with status 1, 9 times: boom", true), leaving, pod(2, "old")}},
			decide.Step{Take: "app-0", Stay: true},
		},
		"on the way back the failed ones are first": {
			decide.Roll{Pods: []decide.Pod{pod(0, "new"), restoring(pod(1, "bad"), "0_1", 9), pod(2, "new")}, Failed: "bad"},
			decide.Step{Take: "app-1", Stay: true},
		},
		"without a volume a standby has to be there": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old", active("0_0")), pod(1, "old", active("0_1"), active("0_2")), pod(2, "new", active("0_3"), active("0_4"))}, Standbys: 1, Keeps: false},
			decide.Step{Wait: "app-0 cannot be taken: task 0_0 has no standby yet"},
		},
		"and caught up": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old", active("0_0")), pod(1, "new", active("0_1"), standby("0_0", 5000)), pod(2, "new")}, Standbys: 1, CaughtUp: 1000},
			decide.Step{Wait: "app-0 cannot be taken: the standby of task 0_0 lacks 5000 offsets; 1000 are acceptable"},
		},
		"then its pod leaves the group, so that the standby goes on at once": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old", active("0_0")), pod(1, "new", standby("0_0", 10)), pod(2, "new")}, Standbys: 1, CaughtUp: 1000},
			decide.Step{Take: "app-0"},
		},
		"without a volume a pod that restores is let finish": {
			decide.Roll{Pods: []decide.Pod{restoring(pod(0, "old"), "0_0", 9), pod(1, "new"), pod(2, "new")}},
			decide.Step{Wait: "app-0 restores 1 tasks, 9 offsets to go, and would begin again"},
		},
		"without standbys there is nothing to wait for": {
			decide.Roll{Pods: []decide.Pod{pod(0, "old", active("0_0")), pod(1, "new"), pod(2, "new")}}, decide.Step{Take: "app-0"},
		},
		"it is over when all have it, and it was quiet": {
			decide.Roll{Pods: []decide.Pod{pod(0, "new"), pod(1, "new"), pod(2, "new")}}, decide.Step{Stable: true},
		},
	} {
		r := c.roll
		r.Replicas, r.Target, r.Now, r.QuietFor, r.Deadline = 3, "new", noon, 30*time.Second, 15*time.Minute
		if r.QuietSince.IsZero() {
			r.QuietSince = noon.Add(-time.Hour)
		}
		r.Keeps = !strings.Contains(name, "without") && !strings.Contains(name, "caught up") && !strings.Contains(name, "leaves the group")
		if got := r.Next(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestRollTakesOneAtATime rolls applications by lot, whose pods come back after a while, or not at all: at no time are two away for
// it, and it comes to an end.
func TestRollTakesOneAtATime(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		n := 1 + random.IntN(6)
		pods := make([]decide.Pod, n)
		for i := range pods {
			pods[i] = pod(i, "old", active(fmt.Sprintf("0_%d", i)), standby(fmt.Sprintf("0_%d", (i+1)%n), random.Int64N(2000)))
		}
		bad := random.IntN(3) == 0
		r := decide.Roll{
			Pods: pods, Replicas: n, Target: "new", Keeps: random.IntN(2) == 0, Standbys: 1, CaughtUp: 1000, QuietFor: 5 * time.Second,
			Deadline: time.Minute, Now: noon, QuietSince: noon.Add(-time.Hour),
		}
		back := make(map[int]time.Time)
		ended := ""
		for range 2000 {
			r.Now = r.Now.Add(time.Second)
			for i, at := range back {
				if r.Now.After(at) {
					pods[i] = pod(i, "new", active(fmt.Sprintf("0_%d", i)), standby(fmt.Sprintf("0_%d", (i+1)%n), 2000))
					pods[i].Created = r.Now
					r.QuietSince = r.Now
					delete(back, i)
				}
			}
			for _, p := range pods { // standbys catch up
				if p.Report == nil {
					continue
				}
				for k := range p.Report.Tasks {
					for m := range p.Report.Tasks[k].Stores {
						p.Report.Tasks[k].Stores[m].Lag /= 2
					}
				}
			}
			step := r.Next()
			if step.Stable || step.Failed != "" {
				ended = step.Failed + "stable"
				break
			}
			if step.Take == "" {
				if step.Wait == "" {
					t.Fatalf("seed %d: it neither does nor waits for anything", seed)
				}
				continue
			}
			for _, p := range pods {
				if !p.Works() {
					t.Fatalf("seed %d: %s is taken while %s does not work", seed, step.Take, p.Name)
				}
			}
			i := int(step.Take[len(step.Take)-1] - '0')
			pods[i] = silent(i, "new", "", false)
			pods[i].Created, r.QuietSince = r.Now, r.Now
			if !bad {
				back[i] = r.Now.Add(time.Duration(1+random.IntN(20)) * time.Second)
			}
		}
		if want := "stable"; ended == "" || !bad && ended != want {
			t.Fatalf("seed %d: it ends with %q", seed, ended)
		}
	}
}
