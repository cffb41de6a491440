package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
)

// TransactionalID names the producer of a worker, as Java does (StreamsProducer): so one that begins anew ends the
// transaction that it left open.
func (g *Group) TransactionalID(worker int) string {
	return fmt.Sprintf("%s-%v-%d", g.cfg.Group, g.cfg.Process, worker)
}

func (p *Producer) transactional() bool { return p.pc.TransactionalID != "" }

// Open readies a transactional producer: the broker knows its id from then on, and has ended what was left open under
// it. What may pass is tried again until ctx ends.
func (p *Producer) Open(ctx context.Context) error {
	if !p.transactional() {
		return nil
	}
	again := func(err error) bool {
		var setback *Setback
		return errors.As(err, &setback)
	}
	return p.client.retry(ctx, fmt.Sprintf("transactional id %q", p.pc.TransactionalID), again, func() error {
		err := p.introduce(ctx)
		if err != nil && again(err) {
			err = errors.Join(err, p.Reset())
		}
		return err
	})
}

func (p *Producer) introduce(ctx context.Context) error {
	version, err := p.client.transactionVersion(ctx)
	if err != nil {
		return meaning(err)
	}
	if version < 2 && !p.pc.explicit {
		p.client.log.Warn("the cluster's feature transaction.version is below 2: a request that comes very late could end a later "+
			"transaction than its own (KIP-890); raise it with: kafka-features upgrade --feature transaction.version=2", "version", version)
		p.pc.explicit = true
		if err := p.Reset(); err != nil {
			return err
		}
	}
	if p.introduced != nil { // Reset has asked already, and the client answers one at a time
		select {
		case <-p.introduced:
		case <-ctx.Done():
			return meaning(fmt.Errorf("kafka: transactional id %q: %w", p.pc.TransactionalID, ctx.Err()))
		}
	}
	if _, _, err := p.client.ProducerID(ctx); err != nil {
		return meaning(fmt.Errorf("kafka: transactional id %q: %w", p.pc.TransactionalID, err))
	}
	return nil
}

// begin begins a transaction. The broker hears of it with the first record, and so its timeout counts from there.
func (p *Producer) begin() error {
	if err := p.awaitIntroduction(); err != nil {
		return err
	}
	if err := p.client.BeginTransaction(); err != nil {
		p.fail(fmt.Errorf("kafka: transactional id %q: beginning a transaction: %w", p.pc.TransactionalID, err))
		return *p.failed.Load()
	}
	p.open = true
	return nil
}

// awaitIntroduction waits until the broker knows the client, after a Reset.
func (p *Producer) awaitIntroduction() error {
	if p.introduced == nil {
		return nil
	}
	defer p.client.wait(fmt.Sprintf("transactional id %q", p.pc.TransactionalID)).end()
	late := time.NewTimer(p.timeout)
	defer late.Stop()
	select {
	case <-p.introduced:
		if p.unknown != nil {
			p.fail(fmt.Errorf("kafka: transactional id %q: %w", p.pc.TransactionalID, p.unknown))
			return *p.failed.Load()
		}
		return nil
	case <-late.C:
		p.fail(fmt.Errorf("kafka: transactional id %q: the coordinator of transactions did not answer within %v", p.pc.TransactionalID, p.timeout))
		return *p.failed.Load()
	}
}

// InTransaction says that something was sent that is not committed.
func (p *Producer) InTransaction() bool { return p.open }

// Commit makes everything that was sent since the last commit and the offsets last: in one transaction, if the producer
// has one, else one after the other. Offsets must not be empty in a transaction, for by them the group can tell a
// member that it has given up.
//
// An error with the method LostMembership says that the tasks are another's; one with the method StartOver that
// everything since the last commit has to be done again, after Reset. In a transaction it may be committed all the
// same: only the committed offsets tell.
func (p *Producer) Commit(ctx context.Context, offsets map[assign.TopicPartition]Committed) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	if !p.open {
		// Without output there is nothing that must be committed together with the offsets; and a transaction in which
		// nothing was produced would not be ended by the client.
		err := p.pc.Group.Commit(ctx, offsets)
		if err == nil {
			p.acquit()
		}
		return err
	}
	if err := p.pc.Group.commitIn(ctx, p, offsets); err != nil {
		return err
	}
	defer p.client.wait("the end of a transaction").end()
	if err := p.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		p.fail(fmt.Errorf("kafka: transactional id %q: committing: %w", p.pc.TransactionalID, err))
		return *p.failed.Load()
	}
	p.open = false
	p.acquit()
	return nil
}

// abortTimeout is how long an orderly abort may take; then the broker does it, when the transaction is too old.
const abortTimeout = 5 * time.Second

// abort ends an open transaction as far as that is possible.
func (p *Producer) abort() {
	if !p.open {
		return
	}
	p.open = false
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	err := p.client.AbortBufferedRecords(ctx)
	if err == nil {
		err = p.client.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil {
		p.client.log.Warn("a transaction could not be aborted; the broker does it when it times out, and until then others do not "+
			"read past it", "transactional_id", p.pc.TransactionalID, "timeout", p.pc.TransactionTimeout, "error", err)
	}
}

// Reset begins anew, with another client: what was sent and not committed is dropped, but what is known of refused records
// is kept. A transaction that was open is ended by the broker when the new client introduces itself, which goes on after
// Reset has returned.
func (p *Producer) Reset() error {
	old := p.session
	p.learn(old)
	next, err := p.newSession()
	if err != nil {
		return err
	}
	next.known = old.suspects()
	p.session = next
	old.cancel()
	if p.transactional() {
		next.introduced = make(chan struct{})
	}
	p.resets.Go(func() {
		old.client.Close()
		if p.transactional() {
			_, _, next.unknown = next.client.ProducerID(next.ctx)
			close(next.introduced)
		}
	})
	return nil
}

// commitIn adds offsets to the producer's transaction. As Commit, it tries again while the group rebalances.
func (g *Group) commitIn(ctx context.Context, p *Producer, offsets map[assign.TopicPartition]Committed) error {
	term := g.term()
	var err error
	if p.pc.explicit {
		err = p.addOffsets(ctx, g.cfg.Group)
	}
	if err == nil {
		err = g.client.retry(ctx, "a commit of offsets in a transaction", g.commitAgain, func() error { return g.transactionalCommit(ctx, p, term, offsets) })
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) {
		return g.expelled(term, err)
	}
	p.fail(fmt.Errorf("kafka: committing offsets of group %q in a transaction: %w", g.cfg.Group, err))
	return *p.failed.Load()
}

// transactionVersion returns the cluster's feature transaction.version, 0 where it has none. From 2 on each transaction
// has an epoch of its own, and offsets need not be announced (KIP-890).
func (c *Client) transactionVersion(ctx context.Context) (version int16, err error) {
	resp, err := c.apiVersions(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			version = f.MaxVersionLevel
		}
	}
	return version, nil
}

// addOffsets tells the coordinator of the transaction that offsets will be in it, which brokers before KIP-890 need.
func (p *Producer) addOffsets(ctx context.Context, group string) error {
	return p.client.retry(ctx, "the coordinator of transactions, for offsets", passing, func() error {
		id, epoch, err := p.client.ProducerID(ctx)
		if err != nil {
			return err
		}
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.pc.TransactionalID, id, epoch, group
		resp, err := request[*kmsg.AddOffsetsToTxnResponse](ctx, p.client.Client, req)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

func (g *Group) transactionalCommit(ctx context.Context, p *Producer, term int, offsets map[assign.TopicPartition]Committed) error {
	id, epoch, err := p.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.pc.TransactionalID, id, epoch
	req.Group, req.InstanceID = g.cfg.Group, g.instance()
	if req.MemberID, req.Generation, err = g.membership(term); err != nil {
		return err
	}
	for topic, numbers := range byTopic(slices.Collect(maps.Keys(offsets))) {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = topic
		for _, n := range numbers {
			c := offsets[assign.TopicPartition{Topic: topic, Partition: n}]
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = n, c.Offset, c.LeaderEpoch, kmsg.StringPtr(c.Metadata)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.TxnOffsetCommitResponse](ctx, p.client.Client, req)
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
