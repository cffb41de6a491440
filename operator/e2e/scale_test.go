//go:build k8s

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestScale goes from two pods to four and back: a task moves when its state is there, so that nothing waits, neither for a store to be
// restored nor, as the session is longer than the test, for a member to be missed.
func TestScale(t *testing.T) {
	const session = 5 * time.Minute
	s := newScene(t)
	s.application(2, func(spec *v1alpha1.StreamsApplicationSpec) {
		spec.Streams.SessionTimeout = metav1.Duration{Duration: session}
	})
	s.untilApp("two pods run", 2*time.Minute, running(2)) // before there is something to restore
	s.flow(300).burst(30000)
	s.untilApp("they are stable", time.Minute, stable)
	s.caughtUp(time.Minute)
	for _, replicas := range []int32{4, 2} {
		s.traffic.longest()
		s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Replicas = &replicas })
		s.untilApp(fmt.Sprintf("%d pods run, with the same number of tasks each", replicas), 4*time.Minute, func(app *v1alpha1.StreamsApplication) string {
			for _, i := range app.Status.Instances {
				if i.Active != tasks/replicas {
					return fmt.Sprintf("%s has %d tasks, and is %s: %s", i.Pod, i.Active, i.State, app.Status.Message)
				}
			}
			return running(replicas)(app)
		})
		stalled, partition := s.traffic.longest()
		t.Logf("longest stall %v, in partition %d", stalled.Round(time.Millisecond), partition)
		if stalled > 5*time.Second {
			t.Errorf("partition %d stood still for %v", partition, stalled)
		}
		s.noFullRestore("a task moves when its state is there")
		s.caughtUp(time.Minute)
		if members := s.members(); len(members) != int(replicas) {
			t.Errorf("the group has the members %v, of %d pods", members, replicas)
		}
	}
	if departing := s.app().Status.Departing; len(departing) > 0 {
		t.Errorf("%v still have to leave the group", departing)
	}
	s.settle()
}

// members are those of the application's group, as Kafka says.
func (s *scene) members() (names []string) {
	s.Helper()
	groups, err := world.kafka.Admin().DescribeGroups(s.Context(), s.namespace)
	if err != nil {
		s.Fatal(err)
	}
	for _, m := range groups[s.namespace].Members {
		if m.InstanceID == nil {
			names = append(names, m.MemberID)
			continue
		}
		names = append(names, *m.InstanceID)
	}
	slices.Sort(names)
	return names
}
