package reset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime"
)

// Print writes the plan as tables.
func (p *Plan) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(p.Moves) > 0 {
		fmt.Fprintf(t, "TOPIC\tPARTITION\tCOMMITTED\tNEW OFFSET\t\n")
		for _, m := range p.Moves {
			from := "none"
			if m.From >= 0 {
				from = fmt.Sprint(m.From)
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\n", m.Topic, m.Partition, from, m.To, m.Why)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range p.Notes {
		fmt.Fprintln(w, "note:", note)
	}
	for _, topic := range p.Topics {
		fmt.Fprintln(w, "delete topic", topic)
	}
	if p.Dir != "" {
		fmt.Fprintln(w, "delete directory", p.Dir)
	}
	if len(p.Moves)+len(p.Topics) == 0 && p.Dir == "" {
		fmt.Fprintln(w, "there is nothing to reset")
	}
	for _, m := range p.Members {
		fmt.Fprintln(w, "active member:", m)
	}
	return nil
}

// Execute does what the plan says, and tells of each step. A reset that was interrupted is finished by another one.
func (p *Plan) Execute(ctx context.Context, say func(format string, args ...any)) error {
	if p.Dir != "" {
		held, err := runtime.OpenStateDir(filepath.Dir(p.Dir), filepath.Base(p.Dir), slog.New(slog.DiscardHandler))
		if err != nil {
			return err // a process uses it
		}
		defer held.Close()
	}
	if err := p.empty(ctx, say); err != nil {
		return err
	}
	if err := p.move(ctx, say); err != nil {
		return err
	}
	if err := p.deleteTopics(ctx, say); err != nil {
		return err
	}
	if p.Dir == "" {
		return nil
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return fmt.Errorf("reset: deleting the state: %w", err)
	}
	say("deleted directory %s", p.Dir)
	return nil
}

// patience is how long the group may take to be empty.
const patience = 30 * time.Second

// empty sees to it that the group has no members: they would commit over what is reset.
func (p *Plan) empty(ctx context.Context, say func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	removed := false
	for {
		left, err := members(ctx, p.admin, p.Application)
		switch {
		case err != nil:
			return err
		case len(left) == 0:
			return nil
		case !p.force:
			return fmt.Errorf("reset: the group %q has %d active members, the first is %v; stop all processes of the application, or wait until "+
				"their sessions time out; --force removes them from the group", p.Application, len(left), left[0])
		case removed:
			return fmt.Errorf("reset: %v joined again after it was removed; stop all processes of the application", left[0])
		}
		if err := p.remove(ctx, left, say); err != nil {
			return err
		}
		removed = true
	}
}

// remove takes members out of the group.
func (p *Plan) remove(ctx context.Context, all []Member, say func(string, ...any)) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = p.Application
	for _, m := range all {
		one := kmsg.NewLeaveGroupRequestMember()
		if one.MemberID = m.ID; m.Instance != "" {
			one.MemberID, one.InstanceID = "", kmsg.StringPtr(m.Instance)
		}
		one.Reason = kmsg.StringPtr("the application is reset")
		req.Members = append(req.Members, one)
	}
	resp, err := req.RequestWith(ctx, p.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("reset: removing the members of group %q: %w", p.Application, err)
	}
	for _, m := range resp.Members {
		if err := kerr.ErrorForCode(m.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownMemberID) {
			return fmt.Errorf("reset: removing member %s of group %q: %w", m.MemberID, p.Application, err)
		}
	}
	for _, m := range all {
		say("removed from the group: %v", m)
	}
	return nil
}

// move commits the offsets.
func (p *Plan) move(ctx context.Context, say func(string, ...any)) error {
	if len(p.Moves) == 0 {
		return nil
	}
	to := make(kadm.Offsets)
	for _, m := range p.Moves {
		to.Add(kadm.Offset{Topic: m.Topic, Partition: m.Partition, At: m.To, LeaderEpoch: -1})
	}
	if err := p.admin.CommitAllOffsets(ctx, p.Application, to); err != nil {
		return fmt.Errorf("reset: setting the offsets of group %q: %w", p.Application, err)
	}
	say("set %d offsets of group %q", len(p.Moves), p.Application)
	return nil
}

// deleteTopics deletes the internal topics, one after the other, with what the group has committed of them, and waits until
// no broker knows them: an application that is started now would take them for its own.
func (p *Plan) deleteTopics(ctx context.Context, say func(string, ...any)) error {
	if len(p.Topics) == 0 {
		return nil
	}
	if err := p.forget(ctx); err != nil {
		return err
	}
	for i, topic := range p.Topics {
		resp, err := p.admin.DeleteTopics(ctx, topic)
		if err == nil {
			err = resp[topic].Err
		}
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			say("topic %s is gone already (%d of %d)", topic, i+1, len(p.Topics))
		case err != nil:
			return fmt.Errorf("reset: deleting topic %q: %w; %d of %d are deleted, do the reset again for the others", topic, err, i, len(p.Topics))
		default:
			say("deleted topic %s (%d of %d)", topic, i+1, len(p.Topics))
		}
	}
	return p.awaitGone(ctx)
}

// forget deletes the committed offsets of the internal topics: new ones of the same names begin at 0.
func (p *Plan) forget(ctx context.Context) error {
	now, err := p.committed(ctx)
	if err != nil {
		return err
	}
	var old kadm.TopicsSet
	for at := range now {
		if slices.Contains(p.Topics, at.topic) {
			old.Add(at.topic, at.number)
		}
	}
	if len(old) == 0 {
		return nil
	}
	resp, err := p.admin.DeleteOffsets(ctx, p.Application, old)
	if err == nil {
		err = resp.Error()
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("reset: deleting the offsets of internal topics of group %q: %w", p.Application, err)
	}
	return nil
}

// awaitGone waits until no broker knows the topics.
func (p *Plan) awaitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		left, err := p.left(ctx)
		if err == nil && left == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reset: topic %q is deleted, but after %v a broker still has it: %w", left, patience, errors.Join(ctx.Err(), err))
		case <-again.C:
		}
	}
}

// left returns a topic that a broker still knows.
func (p *Plan) left(ctx context.Context) (topic string, err error) {
	brokers, err := p.admin.ListBrokers(ctx)
	if err != nil {
		return "", err
	}
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range p.Topics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, one)
	}
	for _, id := range brokers.NodeIDs() {
		resp, err := req.RequestWith(ctx, p.client.Broker(int(id)))
		if err != nil {
			return "", err
		}
		for _, t := range resp.Topics {
			if t.Topic != nil && !errors.Is(kerr.ErrorForCode(t.ErrorCode), kerr.UnknownTopicOrPartition) {
				return *t.Topic, nil
			}
		}
	}
	return "", nil
}

// stateDir returns the directory that processes of the application have in base, or nothing.
func stateDir(base, application string) (string, error) {
	if base == "" {
		return "", nil
	}
	dir := filepath.Join(base, application)
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil {
		return "", fmt.Errorf("reset: the state directory %s: %w", dir, err)
	}
	return dir, nil
}
