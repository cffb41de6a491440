package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// GroupConfig is what a member says of itself and wants.
type GroupConfig struct {
	Group      string // the application id
	InstanceID string // of a static member (KIP-345), or empty
	Process    assign.ProcessID
	Workers    int           // to begin with
	Topics     []string      // what the application reads, repartition topics included, sorted
	Tasks      []assign.Task // of the whole application
	Sums       func() map[topology.TaskID]int64
	Tags       map[string]string // where the process is (client.tag.*)
	Former     string            // what this process was called in the group before it ended without leaving, or empty
	Remember   func(string)      // keeps what it is called, for the next time; nil: nobody does
	Endpoint   string            // host:port where it answers queries (application.server), or empty

	// Placement is what the group's assignment shall be like, where this member is the leader. ProbingInterval is how
	// long the group then waits before it looks whether tasks can move that wait for their state
	// (probing.rebalance.interval.ms).
	Placement       assign.Options
	ProbingInterval time.Duration

	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	RebalanceTimeout  time.Duration // how long a rebalance waits for a member
	Log               *slog.Logger
}

// A Group is the membership of this process in the group of its application, by the classic protocol: type "consumer",
// one protocol "stream", cooperative (StreamsPartitionAssignor). A rebalance leaves the tasks that stay running.
type Group struct {
	client *Client
	cfg    GroupConfig
	log    *slog.Logger
	unique int8
	tasks  []topology.TaskID // what this member runs, as far as the group knows
	rejoin chan struct{}     // cap 1: the member has something to say that a rebalance must hear

	mu struct {
		sync.Mutex
		member     string
		generation int32
		term       int // counts how often the membership was lost
		workers    int
		draining   bool // it shall have nothing
		shutdown   bool // all members are to shut down
		expelled   bool // a commit was refused, so the member is to join anew

		// By the last assignment, what each process with an endpoint has.
		hosts, replicas map[assign.Endpoint][]assign.TopicPartition
	}
}

// The protocol of the group.
const (
	protocolType = "consumer"
	protocolName = "stream"
	workersTag   = "millrace.workers"  // says how many workers a process has; Java's members have one each
	drainingTag  = "millrace.draining" // is there where a process shall have nothing
)

// NewGroup makes a membership; it begins with Run.
func NewGroup(client *Client, cfg GroupConfig) *Group {
	g := &Group{client: client, cfg: cfg, log: cfg.Log, rejoin: make(chan struct{}, 1)}
	g.mu.generation, g.mu.workers = -1, cfg.Workers
	return g
}

// Events is what happens to a member. They are called by the goroutine of Run, one at a time, while it goes on sending
// heartbeats.
type Events = struct {
	// Revoked is called with tasks that go to another member. When it returns, they are not read, processed or
	// committed any more: they may start elsewhere.
	Revoked func(tasks []topology.TaskID)

	// Assigned is called after each rebalance with all tasks that the member runs from now on, and those of which it
	// keeps a standby.
	Assigned func(active, standby []topology.TaskID)

	// Lost is called when the group has gone on without this member: others may run its tasks by now, and nothing of
	// them may be committed.
	Lost func()
}

// SetWorkers tells the group that the member has another number of workers, so that it is given as many tasks.
func (g *Group) SetWorkers(n int) {
	g.mu.Lock()
	g.mu.workers = n
	g.mu.Unlock()
	g.wantRejoin()
}

// SetDraining tells the group whether the member shall have nothing, which a leader written in Java does not understand.
func (g *Group) SetDraining(on bool) {
	g.mu.Lock()
	g.mu.draining = on
	g.mu.Unlock()
	g.wantRejoin()
}

// ShutDownAll asks all members to shut down, this one among them: Run returns then (SHUTDOWN_APPLICATION, KIP-671).
func (g *Group) ShutDownAll() {
	g.mu.Lock()
	g.mu.shutdown = true
	g.mu.Unlock()
	g.wantRejoin()
}

// Hosts returns the inputs of what each process with an endpoint runs, and of what it keeps a copy of, by the last
// assignment. They are not to be changed.
func (g *Group) Hosts() (active, standby map[assign.Endpoint][]assign.TopicPartition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.hosts, g.mu.replicas
}

func (g *Group) wantRejoin() {
	select {
	case g.rejoin <- struct{}{}:
	default:
	}
}

// Run joins the group and stays in it until ctx ends, which is not an error. It does not leave: see Leave.
func (g *Group) Run(ctx context.Context, ev Events) error {
	g.leaveFormer(ctx)
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := g.session(ctx, ev)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			pause = 50 * time.Millisecond
			continue
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
			g.log.Warn("the group went on without this member, joining anew", "error", err)
			g.lost(ev.Lost, errors.Is(err, kerr.UnknownMemberID))
		case fatalToMember(err):
			return g.explain(err)
		default:
			g.log.Warn("trouble with the group, trying again", "error", err, "pause", pause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
	return nil
}

// fatalToMember reports whether joining again cannot help.
func fatalToMember(err error) bool {
	for _, fatal := range []error{
		kerr.FencedInstanceID, kerr.GroupMaxSizeReached, kerr.InconsistentGroupProtocol, kerr.InvalidSessionTimeout,
		kerr.GroupAuthorizationFailed, kerr.InvalidGroupID, kerr.UnsupportedVersion, kerr.SaslAuthenticationFailed,
		errAssignment, errShutdown,
	} {
		if errors.Is(err, fatal) {
			return true
		}
	}
	return false
}

var (
	errAssignment = errors.New("the leader of the group could not assign tasks; its log says why")
	errShutdown   = errors.New("a member of the group asked all members to shut down")
)

func (g *Group) explain(err error) error {
	remedy := ""
	switch {
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		remedy = "; the group has members that speak another protocol: a plain consumer with the same group id, or an application " +
			"that uses the streams protocol; stop them, or choose another application id"
	case errors.Is(err, kerr.InvalidSessionTimeout):
		remedy = fmt.Sprintf("; the broker does not allow %v (option SessionTimeout): see its group.min.session.timeout.ms and group.max.session.timeout.ms",
			g.cfg.SessionTimeout)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		remedy = "; the principal needs READ on the group"
	case errors.Is(err, kerr.FencedInstanceID):
		remedy = fmt.Sprintf("; another process uses the instance id %q", g.cfg.InstanceID)
	default:
		_, err = withRemedy(err)
	}
	return fmt.Errorf("kafka: group %q: %w%s", g.cfg.Group, err, remedy)
}

func (g *Group) lost(lost func(), unknown bool) {
	g.mu.Lock()
	g.mu.generation = -1
	g.mu.term++
	g.mu.expelled = false
	if unknown {
		g.mu.member = ""
	}
	g.mu.Unlock()
	if len(g.tasks) > 0 {
		g.tasks = nil
		lost()
	}
}

// session is one round: join, sync, give up what was revoked, and heartbeats until the next rebalance. No error means
// that it is time to join again.
func (g *Group) session(ctx context.Context, ev Events) error {
	a, err := g.join(ctx)
	if err != nil {
		if errors.Is(err, kerr.RebalanceInProgress) {
			return nil
		}
		return err
	}
	switch a.Err {
	case assign.ErrNone:
	case assign.ErrShutdownRequest:
		return errShutdown
	case assign.ErrMissingSource:
		return fmt.Errorf("%w: it says that a source topic is missing", errAssignment)
	default:
		return fmt.Errorf("%w (code %d)", errAssignment, a.Err)
	}
	g.mu.Lock()
	g.mu.hosts, g.mu.replicas = a.Hosts, a.Replicas
	g.mu.Unlock()
	now := slices.Clone(a.Active)
	slices.SortFunc(now, topology.TaskID.Compare)
	now = slices.Compact(now)
	var revoked []topology.TaskID
	for _, id := range g.tasks {
		if !slices.Contains(now, id) {
			revoked = append(revoked, id)
		}
	}
	standbys := slices.SortedFunc(maps.Keys(a.Standby), topology.TaskID.Compare)
	g.log.Info("joined the group", "generation", g.generation(), "tasks", len(now), "standbys", len(standbys), "revoked", len(revoked))
	if len(revoked) > 0 {
		if err := g.beatWhile(ctx, func() { ev.Revoked(revoked) }); err != nil {
			return err
		}
	}
	g.tasks = now
	if err := g.beatWhile(ctx, func() { ev.Assigned(slices.Clone(now), standbys) }); err != nil {
		return err
	}
	if len(revoked) > 0 {
		return nil // join again, so that others can be given what was revoked (KIP-429)
	}
	mine := parseEndpoint(g.cfg.Endpoint)
	if _, known := a.Hosts[mine]; mine.Host != "" && len(a.Hosts) > 0 && !known { // of a static member that came back, say
		g.log.Info("the group does not know the endpoint of this process yet, asking for a rebalance", "endpoint", g.cfg.Endpoint)
		a.Rebalance = 0
	}
	return g.beat(ctx, a.Rebalance)
}

// join sends JoinGroup and SyncGroup, and assigns in between where this member is the leader.
func (g *Group) join(ctx context.Context) (*assign.Assignment, error) {
	w := g.client.wait("the members of the group, and what each is assigned")
	defer w.end()
	resp, err := g.joinGroup(ctx)
	if err != nil {
		return nil, err
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.Generation, sync.MemberID, sync.InstanceID = g.cfg.Group, resp.Generation, resp.MemberID, g.instance()
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr(protocolType), kmsg.StringPtr(protocolName)
	if resp.LeaderID == resp.MemberID && !resp.SkipAssignment {
		sync.GroupAssignment = g.assign(ctx, resp)
	}
	sresp, err := request[*kmsg.SyncGroupResponse](ctx, g.client.Client, sync)
	if err == nil {
		err = kerr.ErrorForCode(sresp.ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	return parseAssignment(sresp.MemberAssignment)
}

func (g *Group) joinGroup(ctx context.Context) (*kmsg.JoinGroupResponse, error) {
	for {
		g.mu.Lock()
		member, generation := g.mu.member, g.mu.generation
		g.mu.Unlock()
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.InstanceID, req.ProtocolType = g.cfg.Group, member, g.instance(), protocolType
		req.SessionTimeoutMillis = int32(g.cfg.SessionTimeout.Milliseconds())
		req.RebalanceTimeoutMillis = int32(g.cfg.RebalanceTimeout.Milliseconds())
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = protocolName, g.subscription(generation)
		req.Protocols = append(req.Protocols, p)
		resp, err := request[*kmsg.JoinGroupResponse](ctx, g.client.Client, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		switch {
		case errors.Is(err, kerr.MemberIDRequired): // the broker names the member (KIP-394)
			g.mu.Lock()
			g.mu.member = resp.MemberID
			g.mu.Unlock()
			g.remember(resp.MemberID)
			continue
		case err != nil:
			return nil, err
		}
		g.mu.Lock()
		g.mu.member, g.mu.generation = resp.MemberID, resp.Generation
		g.mu.Unlock()
		return resp, nil
	}
}

// subscription is what the member says of itself when it joins.
func (g *Group) subscription(generation int32) []byte {
	g.unique++
	info := assign.Subscription{
		Process: g.cfg.Process, Endpoint: g.cfg.Endpoint, Sums: g.cfg.Sums(), Unique: g.unique,
	}
	g.mu.Lock()
	info.Tags = map[string]string{workersTag: fmt.Sprint(g.mu.workers)}
	if g.mu.draining {
		info.Tags[drainingTag] = "true"
	}
	if g.mu.shutdown {
		info.Err = assign.ErrShutdownRequest
	}
	g.mu.Unlock()
	maps.Copy(info.Tags, g.cfg.Tags)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation = 3, g.cfg.Topics, generation
	meta.UserData = info.AppendTo(nil)
	for topic, numbers := range byTopic(g.inputs(g.tasks)) {
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = topic, numbers
		meta.OwnedPartitions = append(meta.OwnedPartitions, o)
	}
	slices.SortFunc(meta.OwnedPartitions, func(a, b kmsg.ConsumerMemberMetadataOwnedPartition) int {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	})
	return meta.AppendTo(nil)
}

func (g *Group) inputs(tasks []topology.TaskID) (out []assign.TopicPartition) {
	for _, t := range g.cfg.Tasks {
		if slices.Contains(tasks, t.ID) {
			out = append(out, t.Inputs...)
		}
	}
	return out
}

func (g *Group) instance() *string {
	if g.cfg.InstanceID == "" {
		return nil
	}
	return &g.cfg.InstanceID
}

func (g *Group) generation() int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.generation
}

// beatWhile sends heartbeats while f runs. That a rebalance began meanwhile is seen later.
func (g *Group) beatWhile(ctx context.Context, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(g.cfg.HeartbeatInterval)
	defer tick.Stop()
	var lost error
	for {
		select {
		case <-done:
			return lost
		case <-tick.C:
			err := g.heartbeat(ctx)
			if err != nil && lost == nil && !errors.Is(err, kerr.RebalanceInProgress) && !passing(err) && ctx.Err() == nil {
				lost = err
			}
		}
	}
}

// beat sends heartbeats until the group rebalances, which is no error. Just after a rebalance the next one is most
// likely, as tasks move in two steps; so it first asks often, then at the heartbeat interval. A coordinator that cannot
// be reached is no reason to join anew, which would make all members do so, unless the session is over. at is when the
// leader wants this member to ask for a rebalance, in milliseconds since the epoch.
func (g *Group) beat(ctx context.Context, at int64) error {
	var rebalance <-chan time.Time
	if at != assign.NoRebalance {
		// At once means: when those who have to give something up have done so and joined again. They do that by
		// themselves; this is for the case that they do not.
		rebalance = time.After(max(time.Until(time.UnixMilli(at)), 2*g.cfg.HeartbeatInterval))
	}
	pause := min(50*time.Millisecond, g.cfg.HeartbeatInterval)
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rebalance:
			return nil
		case <-g.rejoin:
			g.mu.Lock()
			expelled := g.mu.expelled
			g.mu.Unlock()
			if expelled {
				return kerr.UnknownMemberID
			}
			return nil
		case <-time.After(pause):
		}
		switch err := g.heartbeat(ctx); {
		case err == nil:
			heard = time.Now()
		case errors.Is(err, kerr.RebalanceInProgress):
			return nil
		case !passing(err) || time.Since(heard) > g.cfg.SessionTimeout:
			return err
		default:
			g.log.Warn("a heartbeat was not answered", "error", err, "since", time.Since(heard).Round(time.Millisecond))
		}
		pause = min(2*pause, g.cfg.HeartbeatInterval)
	}
}

func (g *Group) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SessionTimeout)
	defer cancel()
	req := kmsg.NewPtrHeartbeatRequest()
	g.mu.Lock()
	req.MemberID, req.Generation = g.mu.member, g.mu.generation
	g.mu.Unlock()
	req.Group, req.InstanceID = g.cfg.Group, g.instance()
	resp, err := request[*kmsg.HeartbeatResponse](ctx, g.client.Client, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// remember notes the name that the group has given the member; that of a static member is not needed.
func (g *Group) remember(member string) {
	if g.cfg.Remember != nil && g.cfg.InstanceID == "" {
		g.cfg.Remember(member)
	}
}

// leaveFormer tells the group that the process of before is gone, if it ended without doing so, killed for example: else
// all would wait for it until its session times out.
func (g *Group) leaveFormer(ctx context.Context) {
	if g.cfg.Former == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SessionTimeout)
	defer cancel()
	err := g.leave(ctx, g.cfg.Former, "the process ended without leaving")
	switch {
	case err == nil:
		g.log.Info("told the group that the process of before is gone", "member", g.cfg.Former)
	case !errors.Is(err, kerr.UnknownMemberID):
		g.log.Warn("cannot tell the group that the process of before is gone; it waits for its session to time out", "error", err)
	}
}

// Leave tells the group that the member is gone, so that its tasks are given to others at once. A static member leaves
// only if static says so: else it is expected back within the session timeout.
func (g *Group) Leave(ctx context.Context, static bool) error {
	g.mu.Lock()
	member := g.mu.member
	g.mu.member, g.mu.generation = "", -1
	g.mu.Unlock()
	if member == "" || g.cfg.InstanceID != "" && !static {
		return nil
	}
	if err := g.leave(ctx, member, "the application shuts down"); err != nil {
		return err
	}
	g.remember("")
	return nil
}

// Remove tells the group that a static member is gone for good, so that nobody waits for its session to time out.
func (g *Group) Remove(ctx context.Context, instance string) error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID, m.Reason = &instance, kmsg.StringPtr("its process is gone for good")
	if err := g.giveUp(ctx, m); !errors.Is(err, kerr.UnknownMemberID) {
		return err
	}
	return nil
}

func (g *Group) leave(ctx context.Context, member, why string) error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID, m.Reason = member, g.instance(), kmsg.StringPtr(why)
	return g.giveUp(ctx, m)
}

func (g *Group) giveUp(ctx context.Context, m kmsg.LeaveGroupRequestMember) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = g.cfg.Group, m.MemberID
	req.Members = append(req.Members, m)
	resp, err := request[*kmsg.LeaveGroupResponse](ctx, g.client.Client, req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil && len(resp.Members) > 0 {
		err = kerr.ErrorForCode(resp.Members[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("kafka: leaving group %q: %w", g.cfg.Group, err)
	}
	return nil
}
