// Package metrics counts what an application does, for Prometheus.
//
// The names are those of Kafka Streams, in Prometheus' way: the group stream-thread-metrics becomes the prefix
// kafka_streams_thread_, stream-task-metrics kafka_streams_task_, stream-state-metrics kafka_streams_state_,
// stream-topic-metrics kafka_streams_topic_, and the consumer's records-lag kafka_streams_consumer_records_lag; dashes
// become underscores. Totals keep their names. Rates are left out: Prometheus computes them from totals. An -avg and -max
// of a latency is one histogram in seconds, or a total of seconds where that is counted by task. The label thread is the
// number of the worker.
//
// Nothing is told of by record: workers tell of rounds and commits, stores count for themselves and are asked when the
// metrics are read. The series of a task go when the task does.
package metrics

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A Recorder holds the metrics of one application. It may be used from many goroutines.
type Recorder struct {
	registry *prometheus.Registry
	labels   prometheus.Labels
	stores   *stores
	totals   totals

	state      *prometheus.GaugeVec
	tasks      *prometheus.GaugeVec
	alive      prometheus.Gauge
	failed     prometheus.Counter
	rebalances prometheus.Counter

	processed  *prometheus.CounterVec
	process    *prometheus.HistogramVec
	polled     *prometheus.CounterVec
	commits    *prometheus.HistogramVec
	blocked    *prometheus.CounterVec
	created    *prometheus.CounterVec
	closed     *prometheus.CounterVec
	startOvers *prometheus.CounterVec

	taskProcessed *prometheus.CounterVec
	taskSeconds   *prometheus.CounterVec
	taskBuffered  *prometheus.GaugeVec
	dropped       *prometheus.CounterVec

	consumed      *prometheus.CounterVec
	consumedBytes *prometheus.CounterVec
	lag           *prometheus.GaugeVec

	restore    *prometheus.GaugeVec
	standbyLag *prometheus.GaugeVec
	collected  []prometheus.Collector
	byTask     []interface{ DeletePartialMatch(prometheus.Labels) int }
}

// New makes a recorder; states are the names of the states that the application can be in.
func New(application string, states []string) *Recorder {
	r := &Recorder{registry: prometheus.NewRegistry(), labels: prometheus.Labels{"application_id": application}}
	r.client(states)
	r.threads()
	r.topics()
	r.updater()
	r.stores = newStores(r.labels)
	r.registry.MustRegister(r.collected...)
	r.registry.MustRegister(r.stores, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (r *Recorder) client(states []string) {
	r.state = r.gauge("client_state", "1 for the state that the application is in.", "state")
	r.tasks = r.gauge("client_tasks", "Tasks of this instance, by what becomes of them: running, restoring, standby.", "state")
	alive := r.gauge("client_alive_stream_threads", "Workers that run.")
	failed := r.counter("client_failed_stream_threads_total", "Workers that ended with an error.")
	rebalances := r.counter("client_rebalance_total", "Assignments that the group gave this instance.")
	info := r.gauge("client_info", "1; its labels say which version runs.", "version")
	r.alive, r.failed, r.rebalances = alive.WithLabelValues(), failed.WithLabelValues(), rebalances.WithLabelValues()
	info.WithLabelValues(version()).Set(1)
	for _, s := range states {
		r.state.WithLabelValues(s).Set(0)
	}
}

func (r *Recorder) threads() {
	r.processed = r.counter("thread_process_records_total", "Records processed.", "thread")
	r.process = r.histogram("thread_process_latency_seconds", "Time of a round in which tasks process.", 50e-6, 4, "thread")
	r.polled = r.counter("thread_poll_records_total", "Records taken from the consumer.", "thread")
	r.commits = r.histogram("thread_commit_latency_seconds", "Time of a commit of the tasks of a thread.", 1e-3, 3, "thread")
	r.blocked = r.counter("thread_blocked_time_seconds_total", "Time spent waiting for Kafka in commits.", "thread")
	r.created = r.counter("thread_task_created_total", "Tasks that a thread took over.", "thread")
	r.closed = r.counter("thread_task_closed_total", "Tasks that a thread gave up.", "thread")
	r.startOvers = r.counter("thread_start_over_total", "Times that a thread went back to its last commit.", "thread")
	r.taskProcessed = perTask(r, r.counter("task_process_total", "Records processed.", "task"))
	r.taskSeconds = perTask(r, r.counter("task_process_latency_seconds_total", "Time spent processing.", "task"))
	r.taskBuffered = perTask(r, r.gauge("task_active_buffer_count", "Records that wait in the queues of a task.", "task"))
	r.dropped = perTask(r, r.counter("task_dropped_records_total", "Records that a node skipped.", "task", "node"))
}

func (r *Recorder) topics() {
	r.consumed = r.counter("topic_records_consumed_total", "Records read of a topic.", "topic")
	r.consumedBytes = r.counter("topic_bytes_consumed_total", "Bytes of keys and values read of a topic.", "topic")
	r.lag = r.gauge("consumer_records_lag", "Records of an input that are not fetched yet.", "topic", "partition")
}

func (r *Recorder) updater() {
	r.restore = perTask(r, r.gauge("task_restore_remaining_records", "Offsets of a changelog that are still to be restored.", "task", "store"))
	r.standbyLag = perTask(r, r.gauge("task_standby_lag_records", "Offsets of a changelog that a standby is behind.", "task", "store"))
}

func (r *Recorder) counter(name, help string, by ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help, ConstLabels: r.labels}, by)
	r.collected = append(r.collected, c)
	return c
}

func (r *Recorder) gauge(name, help string, by ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help, ConstLabels: r.labels}, by)
	r.collected = append(r.collected, g)
	return g
}

func (r *Recorder) histogram(name, help string, from, factor float64, by ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + name, Help: help, ConstLabels: r.labels, Buckets: prometheus.ExponentialBuckets(from, factor, 10),
	}, by)
	r.collected = append(r.collected, h)
	return h
}

const prefix = "kafka_streams_"

// perTask notes that the series of a metric go with their task.
func perTask[M interface{ DeletePartialMatch(prometheus.Labels) int }](r *Recorder, m M) M {
	r.byTask = append(r.byTask, m)
	return m
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == "github.com/millrace/millrace" {
			return m.Version
		}
	}
	return "unknown"
}

// Handler serves the metrics.
func (r *Recorder) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{})
}

// Registry gives access to the metrics, to gather them or to add others.
func (r *Recorder) Registry() *prometheus.Registry { return r.registry }

// Stores sets where the stores that are open are asked for.
func (r *Recorder) Stores(of func() []Store) { r.stores.of.Store(&of) }

// State is told of a change of state.
func (r *Recorder) State(old, now string) {
	r.state.WithLabelValues(old).Set(0)
	r.state.WithLabelValues(now).Set(1)
}

// Tasks is told how many tasks run, are restored, and are kept as standbys.
func (r *Recorder) Tasks(running, restoring, standby int) {
	r.tasks.WithLabelValues("running").Set(float64(running))
	r.tasks.WithLabelValues("restoring").Set(float64(restoring))
	r.tasks.WithLabelValues("standby").Set(float64(standby))
}

// Workers is told how many workers run.
func (r *Recorder) Workers(n int) {
	r.alive.Set(float64(n))
	r.totals.workers.Store(int64(n))
}

// WorkerFailed is told of a worker that ended with an error.
func (r *Recorder) WorkerFailed() { r.failed.Inc() }

// Assigned is told of an assignment.
func (r *Recorder) Assigned() {
	r.rebalances.Inc()
	r.totals.rebalances.Add(1)
}

// Gone forgets a task that was given up.
func (r *Recorder) Gone(task topology.TaskID) {
	for _, m := range r.byTask {
		m.DeletePartialMatch(prometheus.Labels{"task": task.String()})
	}
}

// Dropped is told of a record that a node skipped.
func (r *Recorder) Dropped(task topology.TaskID, node string) {
	r.dropped.WithLabelValues(task.String(), node).Inc()
}

// Restoring is told how much of a store is still to be restored.
func (r *Recorder) Restoring(task topology.TaskID, store string, remaining int64, over bool) {
	set(r.restore, task, store, remaining, over)
}

// Standby is told how far the store of a standby is behind.
func (r *Recorder) Standby(task topology.TaskID, store string, lag int64, over bool) {
	set(r.standbyLag, task, store, lag, over)
}

func set(g *prometheus.GaugeVec, task topology.TaskID, store string, n int64, over bool) {
	if over {
		g.DeleteLabelValues(task.String(), store)
		return
	}
	g.WithLabelValues(task.String(), store).Set(float64(n))
}

// Lag is told how many records of an input are left at the broker.
func (r *Recorder) Lag(p assign.TopicPartition, n int64) {
	r.lag.WithLabelValues(p.Topic, fmt.Sprint(p.Partition)).Set(float64(n))
}

// NoLag forgets an input that is not read here any more.
func (r *Recorder) NoLag(p assign.TopicPartition) {
	r.lag.DeleteLabelValues(p.Topic, fmt.Sprint(p.Partition))
}

// A Worker is told what one worker does. Its series stay: threads are few, and their totals must not go back.
type Worker struct {
	r                           *Recorder
	processed, polled           prometheus.Counter
	blocked                     prometheus.Counter
	created, closed, startOvers prometheus.Counter
	process, commits            prometheus.Observer
}

// Worker returns the metrics of a worker.
func (r *Recorder) Worker(number int) *Worker {
	n := fmt.Sprint(number)
	return &Worker{
		r: r, processed: r.processed.WithLabelValues(n), polled: r.polled.WithLabelValues(n), blocked: r.blocked.WithLabelValues(n),
		created: r.created.WithLabelValues(n), closed: r.closed.WithLabelValues(n), startOvers: r.startOvers.WithLabelValues(n),
		process: r.process.WithLabelValues(n), commits: r.commits.WithLabelValues(n),
	}
}

// Processed is told of a round.
func (w *Worker) Processed(records int, took time.Duration) {
	w.processed.Add(float64(records))
	w.process.Observe(took.Seconds())
	w.r.totals.processed.Add(int64(records))
	w.r.totals.busy.Add(int64(took))
}

// Polled is told of records that came of a topic.
func (w *Worker) Polled(topic string, records []topology.Record) {
	bytes := 0
	for i := range records {
		bytes += len(records[i].Key) + len(records[i].Value)
	}
	w.polled.Add(float64(len(records)))
	w.r.consumed.WithLabelValues(topic).Add(float64(len(records)))
	w.r.consumedBytes.WithLabelValues(topic).Add(float64(bytes))
}

// Committed is told of a commit, and of how much of it was waiting for Kafka.
func (w *Worker) Committed(took, blocked time.Duration) {
	w.commits.Observe(took.Seconds())
	w.blocked.Add(blocked.Seconds())
	w.r.totals.busy.Add(int64(took))
	w.r.totals.blocked.Add(int64(blocked))
}

// StartedOver is told that the worker went back to its last commit.
func (w *Worker) StartedOver() { w.startOvers.Inc() }

// A Task is told what one running task does.
type Task struct {
	w         *Worker
	id        topology.TaskID
	processed prometheus.Counter
	seconds   prometheus.Counter
	buffered  prometheus.Gauge
}

// Adopt is told that the worker took a task over.
func (w *Worker) Adopt(id topology.TaskID) *Task {
	w.created.Inc()
	t := id.String()
	return &Task{w, id, w.r.taskProcessed.WithLabelValues(t), w.r.taskSeconds.WithLabelValues(t), w.r.taskBuffered.WithLabelValues(t)}
}

// Processed is told of a round of the task, and of how many records wait after it.
func (t *Task) Processed(records int, took time.Duration, buffered int) {
	t.processed.Add(float64(records))
	t.seconds.Add(took.Seconds())
	t.buffered.Set(float64(buffered))
}

// Left is told that the worker gave the task up.
func (t *Task) Left() {
	t.w.closed.Inc()
	t.w.r.Gone(t.id)
}
