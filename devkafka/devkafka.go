// Package devkafka is a Kafka broker inside the program: for a first try, for development and for tests, with nothing to
// install and started in a millisecond. It speaks Kafka's protocol on a TCP port, so that every Kafka client and tool
// can use it, and keeps its records in memory or, with [Dir], in a directory that the next start continues from.
//
// It has topics with their configs, compaction and retention, consumer groups (classic and KIP-848), transactions and
// access to records by offset and by time. It is one broker without replication, encryption or access control, and it
// does not flush to disk: no place for data that matters.
//
// It is [github.com/twmb/franz-go/pkg/kfake], set up so that what works here works on Apache Kafka.
package devkafka

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultPartitions is how many partitions a topic gets that is created without a number: enough that a program which
// wrongly counts on the order of a whole topic is found out here and not in production.
const DefaultPartitions = 4

// Broker is a running broker. Its methods may be called from several goroutines.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	faults  *faultLog
	unlock  func()
	close   func() error
}

// Option changes how a broker is started.
type Option func(*config)

type config struct {
	listen     string
	dir        string
	partitions int
	topics     []topics
	log        *slog.Logger
}

type topics struct {
	partitions int
	names      []string
}

// Listen sets the address, host:port, on which the broker listens and by which clients reach it; default
// "127.0.0.1:0", where 0 stands for a free port. The host cannot be a wildcard such as 0.0.0.0, because clients are
// told to connect to it.
func Listen(addr string) Option { return func(c *config) { c.listen = addr } }

// Dir sets the directory in which the broker keeps topics, records and committed offsets; it is created if need be.
// Default: none, they are kept in memory and gone when the broker is closed. One broker at a time can use a directory.
func Dir(path string) Option { return func(c *config) { c.dir = path } }

// Partitions sets how many partitions a topic gets that is created without a number, above all one that comes to be
// because a client asked for it; default [DefaultPartitions].
func Partitions(n int) Option { return func(c *config) { c.partitions = n } }

// Topics has the broker create topics with that many partitions each, unless they are there already. It may be given
// several times.
func Topics(partitions int, names ...string) Option {
	return func(c *config) { c.topics = append(c.topics, topics{partitions, names}) }
}

// Log sets the logger for what goes wrong inside of the broker; default: none.
func Log(l *slog.Logger) Option { return func(c *config) { c.log = l } }

// Start starts a broker, which serves until it is closed.
//
// A client that asks for a topic that is not there, and allows it to be created, gets one. Topics without a retention
// of their own keep their records forever, whatever their timestamps. Groups may use session timeouts from 1 s on.
func Start(opts ...Option) (*Broker, error) {
	c := config{listen: "127.0.0.1:0", partitions: DefaultPartitions, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&c)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	listener, err := listen(c.listen)
	if err != nil {
		return nil, err
	}
	b := &Broker{addr: listener.Addr().String(), faults: &faultLog{out: c.log}, unlock: func() {}}
	b.close = sync.OnceValue(b.shut)
	if c.dir != "" {
		if b.unlock, err = lockDir(c.dir); err != nil {
			listener.Close()
			return nil, err
		}
	}
	if b.cluster, err = kfake.NewCluster(c.cluster(listener, b.faults)...); err != nil {
		b.unlock()
		return nil, fmt.Errorf("devkafka: the broker cannot start%s: %w", inDir(c.dir), err)
	}
	b.cluster.ControlKey(int16(kmsg.Metadata), b.createOnDemand)
	if err := b.create(c.topics); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (c *config) check() error {
	host, _, err := net.SplitHostPort(c.listen)
	if err != nil {
		return fmt.Errorf("devkafka: %q is no address to listen on: want host:port such as 127.0.0.1:9092: %w", c.listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		return fmt.Errorf("devkafka: cannot listen on %q: clients are told to connect to that host, "+
			"so name one that they can reach, such as 127.0.0.1 or the machine's own address", c.listen)
	}
	if c.partitions < 1 {
		return fmt.Errorf("devkafka: %d partitions for new topics: at least 1 is needed", c.partitions)
	}
	for _, t := range c.topics {
		if t.partitions < 1 {
			return fmt.Errorf("devkafka: %d partitions for the topics %q: at least 1 is needed", t.partitions, t.names)
		}
	}
	return nil
}

// cluster returns the options for kfake.
func (c *config) cluster(l net.Listener, faults *faultLog) []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("devkafka"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return l, nil }),
		kfake.DefaultNumPartitions(c.partitions),
		kfake.WithLogger(faults),
		kfake.BrokerConfigs(map[string]string{
			// kfake applies it to compacted topics too: a changelog with old timestamps would lose its records.
			"log.retention.ms":             "-1",
			"group.min.session.timeout.ms": "1000",
		}),
	}
	if c.dir != "" {
		opts = append(opts, kfake.DataDir(c.dir))
	}
	return opts
}

// listen takes the port, or says who to ask for it.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr)
		return nil, fmt.Errorf("devkafka: port %s is in use: another broker or program listens on %s; "+
			"stop it or choose another port (0 for any that is free): %w", port, addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("devkafka: cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// lockDir makes the directory this broker's own for as long as the broker runs.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("devkafka: no directory for the data: %w", err)
	}
	unlock, err = lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("devkafka: %s is in use by another broker; stop it or choose another directory: %w", dir, err)
	}
	return unlock, nil
}

func inDir(dir string) string {
	if dir == "" {
		return ""
	}
	return " on the data in " + dir
}

// create creates the topics that are not there yet.
func (b *Broker) create(wanted []topics) error {
	for _, t := range wanted {
		for _, name := range t.names {
			err := b.cluster.CreateTopic(name, int32(t.partitions), nil)
			if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
				return fmt.Errorf("devkafka: topic %q cannot be created: %w", name, err)
			}
		}
	}
	return nil
}

// createOnDemand creates the topics that a client asks for and allows to be created. kfake could do so itself, but
// would not write them to the directory before it is closed, and a killed program would lose them.
func (b *Broker) createOnDemand(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // as kfake wants it
	if req, ok := req.(*kmsg.MetadataRequest); ok && req.AllowAutoTopicCreation {
		for _, t := range req.Topics {
			if t.Topic != nil && *t.Topic != "" {
				_ = b.cluster.CreateTopic(*t.Topic, 0, nil) // the answer to the request says what came of it
			}
		}
	}
	return nil, nil, false // kfake answers
}

// Brokers returns the addresses for clients to connect to, as host:port.
func (b *Broker) Brokers() []string { return []string{b.addr} }

// Close ends the broker. With a directory it returns when all is written, or says what was not. Closing twice does no
// harm.
func (b *Broker) Close() error { return b.close() }

func (b *Broker) shut() error {
	b.faults.collect()
	b.cluster.Close()
	b.unlock()
	return b.faults.collected()
}

// faultLog passes on what kfake logs, and collects the errors of closing, which kfake does not return.
type faultLog struct {
	out *slog.Logger

	mu      sync.Mutex
	closing bool
	errs    []error
}

// Logf implements [kfake.Logger].
func (f *faultLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		err := fmt.Errorf("devkafka: "+format, args...)
		f.out.Error(err.Error())
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.closing {
			f.errs = append(f.errs, err)
		}
	case kfake.LogLevelWarn:
		f.out.Warn("devkafka: " + fmt.Sprintf(format, args...))
	}
}

func (f *faultLog) collect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closing = true
}

func (f *faultLog) collected() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}
