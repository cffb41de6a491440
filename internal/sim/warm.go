package sim

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A warmUp makes a producer know its id before it knows any topic. franz-go asks for the id under a mutex, and who waits
// for that mutex, another broker's sender say, stops the time of the bubble: then no answer ever comes. So a producer is
// not told of topics until it has its id.
type warmUp struct {
	mu struct {
		sync.Mutex
		producers map[string]*warming // by client id
	}
}

type warming struct {
	client *kgo.Client
	ask    sync.Once
	known  chan struct{}
}

// OnNewClient implements kgo.HookNewClient.
func (u *warmUp) OnNewClient(client *kgo.Client) {
	id, _ := client.OptValue(kgo.ClientID).(string)
	if !strings.Contains(id, "producer") && id != "feed" {
		return
	}
	if transactional, _ := client.OptValue(kgo.TransactionalID).(string); transactional != "" {
		return // those ask before they begin a transaction
	}
	w := &warming{client: client, known: make(chan struct{})}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.producers == nil {
		u.mu.producers = make(map[string]*warming)
	}
	u.mu.producers[id] = w
}

func (u *warmUp) of(id string) *warming {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.producers[id]
}

// warmTimeout is how long a producer is kept from going on.
const warmTimeout = 20 * time.Second

// request holds up requests of a producer that does not know its id yet.
func (u *warmUp) request(frame []byte, hungUp <-chan struct{}) {
	req, id := parseRequest(frame[4:])
	w := u.of(id)
	if req == nil || w == nil {
		return
	}
	if req, ok := req.(*kmsg.MetadataRequest); ok && len(req.Topics) > 0 {
		w.ask.Do(func() {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), warmTimeout)
				defer cancel()
				defer close(w.known)
				_, _, _ = w.client.ProducerID(ctx)
			}()
		})
		select {
		case <-w.known:
		case <-hungUp:
		}
	}
}

// parseRequest takes a request apart, if it is one of those that matter here; the id is the client's.
func parseRequest(b []byte) (req kmsg.Request, id string) {
	r := kbin.Reader{Src: b}
	key, version := r.Int16(), r.Int16()
	switch kmsg.Key(key) {
	case kmsg.Metadata, kmsg.DeleteRecords, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
	default:
		return nil, ""
	}
	req = kmsg.RequestForKey(key)
	req.SetVersion(version)
	r.Int32()
	if name := r.NullableString(); name != nil {
		id = *name
	}
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if req.ReadFrom(r.Src) != nil {
		return nil, ""
	}
	return req, id
}
