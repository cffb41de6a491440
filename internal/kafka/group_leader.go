package kafka

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A subscriber is a member as the leader knows it.
type subscriber struct {
	assign.Member
	endpoint assign.Endpoint // where it answers queries; none if it has no host
	shutdown bool            // it wants all members to stop
}

// drainAgain is how long the group waits until it looks again whether the tasks of a process that is draining can move.
const drainAgain = 5 * time.Second

// assign is the leader's part of a rebalance. If it cannot read a member, it tells all of them that there is no
// assignment, as Java does: to run half a group would hide it.
func (g *Group) assign(ctx context.Context, resp *kmsg.JoinGroupResponse) []kmsg.SyncGroupRequestGroupAssignment {
	var group []subscriber
	var members []assign.Member
	code := assign.ErrNone
	for _, m := range resp.Members {
		s, err := parseMember(m)
		if err != nil {
			g.log.Error("cannot assign tasks: a member of the group is not understood", "member", m.MemberID, "error", err)
			code = assign.ErrAssignment
		}
		if s.shutdown {
			code = assign.ErrShutdownRequest
		}
		group, members = append(group, s), append(members, s.Member)
	}
	var plan assign.Plan
	wait := g.cfg.ProbingInterval
	if code == assign.ErrNone {
		ends, complete := g.ends(ctx)
		if !complete { // that is no work in progress, and soon over
			wait = min(wait, askAgain)
		}
		plan = assign.Group(g.cfg.Tasks, members, ends, g.cfg.Placement)
		if slices.ContainsFunc(members, func(m assign.Member) bool { return m.Draining }) { // somebody waits for it
			wait = min(wait, drainAgain)
		}
	}
	info := assign.Assignment{Err: code}
	info.Hosts, info.Replicas = g.hosts(group, plan)
	var out []kmsg.SyncGroupRequestGroupAssignment
	standbys := 0
	for _, m := range members {
		share := plan.Shares[m.ID]
		standbys += len(share.Standbys)
		info.Rebalance = assign.NoRebalance
		switch {
		case len(share.Later) > 0:
			info.Rebalance = 0
		case plan.Probe && m.ID == resp.MemberID: // one member is enough
			info.Rebalance = time.Now().Add(wait).UnixMilli()
		}
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.ID, g.encode(share, info)
		out = append(out, a)
	}
	g.log.Info("assigned the tasks as leader of the group", "members", len(members), "tasks", len(g.cfg.Tasks), "standbys", standbys,
		"final", !plan.Probe, "generation", resp.Generation)
	return out
}

func parseMember(m kmsg.JoinGroupResponseMember) (s subscriber, err error) {
	s.ID = m.MemberID
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(m.ProtocolMetadata); err != nil {
		return s, fmt.Errorf("kafka: its subscription: %w", err)
	}
	info, err := assign.ParseSubscription(meta.UserData)
	if err != nil {
		return s, err
	}
	s.Process, s.Sums, s.Generation = info.Process, info.Sums, meta.Generation
	s.Workers, _ = strconv.Atoi(info.Tags[workersTag])
	s.Workers = max(s.Workers, 1)
	_, s.Draining = info.Tags[drainingTag]
	delete(info.Tags, workersTag)
	delete(info.Tags, drainingTag)
	s.Tags = info.Tags
	for _, o := range meta.OwnedPartitions {
		for _, p := range o.Partitions {
			s.Owned = append(s.Owned, assign.TopicPartition{Topic: o.Topic, Partition: p})
		}
	}
	s.endpoint = parseEndpoint(info.Endpoint)
	s.shutdown = info.Err == assign.ErrShutdownRequest
	return s, nil
}

// parseEndpoint reads host:port; what is not of that form is none.
func parseEndpoint(text string) assign.Endpoint {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return assign.Endpoint{}
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return assign.Endpoint{}
	}
	return assign.Endpoint{Host: host, Port: int32(n)}
}

// hosts says what each endpoint has: the inputs of the tasks that it runs, or will once they are given up elsewhere, and
// of its standbys. A member with an endpoint that finds itself missing asks for a rebalance.
func (g *Group) hosts(group []subscriber, plan assign.Plan) (active, standby map[assign.Endpoint][]assign.TopicPartition) {
	active = make(map[assign.Endpoint][]assign.TopicPartition)
	standby = make(map[assign.Endpoint][]assign.TopicPartition)
	for _, m := range group {
		if m.endpoint.Host == "" {
			continue
		}
		share := plan.Shares[m.ID]
		active[m.endpoint] = append(active[m.endpoint], g.inputs(slices.Concat(share.Tasks, share.Later))...)
		standby[m.endpoint] = append(standby[m.endpoint], g.inputs(share.Standbys)...)
	}
	return active, standby
}

// encode writes what a member gets: its partitions, and beside each the task that it is for; its standbys; and what info
// has for it.
func (g *Group) encode(share assign.Share, info assign.Assignment) []byte {
	type input struct {
		assign.TopicPartition
		task topology.TaskID
	}
	var inputs []input
	info.Standby = make(map[topology.TaskID][]assign.TopicPartition)
	for _, t := range g.cfg.Tasks {
		if slices.Contains(share.Tasks, t.ID) {
			for _, p := range t.Inputs {
				inputs = append(inputs, input{p, t.ID})
			}
		}
		if slices.Contains(share.Standbys, t.ID) {
			info.Standby[t.ID] = t.Inputs
		}
	}
	slices.SortFunc(inputs, func(a, b input) int { return a.Compare(b.TopicPartition) })
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
