package kafka

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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
}

// A Producer writes records, idempotently and acknowledged by all replicas in sync. The first record that cannot be
// written is the end of it: Send and Flush return that error from then on, so that nothing is committed that rests on
// a lost record. One goroutine sends.
type Producer struct {
	client  *Client
	timeout time.Duration
	ctx     context.Context // ends with the producer; what waits in Send is let go
	cancel  context.CancelFunc
	failed  atomic.Pointer[error]
	unacked atomic.Int64
	pool    sync.Pool // of *kgo.Record
	done    func(*kgo.Record, error)

	mu struct {
		sync.Mutex
		acked map[assign.TopicPartition]*int64
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

// NewProducer makes a producer with a client of its own. It has to be closed.
func NewProducer(cfg Config, pc ProducerConfig) (*Producer, error) {
	p := &Producer{timeout: pc.DeliveryTimeout}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.pool.New = func() any { return new(kgo.Record) }
	p.mu.acked = make(map[assign.TopicPartition]*int64)
	p.done = p.delivered
	client, err := NewClient(cfg,
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerLinger(pc.Linger),
		kgo.ProducerBatchCompression(pc.Compression),
		kgo.ProducerBatchMaxBytes(pc.BatchBytes),
		kgo.MaxBufferedBytes(pc.BufferBytes),
		kgo.MaxBufferedRecords(maxUnacknowledged),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if err != nil {
		p.cancel()
		return nil, err
	}
	p.client = client
	return p, nil
}

// Send writes a record sooner or later. It copies the record, not its bytes, which must not change until Flush has
// returned. Partition -1 leaves the choice to the key, as Kafka's default partitioner does. It waits for room where
// too much is unacknowledged.
func (p *Producer) Send(r *topology.Record) error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	k := p.pool.Get().(*kgo.Record)
	headers := k.Headers[:0]
	for _, h := range r.Headers {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	*k = kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers}
	if r.Timestamp >= 0 {
		k.Timestamp = time.UnixMilli(r.Timestamp)
	}
	if p.unacked.Add(1) > maxUnacknowledged {
		// The client's own timeout for records counts from their timestamps, which here are those of events.
		defer time.AfterFunc(p.timeout, func() {
			p.fail(fmt.Errorf("kafka: %d records are not acknowledged after %v; the last was for %q", maxUnacknowledged, p.timeout, r.Topic))
			p.cancel()
		}).Stop()
	}
	p.client.Produce(p.ctx, k, p.done)
	return nil
}

func (p *Producer) fail(err error) { p.failed.CompareAndSwap(nil, &err) }

// delivered is called by the client, one record at a time, in order within a partition.
func (p *Producer) delivered(k *kgo.Record, err error) {
	p.unacked.Add(-1)
	if err != nil {
		p.fail(fmt.Errorf("kafka: writing to %q partition %d: %w", k.Topic, k.Partition, err))
	} else {
		if p.last.next == nil || p.last.partition != k.Partition || p.last.topic != k.Topic {
			p.last.topic, p.last.partition, p.last.next = k.Topic, k.Partition, p.ackedOf(k.Topic, k.Partition)
		}
		atomic.StoreInt64(p.last.next, k.Offset+1)
	}
	clear(k.Headers)
	*k = kgo.Record{Headers: k.Headers[:0]}
	p.pool.Put(k)
}

func (p *Producer) ackedOf(topic string, partition int32) *int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := assign.TopicPartition{Topic: topic, Partition: partition}
	n := p.mu.acked[key]
	if n == nil {
		n = new(int64)
		*n = -1
		p.mu.acked[key] = n
	}
	return n
}

// Flush waits until everything that was sent is acknowledged. The error says that something was not.
func (p *Producer) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		p.fail(fmt.Errorf("kafka: %d records are not acknowledged: %w", p.unacked.Load(), err))
	}
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Written returns the offset after the last record of this producer that a partition has acknowledged; ok is false if
// there is none.
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

// Close drops what was not acknowledged and closes the client.
func (p *Producer) Close() {
	p.cancel()
	p.client.Close()
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
