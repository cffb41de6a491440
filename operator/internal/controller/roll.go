package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/decide"
)

// roll replaces the next pod that is not of the revision, if its time has come.
func (p *pass) roll(ctx context.Context, target string, replicas int32) error {
	u, r := p.app.Spec.Update, &p.status.Revisions
	r.Current = target
	if replicas == 0 || p.set == nil || p.set.Spec.Replicas == nil || replicas != *p.set.Spec.Replicas || target == r.Failed {
		return nil
	}
	p.updates = p.updates || p.replacing(target)
	step := decide.Roll{
		Pods: p.view, Replicas: int(replicas), Target: target, Failed: r.Failed,
		Keeps:    p.app.Spec.State.Storage.Type == v1alpha1.PersistentVolume && p.app.Spec.Streams.Membership == "Static",
		Standbys: int(p.app.Spec.Streams.StandbyReplicas), CaughtUp: p.app.Spec.Streams.AcceptableRecoveryLag,
		QuietSince: p.memory.quietSince, QuietFor: u.GroupStableFor.Duration, Deadline: u.PodDeadline.Duration, Now: p.now,
	}.Next()
	switch {
	case step.Failed != "":
		p.failed(target, step.Failed)
	case step.Stable:
		p.stable(target)
	case step.Wait != "":
		if p.wait == "" {
			p.wait = step.Wait
		}
	case step.Take != "":
		return p.take(ctx, step)
	}
	return nil
}

// take replaces a pod: its program is told whether it comes back to its place, and then it is evicted, if the budget allows that.
func (p *pass) take(ctx context.Context, step decide.Step) error {
	pod := p.pods[step.Take]
	path := "/departure/leave"
	if step.Stay {
		path = "/departure/stay"
	}
	p.wait = step.Take + " is replaced"
	told := p.ask(ctx, step.Take, path)
	eviction := &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}, DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	}
	switch err := p.Client.SubResource("eviction").Create(ctx, pod, eviction, &client.SubResourceCreateOptions{}); {
	case apierrors.IsTooManyRequests(err):
		p.wait = fmt.Sprintf("the budget for disruptions does not let %s be taken yet: %v", step.Take, err)
		return nil
	case err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err):
		return fmt.Errorf("taking pod %s: %w", step.Take, err)
	}
	if told != nil {
		p.event(corev1.EventTypeNormal, "RollingPod", "Update", "%s is replaced by revision %s, though its program does not answer", step.Take, p.status.Revisions.Current)
		return nil
	}
	p.event(corev1.EventTypeNormal, "RollingPod", "Update", "%s is replaced by revision %s", step.Take, p.status.Revisions.Current)
	return nil
}

// failed gives a revision up. Without one that worked before there is nothing to go back to, and it may yet work.
func (p *pass) failed(target, why string) {
	r := &p.status.Revisions
	p.problem = why
	if r.LastStable == "" || r.LastStable == target {
		return
	}
	r.Failed, r.FailedWhy = target, shorten(why)
	if p.app.Spec.Update.OnFailure == "Rollback" {
		p.event(corev1.EventTypeWarning, "RolledBack", "Update", "revision %s has failed, and is rolled back to %s: %s", target, r.LastStable, why)
		return
	}
	p.event(corev1.EventTypeWarning, "UpdatePaused", "Update", "revision %s has failed, and no more pods are replaced: %s", target, why)
}

// stable notes that all pods have worked with a revision for a while.
func (p *pass) stable(target string) {
	r := &p.status.Revisions
	if r.LastStable == target {
		if r.Wanted == target {
			r.Failed, r.FailedWhy = "", ""
		}
		return
	}
	r.LastStable, r.Failed, r.FailedWhy = target, "", ""
	p.event(corev1.EventTypeNormal, "UpdateStable", "Update", "revision %s is stable", target)
}
