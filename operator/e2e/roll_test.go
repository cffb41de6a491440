//go:build k8s

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestRoll replaces three pods under load: one at a time, each after its gates, without a task that moves or a store that is
// restored from the beginning. Then come an image that does not start, and one that could not go on with the state.
func TestRoll(t *testing.T) {
	s := newScene(t)
	s.application(3)
	s.untilApp("three pods run", 2*time.Minute, running(3)) // before there is something to restore
	s.flow(300).burst(20000)
	s.untilApp("the first revision is stable, and the tasks are shared", time.Minute, settled)
	s.caughtUp(time.Minute)

	t.Log("- another image")
	s.rollsTo(secondImage, 3, nil)

	t.Log("- an image that does not start")
	before, good := uids(s.pods()), s.app().Status.Revisions.LastStable
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = brokenImage })
	s.untilApp("the revision is given up, and all pods have the last good one", 3*time.Minute, func(app *v1alpha1.StreamsApplication) string {
		c := condition(app, v1alpha1.ConditionProgressing)
		if c.Reason != "RolledBack" || app.Status.ReadyReplicas != 3 || app.Status.UpdatedReplicas != 3 || app.Status.Revisions.Current != good {
			return fmt.Sprintf("Progressing is %s, %d pods are ready, %d have revision %s: %s", c.Reason, app.Status.ReadyReplicas, app.Status.UpdatedReplicas, app.Status.Revisions.Current, c.Message)
		}
		return ""
	})
	if touched := differ(before, uids(s.pods())); len(touched) != 1 {
		t.Errorf("the pods %v were replaced; it has to stop after the first", touched)
	}
	if c := condition(s.app(), v1alpha1.ConditionProgressing); !strings.Contains(c.Message, "this program is broken") {
		t.Errorf("it does not say what the program said: %s", c.Message)
	}
	s.caughtUp(time.Minute)

	t.Log("- an image that cannot go on with the state")
	before = uids(s.pods())
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = otherStoreImage })
	s.untilApp("the revision is refused", time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if c := condition(app, v1alpha1.ConditionTopologyCompatible); c.Reason != "Incompatible" {
			return fmt.Sprintf("TopologyCompatible is %s: %s", c.Reason, c.Message)
		}
		return ""
	})
	t.Log(condition(s.app(), v1alpha1.ConditionTopologyCompatible).Message)
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = secondImage })
	s.untilApp("the image from before is fine", time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if c := condition(app, v1alpha1.ConditionTopologyCompatible); c.Status != metav1.ConditionTrue {
			return fmt.Sprintf("TopologyCompatible is %s: %s", c.Reason, c.Message)
		}
		return running(3)(app)
	})
	if touched := differ(before, uids(s.pods())); len(touched) != 0 {
		t.Errorf("the pods %v were replaced; none may be touched", touched)
	}
	s.settle()
}

// stable says what lacks until the present revision counts as stable.
func stable(app *v1alpha1.StreamsApplication) string {
	if r := app.Status.Revisions; r.LastStable != r.Wanted {
		return fmt.Sprintf("revision %s is wanted, and %s the last stable one: %s", r.Wanted, r.LastStable, condition(app, v1alpha1.ConditionProgressing).Message)
	}
	return ""
}

// settled says what lacks until the present revision is stable, and the tasks are shared.
func settled(app *v1alpha1.StreamsApplication) string { return cmp.Or(stable(app), shared(app)) }

// shared says what lacks until all pods have as many tasks, and none is still on its way to another.
func shared(app *v1alpha1.StreamsApplication) string {
	least := int32(tasks / len(app.Status.Instances))
	for _, i := range app.Status.Instances {
		if i.Active < least || i.Active > least+1 || i.Standby > 0 && app.Spec.Streams.StandbyReplicas == 0 {
			return fmt.Sprintf("%s has %d tasks, and warms %d up", i.Pod, i.Active, i.Standby)
		}
	}
	return ""
}

// differ names the pods that are others than before.
func differ[V comparable](before, now map[string]V) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] != now[name] {
			names = append(names, name)
		}
	}
	return names
}

// rollsTo has all pods replaced by those of another image, and watches: one at a time, no task moves, no store is restored from the
// beginning. meanwhile is called again and again with the number of pods that are new.
func (s *scene) rollsTo(image string, replicas int32, meanwhile func(updated int32)) {
	s.Helper()
	before, has := uids(s.pods()), owners(s.takings())
	s.traffic.longest()
	said := make(map[string]bool)
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = image })
	s.untilApp("all pods are replaced", 4*time.Minute, func(app *v1alpha1.StreamsApplication) string {
		away := 0
		now := s.pods()
		for i := range replicas {
			if p := now[fmt.Sprintf("%s-%d", name, i)]; p == nil || !ready(p) || p.DeletionTimestamp != nil {
				away++
			}
		}
		if away > 1 {
			s.Fatalf("%d pods are away at a time", away)
		}
		c := condition(app, v1alpha1.ConditionProgressing)
		if c.Reason == "Updating" || c.Reason == "Checking" {
			_, why, _ := strings.Cut(c.Message, "; ")
			said[c.Reason+": "+why] = true
		}
		if meanwhile != nil {
			meanwhile(app.Status.UpdatedReplicas)
		}
		if app.Status.UpdatedReplicas != replicas || len(differ(before, uids(now))) != int(replicas) {
			return fmt.Sprintf("%d pods are new: %s", app.Status.UpdatedReplicas, c.Message)
		}
		if lacks := stable(app); lacks != "" {
			return lacks
		}
		return running(replicas)(app)
	})
	stalled, partition := s.traffic.longest()
	s.Logf("longest stall %v, in partition %d", stalled.Round(time.Millisecond), partition)
	for _, text := range slices.Sorted(maps.Keys(said)) {
		s.Logf("it said: %s", text)
	}
	if len(said) < 3 {
		s.Errorf("the status said little of what it waited for")
	}
	s.noFullRestore("pods have volumes")
	moved := 0
	taken := s.takings()
	if len(taken) < tasks {
		s.Errorf("the pods tell of %d tasks that they have taken up", len(taken))
	}
	for _, t := range taken {
		if has[t.task] != t.pod {
			s.Logf("task %s moved from %s to %s", t.task, has[t.task], t.pod)
			has[t.task] = t.pod
			moved++
		}
	}
	if moved > 0 {
		s.Errorf("%d tasks moved; static members keep theirs", moved)
	}
	if now := owners(taken); !reflect.DeepEqual(has, now) {
		s.Errorf("the pods have other tasks than before: %v, not %v", now, has)
	}
	s.caughtUp(time.Minute)
}
