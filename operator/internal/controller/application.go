// Package controller brings applications to what their resources say: it observes, has package decide decide, and does the one thing
// that is next. All it has to know to go on is in the cluster, so that it may end at any point; what it only remembers makes it
// wait longer after it has begun again.
package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/operator/internal/desired"
	"github.com/millrace/millrace/streams"
)

// Programs are what runs in pods. (package pods, and programs without a network in tests)
type Programs interface {
	Report(ctx context.Context, pod *corev1.Pod, token string) (*streams.Report, error)
	Ask(ctx context.Context, pod *corev1.Pod, token, path string) error
}

// How often an application is looked at: while something is under way, and else.
const (
	soon  = 2 * time.Second
	later = 10 * time.Second
)

// Applications reconciles StreamsApplications.
type Applications struct {
	Client client.Client
	// Secrets reads without a cache, so that the operator need not watch secrets.
	Secrets  client.Reader
	Programs Programs
	Events   events.EventRecorder
	Now      func() time.Time

	memories sync.Map // types.NamespacedName to *memory
}

// memory is what is known only from having looked before.
type memory struct {
	signature  string    // of the pods
	quietSince time.Time // when it changed last
	loads      []decide.Load
	applied    map[string]applied
	token      string
}

// SetUp registers it with a manager.
func (a *Applications) SetUp(m ctrl.Manager) error {
	byLabel := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.GetLabels()[desired.ApplicationLabel]
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
	})
	return ctrl.NewControllerManagedBy(m).
		For(&v1alpha1.StreamsApplication{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&appsv1.StatefulSet{}).Owns(&batchv1.Job{}).Owns(&policyv1.PodDisruptionBudget{}).Owns(&corev1.Service{}).
		Watches(&corev1.Pod{}, byLabel).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(a)
}

// A pass is one look at an application.
type pass struct {
	*Applications
	app    *v1alpha1.StreamsApplication
	status *v1alpha1.StreamsApplicationStatus // that of app, as it will be
	memory *memory
	now    time.Time

	set  *appsv1.StatefulSet // nil: there is none yet
	pods map[string]*corev1.Pod
	view []decide.Pod // by ordinal

	wait    string // what the operator waits for, if it does
	problem string // what is wrong, with a remedy
	updates bool   // pods are being replaced
	again   string // the StatefulSet is to be made again: why
	scaleTo *int32 // how many pods there shall be now, whatever is wanted
	scales  bool   // pods are being added or taken away
}

// Reconcile looks at an application, and does what is next.
func (a *Applications) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var app v1alpha1.StreamsApplication
	if err := a.Client.Get(ctx, req.NamespacedName, &app); err != nil {
		if apierrors.IsNotFound(err) {
			a.memories.Delete(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if !app.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // its objects are its own, and go with it
	}
	m, _ := a.memories.LoadOrStore(req.NamespacedName, &memory{applied: make(map[string]applied)})
	p := &pass{Applications: a, app: &app, status: app.Status.DeepCopy(), memory: m.(*memory), now: a.Now()}
	err := p.run(ctx)
	if said := p.say(ctx, err); err == nil {
		err = said
	}
	if apierrors.IsConflict(err) { // the cache is behind: it looks again when it has caught up
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if p.wait != "" || p.updates || p.scales || p.status.Phase == v1alpha1.PhasePending || p.status.Phase == v1alpha1.PhaseRestoring {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	return ctrl.Result{RequeueAfter: later}, nil
}

// run does what is next, in this order: what an application needs around it, what its pods are made of, how many there are, and
// which of them is replaced.
func (p *pass) run(ctx context.Context) error {
	if err := p.observe(ctx); err != nil {
		return err
	}
	if err := p.unhold(ctx); err != nil {
		return err
	}
	if err := p.companions(ctx); err != nil {
		return err
	}
	valid, err := p.validate(ctx)
	if err != nil {
		return err
	}
	if !valid && p.set == nil {
		return nil // its pods could not start
	}
	if p.set != nil && !p.set.DeletionTimestamp.IsZero() {
		p.wait = "the StatefulSet is being deleted, and is made again then"
		return nil
	}
	template, err := p.template(ctx, valid)
	if err != nil {
		return err
	}
	replicas, err := p.replicas(ctx, template)
	if err != nil {
		return err
	}
	if err := p.volumes(ctx); err != nil {
		return err
	}
	if p.again != "" {
		p.wait = p.again
		return nil
	}
	if err := p.apply(ctx, desired.StatefulSet(p.app, template, replicas)); err != nil {
		return fmt.Errorf("the StatefulSet: %w", err)
	}
	if err := p.roll(ctx, template.Labels[desired.RevisionLabel], replicas); err != nil {
		return err
	}
	p.steer(ctx)
	return p.farewell(ctx, replicas)
}

// event tells what was done, or what is wrong.
func (p *pass) event(kind, reason, action, format string, args ...any) {
	p.Events.Eventf(p.app, nil, kind, reason, action, format, args...)
}
