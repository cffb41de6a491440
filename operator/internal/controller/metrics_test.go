package controller_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/operator/internal/controller"
)

func TestMetrics(t *testing.T) {
	w := start(t, 2)
	m := &controller.Metrics{Client: w.client}
	want := `# HELP millrace_application_phase 1 for the phase that the application is in.
# TYPE millrace_application_phase gauge
millrace_application_phase{application="orders",namespace="shop",phase="Running"} 1
# HELP millrace_application_replicas_ready Pods that run and have restored their state.
# TYPE millrace_application_replicas_ready gauge
millrace_application_replicas_ready{application="orders",namespace="shop"} 2
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "millrace_application_phase", "millrace_application_replicas_ready"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
