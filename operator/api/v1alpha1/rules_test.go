package v1alpha1_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	sigsyaml "sigs.k8s.io/yaml"
)

// rules are those of a kind, as the API server has them.
type rules struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	cel        *cel.Validator
}

func load(t *testing.T, file string) rules {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := sigsyaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	crd.Status.StoredVersions = []string{"v1alpha1"}
	var whole apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &whole, nil); err != nil {
		t.Fatal(err)
	}
	if errs := crdvalidation.ValidateCustomResourceDefinition(t.Context(), &whole); len(errs) > 0 {
		t.Fatalf("%s: %v", file, errs.ToAggregate())
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil); err != nil {
		t.Fatal(err)
	}
	s, err := schema.NewStructural(&props)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		t.Fatal(err)
	}
	return rules{s, v, cel.NewValidator(s, true, celconfig.PerCallLimit)}
}

func kinds(t *testing.T) map[string]rules {
	t.Helper()
	return map[string]rules{
		"StreamsApplication": load(t, "../../crds/millrace.dev_streamsapplications.yaml"), "StreamsReset": load(t, "../../crds/millrace.dev_streamsresets.yaml"),
	}
}

// refused returns what the API server says of an object, after another or as a new one.
func (r rules) refused(t *testing.T, object, old map[string]any) string {
	t.Helper()
	defaulting.Default(object, r.structural)
	if old == nil {
		errs := validation.ValidateCustomResource(nil, object, r.validator)
		more, _ := r.cel.Validate(t.Context(), field.NewPath(""), r.structural, object, nil, celconfig.RuntimeCELCostBudget)
		return said(append(errs, more...))
	}
	defaulting.Default(old, r.structural)
	errs := validation.ValidateCustomResourceUpdate(nil, object, old, r.validator)
	more, _ := r.cel.Validate(t.Context(), field.NewPath(""), r.structural, object, old, celconfig.RuntimeCELCostBudget)
	return said(append(errs, more...))
}

func said(errs field.ErrorList) string {
	if err := errs.ToAggregate(); err != nil {
		return err.Error()
	}
	return ""
}

// TestDocumentedObjectsAreTaken has what the documentation shows accepted.
func TestDocumentedObjectsAreTaken(t *testing.T) {
	kinds := kinds(t)
	text, err := os.ReadFile("../../../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../../examples/orders/application.yaml")
	if err != nil {
		t.Fatal(err)
	}
	blocks := append(strings.Split(string(text), "```yaml\n")[1:], string(example))
	if len(blocks) < 2 {
		t.Fatalf("%d objects are shown", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		var o map[string]any
		if err := sigsyaml.UnmarshalStrict([]byte(block), &o); err != nil {
			t.Fatal(err)
		}
		r, ok := kinds[o["kind"].(string)]
		if !ok {
			t.Fatalf("there is no kind %v", o["kind"])
		}
		if said := r.refused(t, o, nil); said != "" {
			t.Errorf("%v is refused: %s", o["kind"], said)
		}
		if unknown := pruning.PruneWithOptions(o, r.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}); len(unknown) > 0 {
			t.Errorf("%v has fields that there are not: %v", o["kind"], unknown)
		}
	}
}

// TestRules has each object of testdata/refused refused with the words of its first line; where there are two, the first is
// right, and the second must not follow it.
func TestRules(t *testing.T) {
	kinds := kinds(t)
	files, err := filepath.Glob("testdata/refused/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		var objects []map[string]any
		for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var o map[string]any
			if err := d.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			objects = append(objects, o)
		}
		r := kinds[objects[0]["kind"].(string)]
		var old map[string]any
		if len(objects) == 2 {
			if said := r.refused(t, objects[0], nil); said != "" {
				t.Errorf("%s: the first is refused: %s", file, said)
			}
			old = objects[0]
		}
		if said := r.refused(t, objects[len(objects)-1], old); !strings.Contains(said, want) {
			t.Errorf("%s: it says %q, want %q", file, said, want)
		}
	}
}
