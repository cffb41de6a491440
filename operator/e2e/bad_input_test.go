//go:build k8s

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestBadInput gives the operator what cannot work: a condition says so, why, and what helps; and that does help.
func TestBadInput(t *testing.T) {
	t.Run("rules", testRules)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{ // what takes long first
		{"no image", testNoImage}, {"no volume", testNoVolume}, {"no secret", testNoSecret}, {"no key", testNoKey}, {"bad template", testBadTemplate},
		{"more pods than tasks", testMorePodsThanTasks}, {"too few pods for standbys", testTooFewForStandbys},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// testRules has the API server refuse each object that breaks a rule, with the words of its file's first line.
func testRules(t *testing.T) {
	s := newScene(t)
	files, err := filepath.Glob("../api/v1alpha1/testdata/refused/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		objects := decode(t, text)
		for _, o := range objects {
			o.SetNamespace(s.namespace)
		}
		last := objects[len(objects)-1]
		if len(objects) == 1 {
			err = world.client.Create(t.Context(), last, client.DryRunAll)
		} else {
			if err := world.client.Create(t.Context(), objects[0]); err != nil {
				t.Errorf("%s: the first is refused: %v", file, err)
				continue
			}
			err = world.client.Patch(t.Context(), last, client.RawPatch("application/merge-patch+json", specOf(t, last)), client.DryRunAll)
			if err := world.client.Delete(t.Context(), objects[0]); err != nil {
				t.Error(err)
			}
		}
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the server says %v, want %q", file, err, want)
		}
	}
	t.Logf("%d objects are refused", len(files))
}

func decode(t *testing.T, text []byte) (objects []*unstructured.Unstructured) {
	t.Helper()
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, u)
	}
}

// specOf is a patch to an object's spec.
func specOf(t *testing.T, u *unstructured.Unstructured) []byte {
	t.Helper()
	text, err := (&unstructured.Unstructured{Object: map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "spec": u.Object["spec"]}}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// says waits until a condition is false, for a reason, and its message has the words.
func (s *scene) says(kind, reason string, words ...string) {
	s.Helper()
	s.untilApp(fmt.Sprintf("%s is false: %s", kind, reason), 90*time.Second, func(app *v1alpha1.StreamsApplication) string {
		c := condition(app, kind)
		lacks := func(word string) bool { return !strings.Contains(c.Message, word) }
		if c.Status == metav1.ConditionFalse && c.Reason == reason && !slices.ContainsFunc(words, lacks) {
			s.Logf("it says %q", c.Message)
			return ""
		}
		return fmt.Sprintf("it is %s, %s: %q; want the words %q", c.Status, c.Reason, c.Message, words)
	})
}

// works waits until the application works with so many pods, and a condition is true again.
func (s *scene) works(replicas int32, kind string) {
	s.Helper()
	s.untilApp("what was said helped", 2*time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if c := condition(app, kind); c.Status != metav1.ConditionTrue {
			return fmt.Sprintf("%s is %s: %s", kind, c.Status, c.Message)
		}
		return running(replicas)(app)
	})
}

func testNoSecret(t *testing.T) {
	s := newScene(t)
	secret := v1alpha1.KafkaSASL{Mechanism: "PLAIN", SecretRef: v1alpha1.CredentialsRef{Name: "login"}}
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) { spec.Kafka.SASL = &secret })
	s.says(v1alpha1.ConditionConfigValid, "Invalid", `no secret "login"`, "create it with", "username", "password")
	if n := len(s.pods()); n > 0 {
		t.Errorf("%d pods were made, which cannot start", n)
	}
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Kafka.SASL = nil })
	s.works(1, v1alpha1.ConditionConfigValid)
}

// testNoKey shows that a secret that has got what it lacked is looked at again.
func testNoKey(t *testing.T) {
	s := newScene(t)
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login", Namespace: s.namespace}, StringData: map[string]string{"username": "me"}}
	if err := world.client.Create(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) {
		spec.Kafka.SASL = &v1alpha1.KafkaSASL{Mechanism: "PLAIN", SecretRef: v1alpha1.CredentialsRef{Name: "login"}}
	})
	s.says(v1alpha1.ConditionConfigValid, "Invalid", `secret "login" has no key "password": add it`)
	login.StringData = map[string]string{"password": "mine"}
	if err := world.client.Update(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	// This Kafka wants no password.
	s.untilApp("the secret is taken", time.Minute, func(app *v1alpha1.StreamsApplication) string {
		c := condition(app, v1alpha1.ConditionConfigValid)
		if c.Status != metav1.ConditionTrue || app.Status.Replicas != 1 {
			return fmt.Sprintf("it is %s with %d pods: %s", c.Status, app.Status.Replicas, c.Message)
		}
		return ""
	})
}

func testNoImage(t *testing.T) {
	s := newScene(t)
	s.application(2, func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = "millrace.test/none:1" })
	s.says(v1alpha1.ConditionReady, "NotReady", "cannot get the image millrace.test/none:1", "imagePullSecrets")
	s.untilApp("it is Failed", time.Minute, func(app *v1alpha1.StreamsApplication) string {
		if app.Status.Phase == v1alpha1.PhaseFailed {
			return ""
		}
		return fmt.Sprintf("it is %s: %s", app.Status.Phase, app.Status.Message)
	})
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Image = firstImage })
	s.works(2, v1alpha1.ConditionReady)
}

func testNoVolume(t *testing.T) {
	s := newScene(t)
	class := kafkatest.Unique("class")
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) { spec.State.Storage.StorageClassName = class })
	s.says(v1alpha1.ConditionStorageReady, "ClaimNotReady", "claim state-counts-0 has no volume", class, "has to exist")
	made := defaultClass(t).DeepCopy()
	made.ObjectMeta = metav1.ObjectMeta{Name: class}
	if err := world.client.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.client.Delete(context.Background(), made) })
	s.works(1, v1alpha1.ConditionStorageReady)
}

func defaultClass(t *testing.T) *storagev1.StorageClass {
	t.Helper()
	var list storagev1.StorageClassList
	if err := world.client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			return &list.Items[i]
		}
	}
	t.Fatal("the cluster has no default storage class: these tests need one")
	return nil
}

func testBadTemplate(t *testing.T) {
	s := newScene(t)
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) {
		spec.PodTemplate = &runtime.RawExtension{Raw: []byte(`{"spec":{"containers":"app"}}`)}
	})
	s.says(v1alpha1.ConditionConfigValid, "Invalid", "podTemplate")
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.PodTemplate = nil })
	s.works(1, v1alpha1.ConditionConfigValid)
}

func testMorePodsThanTasks(t *testing.T) {
	s := newScene(t)
	s.application(3, func(spec *v1alpha1.StreamsApplicationSpec) { spec.Streams.Threads = new(int32(4)) })
	s.says(v1alpha1.ConditionReplicasUseful, "MoreThanTasks", "3 pods are more than 8 tasks can use", "lower replicas to 2")
	s.untilApp("all pods run nevertheless", time.Minute, running(3))
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Replicas = new(int32(2)) })
	s.works(2, v1alpha1.ConditionReplicasUseful)
}

func testTooFewForStandbys(t *testing.T) {
	s := newScene(t)
	s.application(1, func(spec *v1alpha1.StreamsApplicationSpec) { spec.Streams.StandbyReplicas = 1 })
	s.says(v1alpha1.ConditionReplicasUseful, "TooFewForStandbys", "need 2 pods", "raise replicas")
	s.change(func(spec *v1alpha1.StreamsApplicationSpec) { spec.Replicas = new(int32(2)) })
	s.works(2, v1alpha1.ConditionReplicasUseful)
}
