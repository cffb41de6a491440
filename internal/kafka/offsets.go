package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
)

// Committed is the committed offset of a partition, and what is kept with it.
type Committed = struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// NotMember says that the member lost its place in the group: what it would commit may be another's by now.
type NotMember struct{ Err error }

func (e *NotMember) Error() string {
	return "kafka: not a member of the group any more: " + e.Err.Error()
}
func (e *NotMember) Unwrap() error { return e.Err }

// LostMembership lets others recognise the error without importing this package.
func (e *NotMember) LostMembership() {}

// Commit stores offsets as this member of the group. While the group rebalances it waits and tries again, with the
// generation as of then: the tasks are this member's until it has given them up. A *NotMember error says that they are
// not any more; any other that ctx ended or that the broker refuses.
func (g *Group) Commit(ctx context.Context, offsets map[assign.TopicPartition]Committed) error {
	if len(offsets) == 0 {
		return nil
	}
	term := g.term()
	err := g.client.retry(ctx, "a commit of offsets", g.commitAgain, func() error { return g.commit(ctx, term, offsets) })
	if errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) {
		return g.expelled(term, err)
	}
	if err != nil {
		return meaning(fmt.Errorf("kafka: committing offsets of group %q: %w", g.cfg.Group, err))
	}
	return nil
}

// expelled notes that the broker does not take a commit of the member, so that it joins anew even if it hears nothing of
// that otherwise.
func (g *Group) expelled(term int, err error) error {
	g.mu.Lock()
	if g.mu.term == term {
		g.mu.expelled = true
	}
	g.mu.Unlock()
	g.wantRejoin()
	return &NotMember{err}
}

// commitAgain says whether a commit is tried again. An illegal generation can mean that a rebalance ended that this
// member has not heard of yet, so it is for the membership to say that it is lost.
func (g *Group) commitAgain(err error) bool {
	var lost *NotMember
	return !errors.As(err, &lost) && (passing(err) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.RebalanceInProgress))
}

func (g *Group) term() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.term
}

// membership returns what a commit names the member by, now, unless the membership was lost since the term began.
func (g *Group) membership(term int) (member string, generation int32, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.term != term || g.mu.generation < 0 {
		return "", 0, &NotMember{errors.New("the membership was lost meanwhile")}
	}
	return g.mu.member, g.mu.generation, nil
}

func (g *Group) commit(ctx context.Context, term int, offsets map[assign.TopicPartition]Committed) (err error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	if req.MemberID, req.Generation, err = g.membership(term); err != nil {
		return err
	}
	req.Group, req.InstanceID = g.cfg.Group, g.instance()
	for topic, numbers := range byTopic(slices.Collect(maps.Keys(offsets))) {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = topic
		for _, n := range numbers {
			c := offsets[assign.TopicPartition{Topic: topic, Partition: n}]
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = n, c.Offset, c.LeaderEpoch, kmsg.StringPtr(c.Metadata)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.OffsetCommitResponse](ctx, g.client.Client, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("%s-%d at %d: %w", t.Topic, p.Partition, offsets[assign.TopicPartition{Topic: t.Topic, Partition: p.Partition}].Offset, err)
			}
		}
	}
	return nil
}

// Committed returns the committed offsets of partitions; one that has none is left out. It waits for transactions
// that are about to commit some.
func (g *Group) Committed(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]Committed, error) {
	return g.fetchCommitted(ctx, partitions, true)
}

func (g *Group) fetchCommitted(ctx context.Context, partitions []assign.TopicPartition, stable bool) (map[assign.TopicPartition]Committed, error) {
	out := make(map[assign.TopicPartition]Committed, len(partitions))
	if len(partitions) == 0 {
		return out, nil
	}
	err := g.client.retry(ctx, "the committed offsets of "+list(partitions), passing, func() error { return g.committed(ctx, partitions, stable, out) })
	if err != nil {
		return nil, meaning(fmt.Errorf("kafka: committed offsets of group %q: %w", g.cfg.Group, err))
	}
	return out, nil
}

func (g *Group) committed(ctx context.Context, partitions []assign.TopicPartition, stable bool, out map[assign.TopicPartition]Committed) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = g.cfg.Group
	for topic, numbers := range byTopic(partitions) {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, numbers
		group.Topics = append(group.Topics, t)
	}
	req.Groups = append(req.Groups, group)
	resp, err := request[*kmsg.OffsetFetchResponse](ctx, g.client.Client, req)
	if err != nil {
		return err
	}
	for _, gr := range resp.Groups {
		if err := kerr.ErrorForCode(gr.ErrorCode); err != nil {
			return err
		}
		for _, t := range gr.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, err)
				}
				if p.Offset < 0 {
					continue
				}
				c := Committed{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch}
				if p.Metadata != nil {
					c.Metadata = *p.Metadata
				}
				out[assign.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = c
			}
		}
	}
	return nil
}
