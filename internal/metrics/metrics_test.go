package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The page on metrics has each metric with its labels, and no others.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(kafka_streams_[a-z_]+)` \\| ([a-z, ]*?) *\\| .+ \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	r := New("app", []string{"CREATED"})
	descs := make(chan *prometheus.Desc)
	go func() {
		for _, c := range append(r.collected, r.stores) {
			c.Describe(descs)
		}
		close(descs)
	}()
	form := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s is not understood", d)
		}
		labels := strings.ReplaceAll(m[2], ",", ", ")
		if got, ok := documented[m[1]]; !ok || got != labels {
			t.Errorf("%s with the labels %q is in docs/metrics.md: %v, with %q", m[1], labels, ok, got)
		}
		delete(documented, m[1])
	}
	left := []string{}
	for name := range documented {
		left = append(left, name)
	}
	if slices.Sort(left); len(left) > 0 {
		t.Errorf("docs/metrics.md has metrics that there are not: %v", left)
	}
}
