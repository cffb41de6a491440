//go:build kafka

package kafka

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/topology"
)

// tally counts what a client does, by hooks.
type tally struct {
	mu       sync.Mutex
	requests map[string]int
	refused  int
}

func (y *tally) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if err == nil {
		y.requests[kmsg.NameForKey(key)]++
	}
}

func (y *tally) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if err != nil {
		y.refused++
	}
}

func (y *tally) since() (requests map[string]int, refused int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	requests, refused = y.requests, y.refused
	y.requests, y.refused = map[string]int{}, 0
	return requests, refused
}

// A transaction takes no request but for its records, its offsets and its end (KIP-890), and an epoch of its own.
func TestTransactionRequests(t *testing.T) {
	y := &tally{requests: map[string]int{}}
	p, produce := transactions(t, kafkatest.Shared(t), "requests", kgo.WithHooks(y))
	produce()
	_, before, err := p.client.ProducerID(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	y.since()
	produce()
	requests, _ := y.since()
	if n := requests["AddPartitionsToTxn"] + requests["AddOffsetsToTxn"]; n > 0 || requests["EndTxn"] != 1 {
		t.Errorf("the requests of a transaction were %v", requests)
	}
	if _, epoch, err := p.client.ProducerID(patiently(t)); err != nil || epoch <= before {
		t.Errorf("the next transaction has epoch %d, that before had %d: %v", epoch, before, err)
	}
}

// While the coordinator of a transaction is gone, it is not connected to without end, be it by the protocol of today or
// by that before KIP-890, in which franz-go does not pause; and the transaction goes on where another one takes over.
func TestTransactionWithoutCoordinator(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Brokers(3))
	old := versions()
	old.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	for id, opts := range map[string][]kgo.Opt{"today": nil, "before": {kgo.MaxVersions(old)}} {
		t.Run(id, func(t *testing.T) {
			y := &tally{requests: map[string]int{}}
			_, produce := transactions(t, c, id, append(opts, kgo.WithHooks(y))...)
			produce()
			y.since()
			coordinator := int(c.Admin().FindTxnCoordinators(patiently(t), id)[id].NodeID)
			if err := c.Kill(coordinator); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			produce()
			took := time.Since(began)
			// The client has several connections to a broker, and each may have failed once more than the pause says.
			_, refused := y.since()
			if most := 10 + int(took/dialPause); refused > most {
				t.Errorf("in %v the broker that is gone was connected to %d times; %d would have been enough", took, refused, most)
			}
			if err := c.Restart(coordinator); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// transactions makes a transactional producer and returns how to produce a transaction with a record to each of ten
// partitions.
func transactions(t *testing.T, c *kafkatest.Cluster, id string, opts ...kgo.Opt) (p *Producer, produce func()) {
	ctx := patiently(t)
	topic := kafkatest.Unique("out")
	if _, err := c.Admin().CreateTopics(ctx, 10, -1, nil, topic); err != nil {
		t.Fatal(err)
	}
	p, err := NewProducer(Config{Brokers: strings.Split(c.Bootstrap(), ","), ClientID: t.Name(), Log: testLog(t), Options: opts},
		ProducerConfig{TransactionalID: id, TransactionTimeout: 30 * time.Second, DeliveryTimeout: time.Minute, BufferBytes: 1 << 20, BatchBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Open(ctx); err != nil {
		t.Fatal(err)
	}
	return p, func() {
		t.Helper()
		for n := range int32(10) {
			if err := p.Send(&topology.Record{Topic: topic, Partition: n, Value: []byte("v"), Timestamp: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		p.open = false
	}
}
