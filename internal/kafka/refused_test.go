package kafka

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/topology"
)

func isRefused(err error) bool {
	var r *refused
	return errors.As(err, &r)
}

func bytesOf(n int) []byte { return []byte(strings.Repeat("x", n)) }

// The size of a batch is known exactly: a record that just fits is written, and one with a byte more spoils nothing.
func TestRefusedBySize(t *testing.T) {
	c := cluster(t)
	if err := c.CreateTopic("out", 1, map[string]string{"max.message.bytes": "2000000"}); err != nil {
		t.Fatal(err)
	}
	p := testProducer(t, c, ProducerConfig{})
	fits := &topology.Record{Topic: "out", Key: []byte("k"), Headers: []topology.Header{{Key: "h", Value: bytesOf(100)}}, Value: bytesOf(1<<20 - 500)}
	fits.Value = bytesOf(len(fits.Value) + 1<<20 - batchSize(fits))
	if batchSize(fits) != 1<<20 {
		t.Fatalf("the record has %d bytes", batchSize(fits))
	}
	large := *fits
	large.Value = bytesOf(len(fits.Value) + 1)
	if err := p.Send(&large); !isRefused(err) || !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record that is too large by a byte: %v", err)
	}
	if err := p.Send(fits); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(patiently(t)); err != nil {
		t.Fatal(err)
	}
}

// A topic that takes less than others is asked how much when it refuses a batch: from then on batches fit, and what does
// not fit alone is told by Send.
func TestRefusedBatchTeaches(t *testing.T) {
	c := cluster(t)
	if err := c.CreateTopic("out", 1, map[string]string{"max.message.bytes": "1000"}); err != nil {
		t.Fatal(err)
	}
	p := testProducer(t, c, ProducerConfig{Linger: 50 * time.Millisecond})
	var batches atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		batches.Add(1)
		return nil, nil, false
	})
	send := func() error {
		for i := range 100 {
			if err := p.Send(&topology.Record{Topic: "out", Timestamp: int64(i), Value: bytesOf(100)}); err != nil {
				return err
			}
		}
		return p.Flush(patiently(t))
	}
	if err := send(); !startsOver(err) || !errors.Is(err, kerr.MessageTooLarge) {
		t.Fatalf("the batch is not refused: %v", err)
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	batches.Store(0)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if n := batches.Load(); n > 20 {
		t.Errorf("100 records of 100 bytes are sent in %d batches of 1000", n)
	}
	if err := p.Send(&topology.Record{Topic: "out", Value: bytesOf(1000)}); !isRefused(err) || !strings.Contains(err.Error(), "max.message.bytes") {
		t.Errorf("a record that is too large for the topic: %v", err)
	}
}

// Of a batch that is refused the guilty one is found, by doing all again twice.
func TestRefusedByBroker(t *testing.T) {
	c := cluster(t)
	if err := c.CreateTopic("out", 1, map[string]string{"max.message.bytes": "1000"}); err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) { // it does not tell its limit
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		resp.Resources = []kmsg.DescribeConfigsResponseResource{{ResourceName: "out", ErrorCode: kerr.TopicAuthorizationFailed.Code}}
		return resp, nil, true
	})
	p := testProducer(t, c, ProducerConfig{})
	var spoilt []bool // and whether something came of what was known
	for {
		told := 0
		var err error
		for _, n := range []int{100, 2000, 300, 3000, 100} {
			if err = p.Send(&topology.Record{Topic: "out", Timestamp: int64(n), Value: bytesOf(n)}); isRefused(err) {
				told++
			} else if err != nil {
				break
			}
		}
		if err == nil || isRefused(err) {
			err = p.Flush(patiently(t))
		}
		if err == nil {
			if told != 2 || len(spoilt) > 5 || p.known == nil {
				t.Errorf("%d records are refused, after %d attempts", told, len(spoilt))
			}
			break
		}
		var s *suspicion
		var over interface{ StartOver() }
		if !errors.As(err, &s) || !errors.As(err, &over) || !errors.Is(err, kerr.MessageTooLarge) {
			t.Fatalf("the work does not start over by %v", err)
		}
		spoilt = append(spoilt, s.Progress())
		if len(spoilt) > 10 {
			t.Fatal("it does not come to an end")
		}
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	// Whether the second guilty one is in the batch of the first, and so a suspect from the start, is a matter of timing.
	if spoilt[0] || !slices.Contains(spoilt, true) {
		t.Errorf("progress is %v", spoilt)
	}
	p.acquit()
	if p.suspects() != nil {
		t.Error("suspects are kept after the commit")
	}
}
