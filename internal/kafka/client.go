// Package kafka is the glue to Kafka: it implements the ports that the runtime declares on top of franz-go.
//
// franz-go carries connections, retries, coordinators, partitions' leaders and producers. Fetching and membership go
// through its raw requests instead of its consumer, for what a stream processor needs and that consumer does not give:
//
//   - The position of a partition, past control records and emptied batches: Kafka Streams commits it, and a restore
//     ends by it.
//   - A partition whose buffer is full is left out of the next fetch; nothing that was fetched is dropped and fetched
//     again, and memory is bounded by fetches in flight.
//   - Records are decoded once, into the engine's own type, without an allocation a record.
//   - The protocol "stream" of the group, its user data, its follow-up rebalances, and commits that carry the
//     generation as of when they are sent.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Config is what all clients of an application have in common.
type Config struct {
	Brokers     []string // host:port
	ClientID    string
	Options     []kgo.Opt     // from the user, after our own: TLS, SASL, dialers
	Patience    time.Duration // how long Connect waits
	ExactlyOnce bool          // what the brokers have to be able to
	Log         *slog.Logger
}

// A Client is a connection to a cluster.
type Client struct {
	*kgo.Client
	cfg   Config
	dials *dials
	log   *slog.Logger
}

// NewClient makes a client. It does not connect.
func NewClient(cfg Config, own ...kgo.Opt) (*Client, error) {
	c := &Client{cfg: cfg, dials: &dials{}, log: cfg.Log}
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(cfg.ClientID),
		kgo.WithLogger(&logger{log: cfg.Log}),
		kgo.WithHooks(c.dials),
		// A new leader is looked up at once rather than after five seconds; requests are few all the same.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MaxVersions(versions()),
	}
	opts = append(append(opts, own...), cfg.Options...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka: the client options are not valid: %w", err)
	}
	c.Client = cl
	return c, nil
}

// versions are the newest that the client knows how to use, but those for offsets as they were when they named topics by name.
func versions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	v.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5)
	return v
}

// Connect waits until a broker answers, at most for cfg.Patience, and checks that it is new enough. The error says what was
// tried and what became of it. A login that fails is not tried again.
func (c *Client) Connect(ctx context.Context) error {
	timeout := c.cfg.Patience
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	for {
		err := c.Ping(ctx)
		if err == nil {
			return c.checkVersion(ctx)
		}
		if refused := c.loginRefused(err, time.Since(began)); refused != nil {
			return refused
		}
		if ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return ctx.Err()
		}
		return fmt.Errorf("kafka: no broker answered within %v; waiting for the metadata of the cluster at %s (%s): %w; "+
			"check that the address is right (option Brokers), that the broker runs, and that TLS and SASL match (option ClientOptions)",
			timeout, strings.Join(c.cfg.Brokers, ", "), c.dials.last(), err)
	}
}

// request sends a request and returns its response in its own type.
func request[R kmsg.Response](ctx context.Context, r kmsg.Requestor, req kmsg.Request) (R, error) {
	resp, err := r.Request(ctx, req)
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}

// passing reports whether an error may be gone in a moment: the cluster is busy with something, or a broker is away. The
// client tries again by itself, but gives up after a few seconds where a connection is refused.
func passing(err error) bool {
	var network *net.OpError
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
