package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func orders() *v1alpha1.StreamsApplication {
	since := metav1.NewTime(noon.Add(-90 * time.Second))
	two := int32(2)
	return &v1alpha1.StreamsApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Generation: 3},
		Spec:       v1alpha1.StreamsApplicationSpec{ApplicationID: "orders-v1", Image: "orders:2", Replicas: &two},
		Status: v1alpha1.StreamsApplicationStatus{
			ObservedGeneration: 3, Phase: v1alpha1.PhaseUpdating, ReadySummary: "1/2", Message: "orders-1 restores 3 tasks, 1200 offsets to go",
			Revisions: v1alpha1.Revisions{Current: "new", Wanted: "new", LastStable: "old"},
			Topology:  &v1alpha1.TopologyStatus{Hash: "9f3c", Subtopologies: 2, Tasks: 6, Stores: 1, SourceTopics: []string{"orders"}},
			Lag:       &v1alpha1.LagStatus{Total: 1500, MaxPartition: 900, Partition: "orders-3", RatePerSecond: "250"},
			State:     &v1alpha1.StateStatus{RestoringTasks: 3, RestoreRemaining: 1200, StandbyMaxLag: 7, StoreBytes: 30 << 20},
			Instances: []v1alpha1.Instance{
				{Pod: "orders-0", Node: "a", State: "RUNNING", Ready: true, Active: 3, Standby: 3, Revision: "old"},
				{Pod: "orders-1", Node: "b", State: "REBALANCING", Restoring: 3, RestoreRemaining: 1200, Revision: "new"},
			},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Restoring", Message: "orders-1 restores", LastTransitionTime: since},
				{Type: v1alpha1.ConditionConfigValid, Status: metav1.ConditionTrue, Reason: "Valid", LastTransitionTime: since},
				{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: "Updating", Message: "1 of 2 pods", LastTransitionTime: since},
			},
		},
	}
}

// run runs a command on a cluster with an application.
func run(t *testing.T, answer func(*v1alpha1.StreamsReset), args ...string) (string, client.Client, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "e"}, Reason: "RollingPod", Message: "orders-1 is replaced", InvolvedObject: corev1.ObjectReference{Kind: "StreamsApplication", Name: "orders"},
		EventTime: metav1.NewMicroTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(orders(), event).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			err := w.Get(ctx, key, o, opts...)
			if r, ok := o.(*v1alpha1.StreamsReset); ok && err == nil {
				answer(r)
			}
			return err
		},
	}).Build()
	var out bytes.Buffer
	cmd := command(&cluster{client: c, namespace: "shop", now: func() time.Time { return noon }})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), c, err
}

func TestShows(t *testing.T) {
	for command, want := range map[string]string{
		"status": "NAME    STATE     READY  LAG   RATE/S  TASKS  MESSAGE\norders  Updating  1/2    1500  250     6      orders-1 restores 3 tasks, 1200 offsets to go\n",
		"status orders": `orders  Updating  1/2 ready  orders:2
│ orders-1 restores 3 tasks, 1200 offsets to go
├─ topology 9f3c: 2 sub-topologies, 6 tasks, 1 stores; reads [orders]
├─ lag 1500 records (900 in orders-3), 250 records/s
├─ state 30 MiB in all copies; 3 tasks restore, 1200 offsets to go; standbys lack at most 7
├─ revision new, last stable old
└─ pods
   ├─ orders-0  a  RUNNING      active 3  standby 3  restoring 0  revision old
   └─ orders-1  b  REBALANCING  active 0  standby 0  restoring 3  1200 offsets to restore
`,
		"why orders":     "Ready is False for 1m30s: Restoring\n  orders-1 restores\nProgressing is True for 1m30s: Updating\n  1 of 2 pods\n",
		"history orders": "2026-03-01 12:00:00  RollingPod  orders-1 is replaced\n",
	} {
		got, _, err := run(t, nil, strings.Fields(command)...)
		if err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", command, err, got, want)
		}
	}
	if got, _, err := run(t, nil, "why", "nobody"); err == nil || !strings.Contains(got, `application "nobody" in namespace "shop"`) {
		t.Errorf("%v: %s", err, got)
	}
}

func TestActs(t *testing.T) {
	for command, is := range map[string]func(*v1alpha1.StreamsApplicationSpec) bool{
		"pause orders":   func(s *v1alpha1.StreamsApplicationSpec) bool { return s.DesiredState == v1alpha1.DesiredPaused },
		"stop orders":    func(s *v1alpha1.StreamsApplicationSpec) bool { return s.DesiredState == v1alpha1.DesiredStopped },
		"resume orders":  func(s *v1alpha1.StreamsApplicationSpec) bool { return s.DesiredState == v1alpha1.DesiredRunning },
		"restart orders": func(s *v1alpha1.StreamsApplicationSpec) bool { return s.RestartNonce == 1 },
		"scale orders 4": func(s *v1alpha1.StreamsApplicationSpec) bool { return *s.Replicas == 4 },
	} {
		out, c, err := run(t, nil, strings.Fields(command)...)
		if err != nil {
			t.Fatal(command, err, out)
		}
		var app v1alpha1.StreamsApplication
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders"}, &app); err != nil || !is(&app.Spec) {
			t.Errorf("%s: %v: %+v", command, err, app.Spec)
		}
	}
	if out, _, err := run(t, nil, "scale", "orders", "many"); err == nil || !strings.Contains(out, `"many" is no number of pods`) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestResets(t *testing.T) {
	planned := func(r *v1alpha1.StreamsReset) {
		if r.Spec.Execute || !r.Spec.DeleteVolumes || r.Spec.To != "latest" {
			t.Errorf("%+v", r.Spec)
		}
		r.Status = v1alpha1.StreamsResetStatus{Phase: v1alpha1.ResetPlanned, Message: "nothing is done yet", Plan: "delete topic x"}
	}
	if out, _, err := run(t, planned, "reset", "orders", "--to", "latest"); err != nil || !strings.Contains(out, "Planned: nothing is done yet\ndelete topic x\n") {
		t.Errorf("%v: %s", err, out)
	}
	failed := func(r *v1alpha1.StreamsReset) {
		r.Status = v1alpha1.StreamsResetStatus{Phase: v1alpha1.ResetFailed, Message: "no Kafka"}
	}
	if out, _, err := run(t, failed, "reset", "orders", "--execute"); err == nil || !strings.Contains(out, "no Kafka") {
		t.Errorf("%v: %s", err, out)
	}
}
