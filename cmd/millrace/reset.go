package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/reset"
)

// targets are the flags that say where inputs go; one at most is given.
type targets struct {
	earliest, latest         bool
	offset, shift            int64
	duration, datetime, file string
}

func resetCommand() *cobra.Command {
	var (
		cluster connection
		o       reset.Options
		to      targets
		execute bool
	)
	c := &cobra.Command{
		Use:   "reset --application ID --input-topics TOPIC,...",
		Short: "Take an application back to the beginning of its input",
		Long: "Take an application back, so that it processes its input again: the offsets of its input topics are set, its\n" +
			"internal topics, which are named as it is, are deleted, and its local state is. It must not run. What it has\n" +
			"written to output topics stays.\n\n" +
			"Prints what it would do; does it with --execute.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.To, err = to.target(cmd); err != nil {
				return err
			}
			client, err := cluster.open(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			plan, err := reset.NewPlan(cmd.Context(), client, o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if err := plan.Print(out); err != nil {
				return err
			}
			if !execute {
				_, err = fmt.Fprintln(out, "nothing is done yet; --execute does it")
				return err
			}
			return plan.Execute(cmd.Context(), func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
		},
	}
	cluster.flags(c)
	f := c.Flags()
	f.StringVar(&o.Application, "application", "", "`id` of the application")
	f.StringSliceVar(&o.Inputs, "input-topics", nil, "`topics` that it reads, whose offsets are set")
	f.StringSliceVar(&o.Intermediate, "intermediate-topics", nil, "`topics` that it writes and reads, which are skipped to their ends")
	f.StringSliceVar(&o.Internal, "internal-topics", nil, "delete only these internal `topics` (default: all)")
	f.StringVar(&o.StateDir, "state-dir", "", "`directory` for state (option StateDir), in which the application's is deleted")
	f.BoolVar(&o.Force, "force", false, "remove active members from the group first")
	f.BoolVar(&execute, "execute", false, "do it")
	to.flags(c)
	if err := c.MarkFlagRequired("application"); err != nil {
		panic(err)
	}
	return c
}

func (t *targets) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&t.earliest, "to-earliest", false, "set offsets to the beginning (default)")
	f.BoolVar(&t.latest, "to-latest", false, "set offsets to the end")
	f.Int64Var(&t.offset, "to-offset", 0, "set offsets to `n`")
	f.Int64Var(&t.shift, "shift-by", 0, "move offsets by `n`, forward or, if negative, back")
	f.StringVar(&t.duration, "by-duration", "", "set offsets to the records since a `duration` ago: 90m, P1DT30M")
	f.StringVar(&t.datetime, "to-datetime", "", "set offsets to the records since a `time`: 2026-01-31T13:45:00.000")
	f.StringVar(&t.file, "from-file", "", "set offsets to those of a `file` with lines of topic,partition,offset")
	c.MarkFlagsMutuallyExclusive("to-earliest", "to-latest", "to-offset", "shift-by", "by-duration", "to-datetime", "from-file")
}

func (t *targets) target(c *cobra.Command) (reset.Target, error) {
	given := c.Flags().Changed
	switch {
	case given("to-latest"):
		return reset.Latest(), nil
	case given("to-offset"):
		if t.offset < 0 {
			return reset.Target{}, errors.New("--to-offset cannot be negative")
		}
		return reset.Offset(t.offset), nil
	case given("shift-by"):
		return reset.Shift(t.shift), nil
	case given("by-duration"):
		ago, err := reset.ParseDuration(t.duration)
		return reset.Since(time.Now().Add(-ago)), err
	case given("to-datetime"):
		at, err := reset.ParseTime(t.datetime)
		return reset.Since(at), err
	case given("from-file"):
		f, err := os.Open(t.file)
		if err != nil {
			return reset.Target{}, err
		}
		defer f.Close()
		return reset.File(f)
	}
	return reset.Earliest(), nil
}
