package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/desired"
)

// template decides what pods are made of now: what the spec says, once that is known to be able to go on; what the pods are made of,
// until then; and the last revision that worked, if the spec's has failed.
func (p *pass) template(ctx context.Context, valid bool) (corev1.PodTemplateSpec, error) {
	wanted, err := desired.Template(p.app)
	if err != nil && p.set == nil {
		return wanted, err
	}
	revision := wanted.Labels[desired.RevisionLabel]
	p.status.Revisions.Wanted = revision
	if p.set == nil {
		return wanted, nil
	}
	current := p.set.Spec.Template
	switch {
	case revision == p.status.Revisions.Failed:
		return p.fallBack(ctx, current)
	case !valid, current.Labels[desired.RevisionLabel] == revision:
		return p.same(wanted, current, revision), nil
	}
	ok, err := p.check(ctx, wanted, current)
	if err != nil || !ok {
		return current, err
	}
	p.event(corev1.EventTypeNormal, "SpecChanged", "Update", "pods are replaced by revision %s", revision)
	return wanted, nil
}

// same is what the spec says if the pods are made of that already, without what the API server has added to it.
func (p *pass) same(wanted, current corev1.PodTemplateSpec, revision string) corev1.PodTemplateSpec {
	if current.Labels[desired.RevisionLabel] != revision {
		return current
	}
	if meta.IsStatusConditionFalse(p.status.Conditions, v1alpha1.ConditionTopologyCompatible) { // another, that was wanted before
		p.condition(v1alpha1.ConditionTopologyCompatible, true, "SameProgram", "the program is the same")
	}
	return wanted
}

// fallBack returns the last stable revision, if a failed one shall be rolled back.
func (p *pass) fallBack(ctx context.Context, current corev1.PodTemplateSpec) (corev1.PodTemplateSpec, error) {
	stable := p.status.Revisions.LastStable
	if p.app.Spec.Update.OnFailure != "Rollback" || current.Labels[desired.RevisionLabel] == stable {
		return current, nil
	}
	var list appsv1.ControllerRevisionList
	if err := p.Client.List(ctx, &list, client.InNamespace(p.app.Namespace), client.MatchingLabels{desired.ApplicationLabel: p.app.Name, desired.RevisionLabel: stable}); err != nil {
		return current, err
	}
	for _, r := range list.Items {
		var data struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := json.Unmarshal(r.Data.Raw, &data); err == nil && data.Spec.Template.Labels[desired.RevisionLabel] == stable {
			return data.Spec.Template, nil
		}
	}
	p.problem = fmt.Sprintf("revision %s has failed, and the last stable one, %s, is not kept any more: change the spec to one that works", p.status.Revisions.Failed, stable)
	return current, nil
}

// check says whether the program of a template can go on where the one that runs is. Only its program can say so: it is asked in a
// job, before a pod is touched.
func (p *pass) check(ctx context.Context, wanted, current corev1.PodTemplateSpec) (bool, error) {
	if sameProgram(wanted, current) {
		p.condition(v1alpha1.ConditionTopologyCompatible, true, "SameProgram", "the program is the same")
		return true, nil
	}
	var outline corev1.ConfigMap
	err := p.Client.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: desired.TopologyConfigMap(p.app.Name)}, &outline)
	if apierrors.IsNotFound(err) {
		p.condition(v1alpha1.ConditionTopologyCompatible, true, "NothingRan", "no program has run yet that this one would have to go on after")
		return true, nil
	}
	if err != nil {
		return false, err
	}
	job := desired.Check(p.app, wanted)
	var there batchv1.Job
	err = p.Client.Get(ctx, client.ObjectKeyFromObject(job), &there)
	if apierrors.IsNotFound(err) {
		p.wait = "the new program is asked whether it can go on where this one is"
		p.event(corev1.EventTypeNormal, "Checking", "Check", "job %s asks the new program whether it can go on", job.Name)
		if err := p.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
			return false, err
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return p.checked(ctx, &there, wanted.Labels[desired.RevisionLabel])
}

// checked reads what the job says.
func (p *pass) checked(ctx context.Context, job *batchv1.Job, revision string) (bool, error) {
	if job.Status.Succeeded > 0 {
		p.condition(v1alpha1.ConditionTopologyCompatible, true, "Compatible", "revision %s can go on with the tasks and their state", revision)
		return true, nil
	}
	pod, err := podOf(ctx, p.Client, job)
	if err != nil {
		return false, err
	}
	if pod == nil && !over(job) {
		p.wait = "the job " + job.Name + " is to begin"
		return false, nil
	}
	answer, err := breaks(pod)
	switch {
	case len(answer) > 0:
		return p.incompatible(ctx, revision, answer)
	case over(job):
		p.refuse(revision, "CheckFailed", fmt.Sprintf("job %s: %v; when it is mended, delete the job, and the check is made again", job.Name, err))
	case pod != nil:
		if t := trouble(pod, p.now); t.What != "" {
			p.refuse(revision, "CheckFailed", fmt.Sprintf("pod %s %s", pod.Name, t.What))
			p.wait = p.problem
			return false, nil
		}
		p.wait = "the job " + job.Name + " says whether the new program can go on"
	}
	return false, nil
}

func (p *pass) refuse(revision, reason, why string) {
	p.problem = fmt.Sprintf("revision %s is not started: %s", revision, why)
	p.condition(v1alpha1.ConditionTopologyCompatible, false, reason, "%s", p.problem)
}

// incompatible either refuses a revision, or, where that is wanted, has all pods of the present one stopped before it begins.
func (p *pass) incompatible(ctx context.Context, revision string, breaks []string) (bool, error) {
	why := strings.Join(breaks, "; ")
	if p.app.Spec.Update.TopologyChange != "Recreate" {
		p.refuse(revision, "Incompatible", why+". Name what was named by its place, take another applicationID, or reset the application; or set update.topologyChange to Recreate")
		return false, nil
	}
	p.condition(v1alpha1.ConditionTopologyCompatible, true, "Recreate", "revision %s cannot go on (%s): all pods are stopped before it begins", revision, why)
	if len(p.pods) > 0 {
		p.updates, p.wait = true, fmt.Sprintf("all pods stop before revision %s begins", revision)
		p.scale(0)
		return false, nil
	}
	return true, nil
}

// podOf returns the job's last pod; nil if there is none.
func podOf(ctx context.Context, c client.Client, job *batchv1.Job) (last *corev1.Pod, err error) {
	var list corev1.PodList
	if err := c.List(ctx, &list, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if pod := &list.Items[i]; last == nil || last.CreationTimestamp.Before(&pod.CreationTimestamp) {
			last = pod
		}
	}
	return last, nil
}

func over(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobFailed || c.Type == batchv1.JobComplete) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// incompatibleStatus is that with which a program ends that cannot go on. (package pod)
const incompatibleStatus = 3

// breaks reads what the program has said why it cannot go on; an error says how it ended else.
func breaks(pod *corev1.Pod) ([]string, error) {
	ended := terminated(pod)
	if ended == nil {
		return nil, errors.New("its program has not ended in time")
	}
	if ended.ExitCode != incompatibleStatus {
		return nil, fmt.Errorf("its program ended with status %d: %s", ended.ExitCode, lastLine(ended.Message))
	}
	var answer struct{ Breaks []string }
	if err := json.Unmarshal([]byte(ended.Message), &answer); err != nil || len(answer.Breaks) == 0 {
		return []string{"it says: " + lastLine(ended.Message)}, nil
	}
	return answer.Breaks, nil
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if pod == nil {
		return nil
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == desired.Container {
			return s.State.Terminated
		}
	}
	return nil
}

// sameProgram says whether two templates run the same, as far as the topology may depend on it.
func sameProgram(x, y corev1.PodTemplateSpec) bool {
	var a, b corev1.Container
	for _, c := range x.Spec.Containers {
		if c.Name == desired.Container {
			a = c
		}
	}
	for _, c := range y.Spec.Containers {
		if c.Name == desired.Container {
			b = c
		}
	}
	return a.Image == b.Image && reflect.DeepEqual(a.Command, b.Command) && reflect.DeepEqual(a.Args, b.Args) && reflect.DeepEqual(a.Env, b.Env) && reflect.DeepEqual(a.EnvFrom, b.EnvFrom)
}
