package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/assign"
)

// askAgain is how long the group waits until it asks again for the ends of changelogs that could not be asked for.
const askAgain = time.Minute

// ends asks for the sums of the ends of the changelogs of each stateful task. One whose changelogs could not all be
// asked is left out, and the answer is not complete. The group waits for the answer, so there is a deadline: the leader sends no heartbeats meanwhile,
// and the members whose tasks wait for a new runner wait too.
func (g *Group) ends(ctx context.Context) (ends assign.Ends, complete bool) {
	ctx, cancel := context.WithTimeout(ctx, min(g.cfg.SessionTimeout, g.cfg.RebalanceTimeout)/3)
	defer cancel()
	var logs, sources []assign.TopicPartition
	ends = make(assign.Ends)
	for _, t := range g.cfg.Tasks {
		for _, c := range t.Changelogs {
			if c.Source {
				sources = append(sources, c.TopicPartition)
			} else {
				logs = append(logs, c.TopicPartition)
			}
		}
		if t.Stateful {
			ends[t.ID] = 0
		}
	}
	at := make(map[assign.TopicPartition]int64)
	var committed map[assign.TopicPartition]int64
	var logErr, sourceErr error
	var wg sync.WaitGroup
	wg.Go(func() { logErr = g.logEnds(ctx, logs, at) })
	wg.Go(func() { committed, sourceErr = g.sourceEnds(ctx, sources) })
	wg.Wait()
	for _, err := range []error{logErr, sourceErr} {
		if err != nil {
			g.log.Warn("the ends of changelogs are not known, so that their tasks stay where their state is for now", "error", err)
		}
	}
	for _, t := range g.cfg.Tasks {
		for _, c := range t.Changelogs {
			end, known := at[c.TopicPartition]
			if c.Source {
				end, known = committed[c.TopicPartition], sourceErr == nil
			}
			if !known {
				delete(ends, t.ID)
				break
			}
			ends[t.ID] += end
		}
	}
	return ends, logErr == nil && sourceErr == nil
}

// logEnds puts down the ends of partitions, as far as it learns them. One that does not exist yet ends at 0.
func (g *Group) logEnds(ctx context.Context, partitions []assign.TopicPartition, at map[assign.TopicPartition]int64) error {
	if len(partitions) == 0 {
		return nil
	}
	var topics []string
	for topic := range byTopic(partitions) {
		topics = append(topics, topic)
	}
	counts, err := g.client.Partitions(ctx, topics)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(slices.Clone(partitions), func(p assign.TopicPartition) bool {
		if p.Partition < counts[p.Topic] {
			return false
		}
		at[p] = 0
		return true
	})
	missing := slices.Clone(there)
	return g.client.retry(ctx, "the ends of changelogs", starting, func() error {
		err := g.client.listOffsets(ctx, missing, Latest, at)
		missing = slices.DeleteFunc(missing, func(p assign.TopicPartition) bool { _, ok := at[p]; return ok })
		if err != nil {
			return fmt.Errorf("kafka: the ends of %s: %w", list(missing), err)
		}
		return nil
	})
}

// sourceEnds returns how far inputs are committed from which stores are restored. What is about to be committed does
// not matter here, so that it is not waited for.
func (g *Group) sourceEnds(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]int64, error) {
	committed, err := g.fetchCommitted(ctx, partitions, false)
	out := make(map[assign.TopicPartition]int64, len(committed))
	for p, c := range committed {
		out[p] = c.Offset
	}
	return out, err
}
