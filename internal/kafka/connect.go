package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
)

// needs are the requests by which brokers are told apart that are too old. Without the first the broker does not know how
// many replicas and partitions a topic has by default (KIP-464); without the second a transaction is not bound to the
// generation of the group, so that a zombie could commit (KIP-447).
var needs = []struct {
	key         kmsg.Key
	version     int16
	exactlyOnce bool
	since       string
	remedy      string
}{
	{kmsg.CreateTopics, 4, false, "2.4", "upgrade the brokers"},
	{kmsg.TxnOffsetCommit, 3, true, "2.5", "upgrade the brokers, or run without the option ExactlyOnce"},
}

// checkVersion says whether the broker that answers is too old for what the application does. Otherwise that would be seen
// late, or not at all, as fields that an old version of a request does not have are left out of it.
func (c *Client) checkVersion(ctx context.Context) error {
	resp, err := c.apiVersions(ctx)
	if err != nil {
		return meaning(err)
	}
	broker := kversion.FromApiVersionsResponse(resp)
	for _, n := range needs {
		has, _ := broker.LookupMaxKeyVersion(int16(n.key))
		if has >= n.version || n.exactlyOnce && !c.cfg.ExactlyOnce {
			continue
		}
		what := "the application"
		if n.exactlyOnce {
			what = "exactly-once"
		}
		return fmt.Errorf("kafka: the cluster at %s is too old for %s, which needs Kafka %s: it knows %s in version %d, not %d; %s",
			strings.Join(c.cfg.Brokers, ", "), what, n.since, n.key.Name(), has, n.version, n.remedy)
	}
	return nil
}

// apiVersions asks a broker what it can do.
func (c *Client) apiVersions(ctx context.Context) (resp *kmsg.ApiVersionsResponse, err error) {
	err = c.retry(ctx, "the versions and features of the cluster", passing, func() error {
		resp, err = request[*kmsg.ApiVersionsResponse](ctx, c.Client, kmsg.NewPtrApiVersionsRequest())
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("kafka: asking for the versions and features of the cluster: %w", err)
		}
		return nil
	})
	return resp, err
}

// closedPatience is how long brokers may close new connections without a word before that counts as an answer: one that
// starts or stops does so too.
const closedPatience = 5 * time.Second

// loginRefused returns an error where it is of no use to connect again: the broker does not know the user or the password,
// does not offer the mechanism, or closes every connection, which is what it does when it expects TLS or a login and there is
// none, or the other way round.
func (c *Client) loginRefused(err error, since time.Duration) error {
	why := ""
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		why = "the user or the password is wrong"
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		why = "the broker does not offer that mechanism at this address"
	case errors.Is(err, io.EOF) && since > closedPatience:
		why = fmt.Sprintf("it closed all connections, for %v: check TLS, the mechanism, the user and the password", closedPatience)
	default:
		return nil
	}
	return fmt.Errorf("kafka: the cluster at %s does not let the application in, %s: %w; %s (option ClientOptions: kgo.SASL, kgo.DialTLSConfig)",
		strings.Join(c.cfg.Brokers, ", "), c.login(), err, why)
}

// login says who the client is to the brokers, without the password.
func (c *Client) login() string {
	var ways []string
	mechanisms, _ := c.OptValue(kgo.SASL).([]sasl.Mechanism)
	for _, m := range mechanisms {
		way := "by " + m.Name()
		if user := userOf(m); user != "" {
			way = fmt.Sprintf("as user %q ", user) + way
		}
		ways = append(ways, way)
	}
	if len(ways) == 0 {
		return "without a login (SASL)"
	}
	return strings.Join(ways, ", or ")
}

// userOf reads the user's name from the first message of PLAIN (RFC 4616) and SCRAM (RFC 5802); it is empty for others.
func userOf(m sasl.Mechanism) string {
	if m.Name() != "PLAIN" && !strings.HasPrefix(m.Name(), "SCRAM-") {
		return ""
	}
	_, first, err := m.Authenticate(context.Background(), "")
	if err != nil {
		return ""
	}
	if m.Name() == "PLAIN" {
		if parts := strings.Split(string(first), "\x00"); len(parts) == 3 {
			return parts[1]
		}
		return ""
	}
	for _, attribute := range strings.Split(string(first), ",") {
		if user, ok := strings.CutPrefix(attribute, "n="); ok {
			return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
		}
	}
	return ""
}
