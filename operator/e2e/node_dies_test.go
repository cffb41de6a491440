//go:build k8s

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestNodeDies takes a node's power. With standbys its tasks go on elsewhere when the session is over, and the pod comes back to its
// volume with the node. Without either all is restored from the beginning.
func TestNodeDies(t *testing.T) {
	const session = 10 * time.Second
	power.needed(t)
	t.Run("Standbys", func(t *testing.T) {
		s := newScene(t)
		s.application(2, func(spec *v1alpha1.StreamsApplicationSpec) {
			spec.Streams.StandbyReplicas, spec.Streams.SessionTimeout = 1, metav1.Duration{Duration: session}
		})
		s.untilApp("two pods run", 2*time.Minute, running(2)) // before there is something to restore
		s.flow(300).burst(20000)
		lost, kept := s.onTwoNodes()
		s.untilApp("the standbys are caught up", time.Minute, func(app *v1alpha1.StreamsApplication) string {
			for _, i := range app.Status.Instances {
				if i.Active != tasks/2 || i.Standby != tasks/2 {
					return fmt.Sprintf("%s has %d tasks and %d standbys", i.Pod, i.Active, i.Standby)
				}
			}
			if app.Status.State.StandbyMaxLag > 500 {
				return fmt.Sprintf("a standby lacks %d offsets", app.Status.State.StandbyMaxLag)
			}
			return stable(app)
		})
		s.dies(lost, session+5*time.Second)
		for _, r := range s.restores(kept) {
			if r.full {
				t.Errorf("task %s was restored from the beginning on %s, which had a standby", r.task, kept)
			}
		}
		back := s.returns()
		s.until("the pod runs again, and is ready", 2*time.Minute, func() string {
			p := s.pods()[lost]
			for _, c := range p.Status.ContainerStatuses {
				if r := c.State.Running; r != nil && !r.StartedAt.Time.Before(back.Truncate(time.Second)) && ready(p) {
					return ""
				}
			}
			return "it does not run yet"
		})
		s.untilApp("both pods have their tasks", time.Minute, running(2))
		s.noFullRestore("there are volumes")
		t.Logf("restored on %s: %v", lost, s.restores(lost))
		s.settle()
	})
	t.Run("NoVolume", func(t *testing.T) {
		s := newScene(t)
		s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) {
			spec.State.Storage = v1alpha1.StorageSpec{Type: v1alpha1.Ephemeral}
			spec.PodTemplate = &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
				{"weight": 100, "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [%q]}]}}]}}}}`, world.doomed)}
		})
		s.flow(300).burst(20000)
		s.untilApp("one pod runs", 2*time.Minute, running(1))
		s.caughtUp(time.Minute)
		pod := s.pods()[name+"-0"]
		if pod.Spec.NodeName != world.doomed {
			t.Fatalf("the pod is on %s", pod.Spec.NodeName)
		}
		s.traffic.longest()
		s.kill()
		// Kubernetes waits for minutes whether the node comes back. One who knows that it does not cordons it, and deletes its pods.
		s.cordon(true)
		t.Cleanup(func() { s.cordon(false) })
		if err := world.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
		s.until("another pod is ready, on another node", time.Minute, func() string {
			if now := s.pods()[pod.Name]; now == nil || now.UID == pod.UID || !ready(now) {
				return "there is none"
			}
			return ""
		})
		s.caughtUp(time.Minute)
		stalled, _ := s.traffic.longest()
		restored := s.restores(pod.Name)
		t.Logf("longest stall %v; restored %v", stalled.Round(time.Millisecond), restored)
		if len(restored) != tasks || slices.ContainsFunc(restored, func(r restore) bool { return !r.full }) {
			t.Errorf("not all of %d tasks were restored from the beginning: %v", tasks, restored)
		}
		s.returns()
		s.settle()
	})
}

// onTwoNodes waits until two pods run on two nodes, and returns the one whose node may be killed, and the other.
func (s *scene) onTwoNodes() (lost, kept string) {
	s.Helper()
	s.untilApp("two pods run", 2*time.Minute, running(2))
	s.caughtUp(time.Minute)
	for _, p := range s.pods() {
		if p.Spec.NodeName == world.doomed {
			lost = p.Name
		} else {
			kept = p.Name
		}
	}
	if lost == "" || kept == "" {
		s.Fatal("the pods are on one node")
	}
	return lost, kept
}

// dies kills the node of a pod, and waits until another one does its work. No partition may stand still for longer than a bound.
func (s *scene) dies(pod string, bound time.Duration) {
	s.Helper()
	s.traffic.longest()
	s.kill()
	const still = 2 * time.Second
	s.until("some partitions stand still", 30*time.Second, func() string {
		if since, _ := s.traffic.quietest(); since < still {
			return "something comes of all of them"
		}
		return ""
	})
	s.until("all partitions go on, without "+pod, time.Minute, func() string {
		if since, partition := s.traffic.quietest(); since > still {
			return fmt.Sprintf("nothing has come of partition %d for %v", partition, since.Round(time.Second))
		}
		return ""
	})
	s.caughtUp(time.Minute)
	stalled, partition := s.traffic.longest()
	s.Logf("longest stall %v, in partition %d", stalled.Round(time.Millisecond), partition)
	if stalled > bound {
		s.Errorf("partition %d stood still for %v; the bound is %v", partition, stalled, bound)
	}
}

// kill takes the node's power. The next test has it back, whatever becomes of this one.
func (s *scene) kill() {
	s.Helper()
	s.do(power, "kill", world.doomed)
	s.Cleanup(func() {
		if !s.Failed() {
			return
		}
		if out, err := combined(power.command(context.Background(), "start", world.doomed)); err != nil {
			s.Logf("the node does not come back: %v: %s", err, out)
		}
	})
}

// returns gives the node its power again, and waits until Kubernetes hears of it. It returns when that was.
func (s *scene) returns() time.Time {
	s.Helper()
	began := time.Now()
	s.do(power, "start", world.doomed)
	s.until("the node is back", 2*time.Minute, func() string {
		var lease coordinationv1.Lease
		if err := world.client.Get(s.Context(), client.ObjectKey{Namespace: corev1.NamespaceNodeLease, Name: world.doomed}, &lease); err != nil {
			return err.Error()
		}
		if lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Before(&metav1.MicroTime{Time: began}) {
			return fmt.Sprintf("it has not been heard of since %v", lease.Spec.RenewTime)
		}
		return ""
	})
	return began
}

// cordon says whether pods may not come to the node.
func (s *scene) cordon(is bool) {
	s.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: world.doomed}}
	patch := fmt.Appendf(nil, `{"spec": {"unschedulable": %t}}`, is)
	if err := world.client.Patch(context.Background(), node, client.RawPatch(types.MergePatchType, patch)); err != nil {
		s.Error(err)
	}
}
