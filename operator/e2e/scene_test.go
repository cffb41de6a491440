//go:build k8s

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// name is that of the application in each test's namespace.
const name = "counts"

// tasks is how many tasks the application has: its input's partitions.
const tasks = 8

// A scene is a test's namespace with an application, its topics, and what goes through it.
type scene struct {
	*testing.T
	namespace     string
	input, output string
	traffic       *traffic
}

// newScene makes a namespace, and topics. When the test has failed, it says what there was; in any case all of it goes.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, namespace: kafkatest.Unique("e2e"), input: world.kafka.Topic(t, "in", tasks), output: world.kafka.Topic(t, "out", tasks)}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace, Labels: restricted}}
	if err := world.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.dump()
		}
		if s.traffic != nil {
			s.traffic.stop()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		// The application first: its pods leave in order then.
		_ = world.client.DeleteAllOf(ctx, &v1alpha1.StreamsApplication{}, client.InNamespace(s.namespace))
		_ = world.client.Delete(ctx, ns)
	})
	return s
}

// application makes an application of so many pods, with volumes, static members, exactly once and short times, changed as a test wants.
func (s *scene) application(replicas int32, changes ...func(*v1alpha1.StreamsApplicationSpec)) *v1alpha1.StreamsApplication {
	s.Helper()
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	app := &v1alpha1.StreamsApplication{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
		Spec: v1alpha1.StreamsApplicationSpec{
			ApplicationID: s.namespace, Image: firstImage, Replicas: &replicas,
			Env: []corev1.EnvVar{{Name: "E2E_INPUT", Value: s.input}, {Name: "E2E_OUTPUT", Value: s.output}},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
			},
			Kafka: v1alpha1.KafkaSpec{BootstrapServers: strings.Split(world.kafka.Outside(), ",")},
			Streams: v1alpha1.StreamsSpec{
				Threads: new(int32(1)), ProcessingGuarantee: "exactly_once_v2", SessionTimeout: seconds(45), AcceptableRecoveryLag: 500,
				Config: map[string]string{"probing.rebalance.interval.ms": "2000"},
			},
			State:                  v1alpha1.StateSpec{Storage: v1alpha1.StorageSpec{Type: v1alpha1.PersistentVolume, Size: "1Gi"}},
			Update:                 v1alpha1.UpdateSpec{GroupStableFor: seconds(3), PodDeadline: seconds(120)},
			TerminationGracePeriod: seconds(30),
			// What is said with 0 is not left out of what is sent.
			Autoscaling: v1alpha1.AutoscalingSpec{
				MaxLatency: seconds(60), CatchUp: seconds(900), Window: seconds(300),
				ScaleUp: v1alpha1.ScalingRule{Cooldown: seconds(120)}, ScaleDown: v1alpha1.ScalingRule{Cooldown: seconds(120)},
			},
		},
	}
	for _, c := range changes {
		c(&app.Spec)
	}
	if err := world.client.Create(s.Context(), app); err != nil {
		s.Fatal(err)
	}
	return app
}

// change changes the application's spec.
func (s *scene) change(how func(*v1alpha1.StreamsApplicationSpec)) {
	s.Helper()
	app := s.app()
	before := app.DeepCopy()
	how(&app.Spec)
	if err := world.client.Patch(s.Context(), app, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// app is the application as it is now.
func (s *scene) app() *v1alpha1.StreamsApplication {
	s.Helper()
	var app v1alpha1.StreamsApplication
	if err := world.client.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &app); err != nil {
		s.Fatal(err)
	}
	return &app
}

// until waits for something, and fails the test when it takes longer. look says what is still lacking.
func (s *scene) until(what string, within time.Duration, look func() (lacks string)) time.Duration {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), within)
	defer cancel()
	began := time.Now()
	if err := await(ctx, look); err != nil {
		s.Fatalf("%s: not within %v: %v", what, within, err)
	}
	took := time.Since(began)
	s.Logf("%6.1fs  %s", took.Seconds(), what)
	return took
}

// untilApp waits until the application's status says so.
func (s *scene) untilApp(what string, within time.Duration, look func(app *v1alpha1.StreamsApplication) (lacks string)) time.Duration {
	s.Helper()
	return s.until(what, within, func() string {
		var app v1alpha1.StreamsApplication
		if err := world.client.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &app); err != nil {
			return err.Error()
		}
		if app.Status.ObservedGeneration < app.Generation {
			return "the operator has not seen the change"
		}
		return look(&app)
	})
}

// running says what an application lacks until so many pods work, and nothing is under way.
func running(replicas int32) func(*v1alpha1.StreamsApplication) string {
	return func(app *v1alpha1.StreamsApplication) string {
		st := &app.Status
		if st.Phase == v1alpha1.PhaseRunning && st.ReadyReplicas == replicas && st.Replicas == replicas {
			return ""
		}
		return fmt.Sprintf("it is %s with %d of %d pods ready, %d are wanted: %s", st.Phase, st.ReadyReplicas, st.Replicas, replicas, st.Message)
	}
}

// condition is one of the application's conditions.
func condition(app *v1alpha1.StreamsApplication, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown}
}

// pods are the application's, by name.
func (s *scene) pods() map[string]*corev1.Pod {
	s.Helper()
	var list corev1.PodList
	if err := world.client.List(s.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{"app.kubernetes.io/component": "streams"}); err != nil {
		s.Fatal(err)
	}
	pods := make(map[string]*corev1.Pod)
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// uids tells pods from those that came in their place.
func uids(pods map[string]*corev1.Pod) map[string]types.UID {
	ids := make(map[string]types.UID)
	for name, p := range pods {
		ids[name] = p.UID
	}
	return ids
}

// log is what a pod has said since it began.
func (s *scene) log(pod string) string {
	s.Helper()
	text, err := world.logs.CoreV1().Pods(s.namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// A taking is that a pod has taken a task up.
type taking struct {
	pod  string
	task string
	at   time.Time
}

// takings are those of all pods since they began, in order.
func (s *scene) takings() (all []taking) {
	s.Helper()
	for pod := range s.pods() {
		for line := range strings.Lines(s.log(pod)) {
			var said struct {
				Time time.Time
				Msg  string
				Task string
			}
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "task ready" {
				all = append(all, taking{pod, said.Task, said.Time})
			}
		}
	}
	slices.SortFunc(all, func(x, y taking) int { return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.task, y.task)) })
	return all
}

// owners are the pods that have the tasks.
func owners(all []taking) map[string]string {
	has := make(map[string]string)
	for _, t := range all {
		has[t.task] = t.pod
	}
	return has
}

// A restore is one that a pod has told of.
type restore struct {
	full    bool
	records int
	task    string
}

// noFullRestore fails the test if a pod has restored a task from the beginning.
func (s *scene) noFullRestore(why string) {
	s.Helper()
	for _, pod := range slices.Sorted(maps.Keys(s.pods())) {
		for _, r := range s.restores(pod) {
			if r.full {
				s.Errorf("task %s was restored from the beginning on %s, with %d records: %s", r.task, pod, r.records, why)
			}
		}
	}
}

// restores are those of a pod since it began, of more than nothing.
func (s *scene) restores(pod string) (all []restore) {
	s.Helper()
	for line := range strings.Lines(s.log(pod)) {
		var r restore
		if n, _ := fmt.Sscanf(line, "restored full=%t records=%d task=%s", &r.full, &r.records, &r.task); n == 3 && r.records > 0 {
			all = append(all, r)
		}
	}
	return all
}

// do runs a command of the environment.
func (s *scene) do(v variable, args ...string) {
	s.Helper()
	v.needed(s)
	c := v.command(s.Context(), args...)
	// What it leaves behind in the background keeps a pipe open.
	if out, err := combined(c); err != nil {
		s.Fatalf("%s %v: %v: %s", v.name, args, err, out)
	}
}

func combined(c *exec.Cmd) (string, error) {
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return string(out), err
}

// dump says all that there is to know of a test that has failed.
func (s *scene) dump() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.traffic != nil {
		s.Logf("== traffic: %s", s.traffic)
	}
	var app v1alpha1.StreamsApplication
	if err := world.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &app); err != nil {
		s.Logf("== application: %v", err)
	} else if text, err := yaml.Marshal(app.Status); err == nil {
		s.Logf("== status\n%s", text)
	}
	var events eventsv1.EventList
	if err := world.client.List(ctx, &events, client.InNamespace(s.namespace)); err == nil {
		s.Logf("== %d events", len(events.Items))
		for _, e := range events.Items {
			at := e.EventTime.Time
			if at.IsZero() {
				at = e.DeprecatedLastTimestamp.Time
			}
			s.Logf("%s %s %s %s/%s: %s", at.Format(time.TimeOnly), e.Type, e.Reason, e.Regarding.Kind, e.Regarding.Name, e.Note)
		}
	}
	for _, namespace := range []string{s.namespace, operatorNamespace} {
		var pods corev1.PodList
		if err := world.client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			s.Logf("== pods: %v", err)
		}
		for i := range pods.Items {
			s.dumpPod(ctx, &pods.Items[i])
		}
	}
}

func (s *scene) dumpPod(ctx context.Context, pod *corev1.Pod) {
	s.Logf("== pod %s: %s on %s, ready %v, deleted %v", pod.Name, pod.Status.Phase, pod.Spec.NodeName, ready(pod), pod.DeletionTimestamp)
	for _, c := range pod.Status.ContainerStatuses {
		s.Logf("%s: restarts %d, %+v, before %+v", c.Name, c.RestartCount, c.State, c.LastTerminationState)
	}
	for _, previous := range []bool{true, false} {
		text, err := world.logs.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(40)), Previous: previous}).DoRaw(ctx)
		if err == nil {
			s.Logf("-- log, of the container before: %v\n%s", previous, text)
		}
	}
}
