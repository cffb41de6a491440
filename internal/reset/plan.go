// Package reset takes an application back to the beginning of its input, or to another place: the offsets of its group are
// set, its internal topics and its state are deleted (Java: kafka-streams-application-reset). First there is a [Plan], which
// can be printed; then it may be executed.
package reset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options say what to reset.
type Options struct {
	Application  string
	Inputs       []string // whose offsets are set to To
	Intermediate []string // that the application writes and reads again: they are skipped to their ends
	Internal     []string // delete these internal topics only; none: all
	To           Target
	StateDir     string // of the application's processes on this machine; empty: none
	Force        bool   // remove the members of the group that are still there
}

// A Plan is what a reset does.
type Plan struct {
	Application string
	Members     []Member // of the group; it cannot be reset while there are any
	Moves       []Move
	Topics      []string // internal, to be deleted
	Dir         string   // to be deleted; empty: none
	Notes       []string // what is not as asked for

	force  bool
	client *kgo.Client
	admin  *kadm.Client
}

// A Member is an active member of the group.
type Member struct{ ID, Instance, Client, Host string }

func (m Member) String() string {
	static := ""
	if m.Instance != "" {
		static = fmt.Sprintf(", instance id %q", m.Instance)
	}
	return fmt.Sprintf("client %q at %s, member id %s%s", m.Client, m.Host, m.ID, static)
}

// A Move sets the committed offset of a partition. From is -1 where nothing is committed.
type Move struct {
	Topic     string
	Partition int32
	From, To  int64
	Why       string
}

// NewPlan finds out what a reset would do. It changes nothing.
func NewPlan(ctx context.Context, client *kgo.Client, o Options) (*Plan, error) {
	admin := kadm.NewClient(client)
	p := &Plan{Application: o.Application, force: o.Force, client: client, admin: admin}
	if o.Application == "" {
		return nil, errors.New("reset: the application id is empty")
	}
	var err error
	if p.Members, err = members(ctx, admin, o.Application); err != nil {
		return nil, err
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("reset: listing the topics: %w", err)
	}
	if err := p.planTopics(topics, o); err != nil {
		return nil, err
	}
	if err := p.planMoves(ctx, topics, o); err != nil {
		return nil, err
	}
	p.Dir, err = stateDir(o.StateDir, o.Application)
	return p, err
}

// members returns who is in the group; one that does not exist has none.
func members(ctx context.Context, admin *kadm.Client, group string) (out []Member, err error) {
	all, err := admin.DescribeGroups(ctx, group)
	if err == nil {
		err = all[group].Err
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reset: describing the group %q: %w", group, err)
	}
	for _, m := range all[group].Members {
		one := Member{ID: m.MemberID, Client: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/")}
		if m.InstanceID != nil {
			one.Instance = *m.InstanceID
		}
		out = append(out, one)
	}
	return out, nil
}

// internal are the names that Kafka Streams gives to internal topics, after the application's id and a dash
// (StreamsResetter.matchesInternalTopicFormat).
var internal = regexp.MustCompile(`-(changelog|repartition|subscription-registration-topic|subscription-response-topic|` +
	`KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic)$`)

func (p *Plan) planTopics(topics kadm.TopicDetails, o Options) error {
	for _, name := range topics.Names() {
		rest, ours := strings.CutPrefix(name, o.Application+"-")
		if ours && internal.MatchString("-"+rest) && !slices.Contains(o.Inputs, name) && !slices.Contains(o.Intermediate, name) {
			p.Topics = append(p.Topics, name)
		}
	}
	if len(o.Internal) == 0 {
		return nil
	}
	for _, name := range o.Internal {
		if !slices.Contains(p.Topics, name) {
			return fmt.Errorf("reset: %q is no internal topic of application %q; those are %s", name, o.Application, strings.Join(p.Topics, ", "))
		}
	}
	p.Topics = slices.Sorted(slices.Values(o.Internal))
	return nil
}

// planMoves says where each partition of the inputs goes.
func (p *Plan) planMoves(ctx context.Context, topics kadm.TopicDetails, o Options) error {
	names := slices.Concat(o.Inputs, o.Intermediate)
	var missing []string
	for _, name := range names {
		if !topics.Has(name) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("reset: these topics do not exist: %s; leave them out, or check the names", strings.Join(missing, ", "))
	}
	if len(names) == 0 {
		return nil
	}
	now, err := p.committed(ctx)
	if err != nil {
		return err
	}
	b, err := boundsOf(ctx, p.admin, names)
	if err != nil {
		return err
	}
	to, err := o.To.offsets(ctx, p.admin, o.Inputs, now, b)
	if err != nil {
		return err
	}
	why := map[string]string{}
	for _, name := range o.Intermediate {
		for _, n := range topics[name].Partitions.Numbers() {
			to[partition{name, n}] = b.ends[partition{name, n}]
			why[name] = "intermediate"
		}
	}
	for at, offset := range to {
		m := Move{Topic: at.topic, Partition: at.number, From: -1, To: min(max(offset, b.starts[at]), b.ends[at]), Why: why[at.topic]}
		if from, ok := now[at]; ok {
			m.From = from
		}
		if m.To != offset {
			p.Notes = append(p.Notes, fmt.Sprintf("%s-%d has no offset %d: its records are from %d to %d", at.topic, at.number, offset, b.starts[at], b.ends[at]))
		}
		p.Moves = append(p.Moves, m)
	}
	slices.Sort(p.Notes)
	slices.SortFunc(p.Moves, func(x, y Move) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return nil
}

func (p *Plan) committed(ctx context.Context) (map[partition]int64, error) {
	out := map[partition]int64{}
	all, err := p.admin.FetchOffsets(ctx, p.Application)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return out, nil
	}
	if err == nil {
		err = all.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("reset: reading the committed offsets of group %q: %w", p.Application, err)
	}
	all.Each(func(r kadm.OffsetResponse) {
		if r.At >= 0 {
			out[partition{r.Topic, r.Partition}] = r.At
		}
	})
	return out, nil
}
