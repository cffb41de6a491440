package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/operator/internal/desired"
)

// replicas decides how many pods there are now, on the way to as many as there shall be. More come at once; fewer one by one, each
// when what it did is done elsewhere. Neither while pods are replaced.
func (p *pass) replicas(ctx context.Context, template corev1.PodTemplateSpec) (int32, error) {
	want := p.wanted()
	p.status.DesiredReplicas = want
	if p.set == nil || p.set.Spec.Replicas == nil {
		p.scales = want > 0
		return want, nil
	}
	have := *p.set.Spec.Replicas
	switch {
	case p.scaleTo != nil:
		return *p.scaleTo, nil
	case want == have:
		p.scales = p.scales || len(p.view) > int(have)
		return have, nil
	case want == 0 || have == 0:
		p.scales = true
		return want, nil
	case p.replacing(template.Labels[desired.RevisionLabel]):
		p.wait = fmt.Sprintf("%d pods are wanted instead of %d; that waits until no pod is replaced", want, have)
		return have, nil
	case want > have:
		p.scales = true
		p.event(corev1.EventTypeNormal, "Scaled", "Scale", "from %d to %d pods", have, want)
		return want, nil
	}
	p.scales = true
	return p.shrink(ctx, have, want)
}

// scale decides on a number of pods whatever else is wanted.
func (p *pass) scale(to int32) { p.scaleTo = &to }

// wanted is how many pods there shall be.
func (p *pass) wanted() int32 {
	n := int32(1)
	if p.app.Spec.Replicas != nil {
		n = *p.app.Spec.Replicas
	}
	n = p.autoscale(n)
	if p.stopped() {
		return 0
	}
	return n
}

// stopped says whether there shall be no pods.
func (p *pass) stopped() bool {
	return p.app.Spec.DesiredState == v1alpha1.DesiredStopped || p.app.Annotations[desired.ResetAnnotation] != ""
}

// replacing says whether pods are on their way to a revision.
func (p *pass) replacing(revision string) bool {
	return revision != p.status.Revisions.Failed && slices.ContainsFunc(p.view, func(v decide.Pod) bool { return v.Revision != revision })
}

// shrink takes the last pod away, when it has given its tasks to others.
func (p *pass) shrink(ctx context.Context, have, want int32) (int32, error) {
	step := decide.Shrink{Pods: p.view, From: int(have), Capacity: p.capacity()}.Next()
	victim := fmt.Sprintf("%s-%d", p.app.Name, have-1)
	switch {
	case step.Blocked != "":
		p.problem = fmt.Sprintf("%d pods instead of %d: %s", want, have, step.Blocked)
	case step.Wait != "":
		p.wait = step.Wait
	case step.Drain != "":
		p.event(corev1.EventTypeNormal, "Draining", "Scale", "%s gives its tasks away", step.Drain)
		p.wait = step.Drain + " is asked to give its tasks away"
		return have, p.ask(ctx, step.Drain, "/drain")
	case step.Release:
		if v := p.pods[victim]; v != nil && v.DeletionTimestamp.IsZero() {
			if err := p.ask(ctx, victim, "/departure/leave"); err != nil {
				p.Events.Eventf(p.app, v, corev1.EventTypeWarning, "LeavesLate", "Scale", "%s cannot be told to leave the group (%v); its place is given up when it is gone", victim, err)
			}
		}
		if !slices.Contains(p.status.Departing, victim) {
			p.status.Departing = append(p.status.Departing, victim)
			if err := p.write(ctx); err != nil { // before it is done, so that it is not forgotten
				return have, err
			}
		}
		p.event(corev1.EventTypeNormal, "Scaled", "Scale", "from %d to %d pods: %s has no tasks any more", have, have-1, victim)
		return have - 1, nil
	}
	return have, nil
}

// capacity is how many bytes a pod's volume holds; 0 where that is not known.
func (p *pass) capacity() int64 {
	q, err := resource.ParseQuantity(p.app.Spec.State.Storage.Size)
	if err != nil {
		return 0
	}
	return q.Value()
}

// ask has a pod's program do something.
func (p *pass) ask(ctx context.Context, pod, path string) error {
	o := p.pods[pod]
	if o == nil {
		return fmt.Errorf("there is no pod %s", pod)
	}
	return p.Programs.Ask(ctx, o, p.memory.token, path)
}

// steer has programs do what they shall be doing: pause or go on, and keep their tasks if they shall stay. One that does not answer is
// asked again.
func (p *pass) steer(ctx context.Context) {
	for _, v := range p.view {
		if v.Report == nil || v.Leaving {
			continue
		}
		var path string
		switch paused := p.app.Spec.DesiredState == v1alpha1.DesiredPaused; {
		case paused && !v.Report.Paused:
			path = "/pause"
		case !paused && v.Report.Paused:
			path = "/resume"
		case v.Report.Draining && v.Ordinal < int(p.status.DesiredReplicas):
			path = "/undrain"
		default:
			continue
		}
		if err := p.ask(ctx, v.Name, path); err != nil {
			p.wait = fmt.Sprintf("%s is asked to %s: %v", v.Name, strings.TrimPrefix(path, "/"), err)
		}
	}
}

// farewell gives up the places in the group of pods that were taken away for good, in case they could not do it themselves.
func (p *pass) farewell(ctx context.Context, replicas int32) error {
	p.status.Departing = slices.DeleteFunc(p.status.Departing, func(name string) bool {
		if ordinal(name) < int(replicas) || p.app.Spec.Streams.Membership != "Static" {
			return true
		}
		if p.pods[name] != nil {
			return false
		}
		for _, v := range p.view {
			if v.Works() && p.ask(ctx, v.Name, "/members/"+name+"/remove") == nil {
				return true
			}
		}
		return false
	})
	return nil
}

// autoscale returns how many pods the autoscaler wants, where it decides; else what the spec says.
func (p *pass) autoscale(said int32) int32 {
	s := p.app.Spec.Autoscaling
	if s.Mode != v1alpha1.ScalingAuto && s.Mode != v1alpha1.ScalingRecommend {
		p.status.Autoscaler = nil
		p.condition(v1alpha1.ConditionScalingActive, false, "Mode"+s.Mode, "the number of pods is that of spec.replicas")
		return said
	}
	a := p.status.Autoscaler
	if a == nil {
		a = &v1alpha1.AutoscalerStatus{}
		p.status.Autoscaler = a
	}
	now := said
	if s.Mode == v1alpha1.ScalingAuto {
		if now = a.Wanted; now == 0 {
			now = max(said, s.MinReplicas)
		}
		if now = max(now, s.MinReplicas); s.MaxReplicas != nil {
			now = min(now, *s.MaxReplicas)
		}
	}
	v := p.scaling(now).Next()
	a.Recommended, a.Reason, a.Utilization = int32(v.Recommended), v.Reason, ""
	if v.Utilization >= 0 {
		a.Utilization = fmt.Sprintf("%.2f", v.Utilization)
	}
	switch {
	case v.Blocked:
		p.condition(v1alpha1.ConditionScalingActive, true, "ScaleBlocked", "%s", v.Reason)
	default:
		p.condition(v1alpha1.ConditionScalingActive, true, "Measuring", "it watches utilization and lag")
	}
	a.Wanted = 0
	if s.Mode != v1alpha1.ScalingAuto {
		return said
	}
	if a.Wanted = now; int32(v.To) != now {
		a.Wanted = int32(v.To)
		at := metav1.NewTime(p.now)
		a.LastScaled = &at
		a.History = append([]v1alpha1.ScalingDecision{{Time: at, From: now, To: a.Wanted, Reason: shorten(v.Reason)}}, a.History...)
		a.History = a.History[:min(len(a.History), 5)]
		p.event(corev1.EventTypeNormal, "Autoscaled", "Scale", "from %d to %d pods: %s", now, a.Wanted, v.Reason)
	}
	return a.Wanted
}

// scaling is what the autoscaler knows.
func (p *pass) scaling(replicas int32) decide.Scaling {
	s := p.app.Spec.Autoscaling
	d := decide.Scaling{
		Min: int(s.MinReplicas), Target: float64(s.TargetUtilization) / 100, MaxLatency: s.MaxLatency.Duration, CatchUp: s.CatchUp.Duration, Window: s.Window.Duration,
		Up:   decide.StepRule{Cooldown: s.ScaleUp.Cooldown.Duration, MaxStep: int(s.ScaleUp.MaxStep)},
		Down: decide.StepRule{Cooldown: s.ScaleDown.Cooldown.Duration, MaxStep: int(s.ScaleDown.MaxStep)},

		Replicas: int(replicas), Loads: p.memory.loads, Now: p.now,
	}
	if s.MaxReplicas != nil {
		d.Max = int(*s.MaxReplicas)
	}
	if t := p.status.Topology; t != nil {
		d.Tasks = int(t.Tasks)
	}
	if a := p.status.Autoscaler; a != nil && a.LastScaled != nil {
		d.LastScaled = a.LastScaled.Time
	}
	switch {
	case p.app.Spec.DesiredState != v1alpha1.DesiredRunning:
		d.Frozen = "the application is " + strings.ToLower(string(p.app.Spec.DesiredState))
	case p.set == nil || p.replacing(p.set.Spec.Template.Labels[desired.RevisionLabel]) || p.status.Revisions.Wanted != p.set.Spec.Template.Labels[desired.RevisionLabel]:
		d.Frozen = "pods are being replaced"
	}
	return d
}
