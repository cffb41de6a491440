package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/reset"
	"github.com/millrace/millrace/topology"
)

// resetPatience is how long a reset may take.
const resetPatience = 10 * time.Minute

// resetApplication takes the program's own application back, as MILLRACE_RESET and its companions say: what it reads and writes it
// knows itself. What it would do, or has done, is written to out and where Kubernetes reads it.
func resetApplication(ctx context.Context, t *topology.Topology, e environment, out io.Writer) error {
	mode := e["MILLRACE_RESET"]
	if mode != "plan" && mode != "run" {
		return fmt.Errorf("pod: MILLRACE_RESET=%s; it can be plan or run", mode)
	}
	to, err := resetTarget(e["MILLRACE_RESET_TO"])
	if err != nil {
		return fmt.Errorf("pod: MILLRACE_RESET_TO=%s: %w", e["MILLRACE_RESET_TO"], err)
	}
	opts, err := e.security()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(words(e["KAFKA_BOOTSTRAP_SERVERS"])...), kgo.ClientID("millrace-reset"))...)
	if err != nil {
		return fmt.Errorf("pod: KAFKA_BOOTSTRAP_SERVERS=%s: %w", e["KAFKA_BOOTSTRAP_SERVERS"], err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, resetPatience)
	defer cancel()
	topics, err := topicsOf(ctx, t, kadm.NewClient(client))
	if err != nil {
		return err
	}
	plan, err := reset.NewPlan(ctx, client, reset.Options{
		Application: e["KAFKA_APPLICATION_ID"], Inputs: topics.inputs, Intermediate: topics.through, To: to, StateDir: e["KAFKA_STATE_DIR"],
		Force: e["MILLRACE_RESET_FORCE"] == "true",
	})
	if err != nil {
		return err
	}
	if e["MILLRACE_RESET_OUTPUTS"] == "true" {
		plan.Topics = append(plan.Topics, topics.outputs...)
	}
	var said bytes.Buffer
	if err := plan.Print(&said); err != nil {
		return err
	}
	if _, err := out.Write(said.Bytes()); err != nil {
		return err
	}
	if mode == "run" {
		err = plan.Execute(ctx, func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
	}
	if err != nil {
		return errors.Join(err, lastWords([]byte(err.Error())))
	}
	return lastWords(said.Bytes())
}

func resetTarget(to string) (reset.Target, error) {
	switch to {
	case "", "earliest":
		return reset.Earliest(), nil
	case "latest":
		return reset.Latest(), nil
	}
	if to[0] == 'P' {
		ago, err := reset.ParseDuration(to)
		return reset.Since(time.Now().Add(-ago)), err
	}
	at, err := time.Parse(time.RFC3339, to)
	if err != nil {
		at, err = reset.ParseTime(to)
	}
	return reset.Since(at), err
}

// topics are those that a program reads and writes, but for the application's own.
type topics struct {
	inputs  []string
	through []string // it writes them and reads them again
	outputs []string
}

// topicsOf returns those that there are.
func topicsOf(ctx context.Context, t *topology.Topology, admin *kadm.Client) (topics, error) {
	there, err := admin.ListTopics(ctx)
	if err != nil {
		return topics{}, fmt.Errorf("pod: listing the topics: %w", err)
	}
	var read, own, written []string
	for _, sub := range t.Outline().Subtopologies {
		own = append(own, sub.Repartition...)
		written = append(written, sub.Sinks...)
	}
	for _, sub := range t.Subtopologies() {
		for _, n := range sub.Nodes {
			switch {
			case n.Kind != topology.SourceNode || sub.Global != "":
			case n.Pattern != "":
				matches := regexp.MustCompile("^(?:" + n.Pattern + ")$") // the program was built with it
				read = append(read, slices.DeleteFunc(there.Names(), func(name string) bool { return !matches.MatchString(name) })...)
			default:
				read = append(read, n.Topics...)
			}
		}
	}
	var out topics
	for _, list := range []*[]string{&read, &written} {
		slices.Sort(*list)
		*list = slices.DeleteFunc(slices.Compact(*list), func(name string) bool { return slices.Contains(own, name) || !there.Has(name) })
	}
	for _, name := range read {
		if slices.Contains(written, name) {
			out.through = append(out.through, name)
		} else {
			out.inputs = append(out.inputs, name)
		}
	}
	out.outputs = slices.DeleteFunc(written, func(name string) bool { return slices.Contains(read, name) })
	return out, nil
}
