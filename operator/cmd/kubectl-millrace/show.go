package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

func statusCommand(c *cluster) *cobra.Command {
	return &cobra.Command{
		Use: "status [APPLICATION]", Short: "Show an application with its pods, or all applications", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.list(cmd.Context(), cmd.OutOrStdout())
			}
			app, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return tree(cmd.OutOrStdout(), app)
		},
	}
}

func (c *cluster) list(ctx context.Context, out io.Writer) error {
	var list v1alpha1.StreamsApplicationList
	if err := c.client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return err
	}
	if len(list.Items) == 0 {
		_, err := fmt.Fprintf(out, "there is no application in namespace %q\n", c.namespace)
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tREADY\tLAG\tRATE/S\tTASKS\tMESSAGE")
	for _, a := range list.Items {
		s := a.Status
		lag, tasks := v1alpha1.LagStatus{}, int32(0)
		if s.Lag != nil {
			lag = *s.Lag
		}
		if s.Topology != nil {
			tasks = s.Topology.Tasks
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\t%s\n", a.Name, s.Phase, s.ReadySummary, lag.Total, cmp.Or(lag.RatePerSecond, "-"), tasks, s.Message)
	}
	return t.Flush()
}

// tree draws an application: what it is, its pods with what each does, and what is not as it should be.
func tree(out io.Writer, app *v1alpha1.StreamsApplication) error {
	s := app.Status
	fmt.Fprintf(out, "%s  %s  %s ready  %s\n", app.Name, s.Phase, s.ReadySummary, app.Spec.Image)
	if s.Message != "" {
		fmt.Fprintf(out, "│ %s\n", s.Message)
	}
	if t := s.Topology; t != nil {
		fmt.Fprintf(out, "├─ topology %s: %d sub-topologies, %d tasks, %d stores; reads %v\n", t.Hash, t.Subtopologies, t.Tasks, t.Stores, t.SourceTopics)
	}
	if l := s.Lag; l != nil {
		fmt.Fprintf(out, "├─ lag %d records", l.Total)
		if l.Partition != "" {
			fmt.Fprintf(out, " (%d in %s)", l.MaxPartition, l.Partition)
		}
		fmt.Fprintf(out, ", %s records/s\n", cmp.Or(l.RatePerSecond, "?"))
	}
	if st := s.State; st != nil {
		fmt.Fprintf(out, "├─ state %s in all copies; %d tasks restore, %d offsets to go; standbys lack at most %d\n", size(st.StoreBytes), st.RestoringTasks, st.RestoreRemaining, st.StandbyMaxLag)
	}
	fmt.Fprintf(out, "├─ revision %s, last stable %s\n", cmp.Or(s.Revisions.Current, "-"), cmp.Or(s.Revisions.LastStable, "-"))
	if a := s.Autoscaler; a != nil {
		fmt.Fprintf(out, "├─ autoscaler %s: %d pods are right; %s\n", app.Spec.Autoscaling.Mode, a.Recommended, a.Reason)
	}
	fmt.Fprintln(out, "└─ pods")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, p := range s.Instances {
		branch := "├─"
		if i == len(s.Instances)-1 {
			branch = "└─"
		}
		note := ""
		switch {
		case p.Draining:
			note = "gives its tasks away"
		case p.RestoreRemaining > 0:
			note = fmt.Sprintf("%d offsets to restore", p.RestoreRemaining)
		}
		if p.Revision != s.Revisions.Current {
			note = strings.TrimSpace("revision " + p.Revision + " " + note)
		}
		fmt.Fprintf(t, "   %s %s\t%s\t%s\tactive %d\tstandby %d\trestoring %d\t%s\n", branch, p.Pod, cmp.Or(p.Node, "-"), p.State, p.Active, p.Standby, p.Restoring, note)
	}
	return t.Flush()
}

func size(n int64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 4096 || unit == "GiB" {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n /= 1024
	}
	return ""
}

func whyCommand(c *cluster) *cobra.Command {
	return &cobra.Command{
		Use: "why APPLICATION", Short: "Say why an application is not ready, or what an update or a change of scale waits for", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return why(cmd.OutOrStdout(), app, c.now())
		},
	}
}

// good is what a condition says when all is well. One that is not here is told only when something is under way.
var good = map[string]metav1.ConditionStatus{
	v1alpha1.ConditionReady: metav1.ConditionTrue, v1alpha1.ConditionConfigValid: metav1.ConditionTrue, v1alpha1.ConditionTopologyCompatible: metav1.ConditionTrue,
	v1alpha1.ConditionStorageReady: metav1.ConditionTrue, v1alpha1.ConditionReplicasUseful: metav1.ConditionTrue, v1alpha1.ConditionProgressing: metav1.ConditionFalse,
}

func why(out io.Writer, app *v1alpha1.StreamsApplication, now time.Time) error {
	var said bool
	for _, c := range app.Status.Conditions {
		want, listed := good[c.Type]
		fine := !listed || c.Status == want
		if c.Type == v1alpha1.ConditionProgressing && c.Status == metav1.ConditionFalse && c.Reason != "Done" || c.Reason == "ScaleBlocked" {
			fine = false
		}
		if fine {
			continue
		}
		said = true
		fmt.Fprintf(out, "%s is %s for %v: %s\n  %s\n", c.Type, c.Status, now.Sub(c.LastTransitionTime.Time).Round(time.Second), c.Reason, c.Message)
	}
	if g := app.Status.Group; said && g != nil && g.StableSince != nil {
		fmt.Fprintf(out, "the group is stable for %v\n", now.Sub(g.StableSince.Time).Round(time.Second))
	}
	if app.Status.ObservedGeneration != app.Generation {
		said = true
		fmt.Fprintf(out, "the operator has not looked at the present spec yet (generation %d, it has seen %d): is it running?\n", app.Generation, app.Status.ObservedGeneration)
	}
	if !said {
		ready := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			fmt.Fprintln(out, "the operator has not looked at it yet: is it running?")
			return nil
		}
		fmt.Fprintf(out, "all is well: %s, for %v\n", ready.Message, now.Sub(ready.LastTransitionTime.Time).Round(time.Second))
	}
	return nil
}

func historyCommand(c *cluster) *cobra.Command {
	return &cobra.Command{
		Use: "history APPLICATION", Short: "List what the operator has decided, the last at the end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var events corev1.EventList
			if err := c.client.List(cmd.Context(), &events, client.InNamespace(c.namespace)); err != nil {
				return err
			}
			return history(cmd.OutOrStdout(), app, events.Items)
		},
	}
}

func history(out io.Writer, app *v1alpha1.StreamsApplication, events []corev1.Event) error {
	type entry struct {
		at           time.Time
		reason, what string
	}
	var entries []entry
	for _, e := range events {
		if e.InvolvedObject.Kind == "StreamsApplication" && e.InvolvedObject.Name == app.Name {
			at := cmp.Or(e.EventTime.Time, e.LastTimestamp.Time, e.CreationTimestamp.Time)
			if e.Series != nil {
				at = e.Series.LastObservedTime.Time
			}
			entries = append(entries, entry{at, e.Reason, e.Message})
		}
	}
	if a := app.Status.Autoscaler; a != nil {
		for _, d := range a.History {
			entries = append(entries, entry{d.Time.Time, "Autoscaled", fmt.Sprintf("from %d to %d pods: %s", d.From, d.To, d.Reason)})
		}
	}
	slices.SortFunc(entries, func(x, y entry) int {
		return cmp.Or(x.at.Truncate(time.Second).Compare(y.at.Truncate(time.Second)), cmp.Compare(x.reason, y.reason), cmp.Compare(x.what, y.what))
	})
	entries = slices.CompactFunc(entries, func(x, y entry) bool { return x.what == y.what && x.at.Sub(y.at).Abs() < 2*time.Second })
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "nothing is known: Kubernetes keeps events for an hour")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.at.UTC().Format(time.DateTime), e.reason, e.what)
	}
	return t.Flush()
}
