package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// actions change one field of a spec each. What is kept in Git has to be changed there as well.
func actions(c *cluster) []*cobra.Command {
	state := func(verb, short string, s v1alpha1.DesiredState) *cobra.Command {
		return c.action(verb+" APPLICATION", short, 1, func(app *v1alpha1.StreamsApplication, _ []string) error {
			app.Spec.DesiredState = s
			return nil
		})
	}
	return []*cobra.Command{
		state("pause", "Have an application process nothing; its pods and their state stay", v1alpha1.DesiredPaused),
		state("resume", "Have an application that is paused or stopped go on", v1alpha1.DesiredRunning),
		state("stop", "Stop all pods of an application; volumes stay", v1alpha1.DesiredStopped),
		c.action("restart APPLICATION", "Replace all pods, one by one, as an update does", 1, func(app *v1alpha1.StreamsApplication, _ []string) error {
			app.Spec.RestartNonce++
			return nil
		}),
		c.action("scale APPLICATION PODS", "Have so many pods; those that go give their tasks away first", 2, func(app *v1alpha1.StreamsApplication, args []string) error {
			n, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number of pods", args[1])
			}
			if app.Spec.Autoscaling.Mode == v1alpha1.ScalingAuto {
				return errors.New("the autoscaler decides how many pods there are: change autoscaling.minReplicas and maxReplicas, or its mode")
			}
			replicas := int32(n)
			app.Spec.Replicas = &replicas
			return nil
		}),
	}
}

func (c *cluster) action(use, short string, args int, change func(*v1alpha1.StreamsApplication, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			before := app.DeepCopy()
			if err := change(app, args); err != nil {
				return err
			}
			if err := c.client.Patch(cmd.Context(), app, client.MergeFrom(before)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "application %s is asked to %s; see: kubectl millrace status %s\n", app.Name, cmd.Name(), app.Name)
			return err
		},
	}
}

func resetCommand(c *cluster) *cobra.Command {
	var (
		spec v1alpha1.StreamsResetSpec
		keep bool
		wait time.Duration
	)
	cmd := &cobra.Command{
		Use: "reset APPLICATION", Short: "Plan to take an application back to the beginning of its input; do it with --execute", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Application, spec.DeleteVolumes = args[0], !keep
			if _, err := c.get(cmd.Context(), args[0]); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return c.reset(ctx, cmd.OutOrStdout(), spec)
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.To, "to", "earliest", "where offsets of the input are set: earliest, latest, a `time` as 2026-01-31T13:45:00Z, or a duration ago as PT1H")
	f.BoolVar(&spec.DeleteOutputTopics, "delete-output-topics", false, "delete the topics that it writes, too")
	f.BoolVar(&keep, "keep-volumes", false, "do not delete the volumes")
	f.BoolVar(&spec.Execute, "execute", false, "do it: all pods are stopped meanwhile")
	f.DurationVar(&wait, "timeout", 15*time.Minute, "how long to wait for it")
	return cmd
}

// reset makes a StreamsReset, and shows how far it is until it is planned, or done.
func (c *cluster) reset(ctx context.Context, out io.Writer, spec v1alpha1.StreamsResetSpec) error {
	r := &v1alpha1.StreamsReset{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, GenerateName: spec.Application + "-"}, Spec: spec}
	if err := c.client.Create(ctx, r); err != nil {
		return err
	}
	fmt.Fprintf(out, "reset %s\n", r.Name)
	last := "the operator has not begun it: is it running?"
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("reset %s goes on (%s), but was not waited for any longer: kubectl get sreset %s", r.Name, last, r.Name)
		}
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err
		}
		if now := fmt.Sprintf("%s: %s", r.Status.Phase, r.Status.Message); r.Status.Phase != "" && now != last {
			last = now
			fmt.Fprintln(out, now)
		}
		switch r.Status.Phase {
		case v1alpha1.ResetFailed:
			return errors.New("the reset has failed: " + r.Status.Message)
		case v1alpha1.ResetDone, v1alpha1.ResetPlanned:
			_, err := fmt.Fprintln(out, r.Status.Plan)
			return err
		}
	}
}
