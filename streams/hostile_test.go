package streams_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// as logs in.
func as(user, password string) kgo.Opt {
	return kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())
}

// guarded is a cluster that asks for passwords and has ACLs; root may do anything, me what the ACLs say.
func guarded(t *testing.T, acls ...kfake.ACL) (c *kfake.Cluster, root *kgo.Client) {
	t.Helper()
	c = fakeCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "secret"), kfake.User("PLAIN", "me", "word", acls...),
		kfake.SeedTopics(2, "in", "out", "dead"))
	root = client(t, c, as("root", "secret"))
	return c, root
}

type acls = []kfake.ACL

// allowed is what is allowed on a resource.
func allowed(resource kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, ops ...kmsg.ACLOperation) (all acls) {
	for _, op := range ops {
		all = append(all, kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: op, Allow: true})
	}
	return all
}

// least are the ACLs that docs/security.md says an application needs.
func least(app, in, out string, exactlyOnce bool) acls {
	const literal, prefixed = kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed
	all := slices.Concat(
		allowed(kmsg.ACLResourceTypeGroup, app, literal, kmsg.ACLOperationRead),
		allowed(kmsg.ACLResourceTypeTopic, in, literal, kmsg.ACLOperationRead),
		allowed(kmsg.ACLResourceTypeTopic, out, literal, kmsg.ACLOperationWrite),
		allowed(kmsg.ACLResourceTypeTopic, app+"-", prefixed, kmsg.ACLOperationCreate, kmsg.ACLOperationRead, kmsg.ACLOperationWrite,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationDelete))
	if exactlyOnce {
		all = append(all, allowed(kmsg.ACLResourceTypeTransactionalId, app+"-", prefixed, kmsg.ACLOperationWrite)...)
	}
	return all
}

func without(acls acls, resource kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) acls {
	return slices.DeleteFunc(slices.Clone(acls), func(a kfake.ACL) bool {
		return a.Resource == resource && a.Name == name && slices.Contains(ops, a.Operation)
	})
}

// put writes words into the input, and said waits for the first record in the output.
func put(t *testing.T, cl *kgo.Client, n int) {
	t.Helper()
	for _, w := range words(n, n) {
		if err := cl.ProduceSync(patiently(t), &kgo.Record{Topic: "in", Key: []byte(w), Value: []byte(w)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitOutput(t *testing.T, root *kgo.Client, n int64) {
	t.Helper()
	adm := kadm.NewClient(root)
	eventually(t, fmt.Sprint(n, " records of output"), func() bool {
		ends, err := adm.ListEndOffsets(patiently(t), "out")
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		return sum >= n
	})
}

// safeLog collects a log that several goroutines write to.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// me are the options of an application that logs in.
func me(opts ...streams.AppOption) []streams.AppOption {
	return append([]streams.AppOption{streams.ClientOptions(as("me", "word"))}, opts...)
}

// The ACLs that are documented suffice: the application starts, counts, purges, and starts again with what is there.
func TestLeastACLs(t *testing.T) {
	for name, opts := range guarantees {
		t.Run(name, func(t *testing.T) {
			c, root := guarded(t, least("app", "in", "out", opts != nil)...)
			logged := &safeLog{}
			opts := me(append(opts, streams.RepartitionPurgeInterval(20*time.Millisecond), streams.Logger(slog.New(slog.NewTextHandler(logged, nil))))...)
			for round := range 2 {
				put(t, root, 10)
				p := start(t, c, countTopology(t), opts...)
				awaitOutput(t, root, int64(10*(round+1)))
				eventually(t, "the repartition topic to be purged", func() bool {
					starts, err := kadm.NewClient(root).ListStartOffsets(patiently(t), "app-counts-repartition")
					sum := int64(0)
					starts.Each(func(o kadm.ListedOffset) { sum += o.Offset })
					return err == nil && sum >= int64(10*(round+1))
				})
				if err := p.stop(); err != nil {
					t.Fatal(err)
				}
			}
			if logged.has("AUTHORIZATION") {
				t.Errorf("something was not allowed:\n%s", logged.b.String())
			}
		})
	}
}

// A lack is a set of ACLs in which one is missing, and what the application says of it.
type lack struct {
	acls acls
	opts []streams.AppOption
	says []string
}

func lacks(app, in, out string) map[string]lack {
	const topic, group, id = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId
	const read, write, create = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate
	described := allowed(topic, in, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationDescribe)
	some, all, once := least(app, in, out, false), least(app, in, out, true), []streams.AppOption{streams.ExactlyOnce()}
	return map[string]lack{
		"input, not even seen":    {without(some, topic, in, read), nil, []string{fmt.Sprintf("%q", in), "READ on what the application reads"}},
		"input":                   {append(described, without(some, topic, in, read)...), nil, []string{in, "READ on what the application reads"}},
		"output":                  {without(some, topic, out, write), nil, []string{fmt.Sprintf("%q", out), "WRITE on what it writes"}},
		"group":                   {without(some, group, app, read), nil, []string{fmt.Sprintf("%q", app), "READ on the group"}},
		"internal topics":         {without(some, topic, app+"-", create), nil, []string{app + "-counts-", "CREATE"}},
		"internal topics, read":   {without(some, topic, app+"-", read), nil, []string{app + "-counts-", "both on its internal topics"}},
		"internal topics, write":  {without(some, topic, app+"-", write), nil, []string{app + "-counts-", "both on its internal topics"}},
		"transactional id":        {without(all, id, app+"-", write), once, []string{app + "-", "WRITE and DESCRIBE on transactional ids"}},
		"output in a transaction": {without(all, topic, out, write), once, []string{fmt.Sprintf("%q", out), "WRITE on what it writes"}},
	}
}

// Without one of them the application ends with an error that says what it needs, on what.
func TestMissingACLs(t *testing.T) {
	for name, c := range lacks("app", "in", "out") {
		t.Run(name, func(t *testing.T) {
			cluster, root := guarded(t, c.acls...)
			put(t, root, 10)
			start(t, cluster, countTopology(t), me(c.opts...)...).awaitError(c.says...)
		})
	}
}

// Without DELETE repartition topics grow, which the log says; nothing else.
func TestMissingACLForPurge(t *testing.T) {
	c, root := guarded(t, without(least("app", "in", "out", false), kmsg.ACLResourceTypeTopic, "app-", kmsg.ACLOperationDelete)...)
	logged := &safeLog{}
	put(t, root, 10)
	p := start(t, c, countTopology(t), me(streams.RepartitionPurgeInterval(20*time.Millisecond), streams.Logger(slog.New(slog.NewTextHandler(logged, nil))))...)
	awaitOutput(t, root, 10)
	eventually(t, "the log to say so", func() bool { return logged.has("DELETE") })
	if got := p.State(); got != streams.StateRunning {
		t.Errorf("it is in state %v", got)
	}
}

// A denial is what is taken away from a running application, and what it says of it.
type denial struct {
	deny *kadm.ACLBuilder
	opts []streams.AppOption
	says string
}

func denials(app, in, out string) map[string]denial {
	topic := func(name string, op kadm.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Topics(name).Operations(op).ResourcePatternType(kadm.ACLPatternLiteral)
	}
	group := func() *kadm.ACLBuilder {
		return kadm.NewACLs().Groups(app).Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral)
	}
	ids := kadm.NewACLs().TransactionalIDs(app + "-").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternPrefixed)
	once := []streams.AppOption{streams.ExactlyOnce()}
	return map[string]denial{
		"input":                 {topic(in, kadm.OpRead), nil, "READ on what the application reads"},
		"output":                {topic(out, kadm.OpWrite), nil, "WRITE on what it writes"},
		"changelog":             {topic(app+"-counts-changelog", kadm.OpWrite), nil, "both on its internal topics"},
		"group":                 {group(), nil, "READ on the group"},
		"group, exactly once":   {group(), once, "READ on the group"},
		"ids, exactly once":     {ids, once, "WRITE and DESCRIBE on transactional ids"},
		"outputs, exactly once": {topic(out, kadm.OpWrite), once, "WRITE on what it writes"},
	}
}

// What is taken away while the application runs ends it as well.
func TestRevokedACLs(t *testing.T) {
	for name, c := range denials("app", "in", "out") {
		t.Run(name, func(t *testing.T) {
			cluster, root := guarded(t, least("app", "in", "out", true)...)
			put(t, root, 10)
			p := start(t, cluster, countTopology(t), me(c.opts...)...)
			awaitOutput(t, root, 10)
			createACLs(t, kadm.NewClient(root), c.deny.Deny("User:me").DenyHosts("*"))
			put(t, root, 10)
			p.awaitError(c.says)
		})
	}
}

func createACLs(t *testing.T, admin *kadm.Client, b *kadm.ACLBuilder) {
	t.Helper()
	results, err := admin.CreateACLs(patiently(t), b)
	if err != nil || len(results) == 0 {
		t.Fatal(err, results)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// Topics to which the application writes end it when they go away, with their names.
func TestTopicsGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"out", "app-counts-changelog"} {
		for name, opts := range guarantees {
			t.Run(gone+", "+name, func(t *testing.T) {
				t.Parallel()
				c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
				p := start(t, c, countTopology(t), opts...)
				feed(t, c, "in", "one")
				values(t, c, "out", 1)
				if err := c.DeleteTopic(gone); err != nil {
					t.Fatal(err)
				}
				feed(t, c, "in", "two")
				p.awaitError(`"`+gone+`"`, "does not exist (any more)")
			})
		}
	}
}

// Partitions that come while the application runs end it, as nothing reads them. Without state it reads them when it is
// started anew; with state it ends again.
func TestPartitionsAdded(t *testing.T) {
	t.Parallel()
	add := func(t *testing.T, topo *topology.Topology, says ...string) *kfake.Cluster {
		c := fakeCluster(t, kfake.SeedTopics(1, "in", "out"))
		p := start(t, c, topo)
		feed(t, c, "in", "one")
		values(t, c, "out", 1)
		if _, err := kadm.NewClient(client(t, c)).CreatePartitions(patiently(t), 1, "in"); err != nil {
			t.Fatal(err)
		}
		p.awaitError(append(says, `"in" has 2 partitions, and had 1 when the application started`)...)
		return c
	}
	t.Run("state", func(t *testing.T) {
		says := []string{"app-counts-", "has 1 partitions, but the application needs 2", "reset the application"}
		c := add(t, countTopology(t), says...)
		start(t, c, countTopology(t)).awaitError(says...)
	})
	t.Run("no state", func(t *testing.T) {
		c := add(t, copyTopology(t), "start all instances anew")
		start(t, c, copyTopology(t))
		err := client(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner())).ProduceSync(patiently(t), &kgo.Record{Topic: "in", Partition: 1, Value: []byte("two")}).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
		values(t, c, "out", 2)
	})
}

// Brokers that are too old for what is asked are an error at the start, and not what becomes of it; the oldest that are
// not do all that is needed.
func TestOldBrokers(t *testing.T) {
	for name, c := range map[string]struct {
		broker *kversion.Versions
		opts   []streams.AppOption
		says   []string
	}{
		"at least once, too old": {kversion.V2_3_0(), nil, []string{"too old for the application, which needs Kafka 2.4", "upgrade the brokers"}},
		"at least once":          {kversion.V2_4_0(), nil, nil},
		"exactly once, too old":  {kversion.V2_4_0(), []streams.AppOption{streams.ExactlyOnce()}, []string{"too old for exactly-once, which needs Kafka 2.5", "without the option ExactlyOnce"}},
		"exactly once":           {kversion.V2_5_0(), []streams.AppOption{streams.ExactlyOnce()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakeCluster(t, kfake.MaxVersions(c.broker), kfake.SeedTopics(1, "in", "out"))
			began := time.Now()
			p := start(t, cluster, countTopology(t), c.opts...)
			if c.says != nil {
				p.awaitError(c.says...)
				if after := time.Since(began); after > 5*time.Second {
					t.Errorf("that took %v", after)
				}
				return
			}
			feed(t, cluster, "in", "one")
			values(t, cluster, "out", 1)
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			start(t, cluster, countTopology(t), c.opts...) // it finds what it committed
			feed(t, cluster, "in", "one")
			if got := values(t, cluster, "out", 2); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A broker that does not say why it hangs up on who logs in with a wrong password is understood all the same.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	c, _ := guarded(t)
	start(t, c, countTopology(t), streams.ClientOptions(as("me", "secret"))).awaitError(`as user "me" by PLAIN`, "the password")
}
