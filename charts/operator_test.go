package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// TestOperatorsFiles holds the definitions and the role in the chart to those that are made of the operator's source.
func TestOperatorsFiles(t *testing.T) {
	crds, err := filepath.Glob("../operator/crds/*.yaml")
	if err != nil || len(crds) == 0 {
		t.Fatal("the operator has no definitions", err)
	}
	files := map[string]string{"millrace-operator/files/role.yaml": "../operator/rbac/role.yaml"}
	for _, f := range crds {
		files["millrace-operator/files/crds/"+filepath.Base(f)] = f
	}
	here, err := filepath.Glob("millrace-operator/files/crds/*.yaml")
	if err != nil || len(here) > len(crds) {
		t.Errorf("the chart has %d definitions and the operator %d (%v)", len(here), len(crds), err)
	}
	for copied, from := range files {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, copied, string(text))
	}
}

func TestDefinitionsAreKept(t *testing.T) {
	for file, keep := range map[string]bool{"default.yaml": true, "full.yaml": false} {
		made, err := render(t, "millrace-operator", values(t, "testdata/millrace-operator/"+file))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, o := range objects(t, made) {
			if crd, ok := o.(*apiextensionsv1.CustomResourceDefinition); ok {
				found++
				if got := crd.Annotations["helm.sh/resource-policy"] == "keep"; got != keep {
					t.Errorf("%s: %s is kept: %v", file, crd.Name, got)
				}
			}
		}
		if found != 2 {
			t.Errorf("%s: there are %d definitions", file, found)
		}
	}
}

// TestNamespacesNeedNoClusterRole holds that an operator of some namespaces has nothing that is of the cluster.
func TestNamespacesNeedNoClusterRole(t *testing.T) {
	made, err := render(t, "millrace-operator", values(t, "testdata/millrace-operator/namespaces.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]bool{}
	for _, o := range objects(t, made) {
		switch o := o.(type) {
		case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding, *apiextensionsv1.CustomResourceDefinition:
			t.Errorf("there is a %T", o)
		case *rbacv1.RoleBinding:
			in[o.Namespace] = o.Subjects[0].Name == "streams"
		}
	}
	if len(in) != 2 || !in["shop"] || !in["billing"] {
		t.Errorf("the operator has roles in %v", in)
	}
}

// TestOperatorsRulesAreOfMetricsThatAre holds alerts to metrics and to what the source says of them.
func TestOperatorsRulesAreOfMetricsThatAre(t *testing.T) {
	made, err := render(t, "millrace-operator", values(t, "testdata/millrace-operator/full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	files, err := filepath.Glob("../operator/internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, "../operator/api/v1alpha1/status.go") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	rules := made["millrace-operator/templates/monitoring.yaml"]
	for _, m := range regexp.MustCompile(`millrace_application_[a-z_]+|(?:reason|phase|condition)=~?"([A-Za-z|]+)"`).FindAllStringSubmatch(rules, -1) {
		names := strings.Split(m[1], "|")
		if m[1] == "" {
			names = m[:1]
		}
		for _, name := range names {
			if !strings.Contains(source.String(), `"`+name+`"`) {
				t.Errorf("a rule names %s, which the operator does not", name)
			}
		}
	}
}
