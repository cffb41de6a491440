package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
)

// FenceAbsent ends the transactions that processes left open which are not in the group any more. Nobody reads past an
// open transaction, so that whoever gets the tasks of a process that died would wait until the broker ends it, which
// can take twice the transaction timeout. A process that is only slow to die is fenced by it: it could not commit
// anyway.
//
// It waits until the group is stable, for only then the broker says who is in it.
func (g *Group) FenceAbsent(ctx context.Context) error {
	unsteady := func(err error) bool { return passing(err) || errors.Is(err, errUnstable) }
	return g.client.retry(ctx, "the transactions of members that are gone", unsteady, func() error {
		here, err := g.processes(ctx)
		if err != nil {
			return err
		}
		return g.fence(ctx, here)
	})
}

var errUnstable = errors.New("kafka: the group is not stable")

// processes returns the processes that are in the group, with the number of their workers.
func (g *Group) processes(ctx context.Context) (map[assign.ProcessID]int, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{g.cfg.Group}
	resp, err := request[*kmsg.DescribeGroupsResponse](ctx, g.client.Client, req)
	if err != nil {
		return nil, err
	}
	here := make(map[assign.ProcessID]int)
	for _, gr := range resp.Groups {
		if err := kerr.ErrorForCode(gr.ErrorCode); err != nil {
			return nil, fmt.Errorf("kafka: describing group %q: %w", g.cfg.Group, err)
		}
		if gr.State != "Stable" {
			return nil, errUnstable
		}
		for _, m := range gr.Members {
			member, err := parseMember(kmsg.JoinGroupResponseMember{MemberID: m.MemberID, ProtocolMetadata: m.ProtocolMetadata})
			if err != nil {
				return nil, err
			}
			here[member.Process] += member.Workers
		}
	}
	return here, nil
}

func (g *Group) fence(ctx context.Context, here map[assign.ProcessID]int) error {
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Ongoing"}
	resp, err := request[*kmsg.ListTransactionsResponse](ctx, g.client.Client, req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("kafka: listing transactions: %w", err)
	}
	for _, t := range resp.TransactionStates {
		process, worker, ours := parseTransactionalID(g.cfg.Group, t.TransactionalID)
		if !ours || worker <= here[process] {
			continue
		}
		g.log.Info("ending a transaction of a process that is not in the group any more", "transactional_id", t.TransactionalID)
		if err := g.endTransaction(ctx, t.TransactionalID); err != nil {
			return err
		}
	}
	return nil
}

// parseTransactionalID reads what TransactionalID wrote; ours is false for an id of another application.
func parseTransactionalID(application, id string) (process assign.ProcessID, worker int, ours bool) {
	rest, ours := strings.CutPrefix(id, application+"-")
	if !ours || len(rest) < 38 || rest[36] != '-' {
		return process, 0, false
	}
	process, err := assign.ParseProcessID(rest[:36])
	if err != nil {
		return process, 0, false
	}
	worker, err = strconv.Atoi(rest[37:])
	return process, worker, err == nil
}

// endTransaction takes over a transactional id, which ends its transaction.
func (g *Group) endTransaction(ctx context.Context, id string) error {
	// The broker begins to end it, and says so by an error until it has done it.
	again := func(err error) bool { return passing(err) || errors.Is(err, kerr.ConcurrentTransactions) }
	return g.client.retry(ctx, fmt.Sprintf("the end of the transaction of %q", id), again, func() error {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = &id
		req.TransactionTimeoutMillis = int32(time.Minute.Milliseconds())
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := request[*kmsg.InitProducerIDResponse](ctx, g.client.Client, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("kafka: ending the transaction of %q: %w", id, err)
		}
		return nil
	})
}
