// Package metrics counts what an application does, for Prometheus.
//
// The names are those of Kafka Streams, in Prometheus' way: the group stream-thread-metrics becomes the prefix
// kafka_streams_thread_, stream-task-metrics kafka_streams_task_, stream-state-metrics kafka_streams_state_, and the
// consumer's records-lag kafka_streams_consumer_records_lag; dashes become underscores. Totals keep their names. Rates
// are left out: Prometheus computes them from totals. An -avg and -max of a latency is one histogram in seconds. The
// label thread is the number of the worker.
package metrics

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A Recorder holds the metrics of one application. It is told of batches, not of records.
type Recorder struct {
	registry  *prometheus.Registry
	processed *prometheus.CounterVec
	process   *prometheus.HistogramVec
	polled    *prometheus.CounterVec
	commits   *prometheus.HistogramVec
	dropped   *prometheus.CounterVec
	restore   *prometheus.GaugeVec
	lag       *prometheus.GaugeVec
	running   prometheus.Gauge
	restoring prometheus.Gauge
	state     *prometheus.GaugeVec
}

// New makes a recorder; states are the names of the states that the application can be in.
func New(application string, states []string) *Recorder {
	labels := prometheus.Labels{"application_id": application}
	counter := func(name, help string, by ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_streams_" + name, Help: help, ConstLabels: labels}, by)
	}
	gauge := func(name, help string, by ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kafka_streams_" + name, Help: help, ConstLabels: labels}, by)
	}
	histogram := func(name, help string, from, factor float64, by ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kafka_streams_" + name, Help: help, ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(from, factor, 10),
		}, by)
	}
	r := &Recorder{
		registry:  prometheus.NewRegistry(),
		processed: counter("thread_process_records_total", "Records processed.", "thread"),
		process:   histogram("thread_process_latency_seconds", "Time of a round in which tasks process.", 50e-6, 4, "thread"),
		polled:    counter("thread_poll_records_total", "Records taken from the consumer.", "thread"),
		commits:   histogram("thread_commit_latency_seconds", "Time of a commit of the tasks of a thread.", 1e-3, 3, "thread"),
		dropped:   counter("task_dropped_records_total", "Records that a node skipped.", "task", "node"),
		restore:   gauge("task_restore_remaining_records", "Offsets of a changelog that are still to be restored.", "task", "store"),
		lag:       gauge("consumer_records_lag", "Records of an input that are not fetched yet.", "topic", "partition"),
		state:     gauge("client_state", "1 for the state that the application is in.", "state"),
	}
	tasks := gauge("client_tasks", "Tasks of this instance.", "state")
	r.running, r.restoring = tasks.WithLabelValues("running"), tasks.WithLabelValues("restoring")
	r.registry.MustRegister(r.processed, r.process, r.polled, r.commits, r.dropped, r.restore, r.lag, tasks, r.state,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range states {
		r.state.WithLabelValues(s).Set(0)
	}
	return r
}

// Handler serves the metrics.
func (r *Recorder) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{})
}

// Registry gives access to the metrics, to gather them or to add others.
func (r *Recorder) Registry() *prometheus.Registry { return r.registry }

// State is told of a change of state.
func (r *Recorder) State(old, now string) {
	r.state.WithLabelValues(old).Set(0)
	r.state.WithLabelValues(now).Set(1)
}

// Processed is told of a round of a worker.
func (r *Recorder) Processed(worker, records int, took time.Duration) {
	w := fmt.Sprint(worker)
	r.processed.WithLabelValues(w).Add(float64(records))
	r.process.WithLabelValues(w).Observe(took.Seconds())
}

// Polled is told of records that came.
func (r *Recorder) Polled(worker, records int) {
	r.polled.WithLabelValues(fmt.Sprint(worker)).Add(float64(records))
}

// Committed is told of a commit.
func (r *Recorder) Committed(worker int, took time.Duration) {
	r.commits.WithLabelValues(fmt.Sprint(worker)).Observe(took.Seconds())
}

// Dropped is told of a record that a node skipped.
func (r *Recorder) Dropped(task topology.TaskID, node string) {
	r.dropped.WithLabelValues(task.String(), node).Inc()
}

// Lag is told how many records of an input are left at the broker.
func (r *Recorder) Lag(p assign.TopicPartition, n int64) {
	r.lag.WithLabelValues(p.Topic, fmt.Sprint(p.Partition)).Set(float64(n))
}

// Gone forgets an input that is not read here any more.
func (r *Recorder) Gone(p assign.TopicPartition) {
	r.lag.DeleteLabelValues(p.Topic, fmt.Sprint(p.Partition))
}

// Restoring is told how far the restore of a store is.
func (r *Recorder) Restoring(task topology.TaskID, store string, remaining int64, over bool) {
	if over {
		r.restore.DeleteLabelValues(task.String(), store)
		return
	}
	r.restore.WithLabelValues(task.String(), store).Set(float64(remaining))
}

// Tasks is told how many tasks run and how many are restored.
func (r *Recorder) Tasks(running, restoring int) {
	r.running.Set(float64(running))
	r.restoring.Set(float64(restoring))
}
