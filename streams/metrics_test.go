package streams_test

import (
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/streams"
)

// scrape reads the metrics as Prometheus would: the value of each series, by its name and labels without the application.
func (p *process) scrape() map[string]float64 {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		p.t.Fatalf("/metrics answers %d %s", w.Code, w.Body)
	}
	all := map[string]float64{}
	for line := range strings.Lines(w.Body.String()) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(line, "kafka_streams_") || !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		name = strings.Replace(strings.Replace(name, `application_id="app",`, "", 1), `application_id="app"`, "", 1)
		all[strings.TrimPrefix(name, "kafka_streams_")+"}"] = v
	}
	return all
}

// having returns the names of series with a label.
func having(all map[string]float64, label string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(all) {
			if strings.Contains(name, label) && !yield(name) {
				return
			}
		}
	})
}

// Two processes, one task of each sub-topology: the metrics of each say what it does, and those of a task go with it.
func TestMetrics(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
	feed(t, c, "in", words(60, 10)...)
	opts := []streams.AppOption{streams.Standbys(1), streams.RecordCache(0)}
	a := start(t, c, countTopology(t), opts...)
	a.await(streams.StateRunning)
	awaitRecords(t, c, "out", "all counts", each(10, 6))
	eventually(t, "the metrics to have it all", func() bool {
		m := a.scrape()
		return m[`task_process_total{task="1_0"}`] == 60 && m[`state_put_total{store="counts",task="1_0"}`] == 60 &&
			m[`thread_commit_latency_seconds_count{thread="1"}`] > 0 && m[`thread_blocked_time_seconds_total{thread="1"}`] > 0
	})
	m := a.scrape()
	for name, want := range map[string]float64{
		`client_state{state="RUNNING"}`:                            1,
		`client_state{state="REBALANCING"}`:                        0,
		`client_tasks{state="running"}`:                            2,
		`client_tasks{state="restoring"}`:                          0,
		`client_tasks{state="standby"}`:                            0,
		`client_alive_stream_threads{}`:                            1,
		`client_failed_stream_threads_total{}`:                     0,
		`thread_process_records_total{thread="1"}`:                 120,
		`thread_poll_records_total{thread="1"}`:                    120,
		`thread_task_created_total{thread="1"}`:                    2,
		`thread_task_closed_total{thread="1"}`:                     0,
		`thread_start_over_total{thread="1"}`:                      0,
		`task_process_total{task="0_0"}`:                           60,
		`task_active_buffer_count{task="1_0"}`:                     0,
		`topic_records_consumed_total{topic="in"}`:                 60,
		`state_get_total{store="counts",task="1_0"}`:               60,
		`state_log_total{store="counts",task="1_0"}`:               60,
		`consumer_records_lag{partition="0",topic="in"}`:           0,
		`state_num_running_compactions{store="counts",task="1_0"}`: 0,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{
		`thread_commit_latency_seconds_count{thread="1"}`, `thread_process_latency_seconds_count{thread="1"}`, `client_rebalance_total{}`,
		`thread_blocked_time_seconds_total{thread="1"}`, `task_process_latency_seconds_total{task="1_0"}`,
		`topic_bytes_consumed_total{topic="in"}`, `state_get_hit_total{store="counts",task="1_0"}`,
	} {
		if m[name] <= 0 {
			t.Errorf("%s is %v, want more than 0; there are %v", name, m[name], having(m, strings.SplitN(name, "{", 2)[0]))
		}
	}

	b := start(t, c, countTopology(t), opts...)
	b.await(streams.StateRunning)
	eventually(t, "a standby that has it all", func() bool {
		for _, p := range []*process{a, b} {
			m := p.scrape()
			if m[`client_tasks{state="standby"}`] == 1 && m[`state_restore_total{store="counts",task="1_0"}`] == 60 {
				return m[`task_standby_lag_records{store="counts",task="1_0"}`] == 0
			}
		}
		return false
	})
	eventually(t, "one task a process", func() bool {
		return a.scrape()[`client_tasks{state="running"}`] == 1 && b.scrape()[`client_tasks{state="running"}`] == 1
	})
	gone := `task="0_0"`
	if a.scrape()[`task_process_total{task="0_0"}`] > 0 {
		gone = `task="1_0"`
	}
	for _, name := range having(a.scrape(), gone) {
		if !strings.HasPrefix(name, "state_") && !strings.Contains(name, "standby") {
			t.Errorf("the task with %s is gone, but %s is there", gone, name)
		}
	}
}
