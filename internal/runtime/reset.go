package runtime

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// policyOf returns where to begin with an input of which nothing usable is committed.
func (i *Instance) policyOf(topic string) topology.Reset {
	if i.isRepartition(topic) {
		return topology.ResetEarliest // Java: internal topics are always read from the beginning
	}
	if r := i.cfg.Topology.ResetOf(topic); r != 0 {
		return r
	}
	return i.cfg.Reset
}

// reset returns where to begin with partitions of which nothing usable is committed.
func (i *Instance) reset(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]int64, error) {
	byPolicy := make(map[topology.Reset][]assign.TopicPartition)
	for _, p := range partitions {
		policy := i.policyOf(p.Topic)
		byPolicy[policy] = append(byPolicy[policy], p)
	}
	all := make(map[assign.TopicPartition]int64, len(partitions))
	for policy, some := range byPolicy {
		offsets, err := i.resetTo(ctx, policy, some)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, offsets)
	}
	return all, nil
}

func (i *Instance) resetTo(ctx context.Context, policy topology.Reset, partitions []assign.TopicPartition) (map[assign.TopicPartition]int64, error) {
	past, timed := policy.Before()
	switch {
	case policy == topology.ResetEarliest:
		return i.ports.Cluster.Offsets(ctx, partitions, earliest)
	case policy == topology.ResetLatest:
		return i.ports.Cluster.Offsets(ctx, partitions, latest)
	case !timed:
		return nil, fmt.Errorf("runtime: %v has no usable committed offset, and the reset policy is none; commit one, or allow "+
			"earliest or latest (option AutoOffsetReset, or From of the source)", partitions[0])
	}
	offsets, err := i.ports.Cluster.Offsets(ctx, partitions, time.Now().Add(-past).UnixMilli())
	if err != nil {
		return nil, err
	}
	var without []assign.TopicPartition // with nothing of that time or later
	for _, p := range partitions {
		if offsets[p] < 0 {
			without = append(without, p)
		}
	}
	if len(without) == 0 {
		return offsets, nil
	}
	ends, err := i.ports.Cluster.Offsets(ctx, without, latest)
	maps.Copy(offsets, ends)
	return offsets, err
}
