package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

func init() {
	if err := apiextensionsv1.AddToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
}

// foreign are the kinds of others' operators, whose types are not here.
var foreign = []string{"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule"}

// objects decodes what is rendered, each object strictly: a field that its type does not have is an error.
func objects(t *testing.T, made map[string]string) (all []runtime.Object) {
	t.Helper()
	seen := map[string]bool{}
	for name, text := range made {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, doc := range documents(t, text) {
			var head metav1.PartialObjectMetadata
			if err := yaml.Unmarshal(doc, &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			if head.Kind == "" { // comments alone
				continue
			}
			if id := head.Kind + " " + head.Namespace + "/" + head.Name; seen[id] {
				t.Errorf("%s: %s is there twice", name, id)
			} else {
				seen[id] = true
			}
			if slices.Contains(foreign, head.Kind) {
				continue
			}
			o, err := scheme.Scheme.New(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if err := yaml.UnmarshalStrict(doc, o); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, head.Name, err, doc)
			}
			all = append(all, o)
		}
	}
	return all
}

// each calls f with the objects of each case of each chart.
func each(t *testing.T, f func(t *testing.T, all []runtime.Object)) {
	for _, chart := range charts(t) {
		for _, file := range cases(t, chart) {
			t.Run(chart+"/"+filepath.Base(file), func(t *testing.T) {
				made, err := render(t, chart, values(t, file))
				if err != nil {
					t.Fatal(err)
				}
				f(t, objects(t, made))
			})
		}
	}
}

// pod is the template in a workload, with its selector where it has one.
func pod(o runtime.Object) (corev1.PodTemplateSpec, *metav1.LabelSelector, bool) {
	switch o := o.(type) {
	case *appsv1.StatefulSet:
		return o.Spec.Template, o.Spec.Selector, true
	case *appsv1.Deployment:
		return o.Spec.Template, o.Spec.Selector, true
	case *batchv1.Job:
		return o.Spec.Template, nil, true
	}
	return corev1.PodTemplateSpec{}, nil, false
}

// TestPodsAreRestricted holds pods to what the level "restricted" of Kubernetes' Pod Security Standards asks, and a root that is read only.
func TestPodsAreRestricted(t *testing.T) {
	each(t, func(t *testing.T, all []runtime.Object) {
		for _, o := range all {
			p, _, ok := pod(o)
			if !ok {
				continue
			}
			s := p.Spec.SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%T: the pod's security context is %v", o, s)
			}
			for _, c := range p.Spec.Containers {
				s := c.SecurityContext
				if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
					s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
					t.Errorf("%T: the security context of container %s is %v", o, c.Name, s)
				}
			}
		}
	})
}

// TestSelectors holds that what selects an application's pods selects these, and not those of jobs.
func TestSelectors(t *testing.T) {
	each(t, func(t *testing.T, all []runtime.Object) {
		for _, workload := range all {
			p, own, ok := pod(workload)
			if !ok {
				continue
			}
			_, job := workload.(*batchv1.Job)
			selectors := map[string]*metav1.LabelSelector{}
			if own != nil {
				selectors["its own"] = own
			}
			for _, o := range all {
				switch o := o.(type) {
				case *corev1.Service:
					selectors["the service's"] = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
				case *policyv1.PodDisruptionBudget:
					selectors["the budget's"] = o.Spec.Selector
				}
			}
			for whose, s := range selectors {
				selector, err := metav1.LabelSelectorAsSelector(s)
				if err != nil {
					t.Fatal(err)
				}
				if selector.Matches(labels.Set(p.Labels)) == job {
					t.Errorf("%T has pods with labels %v, and %s selector is %v", workload, p.Labels, whose, selector)
				}
			}
		}
	})
}

// TestAccounts holds that a pod runs as an account that is there, where the chart makes one.
func TestAccounts(t *testing.T) {
	each(t, func(t *testing.T, all []runtime.Object) {
		var there []string
		for _, o := range all {
			if a, ok := o.(*corev1.ServiceAccount); ok {
				there = append(there, a.Name)
			}
		}
		for _, o := range all {
			if p, _, ok := pod(o); ok && len(there) > 0 && !slices.Contains(there, p.Spec.ServiceAccountName) {
				t.Errorf("%T: its pods run as %q, and the accounts are %q", o, p.Spec.ServiceAccountName, there)
			}
		}
	})
}

// TestEnvironment holds that what a program is told is told once, and after what it refers to; and that files are mounted.
func TestEnvironment(t *testing.T) {
	refers := regexp.MustCompile(`\$\(([A-Z_]+)\)`)
	each(t, func(t *testing.T, all []runtime.Object) {
		for _, o := range all {
			p, _, ok := pod(o)
			if !ok {
				continue
			}
			for _, c := range p.Spec.Containers {
				var said []string
				for _, v := range c.Env {
					if slices.Contains(said, v.Name) {
						t.Errorf("%T: %s is said twice", o, v.Name)
					}
					for _, m := range refers.FindAllStringSubmatch(v.Value, -1) {
						if !slices.Contains(said, m[1]) {
							t.Errorf("%T: %s refers to %s, which is not said before it", o, v.Name, m[1])
						}
					}
					if strings.HasSuffix(v.Name, "_FILE") && !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(v.Value, m.MountPath+"/") }) {
						t.Errorf("%T: %s=%s is on no volume", o, v.Name, v.Value)
					}
					said = append(said, v.Name)
				}
				for _, m := range c.VolumeMounts {
					set, ok := o.(*appsv1.StatefulSet)
					claimed := ok && slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(c corev1.PersistentVolumeClaim) bool { return c.Name == m.Name })
					if !claimed && !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
						t.Errorf("%T: there is no volume %s for %s", o, m.Name, m.MountPath)
					}
				}
			}
		}
	})
}

// TestRulesAreOfMetricsThatAre holds alerts to metrics that the documentation has.
func TestRulesAreOfMetricsThatAre(t *testing.T) {
	made, err := render(t, "streams-app", values(t, "testdata/streams-app/full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	documented, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`kafka_streams_[a-z_]+`).FindAllString(made["streams-app/templates/monitoring.yaml"], -1)
	if len(names) < 5 {
		t.Errorf("the rules name %q only", names)
	}
	for _, name := range names {
		if !strings.Contains(string(documented), "| `"+name+"` |") {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
}
