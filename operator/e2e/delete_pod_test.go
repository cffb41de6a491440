//go:build k8s

package e2e

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestDeletePod deletes a pod, whose volume stays: it comes back to its tasks, restores what is new since, and is ready when that is
// done, not before.
func TestDeletePod(t *testing.T) {
	s := newScene(t)
	s.application(2)
	s.untilApp("two pods run", 2*time.Minute, running(2)) // before there is something to restore
	s.flow(400).burst(20000)
	s.caughtUp(time.Minute)
	s.traffic.longest()

	victim := s.pods()[name+"-1"]
	for _, hard := range []bool{false, true} {
		grace := int64(30)
		if hard {
			grace = 0 // by force: the next begins while this one still runs, and has to wait until it gives the volume free
		}
		if err := world.client.Delete(t.Context(), victim, client.GracePeriodSeconds(grace)); err != nil {
			t.Fatal(err)
		}
		s.until("another pod is ready", time.Minute, func() string {
			now := s.pods()[victim.Name]
			if now == nil || now.UID == victim.UID {
				return "the pod is not replaced"
			}
			if !ready(now) {
				return "the new pod is not ready"
			}
			return ""
		})
		has := make(map[string]bool)
		for _, got := range s.takings() {
			has[got.task] = has[got.task] || got.pod == victim.Name
		}
		if n := len(slices.DeleteFunc(slices.Collect(maps.Values(has)), func(is bool) bool { return !is })); n != tasks/2 {
			t.Errorf("the pod says it is ready, and has restored %d of its %d tasks", n, tasks/2)
		}
		victim = s.pods()[victim.Name]
		s.noFullRestore("it has a volume")
		s.untilApp("two pods run again", time.Minute, running(2))
		stalled, partition := s.traffic.longest()
		t.Logf("deleted, hard: %v; longest stall %v, in partition %d; restored %v", hard, stalled.Round(time.Millisecond), partition, s.restores(victim.Name))
	}
	s.settle()
}
