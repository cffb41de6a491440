package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// The ends of a partition, for Cluster.Offsets.
const (
	earliest int64 = -2
	latest   int64 = -1
)

// prepareTopics lays the topology over the cluster's topics, makes the internal ones that are missing, and checks those
// that exist. It returns when all new ones can be written to.
func prepareTopics(ctx context.Context, c Cluster, application string, topo *topology.Topology, replication int16, log *slog.Logger) (*Layout, error) {
	inputs, internal := TopicNames(application, topo)
	existing, err := c.Partitions(ctx, slices.Concat(inputs, internal))
	if err != nil {
		return nil, err
	}
	layout, err := Lay(application, topo, existing)
	if err != nil {
		return nil, err
	}
	var missing, present []InternalTopic
	for _, t := range layout.Internal {
		if _, ok := existing[t.Name]; ok {
			present = append(present, t)
		} else {
			missing = append(missing, t)
		}
	}
	// The two have nothing to do with each other; only the start waits for both.
	var wg sync.WaitGroup
	var created, checked error
	wg.Go(func() { created = createTopics(ctx, c, missing, replication, log) })
	wg.Go(func() { checked = checkTopics(ctx, c, present, existing) })
	wg.Wait()
	return layout, errors.Join(checked, created)
}

func createTopics(ctx context.Context, c Cluster, topics []InternalTopic, replication int16, log *slog.Logger) error {
	if len(topics) == 0 {
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, len(topics))
	var partitions []assign.TopicPartition
	for i, t := range topics {
		wg.Go(func() { errs[i] = c.CreateTopic(ctx, t.Name, t.Partitions, replication, t.Config) })
		for p := range t.Partitions {
			partitions = append(partitions, assign.TopicPartition{Topic: t.Name, Partition: p})
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("runtime: an internal topic cannot be created; the application needs CREATE on its topics, and as many "+
			"brokers as the replication factor (option ReplicationFactor): %w", err)
	}
	if _, err := c.Offsets(ctx, partitions, latest); err != nil {
		return fmt.Errorf("runtime: internal topics were created, but not all can be used: %w", err)
	}
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
		log.Info("created an internal topic", "topic", t.Name, "partitions", t.Partitions, "config", t.Config)
	}
	counts, err := c.Partitions(ctx, names) // another instance may have been faster, with another idea of it
	if err != nil {
		return err
	}
	return checkCounts(topics, counts)
}

func checkTopics(ctx context.Context, c Cluster, topics []InternalTopic, counts map[string]int32) error {
	if len(topics) == 0 {
		return nil
	}
	if err := checkCounts(topics, counts); err != nil {
		return err
	}
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	policies, err := c.TopicConfig(ctx, names, "cleanup.policy")
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range topics {
		have, want := policies[t.Name], t.Config["cleanup.policy"]
		if have == "" || samePolicy(have, want) {
			continue
		}
		errs = append(errs, fmt.Errorf("runtime: the internal topic %q has cleanup.policy=%s, but the application needs %s: otherwise %s; "+
			"correct it with: kafka-configs --alter --entity-type topics --entity-name %s --add-config cleanup.policy=[%s]",
			t.Name, have, want, policyDanger(t), t.Name, want))
	}
	return errors.Join(errs...)
}

func policyDanger(t InternalTopic) string {
	if t.Changelog {
		return "state that is not on disk could not be restored from it, or it would grow without end"
	}
	return "records that are not processed yet could be lost"
}

func checkCounts(topics []InternalTopic, counts map[string]int32) error {
	var errs []error
	for _, t := range topics {
		if n, ok := counts[t.Name]; ok && n != t.Partitions {
			errs = append(errs, fmt.Errorf("runtime: the internal topic %q has %d partitions, but the application needs %d: the partitions of "+
				"what it reads have changed, or another program made it; state and records in flight are spread over the old number, so "+
				"reset the application (delete its internal topics and its state), or run it under another application id",
				t.Name, n, t.Partitions))
		}
	}
	return errors.Join(errs...)
}

// samePolicy compares lists like "compact,delete".
func samePolicy(a, b string) bool {
	split := func(s string) []string {
		parts := strings.Split(strings.ReplaceAll(s, " ", ""), ",")
		slices.Sort(parts)
		return parts
	}
	return slices.Equal(split(a), split(b))
}
