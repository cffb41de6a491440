package kafka

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// assign is the leader's part of a rebalance. If it cannot read a member, it tells all of them that there is no
// assignment, as Java does: to run half a group would hide it.
func (g *Group) assign(resp *kmsg.JoinGroupResponse) []kmsg.SyncGroupRequestGroupAssignment {
	var members []assign.Member
	code := assign.ErrNone
	for _, m := range resp.Members {
		member, shutdown, err := parseMember(m)
		if err != nil {
			g.log.Error("cannot assign tasks: a member of the group is not understood", "member", m.MemberID, "error", err)
			code = assign.ErrAssignment
		}
		if shutdown {
			code = assign.ErrShutdownRequest
		}
		members = append(members, member)
	}
	shares := make(map[string]assign.Share)
	if code == assign.ErrNone {
		shares = assign.Group(g.cfg.Tasks, members, g.ends(members), assign.Options{AcceptableLag: math.MaxInt64}).Shares
	}
	var out []kmsg.SyncGroupRequestGroupAssignment
	for _, m := range members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.ID, g.encode(shares[m.ID], code)
		out = append(out, a)
	}
	g.log.Info("assigned the tasks as leader of the group", "members", len(members), "tasks", len(g.cfg.Tasks), "generation", resp.Generation)
	return out
}

// ends takes the most advanced state there is for the end of each changelog.
func (g *Group) ends(members []assign.Member) assign.Ends {
	ends := make(assign.Ends)
	for _, t := range g.cfg.Tasks {
		ends[t.ID] = 0
		for _, m := range members {
			ends[t.ID] = max(ends[t.ID], m.Sums[t.ID])
		}
	}
	return ends
}

func parseMember(m kmsg.JoinGroupResponseMember) (member assign.Member, shutdown bool, err error) {
	member.ID = m.MemberID
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(m.ProtocolMetadata); err != nil {
		return member, false, fmt.Errorf("kafka: its subscription: %w", err)
	}
	info, err := assign.ParseSubscription(meta.UserData)
	if err != nil {
		return member, false, err
	}
	member.Process, member.Sums, member.Generation = info.Process, info.Sums, meta.Generation
	member.Workers, _ = strconv.Atoi(info.Tags[workersTag])
	member.Workers = max(member.Workers, 1)
	for _, o := range meta.OwnedPartitions {
		for _, p := range o.Partitions {
			member.Owned = append(member.Owned, assign.TopicPartition{Topic: o.Topic, Partition: p})
		}
	}
	return member, info.Err == assign.ErrShutdownRequest, nil
}

// encode writes what a member gets: its partitions, and beside each the task that it is for.
func (g *Group) encode(share assign.Share, code int32) []byte {
	type input struct {
		assign.TopicPartition
		task topology.TaskID
	}
	var inputs []input
	for _, t := range g.cfg.Tasks {
		if slices.Contains(share.Tasks, t.ID) {
			for _, p := range t.Inputs {
				inputs = append(inputs, input{p, t.ID})
			}
		}
	}
	slices.SortFunc(inputs, func(a, b input) int { return a.Compare(b.TopicPartition) })
	info := assign.Assignment{Err: code, Rebalance: assign.NoRebalance}
	if len(share.Later) > 0 {
		info.Rebalance = 0
	}
	wire := kmsg.NewConsumerMemberAssignment()
	for _, in := range inputs {
		info.Active = append(info.Active, in.task)
		if n := len(wire.Topics); n == 0 || wire.Topics[n-1].Topic != in.Topic {
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic = in.Topic
			wire.Topics = append(wire.Topics, t)
		}
		t := &wire.Topics[len(wire.Topics)-1]
		t.Partitions = append(t.Partitions, in.Partition)
	}
	wire.UserData = info.AppendTo(nil)
	return wire.AppendTo(nil)
}

// parseAssignment reads what the leader gave this member. An empty one is what a member gets that the leader knows
// nothing of.
func parseAssignment(b []byte) (*assign.Assignment, error) {
	if len(b) == 0 {
		return &assign.Assignment{Rebalance: assign.NoRebalance}, nil
	}
	wire := kmsg.NewConsumerMemberAssignment()
	if err := wire.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("kafka: the assignment cannot be decoded: %w", err)
	}
	return assign.ParseAssignment(wire.UserData)
}
