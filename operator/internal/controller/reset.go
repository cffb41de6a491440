package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/desired"
)

// Resets reconciles StreamsResets. The work that needs Kafka is done by the application's own program, in a job.
type Resets struct {
	Client client.Client
	Events events.EventRecorder
	Now    func() time.Time
}

// SetUp registers it with a manager.
func (r *Resets) SetUp(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&v1alpha1.StreamsReset{}).Owns(&batchv1.Job{}).Complete(r)
}

// Reconcile does the next step of a reset: plan, wait to be told to execute, stop the application, have the job run, delete volumes,
// let the application go on.
func (r *Resets) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var reset v1alpha1.StreamsReset
	if err := r.Client.Get(ctx, req.NamespacedName, &reset); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := resetting{Resets: r, reset: &reset, status: reset.Status.DeepCopy()}
	again, err := s.step(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	if err != nil {
		s.status.Message = err.Error()
	}
	s.status.ObservedGeneration = reset.Generation
	if !equality.Semantic.DeepEqual(&reset.Status, s.status) {
		reset.Status = *s.status
		if failed := r.Client.Status().Update(ctx, &reset); err == nil {
			err = client.IgnoreNotFound(failed)
		}
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// resetting is one look at a reset.
type resetting struct {
	*Resets
	reset  *v1alpha1.StreamsReset
	status *v1alpha1.StreamsResetStatus
	app    *v1alpha1.StreamsApplication
}

// step returns when to look again; 0: when something has changed.
func (s *resetting) step(ctx context.Context) (time.Duration, error) {
	if s.status.Phase == v1alpha1.ResetDone || s.status.Phase == v1alpha1.ResetFailed {
		return 0, s.release(ctx) // after it was written down, so that it is not done again
	}
	var app v1alpha1.StreamsApplication
	err := s.Client.Get(ctx, types.NamespacedName{Namespace: s.reset.Namespace, Name: s.reset.Spec.Application}, &app)
	if apierrors.IsNotFound(err) {
		s.status.Message = fmt.Sprintf("there is no StreamsApplication %q in namespace %s", s.reset.Spec.Application, s.reset.Namespace)
		return later, nil
	}
	if err != nil {
		return 0, err
	}
	s.app = &app
	if !s.reset.Spec.Execute {
		return s.plan(ctx)
	}
	return s.execute(ctx)
}

// plan has the program say what it would do, while it runs elsewhere.
func (s *resetting) plan(ctx context.Context) (time.Duration, error) {
	ended, said, err := s.job(ctx, "plan")
	switch {
	case err != nil:
		return 0, err
	case !ended:
		s.status.Phase, s.status.Message = v1alpha1.ResetPlanning, said
		return soon, nil
	}
	s.status.Phase, s.status.Plan, s.status.Message = v1alpha1.ResetPlanned, said, "nothing is done yet; set execute to true to do it"
	return 0, nil
}

func (s *resetting) execute(ctx context.Context) (time.Duration, error) {
	if s.status.Started == nil {
		at := metav1.NewTime(s.Now())
		s.status.Started = &at
	}
	if other := s.app.Annotations[desired.ResetAnnotation]; other != "" && other != s.reset.Name {
		s.status.Message = fmt.Sprintf("the application is being reset by %s; this one waits for it", other)
		return later, nil
	}
	if err := s.hold(ctx); err != nil {
		return 0, err
	}
	if s.status.Phase != v1alpha1.ResetRunning {
		n, err := s.podsLeft(ctx)
		if err != nil || n > 0 {
			s.status.Phase, s.status.Message = v1alpha1.ResetStopping, fmt.Sprintf("%d pods are stopped first", n)
			return soon, err
		}
	}
	s.status.Phase = v1alpha1.ResetRunning
	ended, said, err := s.job(ctx, "run")
	if err != nil {
		s.status.Phase, s.status.Message = v1alpha1.ResetFailed, err.Error()
		s.Events.Eventf(s.reset, s.app, corev1.EventTypeWarning, "ResetFailed", "Reset", "%v", err)
		return soon, nil
	}
	if !ended {
		s.status.Message = said
		return soon, nil
	}
	s.status.Plan = said
	if s.reset.Spec.DeleteVolumes {
		left, err := s.deleteClaims(ctx)
		if err != nil || left > 0 {
			s.status.Message = fmt.Sprintf("%d volumes are deleted", left)
			return soon, err
		}
	}
	at := metav1.NewTime(s.Now())
	s.status.Phase, s.status.Completed, s.status.Message = v1alpha1.ResetDone, &at, "the application goes on from where it was set"
	s.Events.Eventf(s.reset, s.app, corev1.EventTypeNormal, "ResetDone", "Reset", "%s is reset", s.app.Name)
	return soon, nil
}

// hold has the application stopped, and keeps it so. It is in the application's annotation, so that there is one reset at a time.
func (s *resetting) hold(ctx context.Context) error {
	if s.app.Annotations[desired.ResetAnnotation] == s.reset.Name {
		return nil
	}
	s.Events.Eventf(s.reset, s.app, corev1.EventTypeNormal, "ResetStarted", "Reset", "%s is stopped to be reset", s.app.Name)
	return annotate(ctx, s.Client, s.app, s.reset.Name)
}

// release lets the application go on.
func (s *resetting) release(ctx context.Context) error {
	var app v1alpha1.StreamsApplication
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: s.reset.Namespace, Name: s.reset.Spec.Application}, &app); err != nil {
		return client.IgnoreNotFound(err)
	}
	if app.Annotations[desired.ResetAnnotation] != s.reset.Name {
		return nil
	}
	return annotate(ctx, s.Client, &app, "")
}

// unhold lets an application go on that is stopped for a reset which was deleted meanwhile, when its job is gone too: it may be
// deleting topics.
func (p *pass) unhold(ctx context.Context) error {
	name := p.app.Annotations[desired.ResetAnnotation]
	if name == "" {
		return nil
	}
	err := p.Client.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: name}, &v1alpha1.StreamsReset{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	job := batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: p.app.Namespace, Name: desired.ResetJob(name, "run")}}
	pod, err := podOf(ctx, p.Client, &job)
	if err != nil {
		return err
	}
	if err := p.Client.Get(ctx, client.ObjectKeyFromObject(&job), &job); pod != nil || !apierrors.IsNotFound(err) {
		p.wait = fmt.Sprintf("reset %s was deleted; its job %s has to be gone before the application goes on", name, job.Name)
		return client.IgnoreNotFound(err)
	}
	p.event(corev1.EventTypeWarning, "ResetGone", "Reset", "reset %s was deleted before it was done; the application goes on as it is", name)
	return annotate(ctx, p.Client, p.app, "")
}

func annotate(ctx context.Context, c client.Client, app *v1alpha1.StreamsApplication, name string) error {
	before := app.DeepCopy()
	if app.Annotations == nil {
		app.Annotations = make(map[string]string)
	}
	if app.Annotations[desired.ResetAnnotation] = name; name == "" {
		delete(app.Annotations, desired.ResetAnnotation)
	}
	return c.Patch(ctx, app, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

func (s *resetting) podsLeft(ctx context.Context) (int, error) {
	var list corev1.PodList
	err := s.Client.List(ctx, &list, client.InNamespace(s.app.Namespace), client.MatchingLabels(desired.Selector(s.app.Name)))
	return len(list.Items), err
}

func (s *resetting) deleteClaims(ctx context.Context) (left int, err error) {
	var list corev1.PersistentVolumeClaimList
	if err := s.Client.List(ctx, &list, client.InNamespace(s.app.Namespace), client.MatchingLabels{desired.ApplicationLabel: s.app.Name}); err != nil {
		return 0, err
	}
	for i := range list.Items {
		if c := &list.Items[i]; c.DeletionTimestamp.IsZero() {
			if err := s.Client.Delete(ctx, c); err != nil && !apierrors.IsNotFound(err) {
				return len(list.Items), err
			}
		}
	}
	return len(list.Items), nil
}

// job runs the program with a mode, once, and returns what it said when it has ended. An error says why it failed.
func (s *resetting) job(ctx context.Context, mode string) (ended bool, said string, err error) {
	template, err := desired.Template(s.app)
	if err != nil {
		return false, "", err
	}
	job := desired.Reset(s.app, template, s.reset, mode)
	var there batchv1.Job
	err = s.Client.Get(ctx, client.ObjectKeyFromObject(job), &there)
	if apierrors.IsNotFound(err) {
		if err := s.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
			return false, "", err
		}
		return false, "job " + job.Name + " begins", nil
	}
	if err != nil {
		return false, "", err
	}
	pod, err := podOf(ctx, s.Client, &there)
	if err != nil {
		return false, "", err
	}
	t := terminated(pod)
	switch {
	case there.Status.Succeeded > 0 && t != nil:
		return true, shorten(t.Message), nil
	case over(&there) && t != nil:
		return false, "", fmt.Errorf("job %s failed: %s", job.Name, shorten(t.Message))
	case over(&there):
		return false, "", errors.New("job " + job.Name + " did not end in time")
	case pod != nil && t == nil:
		if t := trouble(pod, s.Now()); t.What != "" {
			return false, fmt.Sprintf("pod %s %s", pod.Name, t.What), nil
		}
	}
	return false, "job " + job.Name + " is on its way", nil
}
