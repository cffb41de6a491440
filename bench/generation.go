package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const groupsTopic = "__consumer_offsets"

// generation returns the number of a group's generation, which each rebalance raises, as its coordinator wrote it down.
func (b *bench) generation(ctx context.Context, group string) (int32, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.KeepControlRecords())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, groupsTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("the end of %s: %w", groupsTopic, err)
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{groupsTopic: from})
	generation := int32(-1)
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return 0, fmt.Errorf("reading %s: %w", groupsTopic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if g, ok := generationOf(r, group); ok {
				generation = g
			}
		})
	}
	if generation < 0 {
		return 0, fmt.Errorf("%s does not tell of the group %s", groupsTopic, group)
	}
	return generation, nil
}

func generationOf(r *kgo.Record, group string) (int32, bool) {
	var key kmsg.GroupMetadataKey
	if len(r.Key) < 2 || r.Key[0] != 0 || r.Key[1] != 2 || key.ReadFrom(r.Key) != nil || key.Group != group || r.Value == nil {
		return 0, false
	}
	value := kmsg.NewGroupMetadataValue()
	if value.ReadFrom(r.Value) != nil {
		return 0, false
	}
	return value.Generation, true
}
