package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
)

// A leader reads from one broker: one request after the other, for all partitions that it leads and that have room.
//
// How long the broker may wait for records depends on whether something could want to be asked for in the meantime:
// while a partition is left out for lack of room not at all, so that it is asked for as soon as it has some; after
// anything happened only a little, then twice as long each time, up to MaxWait.
type leader struct {
	f      *Fetcher
	node   int32
	wakeup chan struct{} // cap 1
	turn   int           // rotates the order of the partitions, so that each comes first now and then

	mu struct {
		sync.Mutex
		cancel context.CancelFunc // of a request that the broker may hold for long, else nil
		quiet  int                // requests in a row that brought nothing
	}
}

const (
	shortWait = 4 * time.Millisecond  // the first wait of a quiet partition, and the pace while some have no room
	longWait  = 64 * time.Millisecond // a request that waits longer is given up for a new partition
)

// wake makes the leader look again at what it could ask for. If changed, it has partitions to read that it had not.
func (b *leader) wake(changed bool) {
	if changed {
		b.mu.Lock()
		b.mu.quiet = 0
		if b.mu.cancel != nil {
			b.mu.cancel()
			b.mu.cancel = nil
		}
		b.mu.Unlock()
	}
	select {
	case b.wakeup <- struct{}{}:
	default:
	}
}

// run is the leader's goroutine. It lives as long as the fetcher: brokers are few.
func (b *leader) run() {
	for b.f.ctx.Err() == nil {
		a := b.ask()
		if len(a.subs) == 0 {
			select {
			case <-b.f.ctx.Done():
			case <-b.wakeup:
			}
			continue
		}
		if a.full && !a.behind {
			// Those with room are at their end. Ask for them now and then, but first for who gets room.
			select {
			case <-b.f.ctx.Done():
				return
			case <-b.wakeup:
				b.release(a)
				continue
			case <-time.After(shortWait):
			}
		}
		b.fetch(a)
	}
}

// A request of a leader: the partitions in it.
type ask struct {
	req    *kmsg.FetchRequest
	subs   map[assign.TopicPartition]*subscription
	ids    map[[16]byte]string
	full   bool // some partition was left out for lack of room
	behind bool // some partition in it is not at its end, as far as is known
}

func (b *leader) ask() *ask {
	f := b.f
	a := &ask{req: kmsg.NewPtrFetchRequest(), subs: make(map[assign.TopicPartition]*subscription), ids: make(map[[16]byte]string)}
	a.req.MaxBytes, a.req.MinBytes, a.req.SessionEpoch = f.cfg.MaxBytes, 1, -1
	if f.cfg.ReadCommitted {
		a.req.IsolationLevel = 1
	}
	topics := make(map[string]int)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.mu.subs)
	for i := range n {
		s := f.mu.subs[(i+b.turn)%n]
		if s.leader != b.node || s.busy {
			continue
		}
		if s.buffered.Load() >= int64(f.cfg.Buffer) {
			a.full = true
			continue
		}
		at, ok := topics[s.Topic]
		if !ok {
			at = len(a.req.Topics)
			topics[s.Topic] = at
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = s.Topic, f.mu.ids[s.Topic]
			a.req.Topics = append(a.req.Topics, t)
			a.ids[t.TopicID] = s.Topic
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = s.Partition, s.position, s.epoch, f.cfg.MaxPartitionBytes
		a.req.Topics[at].Partitions = append(a.req.Topics[at].Partitions, p)
		a.subs[s.TopicPartition] = s
		s.busy = true
		a.behind = a.behind || s.position != s.end
	}
	b.turn++
	return a
}

// fetch sends a request and hands out what comes back.
func (b *leader) fetch(a *ask) {
	ctx, cancel := context.WithCancel(b.f.ctx)
	defer cancel()
	b.mu.Lock()
	wait := time.Duration(0)
	if !a.full && !a.behind {
		wait = min(shortWait<<min(b.mu.quiet, 16), b.f.cfg.MaxWait)
		if wait > longWait {
			b.mu.cancel = cancel
		}
	}
	b.mu.Unlock()
	a.req.MaxWaitMillis = int32(wait.Milliseconds())

	// A request for one broker is not retried by the client: what failed is asked for anew, of who leads then.
	resp, err := request[*kmsg.FetchResponse](ctx, b.f.client.Broker(int(b.node)), a.req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	b.mu.Lock()
	b.mu.cancel = nil
	b.mu.Unlock()
	defer b.release(a)
	switch {
	case b.f.ctx.Err() != nil:
		return
	case err != nil && ctx.Err() != nil: // given up for a new partition
		return
	case err != nil:
		b.f.cfg.Log.Debug("fetching from a broker failed, trying again", "broker", b.node, "error", err)
		b.lost(a)
		return
	}
	brought := b.handOut(a, resp)
	b.mu.Lock()
	if brought {
		b.mu.quiet = 0
	} else {
		b.mu.quiet++
	}
	b.mu.Unlock()
}

// release lets the partitions of a request be asked for again, of another leader maybe.
func (b *leader) release(a *ask) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	for _, s := range a.subs {
		s.busy = false
		if s.leader >= 0 && s.leader != b.node {
			b.f.leaderLocked(s.leader).wake(false)
		}
	}
}

// lost gives up the broker for the partitions of a request: their leaders are looked up again.
func (b *leader) lost(a *ask) {
	b.f.mu.Lock()
	for _, s := range a.subs {
		if s.leader == b.node {
			s.leader = -1
		}
	}
	b.f.mu.Unlock()
	b.f.needLeaders()
	select { // so that a broker that refuses connections is not asked without end
	case <-b.f.ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// handOut reports whether any records came.
func (b *leader) handOut(a *ask, resp *kmsg.FetchResponse) (brought bool) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		topic := t.Topic
		if topic == "" {
			topic = a.ids[t.TopicID]
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			s := a.subs[assign.TopicPartition{Topic: topic, Partition: p.Partition}]
			if s == nil {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				b.failed(s, err, p)
			} else if b.handOutPartition(s, p) {
				brought = true
			}
		}
	}
	return brought
}

func (b *leader) handOutPartition(s *subscription, p *kmsg.FetchResponseTopicPartition) (brought bool) {
	end := p.HighWatermark
	if b.f.cfg.ReadCommitted && p.LastStableOffset >= 0 {
		end = p.LastStableOffset
	}
	records, next, err := b.f.dec.decode(s.Topic, s.position, p)
	b.f.mu.Lock()
	moved := next != s.position || end != s.end
	stuck := err == nil && next == s.position && len(p.RecordBatches) > 0
	s.position, s.end, s.failures = next, end, 0
	b.f.mu.Unlock()
	if stuck {
		err = errors.New("a batch is larger than a response can be")
	}
	if moved {
		s.give(records, next, end, nil)
	}
	if err != nil {
		s.fail(err)
	}
	return len(records) > 0
}

// failed deals with the error of a partition: another leader is looked for, or the subscription ends.
func (b *leader) failed(s *subscription, err error, p *kmsg.FetchResponseTopicPartition) {
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		s.fail(b.outOfRange(s, p))
	case kerr.IsRetriable(err), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID),
		errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.FencedLeaderEpoch), errors.Is(err, kerr.UnknownLeaderEpoch):
		b.f.mu.Lock()
		if s.leader == b.node {
			s.leader = -1
		}
		s.failures++
		slow := s.failures > 3 // an election takes its time
		b.f.mu.Unlock()
		if slow {
			select {
			case <-b.f.ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		b.f.needLeaders()
	default:
		s.fail(err)
	}
}

// outOfRange asks for the range, which the response does not tell in full.
func (b *leader) outOfRange(s *subscription, p *kmsg.FetchResponseTopicPartition) error {
	ctx, cancel := context.WithTimeout(b.f.ctx, 10*time.Second)
	defer cancel()
	e := &OutOfRange{Start: p.LogStartOffset, End: p.HighWatermark}
	if e.Start >= 0 && e.End >= 0 {
		return e
	}
	list := []assign.TopicPartition{s.TopicPartition}
	start, err := b.f.client.Offsets(ctx, list, Earliest)
	if err != nil {
		return fmt.Errorf("%w: %w", kerr.OffsetOutOfRange, err)
	}
	end, err := b.f.client.Offsets(ctx, list, Latest)
	if err != nil {
		return fmt.Errorf("%w: %w", kerr.OffsetOutOfRange, err)
	}
	e.Start, e.End = start[s.TopicPartition], end[s.TopicPartition]
	return e
}
