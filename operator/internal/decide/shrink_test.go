package decide_test

import (
	"testing"

	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/streams"
)

func TestShrink(t *testing.T) {
	draining := func(p decide.Pod) decide.Pod {
		p.Report.Draining = true
		return p
	}
	big := streams.ReportTask{ID: "0_0", Role: streams.RoleActive, Stores: []streams.ReportStore{{Name: "s", Bytes: 60 << 20}}}
	stuck := pod(2, "r", active("0_2"))
	stuck.Report.State = "REBALANCING"
	stuck.Report.Draining = true
	for name, c := range map[string]struct {
		pods     []decide.Pod
		capacity int64
		want     decide.ShrinkStep
	}{
		"the last is drained":   {[]decide.Pod{pod(0, "r"), pod(1, "r"), pod(2, "r", active("0_2"))}, 0, decide.ShrinkStep{Drain: "app-2"}},
		"and waited for":        {[]decide.Pod{pod(0, "r"), pod(1, "r"), draining(pod(2, "r", active("0_2"), standby("0_1", 3)))}, 0, decide.ShrinkStep{Wait: "app-2 gives its tasks away when they are warm elsewhere: 1 active and 1 standbys are left"}},
		"then taken away":       {[]decide.Pod{pod(0, "r"), pod(1, "r"), draining(pod(2, "r"))}, 0, decide.ShrinkStep{Release: true}},
		"not in a rebalance":    {[]decide.Pod{pod(0, "r"), pod(1, "r"), stuck}, 0, decide.ShrinkStep{Wait: "app-2 is REBALANCING"}},
		"a dead one is nothing": {[]decide.Pod{pod(0, "r"), pod(1, "r"), silent(2, "r", "cannot be placed on a node: no room", false)}, 0, decide.ShrinkStep{Release: true}},
		"nor one that is away":  {[]decide.Pod{pod(0, "r"), pod(1, "r")}, 0, decide.ShrinkStep{Release: true}},
		"one that starts may have tasks": {
			[]decide.Pod{pod(0, "r"), pod(1, "r"), silent(2, "r", "", false)}, 0, decide.ShrinkStep{Wait: "app-2 does not answer yet"},
		},
		"not while another does not work": {
			[]decide.Pod{pod(0, "r"), restoring(pod(1, "r"), "0_1", 7), pod(2, "r")}, 0, decide.ShrinkStep{Wait: "before app-2 is drained: app-1 restores 1 tasks, 7 offsets to go"},
		},
		"nor onto disks that are too small": {
			[]decide.Pod{pod(0, "r", big), pod(1, "r", big), pod(2, "r", big)}, 100 << 20,
			decide.ShrinkStep{Blocked: "the stores are 180 MiB with all copies; on 2 pods that is more than 80 % of their volumes of 100 MiB: raise state.storage.size first"},
		},
	} {
		if got := (decide.Shrink{Pods: c.pods, From: 3, Capacity: c.capacity}).Next(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
