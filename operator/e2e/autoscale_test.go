//go:build k8s

package e2e

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestAutoscale has records come faster than one pod can process them, and then slower again: the number of pods follows. When all of
// them are of one partition, more pods would not help, and none come.
func TestAutoscale(t *testing.T) {
	const (
		work   = 5 * time.Millisecond // for a record
		target = 0.65                 // of the workers' time
		busy   = 300                  // records a second: 1.5 workers
		idle   = 40
	)
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	s := newScene(t)
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) {
		spec.Env = append(spec.Env, corev1.EnvVar{Name: "E2E_WORK", Value: work.String()})
		spec.Autoscaling = v1alpha1.AutoscalingSpec{
			Mode: v1alpha1.ScalingAuto, MinReplicas: 1, MaxReplicas: new(int32(4)), TargetUtilization: 100 * target, MaxLatency: seconds(4), CatchUp: seconds(60), Window: seconds(12),
			ScaleUp: v1alpha1.ScalingRule{Cooldown: seconds(10), MaxStep: 3}, ScaleDown: v1alpha1.ScalingRule{Cooldown: seconds(10), MaxStep: 3},
		}
	})
	s.flow(idle)
	s.untilApp("one pod runs", 2*time.Minute, running(1))

	least := int32(math.Ceil(busy * work.Seconds() / target))
	s.traffic.at(busy, 0)
	s.untilApp(fmt.Sprintf("there are at least %d pods", least), 2*time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if app.Status.ReadyReplicas < least {
			return fmt.Sprintf("%d pods are ready: %s", app.Status.ReadyReplicas, app.Status.Autoscaler.Reason)
		}
		return running(app.Status.DesiredReplicas)(app)
	})
	t.Log(s.app().Status.Autoscaler.History[0].Reason)
	s.caughtUp(2 * time.Minute)

	s.traffic.at(idle, 0)
	s.untilApp("one pod is left", 3*time.Minute, running(1))
	t.Log(s.app().Status.Autoscaler.History[0].Reason)
	steps := len(s.app().Status.Autoscaler.History)

	s.traffic.at(busy, 1)
	s.untilApp("it says that one partition has it all", time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if c := condition(app, v1alpha1.ConditionScalingActive); c.Reason != "ScaleBlocked" || !strings.HasPrefix(c.Message, "skew: ") || !strings.Contains(c.Message, s.input+"-0,") {
			return fmt.Sprintf("ScalingActive is %s: %s; %s", c.Reason, c.Message, app.Status.Autoscaler.Reason)
		}
		return ""
	})
	t.Log(condition(s.app(), v1alpha1.ConditionScalingActive).Message)
	if app := s.app(); app.Status.Replicas != 1 || len(app.Status.Autoscaler.History) != steps {
		t.Errorf("there are %d pods, after %v", app.Status.Replicas, app.Status.Autoscaler.History)
	}
	s.settle()
}
