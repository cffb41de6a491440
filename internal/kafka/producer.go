package kafka

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// ProducerConfig is what a Producer adds to Config.
type ProducerConfig struct {
	Linger          time.Duration // how long a batch waits to fill
	Compression     kgo.CompressionCodec
	BatchBytes      int32         // of one batch, at most
	BufferBytes     int           // of records that are not acknowledged; Send waits for room
	DeliveryTimeout time.Duration // how long Flush waits for acknowledgements, and Send for room

	// Group is the member for which Commit stores offsets.
	Group *Group

	// TransactionalID, where it is not empty, makes all that is sent between two commits one transaction, which the
	// broker ends by itself when it is older than TransactionTimeout.
	TransactionalID    string
	TransactionTimeout time.Duration

	explicit bool // the cluster wants to be told that a transaction will have offsets
}

// A Producer writes records, idempotently and acknowledged by all replicas in sync, and commits what was sent together
// with the offsets of what it was made of. The first record that cannot be written spoils everything since the last
// commit: Send, Flush and Commit return that error from then on, until Reset. What is wrong with a record itself is told
// by Send as far as it is known, and spoils nothing: see refused. One goroutine uses it.
type Producer struct {
	cfg Config
	pc  ProducerConfig
	*session
	resets sync.WaitGroup   // what goes on after Reset has returned
	limits map[string]int32 // max.message.bytes of topics that refused a batch
}

// A session is a client of the producer, from one Reset to the next. What went wrong stays with it: franz-go can not
// go on with a transactional id after some errors, and to begin anew ends the old transaction in every case.
type session struct {
	client  *Client
	timeout time.Duration
	ctx     context.Context // ends with the session; what waits in Send is let go
	cancel  context.CancelFunc
	failed  atomic.Pointer[error]
	unacked atomic.Int64
	pool    sync.Pool // of *kgo.Record
	done    func(*kgo.Record, error)
	open    bool // a transaction is

	introduced chan struct{} // where it is not nil, closed when the broker knows the client, or that has failed
	unknown    error         // why the broker does not know it; set before introduced is closed

	batchMax func(topic string) int32
	known    map[uint64]suspect // refused in sessions before
	alone    atomic.Bool        // a suspect is under way, and nothing else
	progress atomic.Bool        // one was found guilty since

	mu struct {
		sync.Mutex
		acked   map[assign.TopicPartition]*int64
		refused map[uint64]suspect // in this session
		large   []string           // topics that refused a batch for its size
	}
	last struct { // the partition of the last acknowledgement; batches come together
		topic     string
		partition int32
		next      *int64
	}
}

// maxUnacknowledged bounds the records in the producer besides their bytes: a small record costs more in memory than it
// weighs.
const maxUnacknowledged = 20_000

// unknownTries is how often the client looks for a topic that brokers do not know, every 100 ms, before a record for it
// fails: about 5 s, in which they have heard of a new one, and know their topics again after a restart.
const unknownTries = 50

// NewProducer makes a producer with a client of its own. It has to be closed.
func NewProducer(cfg Config, pc ProducerConfig) (*Producer, error) {
	p := &Producer{cfg: cfg, pc: pc}
	s, err := p.newSession()
	if err != nil {
		return nil, err
	}
	p.session = s
	return p, nil
}

func (p *Producer) newSession() (*session, error) {
	s := &session{timeout: p.pc.DeliveryTimeout}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pool.New = func() any { return new(kgo.Record) }
	s.mu.acked = make(map[assign.TopicPartition]*int64)
	s.done = s.delivered
	opts := []kgo.Opt{
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerLinger(p.pc.Linger),
		kgo.ProducerBatchCompression(p.pc.Compression),
		kgo.ProducerBatchMaxBytesFn(p.batchBytes()),
		kgo.MaxBufferedBytes(p.pc.BufferBytes),
		kgo.MaxBufferedRecords(maxUnacknowledged),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(unknownTries),
	}
	if p.transactional() {
		opts = append(opts, kgo.TransactionalID(p.pc.TransactionalID), kgo.TransactionTimeout(p.pc.TransactionTimeout))
	}
	if p.pc.explicit {
		old := versions()
		old.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		opts = append(opts, kgo.MaxVersions(old))
	}
	client, err := NewClient(p.cfg, opts...)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.client = client
	s.batchMax = client.OptValue(kgo.ProducerBatchMaxBytesFn).(func(string) int32)
	return s, nil
}

// Send writes a record sooner or later. It copies the record, not its bytes, which must not change until Flush has
// returned. Partition -1 leaves the choice to the key, as Kafka's default partitioner does. It waits for room where
// too much is unacknowledged.
func (p *Producer) Send(r *topology.Record) error {
	if p.transactional() && !p.open {
		if err := p.begin(); err != nil {
			return err
		}
	}
	return p.send(r)
}

func (s *session) send(r *topology.Record) error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	if err := s.tooLarge(r); err != nil {
		return err
	}
	if len(s.known) > 0 {
		if done, err := s.check(r); done {
			return err
		}
	}
	s.produce(r)
	return nil
}

func (s *session) produce(r *topology.Record) {
	k := s.pool.Get().(*kgo.Record)
	headers := k.Headers[:0]
	for _, h := range r.Headers {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	*k = kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers}
	if r.Timestamp >= 0 {
		k.Timestamp = time.UnixMilli(r.Timestamp)
	}
	if s.unacked.Add(1) > maxUnacknowledged {
		// The client's own timeout for records counts from their timestamps, which here are those of events.
		defer time.AfterFunc(s.timeout, func() {
			s.fail(fmt.Errorf("kafka: %d records are not acknowledged after %v; the last was for %q", maxUnacknowledged, s.timeout, r.Topic))
			s.cancel()
		}).Stop()
	}
	s.client.Produce(s.ctx, k, s.done)
}

// fail keeps the first error, with what it means.
func (s *session) fail(err error) {
	err = meaning(err)
	s.failed.CompareAndSwap(nil, &err)
}

// delivered is called by the client, one record at a time, in order within a partition.
func (s *session) delivered(k *kgo.Record, err error) {
	s.unacked.Add(-1)
	if err != nil {
		err = fmt.Errorf("kafka: writing to %q partition %d: %w", k.Topic, k.Partition, err)
		if ofRecord(err) {
			s.suspect(k, err)
		}
		s.fail(err)
	} else {
		if s.last.next == nil || s.last.partition != k.Partition || s.last.topic != k.Topic {
			s.last.topic, s.last.partition, s.last.next = k.Topic, k.Partition, s.ackedOf(k.Topic, k.Partition)
		}
		atomic.StoreInt64(s.last.next, k.Offset+1)
	}
	clear(k.Headers)
	*k = kgo.Record{Headers: k.Headers[:0]}
	s.pool.Put(k)
}

func (s *session) ackedOf(topic string, partition int32) *int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := assign.TopicPartition{Topic: topic, Partition: partition}
	n := s.mu.acked[key]
	if n == nil {
		n = new(int64)
		*n = -1
		s.mu.acked[key] = n
	}
	return n
}

// Flush waits until everything that was sent is acknowledged. The error says that something was not.
func (p *Producer) Flush(ctx context.Context) error { return p.flush(ctx) }

func (s *session) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer s.client.wait("the acknowledgement of records").end()
	if err := s.client.Flush(ctx); err != nil {
		s.fail(fmt.Errorf("kafka: %d records are not acknowledged: %w", s.unacked.Load(), err))
	}
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Written returns the offset after the last record of this producer that a partition has acknowledged since the last
// Reset; ok is false if there is none.
func (p *Producer) Written(topic string, partition int32) (next int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.mu.acked[assign.TopicPartition{Topic: topic, Partition: partition}]
	if n == nil || atomic.LoadInt64(n) < 0 {
		return 0, false
	}
	return atomic.LoadInt64(n), true
}

// Forget makes Written know nothing of a partition, because others write to it from now on, or did until now. Nothing
// of it may be unacknowledged.
func (p *Producer) Forget(topic string, partition int32) {
	atomic.StoreInt64(p.ackedOf(topic, partition), -1)
}

// Close drops what was not acknowledged, ends an open transaction, for others wait for its end, and closes the client.
func (p *Producer) Close() {
	p.abort()
	p.close()
	p.resets.Wait()
}

func (s *session) close() {
	s.cancel()
	s.client.Close()
}

// partitioner leaves records where they have a partition, and gives the others to the default: by the key's hash, or,
// without a key, batch by batch.
type partitioner struct{ byKey kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ byKey kgo.TopicPartitioner }

func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.byKey.RequiresConsistency(r)
}

func (p *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.byKey.Partition(r, n)
}

// OnNewBatch implements kgo.TopicPartitionerOnNewBatch.
func (p *topicPartitioner) OnNewBatch() {
	if b, ok := p.byKey.(kgo.TopicPartitionerOnNewBatch); ok {
		b.OnNewBatch()
	}
}
