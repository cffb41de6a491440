package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/controller"
	"github.com/millrace/millrace/operator/internal/desired"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// A world is a cluster on virtual time, with what makes pods of StatefulSets and runs jobs, and programs that share tasks. How a
// program behaves is in its image's tag.
type world struct {
	t        *testing.T
	client   client.Client
	now      time.Time
	operator *controller.Applications
	resets   *controller.Resets
	events   *events.FakeRecorder
	said     []string
	programs map[string]*program // by the UID of their pods
	tasks    int
	asked    []string
	born     map[string]time.Time
	away     int // most pods that were away at a time, while counting
	uids     int
	kept     map[string]bool // revisions
}

// A program is what runs in a pod.
type program struct {
	pod        string
	draining   bool
	paused     bool
	rebalances int64
	tasks      []streams.ReportTask
}

func newWorld(t *testing.T) *world {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), programs: make(map[string]*program), tasks: 6, kept: make(map[string]bool), born: make(map[string]time.Time)}
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.StreamsApplication{}, &v1alpha1.StreamsReset{}, &corev1.Pod{}, &batchv1.Job{}).Build()
	w.events = events.NewFakeRecorder(1000)
	w.begin()
	return w
}

// begin starts an operator that remembers nothing.
func (w *world) begin() {
	now := func() time.Time { return w.now }
	w.operator = &controller.Applications{Client: w.client, Secrets: w.client, Programs: w, Events: w.events, Now: now}
	w.resets = &controller.Resets{Client: w.client, Events: w.events, Now: now}
}

var key = client.ObjectKey{Namespace: "shop", Name: "orders"}

// application is one with defaults as the API server would set them.
func application(replicas int32) *v1alpha1.StreamsApplication {
	s := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	return &v1alpha1.StreamsApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "app", Generation: 1},
		Spec: v1alpha1.StreamsApplicationSpec{
			ApplicationID: "orders-v1", Image: "orders:1", Replicas: &replicas, DesiredState: v1alpha1.DesiredRunning,
			Kafka:   v1alpha1.KafkaSpec{BootstrapServers: []string{"kafka:9092"}},
			Streams: v1alpha1.StreamsSpec{ProcessingGuarantee: "exactly_once_v2", Membership: "Static", SessionTimeout: s(45), StandbyReplicas: 1, AcceptableRecoveryLag: 10000},
			State:   v1alpha1.StateSpec{Storage: v1alpha1.StorageSpec{Type: v1alpha1.PersistentVolume, Size: "1Gi", WhenScaled: "Retain", WhenDeleted: "Delete"}},
			Update:  v1alpha1.UpdateSpec{GroupStableFor: s(10), PodDeadline: s(300), OnFailure: "Rollback", TopologyChange: "Block"},
			Autoscaling: v1alpha1.AutoscalingSpec{Mode: v1alpha1.ScalingOff, MinReplicas: 1, TargetUtilization: 65, MaxLatency: s(30), CatchUp: s(120), Window: s(60),
				ScaleUp: v1alpha1.ScalingRule{Cooldown: s(60), MaxStep: 4}, ScaleDown: v1alpha1.ScalingRule{Cooldown: s(300), MaxStep: 1}},
			TerminationGracePeriod: s(60),
		},
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) app() *v1alpha1.StreamsApplication {
	w.t.Helper()
	var app v1alpha1.StreamsApplication
	w.must(w.client.Get(w.t.Context(), key, &app))
	return &app
}

// change changes the application's spec.
func (w *world) change(do func(*v1alpha1.StreamsApplicationSpec)) {
	w.t.Helper()
	app := w.app()
	do(&app.Spec)
	app.Generation++
	w.must(w.client.Update(w.t.Context(), app))
}

// until lets time pass until something is so, within an hour.
func (w *world) until(what string, is func(*v1alpha1.StreamsApplication) bool) *v1alpha1.StreamsApplication {
	w.t.Helper()
	for range 3600 {
		w.tick()
		if app := w.app(); is(app) {
			return app
		}
	}
	text, _ := json.MarshalIndent(w.app().Status, "", " ")
	w.t.Fatalf("%s is not so after an hour: %s\nevents: %s", what, text, strings.Join(w.heard(), "\n"))
	return nil
}

func (w *world) running(revisionOf string) *v1alpha1.StreamsApplication {
	w.t.Helper()
	return w.until("running "+revisionOf, func(a *v1alpha1.StreamsApplication) bool {
		return a.Status.Phase == v1alpha1.PhaseRunning && a.Status.Revisions.LastStable == a.Status.Revisions.Wanted && len(w.pods()) > 0 && w.pods()[0].Spec.Containers[0].Image == revisionOf
	})
}

func (w *world) heard() []string {
	for len(w.events.Events) > 0 {
		w.said = append(w.said, <-w.events.Events)
	}
	return w.said
}

func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	var list corev1.PodList
	w.must(w.client.List(w.t.Context(), &list, client.InNamespace(key.Namespace), client.MatchingLabels(desired.Selector(key.Name))))
	return list.Items
}

// tick is a second: Kubernetes does its part, the group shares the tasks, and the operator looks.
func (w *world) tick() {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	w.statefulSets()
	w.jobs()
	w.share()
	if _, err := w.operator.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		w.t.Fatal(err)
	}
	var resets v1alpha1.StreamsResetList
	w.must(w.client.List(w.t.Context(), &resets))
	for _, r := range resets.Items {
		if _, err := w.resets.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&r)}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) statefulSets() {
	w.t.Helper()
	ctx := w.t.Context()
	var set appsv1.StatefulSet
	if err := w.client.Get(ctx, key, &set); apierrors.IsNotFound(err) {
		return
	}
	revision := set.Spec.Template.Labels[desired.RevisionLabel]
	if !w.kept[revision] {
		w.kept[revision] = true
		data, err := json.Marshal(map[string]any{"spec": map[string]any{"template": set.Spec.Template}})
		w.must(err)
		w.must(w.client.Create(ctx, &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "orders-" + revision, Labels: set.Spec.Template.Labels}, Data: runtime.RawExtension{Raw: data},
		}))
	}
	there := make(map[string]bool)
	for _, p := range w.pods() {
		if there[p.Name] = true; ordinal(p.Name) >= int(*set.Spec.Replicas) {
			w.must(w.client.Delete(ctx, &p))
			continue
		}
		w.kubelet(&p)
	}
	w.away = max(w.away, int(*set.Spec.Replicas)-len(there))
	for i := range int(*set.Spec.Replicas) {
		name := fmt.Sprintf("%s-%d", key.Name, i)
		if there[name] {
			continue
		}
		w.uids++
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, Labels: set.Spec.Template.Labels, CreationTimestamp: metav1.NewTime(w.now)}, Spec: set.Spec.Template.Spec}
		p.UID = typesUID(w.uids)
		w.must(w.client.Create(ctx, p))
		for _, c := range set.Spec.VolumeClaimTemplates {
			c.Namespace, c.Name = key.Namespace, c.Name+"-"+name
			c.CreationTimestamp = metav1.NewTime(w.now)
			c.Status.Phase = corev1.ClaimBound
			if err := w.client.Create(ctx, &c); err != nil && !apierrors.IsAlreadyExists(err) {
				w.t.Fatal(err)
			}
		}
	}
}

// starting is how long a pod takes to start.
const starting = 4 * time.Second

func (w *world) kubelet(p *corev1.Pod) {
	w.t.Helper()
	age := w.now.Sub(p.CreationTimestamp.Time)
	image := p.Spec.Containers[0].Image
	switch {
	case age < starting || p.Status.Phase == corev1.PodRunning && !strings.Contains(image, "crash"):
		return
	case strings.Contains(image, "missing"):
		p.Status = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Image: image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}}
	case strings.Contains(image, "crash"):
		if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].RestartCount == int32(age.Seconds()/10) {
			return
		}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Image: image, RestartCount: int32(age.Seconds() / 10),
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "started\nboom"}}}}}
	default:
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Image: image, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
		w.programs[string(p.UID)] = &program{pod: p.Name}
	}
	w.must(w.client.Status().Update(w.t.Context(), p))
}

// jobs ends each job after a while, as its image says.
func (w *world) jobs() {
	w.t.Helper()
	ctx := w.t.Context()
	var list batchv1.JobList
	w.must(w.client.List(ctx, &list))
	for _, j := range list.Items {
		if o := metav1.GetControllerOf(&j); o.Kind == "StreamsReset" && apierrors.IsNotFound(w.client.Get(ctx, client.ObjectKey{Namespace: j.Namespace, Name: o.Name}, &v1alpha1.StreamsReset{})) {
			w.must(w.client.Delete(ctx, &j)) // as the garbage collector does
			continue
		}
		if _, known := w.born[j.Name]; !known {
			w.born[j.Name] = w.now
		}
		if w.now.Sub(w.born[j.Name]) < starting || len(j.Status.Conditions) > 0 {
			continue
		}
		ended := corev1.ContainerStateTerminated{Message: `{"hash":"1","breaks":null}`}
		if image := j.Spec.Template.Spec.Containers[0].Image; strings.Contains(image, "incompatible") {
			ended = corev1.ContainerStateTerminated{ExitCode: 3, Message: `{"hash":"2","breaks":["sub-topology 0 has no store \"counts\" any more"]}`}
		}
		if j.Labels[desired.JobLabel] == "reset" {
			ended.Message = "planned or done"
			if len(w.pods()) > 0 && strings.HasSuffix(j.Name, "-run") {
				w.t.Error("the reset runs while there are pods")
			}
		}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name, Labels: map[string]string{batchv1.JobNameLabel: j.Name}}}
		w.must(w.client.Create(ctx, p))
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Terminated: &ended}}}
		w.must(w.client.Status().Update(ctx, p))
		kind := batchv1.JobComplete
		if ended.ExitCode == 0 {
			j.Status.Succeeded = 1
		} else {
			j.Status.Failed, kind = 1, batchv1.JobFailed
		}
		j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}}
		w.must(w.client.Status().Update(ctx, &j))
	}
}

// share gives tasks to the programs that work and do not drain, and standbys to the next.
func (w *world) share() {
	alive := make(map[string]bool)
	var work []*program
	for _, p := range w.pods() {
		if g := w.programs[string(p.UID)]; g != nil {
			if alive[string(p.UID)] = true; !g.draining {
				work = append(work, g)
			}
		}
	}
	for uid, g := range w.programs {
		if g.tasks = nil; !alive[uid] {
			delete(w.programs, uid)
		}
	}
	for i := range w.tasks {
		if len(work) == 0 {
			return
		}
		id := fmt.Sprintf("0_%d", i)
		stores := []streams.ReportStore{{Name: "counts", Bytes: 1 << 20}}
		g := work[i%len(work)]
		g.tasks = append(g.tasks, streams.ReportTask{ID: id, Role: streams.RoleActive, Stores: stores, Inputs: []streams.ReportInput{{Topic: "in", Partition: int32(i)}}})
		if len(work) > 1 {
			h := work[(i+1)%len(work)]
			h.tasks = append(h.tasks, streams.ReportTask{ID: id, Role: streams.RoleStandby, Stores: stores})
		}
	}
}

// Report is what a pod's program says.
func (w *world) Report(_ context.Context, pod *corev1.Pod, token string) (*streams.Report, error) {
	g := w.programs[string(pod.UID)]
	if g == nil {
		return nil, errors.New("it does not answer")
	}
	if token == "" {
		return nil, errors.New("who asks?")
	}
	return &streams.Report{
		Application: "orders-v1", Process: string(pod.UID), State: "RUNNING", Ready: true, Started: true, Draining: g.draining, Paused: g.paused, Workers: 1, Rebalances: g.rebalances,
		TopologyHash: "1", Topology: topology.Outline{Subtopologies: []topology.OutlinePart{{Sources: []string{"in"}}}}, TaskCount: w.tasks, Tasks: g.tasks,
	}, nil
}

// Ask has a pod's program do something.
func (w *world) Ask(_ context.Context, pod *corev1.Pod, token, path string) error {
	g := w.programs[string(pod.UID)]
	if g == nil || token == "" {
		return errors.New("it does not answer")
	}
	w.asked = append(w.asked, pod.Name+path)
	switch path {
	case "/drain":
		g.draining = true
	case "/undrain":
		g.draining = false
	case "/pause":
		g.paused = true
	case "/resume":
		g.paused = false
	}
	return nil
}
