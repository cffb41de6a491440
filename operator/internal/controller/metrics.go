package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// Metrics tells Prometheus what the applications' status says, beside what controller-runtime tells of the operator itself.
type Metrics struct{ Client client.Reader }

// gauges are made of a status; each has the labels namespace and application.
var gauges = []struct {
	desc  *prometheus.Desc
	value func(*v1alpha1.StreamsApplicationStatus) float64
}{
	{gauge("replicas", "Pods that there are."), func(s *v1alpha1.StreamsApplicationStatus) float64 { return float64(s.Replicas) }},
	{gauge("replicas_desired", "Pods that there shall be."), func(s *v1alpha1.StreamsApplicationStatus) float64 { return float64(s.DesiredReplicas) }},
	{gauge("replicas_ready", "Pods that run and have restored their state."), func(s *v1alpha1.StreamsApplicationStatus) float64 { return float64(s.ReadyReplicas) }},
	{gauge("replicas_updated", "Pods of the current revision."), func(s *v1alpha1.StreamsApplicationStatus) float64 { return float64(s.UpdatedReplicas) }},
	{gauge("lag_records", "Records of the input that are not processed yet."), func(s *v1alpha1.StreamsApplicationStatus) float64 {
		if s.Lag == nil {
			return 0
		}
		return float64(s.Lag.Total)
	}},
	{gauge("restore_remaining_offsets", "Offsets of changelogs that have to be restored before all tasks run."), func(s *v1alpha1.StreamsApplicationStatus) float64 {
		if s.State == nil {
			return 0
		}
		return float64(s.State.RestoreRemaining)
	}},
	{gauge("standby_lag_offsets", "Offsets that the standby which is furthest behind lacks."), func(s *v1alpha1.StreamsApplicationStatus) float64 {
		if s.State == nil {
			return 0
		}
		return float64(s.State.StandbyMaxLag)
	}},
	{gauge("store_bytes", "Bytes on disk of all copies of all stores."), func(s *v1alpha1.StreamsApplicationStatus) float64 {
		if s.State == nil {
			return 0
		}
		return float64(s.State.StoreBytes)
	}},
	{gauge("replicas_recommended", "Pods that the autoscaler finds right; 0 where it is off."), func(s *v1alpha1.StreamsApplicationStatus) float64 {
		if s.Autoscaler == nil {
			return 0
		}
		return float64(s.Autoscaler.Recommended)
	}},
}

var (
	phaseDesc     = prometheus.NewDesc("millrace_application_phase", "1 for the phase that the application is in.", []string{"namespace", "application", "phase"}, nil)
	conditionDesc = prometheus.NewDesc("millrace_application_condition", "1 if a condition is true, 0 if not.", []string{"namespace", "application", "condition", "reason"}, nil)
)

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_application_"+name, help, []string{"namespace", "application"}, nil)
}

// Describe names the metrics.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gauges {
		out <- g.desc
	}
	out <- phaseDesc
	out <- conditionDesc
}

// Collect reads the status of all applications, from the cache.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var list v1alpha1.StreamsApplicationList
	if err := m.Client.List(ctx, &list); err != nil {
		out <- prometheus.NewInvalidMetric(phaseDesc, err)
		return
	}
	for i := range list.Items {
		app := &list.Items[i]
		for _, g := range gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&app.Status), app.Namespace, app.Name)
		}
		out <- prometheus.MustNewConstMetric(phaseDesc, prometheus.GaugeValue, 1, app.Namespace, app.Name, string(app.Status.Phase))
		for _, c := range app.Status.Conditions {
			value := 0.0
			if c.Status == "True" {
				value = 1
			}
			out <- prometheus.MustNewConstMetric(conditionDesc, prometheus.GaugeValue, value, app.Namespace, app.Name, c.Type, c.Reason)
		}
	}
}
