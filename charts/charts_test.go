// Package charts holds the charts to what is committed: each case of testdata renders what its golden file says, each of refused is
// refused with the messages it names, and each rendered object is one that Kubernetes knows, field by field.
package charts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// update rewrites golden files and tables instead of comparing: UPDATE_GOLDEN=1 go test .
var update = os.Getenv("UPDATE_GOLDEN") != ""

// charts are the folders with a chart.
func charts(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*/Chart.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there is no chart here", err)
	}
	for _, f := range files {
		names = append(names, filepath.Dir(f))
	}
	return names
}

// cases are the files of values in a folder below testdata/CHART, without golden files.
func cases(t *testing.T, parts ...string) (files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(append(append([]string{"testdata"}, parts...), "*.yaml")...))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".golden.yaml") })
	if len(files) == 0 {
		t.Fatalf("there is no case for %v", parts)
	}
	return files
}

func values(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := loader.LoadValues(bytes.NewReader(text))
	if err != nil {
		t.Fatal(file, err)
	}
	return v
}

// render is helm template: what each template makes, by its name, notes included.
func render(t *testing.T, chart string, v map[string]any) (map[string]string, error) {
	t.Helper()
	c, err := loader.LoadDir(chart)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "orders", Namespace: "shop", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, v, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	made, err := engine.Engine{}.RenderWithContext(context.Background(), c, all)
	if err != nil {
		return nil, err
	}
	for name, text := range made {
		text = madeToken.ReplaceAllString(text, "token: TUFERS1PTkNF") // made-once
		if strings.TrimSpace(text) == "" || strings.HasPrefix(filepath.Base(name), "_") {
			delete(made, name)
			continue
		}
		made[name] = text
	}
	return made, nil
}

// madeToken is the token that the chart makes, another one each time.
var madeToken = regexp.MustCompile(`token: [A-Za-z0-9+/=]{56}`)

func TestGolden(t *testing.T) {
	for _, chart := range charts(t) {
		for _, file := range cases(t, chart) {
			t.Run(chart+"/"+filepath.Base(file), func(t *testing.T) {
				made, err := render(t, chart, values(t, file))
				if err != nil {
					t.Fatal(err)
				}
				var all strings.Builder
				for _, name := range slices.Sorted(maps.Keys(made)) {
					text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(made[name]), "---"))
					if filepath.Base(name) == "NOTES.txt" {
						text = "# " + strings.ReplaceAll(text, "\n", "\n# ")
					}
					all.WriteString("---\n# " + name + "\n" + text + "\n")
				}
				golden(t, strings.TrimSuffix(file, ".yaml")+".golden.yaml", all.String())
			})
		}
	}
}

// golden compares a text with a file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	got = trailing.ReplaceAllString(got, "\n")
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			t.Fatalf("%s is not what is rendered, from line %d on:\n%s\nwhere it should say\n%s\nIf that is meant: UPDATE_GOLDEN=1 go test .",
				file, i+1, strings.Join(g[min(i, len(g)):min(i+5, len(g))], "\n"), strings.Join(w[min(i, len(w)):min(i+5, len(w))], "\n"))
		}
	}
}

var trailing = regexp.MustCompile(`[ \t]+\n`)

// TestRefused renders values that are wrong. The comment with which a file begins has what the error says, a line each.
func TestRefused(t *testing.T) {
	for _, chart := range charts(t) {
		for _, file := range cases(t, chart, "refused") {
			t.Run(chart+"/"+filepath.Base(file), func(t *testing.T) {
				_, err := render(t, chart, values(t, file))
				if err == nil {
					t.Fatal("it is not refused")
				}
				for _, want := range comment(t, file) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("the error does not say %q:\n%v", want, err)
					}
				}
			})
		}
	}
}

// comment is what the lines with which a file begins say.
func comment(t *testing.T, file string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		said, ok := strings.CutPrefix(line, "# ")
		if !ok {
			break
		}
		lines = append(lines, strings.TrimSpace(said))
	}
	if len(lines) == 0 {
		t.Fatalf("%s does not begin with a comment that says what the error is", file)
	}
	return lines
}

func TestLint(t *testing.T) {
	for _, chart := range charts(t) {
		for _, file := range append(cases(t, chart), filepath.Join(chart, "values.yaml")) {
			for _, m := range lint.RunAll(chart, values(t, file), "shop").Messages {
				if m.Severity >= support.WarningSev {
					t.Errorf("%s with %s: %v", chart, file, m)
				}
			}
		}
	}
}

// documents are the objects in a text, one after the other.
func documents(t *testing.T, text string) (docs [][]byte) {
	t.Helper()
	r := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(doc)) > 0 {
			docs = append(docs, doc)
		}
	}
}
