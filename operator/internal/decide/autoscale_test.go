package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/operator/internal/decide"
)

// history is what pods did in a minute: each so many records a second, of so many busy seconds each, while the lag went from one value
// to another.
func history(pods int, rate, cost float64, from, to, hottest int64) []decide.Load {
	var out []decide.Load
	for s := 0; s <= 60; s += 10 {
		l := decide.Load{At: noon.Add(time.Duration(s-60) * time.Second), Pods: make(map[string]decide.Work), Lag: from + (to-from)*int64(s)/60, Hottest: hottest, Where: "in-3", Inputs: 12}
		for i := range pods {
			done := rate * float64(s)
			l.Pods[fmt.Sprintf("app-%d", i)] = decide.Work{Process: "p", Processed: int64(done), Busy: done * cost, Workers: 1}
		}
		out = append(out, l)
	}
	return out
}

func TestAutoscale(t *testing.T) {
	for name, c := range map[string]struct {
		s       decide.Scaling
		want    int // recommended
		to      int
		blocked bool
		reason  string
	}{
		"too short a time":              {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.001, 0, 0, 0)[:3]}, 2, 2, false, "measures for 1m0s since pods changed"},
		"within the band nothing moves": {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.0065, 0, 0, 0)}, 2, 2, false, ""},
		"busy, and the lag grows":       {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 12000, 1000)}, 12, 6, false, "400 records/s come, 12000 wait"},
		"a step is bounded":             {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 12000, 1000), Up: decide.StepRule{MaxStep: 1}}, 12, 3, false, ""},
		"the cool-down lasts":           {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 12000, 1000), LastScaled: noon.Add(-time.Second)}, 12, 2, false, "in 1m59s, after the cool-down"},
		"not while pods are replaced":   {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 12000, 1000), Frozen: "pods are being replaced"}, 12, 2, false, "not now: pods are being replaced"},
		"no more pods than allowed":     {decide.Scaling{Replicas: 2, Max: 4, Loads: history(2, 100, 0.01, 0, 12000, 1000)}, 4, 4, false, "maxReplicas is 4"},
		"at the most it says so":        {decide.Scaling{Replicas: 4, Max: 4, Loads: history(4, 100, 0.01, 50000, 60000, 5000)}, 4, 4, true, "maxReplicas is 4"},
		"no more pods than tasks use":   {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 120000, 10000)}, 12, 6, false, "12 tasks use at most 12 pods"},
		"five pods are as good as four": {decide.Scaling{Replicas: 4, Loads: history(4, 100, 0.0081, 0, 0, 0)}, 6, 4, false, "6 share 12 tasks evenly; it stays: the utilization of 81 % is within 45 and 85 %"},
		"a hot partition":               {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 9000, 12000, 11000)}, 2, 2, true, "skew: 11000 of the 12000 records that wait are in in-3"},
		"it has just become hot":        {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 2000, 1900)}, 2, 2, true, "skew: 1900 of the 2000 records that wait are in in-3"},
		"hot, with pods enough":         {decide.Scaling{Replicas: 4, Loads: history(4, 60, 0.01, 9000, 9000, 8000)}, 4, 4, true, "skew: 8000 of the 9000 records that wait are in in-3"},
		"a little lag has no meaning":   {decide.Scaling{Replicas: 2, Loads: history(2, 100, 0.01, 0, 20, 19)}, 4, 4, false, ""},
		"idle: one less, after a time":  {decide.Scaling{Replicas: 6, Loads: history(6, 10, 0.01, 0, 0, 0)}, 1, 5, false, ""},
		"idle, and so few are allowed":  {decide.Scaling{Replicas: 6, Min: 5, Loads: history(6, 10, 0.01, 0, 0, 0)}, 6, 6, false, ""},
		"late, though not busy":         {decide.Scaling{Replicas: 2, CatchUp: time.Minute, Loads: history(2, 50, 0.01, 12000, 12000, 1000)}, 6, 6, false, ""},
		"nothing moves at all":          {decide.Scaling{Replicas: 2, Loads: history(2, 0, 0, 12000, 12000, 1000)}, 2, 2, true, "nothing is processed"},
	} {
		s := c.s
		s.Now, s.Tasks, s.Target, s.Window, s.MaxLatency = noon, 12, 0.65, time.Minute, 30*time.Second
		s.Min = max(1, s.Min)
		if s.CatchUp == 0 {
			s.CatchUp = 5 * time.Minute
		}
		if s.Up.MaxStep == 0 {
			s.Up.MaxStep = 4
		}
		s.Up.Cooldown, s.Down = 2*time.Minute, decide.StepRule{Cooldown: 30 * time.Minute, MaxStep: 1}
		v := s.Next()
		if v.Recommended != c.want || v.To != c.to || v.Blocked != c.blocked || !strings.Contains(v.Reason, c.reason) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestARestartedProcessCountsAnew shows that totals that begin again are not taken for work undone.
func TestARestartedProcessCountsAnew(t *testing.T) {
	loads := history(1, 100, 0.0065, 0, 0, 0)
	last := loads[len(loads)-1].Pods
	last["app-0"] = decide.Work{Process: "another", Processed: 3000, Busy: 19.5, Workers: 1}
	v := decide.Scaling{Replicas: 1, Min: 1, Tasks: 4, Target: 0.65, Window: time.Minute, MaxLatency: time.Minute, CatchUp: time.Minute, Loads: loads, Now: noon}.Next()
	if v.Utilization < 0.32 || v.Utilization > 0.33 {
		t.Errorf("%+v", v)
	}
}
