//go:build unix

package kafkatest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// layout is what the brokers of one cluster agree on.
type layout struct {
	clusterID   string
	clients     []int // the port of node i+1 for clients
	controllers []int // the port of node i+1 for the other controllers
	guarded     []int // the port of node i+1 for clients that log in; nil: there is none
	outside     []int // the port of node i+1 for clients elsewhere; nil: there is none
	at          address
	settings    [][2]string
}

func newLayout(o options) (*layout, error) {
	l := &layout{clusterID: randomID(), at: o.outside, settings: o.settings}
	want := 2 * o.brokers
	if o.guarded {
		want += o.brokers
	}
	if o.outside.host != "" {
		want += o.brokers
	}
	if o.port != 0 {
		want -= o.brokers
		for i := range o.brokers {
			l.clients = append(l.clients, o.port+i)
		}
	}
	ports, err := freePorts(want)
	if err != nil {
		return nil, err
	}
	l.controllers, ports = ports[:o.brokers], ports[o.brokers:]
	if o.guarded {
		l.guarded, ports = ports[:o.brokers], ports[o.brokers:]
	}
	if o.outside.host != "" {
		l.outside, ports = ports[:o.brokers], ports[o.brokers:]
	}
	l.clients = append(l.clients, ports...)
	return l, nil
}

// freePorts finds n free loopback ports below the range that systems hand out for outgoing connections, so that a
// broker finds its port free when it is started again.
func freePorts(n int) ([]int, error) {
	const lowest, span = 20000, 10000
	var ports []int
	for range 100 * n {
		port := lowest + mathrand.IntN(span)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that none is found twice
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("kafkatest: no %d free ports on 127.0.0.1 between %d and %d", n, lowest, lowest+span)
}

const loopback = "127.0.0.1"

// bootstrap joins the addresses of ports.
func bootstrap(host string, ports []int) string {
	addrs := make([]string, len(ports))
	for i, port := range ports {
		addrs[i] = fmt.Sprintf("%s:%d", host, port)
	}
	return strings.Join(addrs, ",")
}

// format writes a node's settings and an empty storage.
func (l *layout) format(n *node, inst *installation) error {
	data := filepath.Join(n.dir, "data")
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", l.clusterID, n.id, randomID())
	err := errors.Join(
		os.RemoveAll(n.dir),
		os.MkdirAll(data, 0o755),
		os.WriteFile(n.settingsPath(), []byte(l.properties(n.id, data)), 0o644),
		os.WriteFile(filepath.Join(data, "meta.properties"), []byte(meta), 0o644),
		os.WriteFile(filepath.Join(data, checkpointName), inst.checkpoint, 0o644))
	if err != nil {
		return fmt.Errorf("kafkatest: broker %d cannot be set up: %w", n.id, err)
	}
	return nil
}

// properties returns the server.properties of node id.
func (l *layout) properties(id int, data string) string {
	replicas, inSync := min(len(l.clients), 3), 1
	if replicas == 3 {
		inSync = 2
	}
	voters := make([]string, len(l.controllers))
	for i, port := range l.controllers {
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%d", i+1, port)
	}
	var b strings.Builder
	set := func(key string, value any) { fmt.Fprintf(&b, "%s=%v\n", key, value) }

	set("process.roles", "broker,controller")
	set("node.id", id)
	set("controller.quorum.voters", strings.Join(voters, ","))
	set("controller.listener.names", "CONTROLLER")
	listeners := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", l.clients[id-1], l.controllers[id-1])
	advertised := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", l.clients[id-1])
	set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT,OUTSIDE:PLAINTEXT")
	if l.guarded != nil {
		listeners += fmt.Sprintf(",GUARDED://127.0.0.1:%d", l.guarded[id-1])
		advertised += fmt.Sprintf(",GUARDED://127.0.0.1:%d", l.guarded[id-1])
		const modules = "org.apache.kafka.common.security."
		set("listener.name.guarded.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
		set("listener.name.guarded.plain.sasl.jaas.config", fmt.Sprintf("%splain.PlainLoginModule required user_%s=%q;", modules, User, Password))
		for _, size := range []string{"256", "512"} {
			set("listener.name.guarded.scram-sha-"+size+".sasl.jaas.config", modules+"scram.ScramLoginModule required;")
		}
		set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
		set("super.users", "User:ANONYMOUS")
	}
	if l.outside != nil {
		listeners += fmt.Sprintf(",OUTSIDE://%s:%d", l.at.listen, l.outside[id-1])
		advertised += fmt.Sprintf(",OUTSIDE://%s:%d", l.at.host, l.outside[id-1])
	}
	set("listeners", listeners)
	set("advertised.listeners", advertised)
	set("log.dirs", data)

	set("default.replication.factor", replicas)
	set("min.insync.replicas", inSync)
	for _, topic := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		set(topic+".replication.factor", replicas)
		set(topic+".num.partitions", 4) // 50 by default, each with files of its own
	}
	set("transaction.state.log.min.isr", inSync)
	set("share.coordinator.state.topic.min.isr", inSync)

	// A typing error in a test shall not become a topic.
	set("auto.create.topics.enable", false)
	// Records with made-up timestamps stay, unless the topic says otherwise.
	set("log.retention.ms", -1)
	set("log.message.timestamp.before.max.ms", int64(1<<63-1))
	set("log.message.timestamp.after.max.ms", int64(1<<63-1))
	// Groups form at once, and members may choose to be missed soon.
	set("group.initial.rebalance.delay.ms", 0)
	set("group.streams.initial.rebalance.delay.ms", 0)
	set("group.min.session.timeout.ms", 1000)
	set("group.consumer.min.session.timeout.ms", 1000)
	set("group.consumer.min.heartbeat.interval.ms", 100)
	set("group.streams.min.session.timeout.ms", 1000)
	set("group.streams.min.heartbeat.interval.ms", 100)
	// A killed broker is missed after 5 s, not 9.
	set("broker.session.timeout.ms", 5000)
	set("broker.heartbeat.interval.ms", 500)
	// Little to do, little to use.
	set("num.network.threads", 2)
	set("num.io.threads", 4)
	set("log.cleaner.dedupe.buffer.size", 32<<20) // of the heap; 128 MiB by default

	for _, kv := range l.settings {
		set(kv[0], kv[1])
	}
	return b.String()
}

// randomID returns 16 random bytes in Kafka's notation of a UUID.
func randomID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[0] &= 0x7f    // an id that begins with "-" reads like a flag
	return base64.RawURLEncoding.EncodeToString(id[:])
}
