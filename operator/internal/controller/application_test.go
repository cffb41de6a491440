package controller_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

func ordinal(name string) int {
	n, _ := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	return n
}

func typesUID(n int) types.UID { return types.UID(fmt.Sprint("uid-", n)) }

func start(t *testing.T, replicas int32) *world {
	t.Helper()
	w := newWorld(t)
	w.must(w.client.Create(t.Context(), application(replicas)))
	w.running("orders:1")
	return w
}

func (w *world) says(kind string, is metav1.ConditionStatus, reason string) func(*v1alpha1.StreamsApplication) bool {
	return func(a *v1alpha1.StreamsApplication) bool {
		c := meta.FindStatusCondition(a.Status.Conditions, kind)
		return c != nil && c.Status == is && c.Reason == reason
	}
}

func TestStarts(t *testing.T) {
	t.Parallel()
	w := start(t, 3)
	app := w.app()
	if app.Status.ReadySummary != "3/3" || app.Status.Topology.Tasks != 6 || app.Status.Topology.MaxUsefulReplicas != 6 || len(app.Status.Instances) != 3 {
		t.Errorf("%+v", app.Status)
	}
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("%+v", app.Status.Conditions)
	}
}

// TestRollsOneByOne replaces all pods, also by an operator that begins anew at each second, and never has two away.
func TestRollsOneByOne(t *testing.T) {
	t.Parallel()
	for _, forgets := range []bool{false, true} {
		w := start(t, 3)
		w.away = 0
		before := w.app().Status.Revisions.LastStable
		w.change(func(s *v1alpha1.StreamsApplicationSpec) {
			s.Image = "orders:2"
			s.Update.GroupStableFor.Duration = 0 // what it has seen of the group is forgotten with it
		})
		w.until("a roll", func(a *v1alpha1.StreamsApplication) bool {
			if forgets {
				w.begin()
			}
			return a.Status.Revisions.LastStable != before && a.Status.Phase == v1alpha1.PhaseRunning
		})
		if w.away != 1 {
			t.Errorf("%d pods were away at a time", w.away)
		}
		for _, p := range w.pods() {
			if p.Spec.Containers[0].Image != "orders:2" {
				t.Errorf("%s has %s", p.Name, p.Spec.Containers[0].Image)
			}
		}
		stay := 0
		for _, a := range w.asked {
			if strings.HasSuffix(a, "/departure/stay") {
				stay++
			}
		}
		if stay != 3 {
			t.Errorf("the pods were asked: %v", w.asked)
		}
	}
}

func TestABrokenImageIsRolledBack(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"orders:crash", "orders:missing"} {
		w := start(t, 3)
		stable := w.app().Status.Revisions.LastStable
		w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image = image })
		touched := make(map[string]bool)
		app := w.until("a rollback", func(a *v1alpha1.StreamsApplication) bool {
			for _, p := range w.pods() {
				touched[p.Name] = touched[p.Name] || p.Spec.Containers[0].Image == image
			}
			return w.says(v1alpha1.ConditionProgressing, metav1.ConditionFalse, "RolledBack")(a) && a.Status.ReadyReplicas == 3
		})
		n := 0
		for _, is := range touched {
			if is {
				n++
			}
		}
		if n != 1 || app.Status.Revisions.Current != stable || app.Status.Phase != v1alpha1.PhaseDegraded || !strings.Contains(app.Status.Message, app.Status.Revisions.Failed) {
			t.Errorf("%s: %d pods were touched; %+v", image, n, app.Status)
		}
		w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image = "orders:2" })
		if app := w.running("orders:2"); app.Status.Revisions.Failed != "" {
			t.Errorf("%+v", app.Status.Revisions)
		}
	}
}

func TestABrokenImagePauses(t *testing.T) {
	t.Parallel()
	w := start(t, 3)
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image, s.Update.OnFailure = "orders:crash", "Pause" })
	w.until("a pause", w.says(v1alpha1.ConditionProgressing, metav1.ConditionFalse, "UpdatePaused"))
	for range 300 {
		w.tick()
	}
	n := 0
	for _, p := range w.pods() {
		if p.Spec.Containers[0].Image == "orders:crash" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d pods have it", n)
	}
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image = "orders:1" })
	w.running("orders:1")
}

func TestAnIncompatibleTopologyIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t, 3)
	before := w.pods()
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image = "orders:incompatible" })
	app := w.until("a refusal", w.says(v1alpha1.ConditionTopologyCompatible, metav1.ConditionFalse, "Incompatible"))
	for range 100 {
		w.tick()
	}
	for i, p := range w.pods() {
		if p.UID != before[i].UID {
			t.Errorf("%s was touched", p.Name)
		}
	}
	if !strings.Contains(app.Status.Message, `has no store "counts" any more`) {
		t.Error(app.Status.Message)
	}
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.Image = "orders:1" })
	w.until("no more of it, when it is not wanted any more", w.says(v1alpha1.ConditionTopologyCompatible, metav1.ConditionTrue, "SameProgram"))
	w.change(func(s *v1alpha1.StreamsApplicationSpec) {
		s.Image, s.Update.TopologyChange = "orders:incompatible", "Recreate"
	})
	old := make(map[types.UID]bool)
	for _, p := range before {
		old[p.UID] = true
	}
	w.until("all pods anew", func(a *v1alpha1.StreamsApplication) bool {
		var mixed [2]int
		for _, p := range w.pods() {
			mixed[map[bool]int{true: 0, false: 1}[old[p.UID]]]++
		}
		if mixed[0] > 0 && mixed[1] > 0 {
			t.Fatal("old pods run with new ones")
		}
		return mixed[1] == 3 && a.Status.Phase == v1alpha1.PhaseRunning
	})
}

func TestScales(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 4 })
	w.until("4 pods", func(a *v1alpha1.StreamsApplication) bool {
		return a.Status.ReadySummary == "4/4" && a.Status.Phase == v1alpha1.PhaseRunning
	})
	w.asked = nil
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 2 })
	w.until("2 pods", func(a *v1alpha1.StreamsApplication) bool {
		return a.Status.ReadySummary == "2/2" && a.Status.Phase == v1alpha1.PhaseRunning && len(a.Status.Departing) == 0
	})
	want := []string{"orders-3/drain", "orders-3/departure/leave", "orders-2/drain", "orders-2/departure/leave"}
	got := slices.DeleteFunc(slices.Clone(w.asked), func(a string) bool { return strings.Contains(a, "/members/") })
	if !slices.Equal(got, want) {
		t.Errorf("they were asked %v, want %v", w.asked, want)
	}
	for _, name := range []string{"orders-2", "orders-3"} {
		if !slices.ContainsFunc(w.asked, func(a string) bool { return strings.HasSuffix(a, "/members/"+name+"/remove") }) {
			t.Errorf("the place of %s was not given up: %v", name, w.asked)
		}
	}
}

// TestScalingDownIsTakenBack drains no pod that shall stay after all.
func TestScalingDownIsTakenBack(t *testing.T) {
	t.Parallel()
	w := start(t, 3)
	w.tasks = 60
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 2 })
	w.until("a drain", func(*v1alpha1.StreamsApplication) bool { return slices.Contains(w.asked, "orders-2/drain") })
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 3 })
	w.until("3 pods", func(a *v1alpha1.StreamsApplication) bool {
		return a.Status.ReadySummary == "3/3" && a.Status.Phase == v1alpha1.PhaseRunning && !slices.ContainsFunc(a.Status.Instances, func(i v1alpha1.Instance) bool { return i.Draining })
	})
}

func TestPausesStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.DesiredState = v1alpha1.DesiredPaused })
	w.until("a pause", func(a *v1alpha1.StreamsApplication) bool { return a.Status.Phase == v1alpha1.PhasePaused })
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.DesiredState = v1alpha1.DesiredStopped })
	w.until("a stop", func(a *v1alpha1.StreamsApplication) bool { return a.Status.Phase == v1alpha1.PhaseStopped })
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.DesiredState = v1alpha1.DesiredRunning })
	w.running("orders:1")
}

func TestBadInputIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := application(2)
	app.Spec.Kafka.SASL = &v1alpha1.KafkaSASL{Mechanism: "PLAIN", SecretRef: v1alpha1.CredentialsRef{Name: "kafka", UsernameKey: "user", PasswordKey: "pass"}}
	w.must(w.client.Create(t.Context(), app))
	got := w.until("a missing secret", w.says(v1alpha1.ConditionConfigValid, metav1.ConditionFalse, "Invalid"))
	if want := `there is no secret "kafka" in namespace shop: create it with user, pass`; got.Status.Message != want || got.Status.Phase != v1alpha1.PhaseFailed {
		t.Errorf("%+v", got.Status)
	}
	w.must(w.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "kafka"}, Data: map[string][]byte{"user": nil, "pass": nil}}))
	w.running("orders:1")
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 8 })
	w.until("too many", w.says(v1alpha1.ConditionReplicasUseful, metav1.ConditionFalse, "MoreThanTasks"))
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { *s.Replicas = 1 })
	w.until("too few", w.says(v1alpha1.ConditionReplicasUseful, metav1.ConditionFalse, "TooFewForStandbys"))
}

func TestVolumesGrow(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	before := w.pods()
	w.change(func(s *v1alpha1.StreamsApplicationSpec) { s.State.Storage.Size = "2Gi" })
	w.until("larger claims", func(a *v1alpha1.StreamsApplication) bool {
		var set appsv1.StatefulSet
		err := w.client.Get(t.Context(), key, &set)
		return err == nil && set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String() == "2Gi" && a.Status.Phase == v1alpha1.PhaseRunning
	})
	var claims corev1.PersistentVolumeClaimList
	w.must(w.client.List(t.Context(), &claims))
	for _, c := range claims.Items {
		if c.Spec.Resources.Requests.Storage().String() != "2Gi" {
			t.Errorf("%s is %v", c.Name, c.Spec.Resources.Requests)
		}
	}
	for i, p := range w.pods() {
		if p.UID != before[i].UID {
			t.Errorf("%s was touched", p.Name)
		}
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	r := &v1alpha1.StreamsReset{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "again", UID: "reset"}, Spec: v1alpha1.StreamsResetSpec{Application: "orders", To: "earliest", DeleteVolumes: true}}
	w.must(w.client.Create(t.Context(), r))
	phase := func(want v1alpha1.ResetPhase) func(*v1alpha1.StreamsApplication) bool {
		return func(*v1alpha1.StreamsApplication) bool {
			w.must(w.client.Get(t.Context(), client.ObjectKeyFromObject(r), r))
			return r.Status.Phase == want
		}
	}
	app := w.until("a plan", phase(v1alpha1.ResetPlanned))
	if r.Status.Plan == "" || app.Status.Phase != v1alpha1.PhaseRunning {
		t.Errorf("%+v; the application is %s", r.Status, app.Status.Phase)
	}
	r.Spec.Execute = true
	w.must(w.client.Update(t.Context(), r))
	w.until("it is done", phase(v1alpha1.ResetDone))
	w.running("orders:1")
}

// TestADeletedResetHoldsNothing deletes a reset while the application is stopped for it.
func TestADeletedResetHoldsNothing(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	r := &v1alpha1.StreamsReset{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "again", UID: "reset"}, Spec: v1alpha1.StreamsResetSpec{Application: "orders", To: "earliest", Execute: true}}
	w.must(w.client.Create(t.Context(), r))
	w.until("a stop", func(a *v1alpha1.StreamsApplication) bool {
		return a.Status.Phase == v1alpha1.PhaseResetting && len(w.pods()) == 0
	})
	w.must(w.client.Delete(t.Context(), r))
	w.running("orders:1")
}
