//go:build kafka

package streams_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/streams"
)

// soon bounds how long an application takes to say that a topic is gone, and to end: docs/guarantees.md has 10 s, and
// the machine may be busy.
const soon = 20 * time.Second

// awaitEnd waits until the application ends by itself, and checks what it says.
func (r *real) awaitEnd(t *testing.T, within time.Duration, says ...string) {
	t.Helper()
	began := time.Now()
	select {
	case <-r.ended:
	case <-time.After(within):
		t.Fatalf("it did not end within %v", within)
	}
	err := r.stop()
	t.Logf("ended after %v: %v", time.Since(began).Round(time.Millisecond), err)
	if err == nil {
		t.Fatal("it ended without an error")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
}

// keepFeeding writes into a topic until the test ends, whatever comes of it.
func keepFeeding(t *testing.T, c *kafkatest.Cluster, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			for i := range 100 {
				cl.Produce(ctx, kgo.StringRecord(fmt.Sprint("word", i)), nil)
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; cl.Close() })
}

// A topic that goes away under a busy application ends it soon, with the name of the topic, under either guarantee.
func TestTopicsGoneOnKafka(t *testing.T) {
	withTopics(t, []string{"input", "repartition", "changelog", "output"}, func(t *testing.T, c *kafkatest.Cluster, r *real, topic string) {
		if _, err := c.Admin().DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		r.awaitEnd(t, soon, fmt.Sprintf("%q", topic), "does not exist (any more)", "reset the application")
	})
}

// So does one that is deleted and made anew, before anything is done with the new one.
func TestTopicsMadeAnewOnKafka(t *testing.T) {
	withTopics(t, []string{"input", "repartition", "changelog"}, func(t *testing.T, c *kafkatest.Cluster, r *real, topic string) {
		if _, err := c.Admin().DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for {
			_, err := c.Admin().CreateTopic(t.Context(), 2, -1, nil, topic)
			if err == nil {
				break
			}
			if !errors.Is(err, kerr.TopicAlreadyExists) { // not deleted yet
				t.Fatal(err)
			}
			<-again.C
		}
		r.awaitEnd(t, soon, topic, "was deleted and made anew", "reset the application")
	})
}

// A broker that ends and starts again, the only one, is no topic that is gone: the application goes on.
func TestBrokerRestartsOnKafka(t *testing.T) {
	c := guardedCluster(t)
	r, _, out := startBusy(t, c)
	for _, end := range []func(int) error{c.Shutdown, c.Kill} {
		if err := errors.Join(end(1), c.Restart(1)); err != nil {
			t.Fatal(err)
		}
		before := ends(t, c.Admin(), out)
		r.wait(t, "output after the restart", func() bool { return ends(t, c.Admin(), out) > before })
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// withTopics does something to a topic of each kind, under a busy application, with either guarantee.
func withTopics(t *testing.T, kinds []string, do func(t *testing.T, c *kafkatest.Cluster, r *real, topic string)) {
	c := kafkatest.Shared(t)
	for name, opts := range guarantees {
		for _, kind := range kinds {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				r, in, out := startBusy(t, c, opts...)
				do(t, c, r, map[string]string{
					"input": in, "output": out, "repartition": "app-" + in + "-counts-repartition", "changelog": "app-" + in + "-counts-changelog",
				}[kind])
			})
		}
	}
}

// startBusy starts an application with much to do, and returns when its output is committed.
func startBusy(t *testing.T, c *kafkatest.Cluster, opts ...streams.AppOption) (r *real, in, out string) {
	t.Helper()
	in, out = c.Topic(t, "in", 2), c.Topic(t, "out", 2)
	r = startReal(t, []string{c.Bootstrap()}, "app-"+in, in, out, t.TempDir(), append(opts, streams.Workers(2))...)
	keepFeeding(t, c, in)
	r.wait(t, "output", func() bool { return ends(t, c.Admin(), out) > 0 })
	return r, in, out
}

// ends adds up where the partitions of a topic end.
func ends(t *testing.T, admin *kadm.Client, topic string) (sum int64) {
	t.Helper()
	var offsets kadm.ListedOffsets
	eventually(t, "the ends of "+topic, func() (ok bool) {
		var err error
		offsets, err = admin.ListEndOffsets(t.Context(), topic)
		return err == nil && offsets.Error() == nil
	})
	offsets.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}

// guardedKafka is a cluster where users log in, for all tests here.
var guardedKafka = sync.OnceValues(func() (*kafkatest.Cluster, error) {
	return kafkatest.New(context.Background(), kafkatest.Guarded())
})

func guardedCluster(t *testing.T) *kafkatest.Cluster {
	t.Helper()
	c, err := guardedKafka()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whoever is not let in hears of it at once, with the user and the mechanism and without the password.
func TestWrongPasswordOnKafka(t *testing.T) {
	c := guardedCluster(t)
	me := []kadm.UpsertSCRAM{{User: "me", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "word"}}
	if _, err := c.Admin().AlterUserSCRAMs(t.Context(), nil, me); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		address string
		login   kgo.Opt
		says    []string
	}{
		"plain":           {c.Guarded(), kgo.SASL(plain.Auth{User: kafkatest.User, Pass: "secret"}.AsMechanism()), []string{`as user "plain" by PLAIN`, "Authentication failed", "the password is wrong"}},
		"scram":           {c.Guarded(), kgo.SASL(scram.Auth{User: "me", Pass: "secret"}.AsSha512Mechanism()), []string{`as user "me" by SCRAM-SHA-512`, "Authentication failed", "the password is wrong"}},
		"wrong mechanism": {c.Guarded(), kgo.SASL(oauth.Auth{Token: "secret"}.AsMechanism()), []string{"by OAUTHBEARER", "does not offer that mechanism"}},
		"no login":        {c.Guarded(), kgo.ClientID("x"), []string{"without a login", "check TLS, the mechanism"}},
		"no login asked":  {c.Bootstrap(), kgo.SASL(plain.Auth{User: "me", Pass: "secret"}.AsMechanism()), []string{`as user "me" by PLAIN`, "does not offer that mechanism"}},
		"TLS":             {c.Bootstrap(), kgo.DialTLSConfig(new(tls.Config)), []string{"without a login", "check TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startReal(t, []string{c.address}, kafkatest.Unique("app"), "in", "out", t.TempDir(), streams.ClientOptions(c.login))
			r.awaitEnd(t, soon, append(c.says, c.address, "option ClientOptions")...)
			if err := r.stop(); strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// A guest is a user of a guarded cluster with an application of its own.
type guest struct {
	*kafkatest.Cluster
	user, app, in, out string
	login              kgo.Opt
}

// newGuest makes a user and its topics.
func newGuest(t *testing.T) *guest {
	t.Helper()
	c := guardedCluster(t)
	g := &guest{Cluster: c, user: kafkatest.Unique("user"), app: kafkatest.Unique("app"), in: c.Topic(t, "in", 2), out: c.Topic(t, "out", 2)}
	g.login = kgo.SASL(scram.Auth{User: g.user, Pass: "word"}.AsSha256Mechanism())
	word := []kadm.UpsertSCRAM{{User: g.user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "word"}}
	if _, err := c.Admin().AlterUserSCRAMs(t.Context(), nil, word); err != nil {
		t.Fatal(err)
	}
	return g
}

// allow gives the user ACLs, and returns when they hold: one more tells.
func (g *guest) allow(t *testing.T, all acls) {
	t.Helper()
	last := "last-" + g.app
	for _, a := range append(all, allowed(kmsg.ACLResourceTypeTopic, last, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationDescribe)...) {
		b := kadm.NewACLs().ResourcePatternType(a.Pattern).Operations(a.Operation).Allow("User:" + g.user).AllowHosts("*")
		switch a.Resource {
		case kmsg.ACLResourceTypeTopic:
			b = b.Topics(a.Name)
		case kmsg.ACLResourceTypeGroup:
			b = b.Groups(a.Name)
		case kmsg.ACLResourceTypeTransactionalId:
			b = b.TransactionalIDs(a.Name)
		}
		createACLs(t, g.Admin(), b)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(g.Guarded()), g.login)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	eventually(t, "the ACLs to hold", func() bool {
		topics, err := kadm.NewClient(cl).ListTopics(t.Context(), last)
		return err == nil && errors.Is(topics[last].Err, kerr.UnknownTopicOrPartition)
	})
}

func (g *guest) start(t *testing.T, opts ...streams.AppOption) *real {
	t.Helper()
	return startReal(t, []string{g.Guarded()}, g.app, g.in, g.out, t.TempDir(), append(opts, streams.ClientOptions(g.login))...)
}

// The documented ACLs suffice on Kafka, also for a second start and for the purge.
func TestLeastACLsOnKafka(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t)
			g.allow(t, least(g.app, g.in, g.out, opts != nil))
			keepFeeding(t, g.Cluster, g.in)
			logged := &safeLog{}
			opts := append(opts, streams.RepartitionPurgeInterval(20*time.Millisecond), streams.Logger(slog.New(slog.NewTextHandler(logged, nil))))
			for range 2 {
				r, before := g.start(t, opts...), ends(t, g.Admin(), g.out)
				r.wait(t, "output, and the purge", func() bool {
					starts, err := g.Admin().ListStartOffsets(t.Context(), g.app+"-counts-repartition")
					purged := false
					starts.Each(func(o kadm.ListedOffset) { purged = purged || o.Offset > 0 })
					return err == nil && purged && ends(t, g.Admin(), g.out) > before
				})
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			}
			if logged.has("AUTHORIZATION") {
				t.Errorf("something was not allowed:\n%s", logged.b.String())
			}
		})
	}
}

// Each of them that is missing is named by Kafka's authorizer as by the one in memory.
func TestMissingACLsOnKafka(t *testing.T) {
	for name := range lacks("", "", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t)
			c := lacks(g.app, g.in, g.out)[name]
			g.allow(t, c.acls)
			keepFeeding(t, g.Cluster, g.in)
			g.start(t, c.opts...).awaitEnd(t, soon, c.says...)
		})
	}
}

// What is taken away while the application runs ends it.
func TestRevokedACLsOnKafka(t *testing.T) {
	for name := range denials("", "", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t)
			c := denials(g.app, g.in, g.out)[name]
			g.allow(t, least(g.app, g.in, g.out, true))
			keepFeeding(t, g.Cluster, g.in)
			r := g.start(t, c.opts...)
			r.wait(t, "output", func() bool { return ends(t, g.Admin(), g.out) > 0 })
			createACLs(t, g.Admin(), c.deny.Deny("User:"+g.user).DenyHosts("*"))
			r.awaitEnd(t, soon, c.says)
		})
	}
}
