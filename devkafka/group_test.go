package devkafka

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is a member of a cooperative consumer group.
type member struct {
	client  *kgo.Client
	changed chan struct{}
	has     atomic.Int32
}

func newMember(t *testing.T, b *Broker) *member {
	t.Helper()
	m := &member{changed: make(chan struct{}, 1)}
	change := func(sign int32) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.has.Add(sign * int32(len(parts["shared"])))
			select {
			case m.changed <- struct{}{}:
			default:
			}
		}
	}
	m.client = client(t, b, kgo.ConsumerGroup("cooperators"), kgo.ConsumeTopics("shared"),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(50*time.Millisecond),
		kgo.OnPartitionsAssigned(change(1)), kgo.OnPartitionsRevoked(change(-1)), kgo.OnPartitionsLost(change(-1)))
	return m
}

func (m *member) count() int { return int(m.has.Load()) }

// await returns after a change in what the members have.
func await(t *testing.T, members ...*member) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	changed := make(chan struct{})
	done := make(chan struct{})
	defer close(done)
	for _, m := range members {
		go func() {
			select {
			case <-m.changed:
				select {
				case changed <- struct{}{}:
				case <-done:
				}
			case <-done:
			}
		}()
	}
	select {
	case <-changed:
	case <-timeout.C:
		t.Fatal("the members' partitions do not change any more")
	}
}
