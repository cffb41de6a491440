package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/operator/internal/desired"
	"github.com/millrace/millrace/streams"
)

// mostInstances is how many pods a status lists.
const mostInstances = 64

// say writes what was seen and done into the status. failed is why the pass ended early.
func (p *pass) say(ctx context.Context, failed error) error {
	s := p.status
	s.ObservedGeneration = p.app.Generation
	s.Selector = labels.SelectorFromSet(desired.Selector(p.app.Name)).String()
	p.counts()
	p.topology()
	p.sums()
	p.useful(s.DesiredReplicas)
	if err := p.outline(ctx); err != nil && failed == nil {
		failed = err
	}
	if failed != nil {
		p.problem = failed.Error()
	}
	p.conclude()
	return p.write(ctx)
}

// write writes the status, if it is another.
func (p *pass) write(ctx context.Context) error {
	if equality.Semantic.DeepEqual(&p.app.Status, p.status) {
		return nil
	}
	p.app.Status = *p.status.DeepCopy()
	return p.Client.Status().Update(ctx, p.app)
}

func (p *pass) counts() {
	s := p.status
	s.Replicas, s.ReadyReplicas, s.UpdatedReplicas, s.Instances = int32(len(p.view)), 0, 0, nil
	for _, v := range p.view {
		if v.Works() {
			s.ReadyReplicas++
		}
		if v.Revision == s.Revisions.Current {
			s.UpdatedReplicas++
		}
		if len(s.Instances) < mostInstances {
			s.Instances = append(s.Instances, instance(v))
		}
	}
	s.ReadySummary = fmt.Sprintf("%d/%d", s.ReadyReplicas, s.DesiredReplicas)
}

func instance(v decide.Pod) v1alpha1.Instance {
	i := v1alpha1.Instance{Pod: v.Name, Node: v.Node, Ready: v.Ready, Revision: v.Revision, RestoreRemaining: v.Remaining(), State: shorten(v.Trouble.What)}
	switch {
	case v.Leaving:
		i.State = "stops"
	case v.Report != nil:
		i.State, i.Draining = v.Report.State, v.Report.Draining
		for _, t := range v.Report.Tasks {
			switch t.Role {
			case streams.RoleActive:
				i.Active++
			case streams.RoleRestoring:
				i.Restoring++
			case streams.RoleStandby:
				i.Standby++
			}
		}
	case i.State == "":
		i.State = "starts"
	}
	return i
}

// topology says what the first program that knows says of the topology.
func (p *pass) topology() {
	for _, v := range p.view {
		r := v.Report
		if r == nil || r.TopologyHash == "" || v.Revision != p.status.Revisions.Current {
			continue
		}
		t := &v1alpha1.TopologyStatus{Hash: r.TopologyHash, Subtopologies: int32(len(r.Topology.Subtopologies)), Tasks: int32(r.TaskCount)}
		if before := p.status.Topology; t.Tasks == 0 && before != nil {
			t.Tasks = before.Tasks
		}
		for _, sub := range r.Topology.Subtopologies {
			t.Stores += int32(len(sub.Stores))
			t.SourceTopics = append(t.SourceTopics, sub.Sources...)
		}
		slices.Sort(t.SourceTopics)
		t.SourceTopics = slices.Compact(t.SourceTopics)
		if t.Tasks > 0 {
			t.MaxUsefulReplicas = (t.Tasks + int32(max(1, r.Workers)) - 1) / int32(max(1, r.Workers))
		}
		p.status.Topology = t
		return
	}
}

// sums adds up what the pods say.
func (p *pass) sums() {
	lag, state := &v1alpha1.LagStatus{}, &v1alpha1.StateStatus{}
	for _, v := range p.view {
		if v.Report == nil {
			continue
		}
		for _, t := range v.Report.Tasks {
			var behind int64
			for _, st := range t.Stores {
				behind += st.Lag
				state.StoreBytes += st.Bytes
			}
			switch t.Role {
			case streams.RoleStandby:
				state.StandbyMaxLag = max(state.StandbyMaxLag, behind)
			case streams.RoleRestoring:
				state.RestoringTasks++
			}
			for _, in := range t.Inputs {
				lag.Total += in.Lag
				if in.Lag > lag.MaxPartition {
					lag.MaxPartition, lag.Partition = in.Lag, fmt.Sprintf("%s-%d", in.Topic, in.Partition)
				}
			}
		}
		state.RestoreRemaining += v.Remaining()
	}
	if rate, ok := p.rate(); ok {
		lag.RatePerSecond = fmt.Sprintf("%.0f", rate)
		if rate > 0 {
			lag.Seconds = fmt.Sprintf("%.1f", float64(lag.Total)/rate)
		}
	}
	p.status.Lag, p.status.State = lag, state
	g := &v1alpha1.GroupStatus{ID: p.app.Spec.ApplicationID}
	if g.Stable = p.working(); g.Stable && !p.memory.quietSince.IsZero() {
		since := metav1.NewTime(p.memory.quietSince)
		g.StableSince = &since
	}
	p.status.Group = g
}

// rate is how many records were processed in a second, of late.
func (p *pass) rate() (float64, bool) {
	loads := p.memory.loads
	if len(loads) < 2 {
		return 0, false
	}
	first, last := loads[max(0, len(loads)-4)], loads[len(loads)-1]
	var records int64
	for name, w := range last.Pods {
		records += w.Processed - first.Pods[name].Processed
	}
	return float64(records) / last.At.Sub(first.At).Seconds(), true
}

// working says whether all pods that shall be there work.
func (p *pass) working() bool {
	n := 0
	for _, v := range p.view {
		if v.Works() {
			n++
		}
	}
	return n == len(p.view) && n == int(p.status.DesiredReplicas) && n > 0
}

// outline keeps the topology that runs, when all pods have it, for the check of the next.
func (p *pass) outline(ctx context.Context) error {
	if p.updates || !p.working() || p.status.Topology == nil {
		return nil
	}
	text, err := json.Marshal(p.view[0].Report.Topology)
	if err != nil {
		return err
	}
	return p.apply(ctx, desired.TopologyMap(p.app, string(text)))
}

// conclude makes of all that the conditions that sum it up, the phase, and the message.
func (p *pass) conclude() {
	s, r := p.status, &p.status.Revisions
	if r.Failed != "" && r.Failed == r.Wanted && !p.updates {
		p.problem = fmt.Sprintf("revision %s has failed: %s; revision %s runs. Change the spec, and it is tried again", r.Failed, r.FailedWhy, r.Current)
	}
	p.ready()
	switch {
	case p.updates:
		p.condition(v1alpha1.ConditionProgressing, true, "Updating", "%d of %d pods have revision %s; %s", s.UpdatedReplicas, s.Replicas, r.Current, p.wait)
	case r.Failed != "" && r.Failed == r.Wanted && r.Current != r.Failed:
		p.condition(v1alpha1.ConditionProgressing, false, "RolledBack", "%s", p.problem)
	case r.Failed != "" && r.Failed == r.Wanted:
		p.condition(v1alpha1.ConditionProgressing, false, "UpdatePaused", "%s", p.problem)
	case r.Wanted != r.Current && p.problem != "":
		p.condition(v1alpha1.ConditionProgressing, false, "UpdateRefused", "%s", p.problem)
	case r.Wanted != r.Current:
		p.condition(v1alpha1.ConditionProgressing, true, "Checking", "%s", p.wait)
	case p.scales && p.problem != "":
		p.condition(v1alpha1.ConditionProgressing, false, "ScaleBlocked", "%s", p.problem)
	case p.scales:
		p.condition(v1alpha1.ConditionProgressing, true, "Scaling", "to %d pods; %s", s.DesiredReplicas, p.wait)
	default:
		p.condition(v1alpha1.ConditionProgressing, false, "Done", "pods are as many, and as they shall be")
	}
	s.Phase = p.phase()
	s.Message = shorten(p.problem)
	if s.Message == "" && s.Phase != v1alpha1.PhaseRunning && s.Phase != v1alpha1.PhaseStopped {
		s.Message = shorten(p.wait)
	}
}

func (p *pass) ready() {
	s := p.status
	switch {
	case p.stopped():
		p.condition(v1alpha1.ConditionReady, false, "Stopped", "there shall be no pods")
	case p.working():
		p.condition(v1alpha1.ConditionReady, true, "Running", "all pods run, and their state is restored")
	default:
		if p.wait == "" {
			p.wait = decide.Missing(p.view, int(s.DesiredReplicas))
		}
		reason := "NotReady"
		if s.State.RestoringTasks > 0 {
			reason = "Restoring"
		}
		why := decide.Missing(p.view, int(s.DesiredReplicas))
		if why == "" {
			why = "pods stop"
		}
		p.condition(v1alpha1.ConditionReady, false, reason, "%s", why)
	}
}

// phase sums up.
func (p *pass) phase() v1alpha1.Phase {
	s := p.status
	stuck := slices.ContainsFunc(p.view, func(v decide.Pod) bool { return v.Trouble.Hopeless })
	failed := slices.ContainsFunc(p.view, func(v decide.Pod) bool { return v.Report != nil && v.Report.State == "ERROR" })
	switch {
	case p.app.Annotations[desired.ResetAnnotation] != "":
		return v1alpha1.PhaseResetting
	case p.stopped() && len(p.view) == 0:
		return v1alpha1.PhaseStopped
	case s.ReadyReplicas == 0 && (stuck || failed || p.problem != ""):
		return v1alpha1.PhaseFailed
	case p.updates:
		return v1alpha1.PhaseUpdating
	case p.problem != "" || stuck || failed:
		return v1alpha1.PhaseDegraded
	case p.scales:
		return v1alpha1.PhaseScaling
	case s.State.RestoringTasks > 0:
		return v1alpha1.PhaseRestoring
	case !p.working():
		return v1alpha1.PhasePending
	case p.app.Spec.DesiredState == v1alpha1.DesiredPaused:
		return v1alpha1.PhasePaused
	}
	return v1alpha1.PhaseRunning
}
