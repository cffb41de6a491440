package runtime

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// keepStandbys begins to keep the standbys up to date that are new, and ends what is not wanted any more. Those that
// become active are left to start.
func (i *Instance) keepStandbys(active, standby []topology.TaskID) {
	for _, id := range sorted(i.slots) {
		s := i.slots[id]
		if !s.standby || slices.Contains(active, id) || slices.Contains(standby, id) {
			continue
		}
		i.log.Info("giving up a standby", "task", id)
		s.cancel()
		delete(i.slots, id)
		i.closeUnplaced(s)
	}
	for _, id := range standby {
		if i.slots[id] != nil {
			continue
		}
		s := &slot{id: id, standby: true, ended: make(chan struct{})}
		i.slots[id] = s
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		go func() {
			defer close(s.ended)
			i.follow(ctx, s)
		}()
	}
}

// follow keeps a standby up to date until ctx ends. Nothing that happens to a standby is a reason to stop: it tries
// again.
func (i *Instance) follow(ctx context.Context, s *slot) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		began := time.Now()
		err := i.openSlot(s)
		if err == nil {
			err = i.followOpen(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			pause = 100 * time.Millisecond
		}
		i.log.Warn("a standby cannot be kept up to date, trying again", "task", s.id, "error", err, "pause", pause)
		if s.run != nil && i.spoilt(err, s.id) {
			i.abandon(s.run, err)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (i *Instance) followOpen(ctx context.Context, s *slot) error {
	starts := make(map[assign.TopicPartition]start)
	var inputs []assign.TopicPartition
	for _, c := range s.run.Changelogs() {
		if c.Source {
			inputs = append(inputs, assign.TopicPartition{Topic: c.Topic, Partition: s.id.Partition})
		}
	}
	committed, err := i.committedOffsets(ctx, inputs)
	if err != nil {
		return err
	}
	for p, next := range committed {
		starts[p] = start{offset: next}
	}
	lend, kept := i.lendSlot(s, Standby)
	defer kept()
	return i.restorer.Follow(ctx, s.id, i.changelogs(s.run.Task, starts), lend)
}

// committedOffsets returns how far inputs are committed.
func (i *Instance) committedOffsets(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]int64, error) {
	committed, err := i.member.Committed(ctx, partitions)
	if err != nil {
		return nil, err
	}
	offsets := make(map[assign.TopicPartition]int64, len(committed))
	for p, c := range committed {
		offsets[p] = c.Offset
	}
	return offsets, nil
}

// fenceAbsent ends, besides, what members that are gone have left open: it is in the way of reading the offsets that
// they committed, and the changelogs.
func (i *Instance) fenceAbsent() {
	if !i.cfg.ExactlyOnce {
		return
	}
	i.background.wg.Go(func() {
		ctx, cancel := context.WithTimeout(i.background.Context, time.Minute)
		defer cancel()
		if err := i.member.FenceAbsent(ctx); err != nil && i.background.Err() == nil {
			i.log.Warn("cannot end the transactions of members that are gone; waiting until the broker does", "error", err)
		}
	})
}
