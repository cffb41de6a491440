package streams_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/streams"
)

// What a process says of itself over HTTP is what it does; who has the token can steer it, and nobody else.
func TestAppReports(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "in", "out"))
	topo := runningTopology(t)
	p := start(t, c, topo, streams.InstanceID("a-0"), streams.Workers(2), streams.HTTPToken("secret"), streams.Standbys(1))
	other := start(t, c, topo, streams.InstanceID("a-1"), streams.Standbys(1))
	p.await(streams.StateRunning)
	feed(t, c, "in", words(120, 12)...)
	awaitCounts(t, c, 12, 10)
	s := httptest.NewServer(p.Handler())
	t.Cleanup(s.Close)

	var r streams.Report
	eventually(t, "both to have tasks and standbys", func() bool {
		status(t, s, &r)
		roles := map[streams.Role]int{}
		for _, task := range r.Tasks {
			roles[task.Role]++
		}
		return roles[streams.RoleActive] == 3 && roles[streams.RoleStandby] == 1 || roles[streams.RoleActive] == 2 && roles[streams.RoleStandby] == 2
	})
	if r.Application != "app" || r.Instance != "a-0" || len(r.Process) != 36 || r.State != "RUNNING" || !r.Ready || !r.Started || r.Workers != 2 ||
		r.TaskCount != 4 || r.TopologyHash != topo.Outline().Hash() || r.Rebalances == 0 {
		t.Errorf("%+v", r)
	}
	for _, task := range r.Tasks {
		if task.Role == streams.RoleActive && (len(task.Inputs) != 1 || len(task.Stores) != 1 || task.Worker == 0) {
			t.Errorf("%+v", task)
		}
	}
	eventually(t, "what it did to be counted", func() bool {
		status(t, s, &r)
		committed := int64(0)
		for _, task := range r.Tasks {
			for _, in := range task.Inputs {
				committed += in.Committed
			}
		}
		return r.Processed > 0 && r.BusySeconds > 0 && committed > 0
	})

	for _, path := range []string{"/pause", "/departure/leave", "/drain"} {
		if code := ask(t, s, http.MethodPost, path, "secret", nil); code != http.StatusNoContent {
			t.Errorf("%s: %d", path, code)
		}
	}
	eventually(t, "it to be drained", func() bool {
		status(t, s, &r)
		return r.Paused && r.Draining && r.Departure == "leave" && len(r.Tasks) == 0
	})
	for _, path := range []string{"/resume", "/departure/configured", "/undrain"} {
		ask(t, s, http.MethodPost, path, "secret", nil)
	}
	eventually(t, "it to have tasks again", func() bool {
		status(t, s, &r)
		return !r.Paused && !r.Draining && r.Departure == "configured" && len(r.Tasks) > 0
	})

	for _, token := range []string{"", "wrong"} {
		for path, method := range map[string]string{"/status": http.MethodGet, "/drain": http.MethodPost} {
			if code := ask(t, s, method, path, token, nil); code != http.StatusUnauthorized {
				t.Errorf("%s with the token %q: %d", path, token, code)
			}
		}
	}
	open := httptest.NewServer(other.Handler())
	t.Cleanup(open.Close)
	if code := ask(t, open, http.MethodGet, "/status", "", nil); code != http.StatusOK {
		t.Errorf("the status of one without a token: %d", code)
	}
	if code := ask(t, open, http.MethodPost, "/drain", "", nil); code != http.StatusForbidden || other.Draining() {
		t.Errorf("to drain one without a token: %d", code)
	}
}

func status(t *testing.T, s *httptest.Server, r *streams.Report) {
	t.Helper()
	*r = streams.Report{}
	if code := ask(t, s, http.MethodGet, "/status", "secret", r); code != http.StatusOK {
		t.Fatalf("/status: %d", code)
	}
}

// ask returns the status code of an answer, and decodes it.
func ask(t *testing.T, s *httptest.Server, method, path, token string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(patiently(t), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", path, err, text)
	}
	return resp.StatusCode
}
