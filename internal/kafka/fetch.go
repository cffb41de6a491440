package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// FetchConfig bounds what a Fetcher holds: one response of MaxBytes in flight a broker, and of each partition no more
// than Buffer records and one response's share beyond it.
type FetchConfig struct {
	MaxBytes          int32         // of one response
	MaxPartitionBytes int32         // of one partition in a response; a larger batch comes all the same
	MaxWait           time.Duration // how long a broker waits for records
	Buffer            int           // records of a partition that are handed out and not done, before it has to wait
	ReadCommitted     bool          // leave out open and aborted transactions
	Log               *slog.Logger
}

// A Sink takes what was fetched of a partition, in order: records, the offset after them (past what is not a record,
// too), and where the partition ends for now. No records means that only next or end moved. With an error it is the
// last call. It must return soon: other partitions wait.
type Sink = func(records []topology.Record, next, end int64, err error)

// A Fetcher reads partitions from their leaders. It has one goroutine a broker, and one that looks up leaders.
type Fetcher struct {
	client *Client
	cfg    FetchConfig
	dec    decoder

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	lookups chan struct{} // someone needs a leader

	mu struct {
		sync.Mutex
		subs    []*subscription
		brokers map[int32]*leader
		ids     map[string][16]byte // of the topics, as they were when they were first read
	}
}

// A subscription is a partition that is read. Its place in the log is moved by the goroutine of its leader only.
type subscription struct {
	f *Fetcher
	assign.TopicPartition
	sink     Sink
	buffered atomic.Int64

	deliver struct { // taken while the sink runs, so that Close can promise that it ran for the last time
		sync.Mutex
		closed bool
	}

	// Under the fetcher's lock.
	leader   int32 // -1: not known
	busy     bool  // in a request; where it then led to another leader, that one waits for the answer
	epoch    int32 // of the leader
	failures int   // in a row, of leaders that turned out not to lead
	position int64
	end      int64
}

// NewFetcher makes a fetcher that reads through the client. It has to be closed.
func NewFetcher(client *Client, cfg FetchConfig) *Fetcher {
	f := &Fetcher{
		client: client, cfg: cfg, lookups: make(chan struct{}, 1),
		dec: decoder{decompressor: kgo.DefaultDecompressor(), committed: cfg.ReadCommitted},
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.mu.brokers, f.mu.ids = make(map[int32]*leader), make(map[string][16]byte)
	f.wg.Go(f.lookup)
	return f
}

// Close stops all reading and waits for it.
func (f *Fetcher) Close() {
	f.stop()
	f.wg.Wait()
}

// Subscribe starts to read a partition at an offset. Done says that n of the records handed to the sink are done with;
// after Close returns the sink is not called any more.
func (f *Fetcher) Subscribe(p assign.TopicPartition, offset int64, sink Sink) interface {
	Done(n int)
	Close()
} {
	s := &subscription{f: f, TopicPartition: p, sink: sink, leader: -1, epoch: -1, position: offset, end: -1}
	f.mu.Lock()
	f.mu.subs = append(f.mu.subs, s)
	f.mu.Unlock()
	f.needLeaders()
	return s
}

// Done implements what Subscribe returns.
func (s *subscription) Done(n int) {
	limit := int64(s.f.cfg.Buffer)
	if now := s.buffered.Add(-int64(n)); now < limit && now+int64(n) >= limit {
		s.f.mu.Lock()
		b := s.f.mu.brokers[s.leader]
		s.f.mu.Unlock()
		if b != nil {
			b.wake(false)
		}
	}
}

// Close implements what Subscribe returns.
func (s *subscription) Close() {
	s.f.mu.Lock()
	s.f.mu.subs = slices.DeleteFunc(s.f.mu.subs, func(o *subscription) bool { return o == s })
	s.f.mu.Unlock()
	s.deliver.Lock()
	s.deliver.closed = true
	s.deliver.Unlock()
}

// give calls the sink, unless the subscription was closed.
func (s *subscription) give(records []topology.Record, next, end int64, err error) {
	s.deliver.Lock()
	defer s.deliver.Unlock()
	if s.deliver.closed {
		return
	}
	s.buffered.Add(int64(len(records)))
	if err != nil {
		s.deliver.closed = true
	}
	s.sink(records, next, end, err)
}

// fail ends the subscription with an error.
func (s *subscription) fail(err error) {
	s.f.mu.Lock()
	s.f.mu.subs = slices.DeleteFunc(s.f.mu.subs, func(o *subscription) bool { return o == s })
	position, end := s.position, s.end
	s.f.mu.Unlock()
	_, err = withRemedy(fmt.Errorf("kafka: reading %v at offset %d: %w", s.TopicPartition, position, err))
	s.give(nil, position, end, err)
}

// OutOfRange says that a partition has no such offset any more, or not yet.
type OutOfRange struct{ Start, End int64 } // what it has

func (e *OutOfRange) Error() string {
	return fmt.Sprintf("the offset is out of range: the log has %d to %d", e.Start, e.End)
}

// OffsetOutOfRange lets others recognise the error without importing this package.
func (e *OutOfRange) OffsetOutOfRange() (start, end int64) { return e.Start, e.End }

func (f *Fetcher) needLeaders() {
	select {
	case f.lookups <- struct{}{}:
	default:
	}
}

// minPause is the pause between two look-ups; it also collects what is subscribed to at about the same time.
const minPause = 2 * time.Millisecond

// lookup is the goroutine that finds leaders: when asked to, and every five minutes to notice what changed.
func (f *Fetcher) lookup() {
	pause := minPause
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.lookups:
		case <-time.After(5 * time.Minute):
		}
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(pause):
		}
		if f.findLeaders() {
			pause = minPause
			continue
		}
		pause = min(2*pause, time.Second)
		f.needLeaders()
	}
}

// findLeaders asks for the leaders of all topics that are read; ok says that each was found. It goes on to look for a topic
// that is missing, as brokers learn of a new one one after the other: that one is gone for good is not for it to say.
func (f *Fetcher) findLeaders() (ok bool) {
	var topics []string
	f.mu.Lock()
	for _, s := range f.mu.subs {
		if !slices.Contains(topics, s.Topic) {
			topics = append(topics, s.Topic)
		}
	}
	f.mu.Unlock()
	if len(topics) == 0 {
		return true
	}
	resp, err := f.client.metadata(f.ctx, topics)
	if err != nil {
		f.cfg.Log.Warn("cannot look up the leaders of partitions, trying again", "error", err)
		return false
	}
	found := make(map[assign.TopicPartition]*kmsg.MetadataResponseTopicPartition)
	ids := make(map[string][16]byte)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		ids[*t.Topic] = t.TopicID
		for j := range t.Partitions {
			found[assign.TopicPartition{Topic: *t.Topic, Partition: t.Partitions[j].Partition}] = &t.Partitions[j]
		}
	}
	return f.setLeaders(found, ids)
}

func (f *Fetcher) setLeaders(found map[assign.TopicPartition]*kmsg.MetadataResponseTopicPartition, ids map[string][16]byte) (ok bool) {
	ok = true
	var recreated []*subscription
	f.mu.Lock()
	for _, s := range f.mu.subs {
		p := found[s.TopicPartition]
		if p == nil || p.Leader < 0 || p.ErrorCode != 0 && !errors.Is(kerr.ErrorForCode(p.ErrorCode), kerr.ReplicaNotAvailable) {
			ok = false
			continue
		}
		switch id, known := f.mu.ids[s.Topic]; {
		case !known:
			f.mu.ids[s.Topic] = ids[s.Topic]
		case id != ids[s.Topic]:
			recreated = append(recreated, s)
			continue
		}
		if s.leader != p.Leader || s.epoch != p.LeaderEpoch {
			s.leader, s.epoch = p.Leader, p.LeaderEpoch
			f.leaderLocked(p.Leader).wake(true)
		}
	}
	f.mu.Unlock()
	for _, s := range recreated {
		s.fail(errors.New("the topic was deleted and made anew; the offsets and the state of the application are of the " +
			"old one: reset the application's offsets and state, or give it a new application id"))
	}
	return ok
}

// leaderLocked returns the goroutine that reads from a broker.
func (f *Fetcher) leaderLocked(node int32) *leader {
	b := f.mu.brokers[node]
	if b == nil {
		b = &leader{f: f, node: node, wakeup: make(chan struct{}, 1)}
		f.mu.brokers[node] = b
		f.wg.Go(b.run)
	}
	return b
}

// Buffered returns how many records are handed out and not done.
func (f *Fetcher) Buffered() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.mu.subs {
		n += s.buffered.Load()
	}
	return n
}
