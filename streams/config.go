package streams

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// An AppOption changes how an [App] runs. NewApp checks all of them together.
type AppOption func(*appConfig)

type appConfig struct {
	application       string
	topology          *topology.Topology
	brokers           []string
	stateDir          string
	instanceID        string
	workers           int
	commitInterval    time.Duration
	maxTaskIdle       time.Duration
	bufferedRecords   int
	recordCache       int64
	overlay           int64
	blockCache        int64
	replication       int
	sessionTimeout    time.Duration
	heartbeat         time.Duration
	rebalanceTimeout  time.Duration
	purgeInterval     time.Duration
	cleanupDelay      time.Duration
	shutdownTimeout   time.Duration
	connectTimeout    time.Duration
	deliveryTimeout   time.Duration
	linger            time.Duration
	exactlyOnce       bool
	catchUpInterval   time.Duration
	transaction       time.Duration
	taskTimeout       time.Duration
	compression       Codec
	reset             ResetPolicy
	undecodable       Handler
	failed            Handler
	unwritable        Handler
	deadLetters       string
	clientOptions     []kgo.Opt
	log               *slog.Logger
	httpAddress       string
	httpToken         string
	httpTLS           *tls.Config
	memoryLimit       int64
	onState           func(old, now State)
	onRestore         func(RestoreEvent)
	onStandby         func(RestoreEvent)
	uncaught          func(error) Reaction
	fetchBytes        int
	fetchPartitionMax int
	stayInGroup       bool
	placement         placement
	endpoint          string
	engine            state.OpenEngine
	around            func(task topology.TaskID, node string) func(process func() error) error
}

func defaultConfig(application string, t *topology.Topology) *appConfig {
	return &appConfig{
		application:       application,
		topology:          t,
		brokers:           []string{"localhost:9092"},
		stateDir:          filepath.Join(os.TempDir(), "millrace"),
		workers:           1,
		commitInterval:    unset,
		transaction:       10 * time.Second,
		taskTimeout:       5 * time.Minute,
		bufferedRecords:   4000,
		recordCache:       10 << 20,
		overlay:           32 << 20,
		blockCache:        32 << 20,
		replication:       -1,
		reset:             Earliest,
		sessionTimeout:    45 * time.Second,
		heartbeat:         3 * time.Second,
		rebalanceTimeout:  5 * time.Minute,
		purgeInterval:     30 * time.Second,
		cleanupDelay:      10 * time.Minute,
		shutdownTimeout:   time.Minute,
		connectTimeout:    30 * time.Second,
		deliveryTimeout:   2 * time.Minute,
		linger:            100 * time.Millisecond,
		log:               slog.Default(),
		fetchBytes:        2 << 20,
		fetchPartitionMax: 512 << 10,
		placement:         defaultPlacement(),
	}
}

// Brokers sets the addresses, host:port, by which the cluster is found; one that answers is enough. Default:
// localhost:9092. (Java: bootstrap.servers)
func Brokers(addresses ...string) AppOption { return func(c *appConfig) { c.brokers = addresses } }

// StateDir sets the directory under which stores on disk live, in a directory named as the application. Each process on
// a machine needs its own. Default: millrace in the system's directory for temporary files, which is not what to use in
// production: after a restart with the same directory only what is missing is restored. An application without stores
// on disk uses none. (Java: state.dir)
func StateDir(dir string) AppOption { return func(c *appConfig) { c.stateDir = dir } }

// InstanceID makes the process a static member of the group, of that name: when it stops, its tasks wait for it to come
// back within the session timeout, instead of moving. Default: none. (Java: group.instance.id, KIP-345)
func InstanceID(id string) AppOption { return func(c *appConfig) { c.instanceID = id } }

// Workers sets how many goroutines process tasks. Default 1; at least 1. More than there are tasks are idle. (Java:
// num.stream.threads)
func Workers(n int) AppOption { return func(c *appConfig) { c.workers = n } }

// ExactlyOnce makes what comes of each record count once, whatever happens to the process or the broker: what a worker
// writes, to topics and changelogs, and the offsets of what it was made of are one transaction, which takes effect with
// the commit, or not at all. Consumers of the output see that if they read committed records only
// (isolation.level=read_committed). It needs brokers from 2.5 on, and is safest with transaction.version 2, which new
// clusters have since 4.0 (KIP-890). Default: at least once. (Java: processing.guarantee=exactly_once_v2, KIP-447)
func ExactlyOnce() AppOption { return func(c *appConfig) { c.exactlyOnce = true } }

// TransactionTimeout sets when the broker ends a transaction by itself, so that those who wait for its end can go on. It
// has to be longer than the commit interval; what takes longer to process is begun again. Default 10 s, as in Kafka
// Streams. (Java: producer's transaction.timeout.ms)
func TransactionTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.transaction = d } }

// TaskTimeout sets how long trouble of the cluster, or of a disk, is borne before it is the end of the application:
// until then what could not be committed is done again, with growing pauses. Default 5 min; at least 0, with which
// nothing is tried again. (Java: task.timeout.ms, KIP-572)
func TaskTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.taskTimeout = d } }

// CommitInterval sets how often the work that was done is committed. What was done since is done again after a crash,
// and stores that hold changes back (see [Cached]) forward them at a commit. Default 30 s, and 100 ms with
// [ExactlyOnce], which grows while the process is behind: to the time that it needs to catch up, or twenty times what a commit
// takes, and 3 s at most. An interval that is set stays as it is. More than 0. (Java: commit.interval.ms)
func CommitInterval(d time.Duration) AppOption { return func(c *appConfig) { c.commitInterval = d } }

// MaxTaskIdle sets how long a task that reads several topics waits for records of one that has none, so that records are
// processed in the order of their timestamps. Default 0: it waits only for what the broker is known to have. A negative
// value: it never waits. (Java: max.task.idle.ms, KIP-695)
func MaxTaskIdle(d time.Duration) AppOption { return func(c *appConfig) { c.maxTaskIdle = d } }

// BufferedRecords sets how many records of a partition may wait to be processed; a partition with more is not fetched
// until some are. What one fetch brings comes on top. Default 4000, so that the next fetch is there in time; at least 1.
// (Java: buffered.records.per.partition, 1000)
func BufferedRecords(n int) AppOption { return func(c *appConfig) { c.bufferedRecords = n } }

// FetchBytes sets how much one response of a broker holds, and how much of one partition. Defaults 2 MiB and 512
// KiB; at least 1 KiB. A larger batch comes all the same. Memory for input is bounded by about three responses a broker. (Java: fetch.max.bytes, 50 MiB, and
// max.partition.fetch.bytes, 1 MiB)
func FetchBytes(response, partition int) AppOption {
	return func(c *appConfig) { c.fetchBytes, c.fetchPartitionMax = response, partition }
}

// RecordCache sets the memory, in bytes, for changes that cached stores hold back, of all stores together. Default
// 10 MiB. With 0, each change is logged and forwarded. (Java: statestore.cache.max.bytes)
func RecordCache(bytes int64) AppOption { return func(c *appConfig) { c.recordCache = bytes } }

// Overlay sets the memory, in bytes, for changes of stores since the last commit, of all stores together; one commit is
// made early where they need more. Default 32 MiB; at least 1 MiB. (Java has none: its stores are written at once)
func Overlay(bytes int64) AppOption { return func(c *appConfig) { c.overlay = bytes } }

// BlockCache sets the memory, in bytes, for what was read of stores on disk, of all stores together. Default 32 MiB; at
// least 1 MiB. (Java: rocksdb.config.setter, 50 MiB a store)
func BlockCache(bytes int64) AppOption { return func(c *appConfig) { c.blockCache = bytes } }

// ReplicationFactor sets that of the internal topics which the application makes. Default -1: the broker's default.
// (Java: replication.factor)
func ReplicationFactor(n int) AppOption { return func(c *appConfig) { c.replication = n } }

// SessionTimeout sets how long the group waits for a sign of life before it gives the process's tasks to others.
// Default 45 s; within the limits of the broker. (Java: session.timeout.ms)
func SessionTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.sessionTimeout = d } }

// HeartbeatInterval sets how often the process gives that sign of life, and so how soon it hears of a rebalance.
// Default 3 s; at most a third of the session timeout. (Java: heartbeat.interval.ms)
func HeartbeatInterval(d time.Duration) AppOption { return func(c *appConfig) { c.heartbeat = d } }

// RebalanceTimeout sets how long a rebalance waits for the process to commit and give up tasks. Default 5 min; at least
// the session timeout. (Java: max.poll.interval.ms)
func RebalanceTimeout(d time.Duration) AppOption {
	return func(c *appConfig) { c.rebalanceTimeout = d }
}

// RepartitionPurgeInterval sets how often records that are processed and committed are deleted from repartition topics.
// Default 30 s; more than 0. (Java: repartition.purge.interval.ms)
func RepartitionPurgeInterval(d time.Duration) AppOption {
	return func(c *appConfig) { c.purgeInterval = d }
}

// CleanupDelay sets when the state of a task that moved to another process is removed from the directory. Default
// 10 min; more than 0. (Java: state.cleanup.delay.ms)
func CleanupDelay(d time.Duration) AppOption { return func(c *appConfig) { c.cleanupDelay = d } }

// ShutdownTimeout sets how long Run waits for the last commit when it is asked to stop. Default 1 min; more than 0.
// (Java: KafkaStreams.close(timeout), without end)
func ShutdownTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.shutdownTimeout = d } }

// StayInGroup makes a process that stops keep its place in the group until the session times out, so that its tasks do
// not move if it comes back soon; then it gives that place up, as its state directory tells it, and takes a new one.
// Default: it leaves, and its tasks go to others at once. With [InstanceID] it stays and keeps its place. (Java: CloseOptions.groupMembershipOperation)
func StayInGroup() AppOption { return func(c *appConfig) { c.stayInGroup = true } }

// ConnectTimeout sets how long Run waits for a broker to answer before it fails. Default 30 s; more than 0. (Java:
// default.api.timeout.ms, 1 min)
func ConnectTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.connectTimeout = d } }

// DeliveryTimeout sets how long a record that is written may take to be acknowledged before that is an error. Default
// 2 min; more than the linger. (Java: delivery.timeout.ms)
func DeliveryTimeout(d time.Duration) AppOption { return func(c *appConfig) { c.deliveryTimeout = d } }

// Linger sets how long records wait to be written together. It adds to the latency, and saves requests. Default 100 ms,
// as Kafka Streams has it; at least 0. (Java: linger.ms)
func Linger(d time.Duration) AppOption { return func(c *appConfig) { c.linger = d } }

// Codec says how records are compressed.
type Codec uint8

// The codecs.
const (
	CompressNone Codec = iota
	CompressGzip
	CompressSnappy
	CompressLZ4
	CompressZstd
)

// Compression sets how what is written is compressed. Default CompressNone. (Java: compression.type)
func Compression(codec Codec) AppOption { return func(c *appConfig) { c.compression = codec } }

// ResetPolicy says where to begin with a topic of which nothing is committed.
type ResetPolicy = topology.Reset

// The policies.
const (
	Earliest = topology.ResetEarliest // at the beginning
	Latest   = topology.ResetLatest   // with what comes from now on
	NoReset  = topology.ResetNone     // not at all: that is an error
)

// Past is a policy too: it begins with the records of so long ago, by their timestamps. At least a millisecond. (Java:
// by_duration, KIP-1106)
func Past(d time.Duration) ResetPolicy { return topology.Past(d) }

// StoreEngine keeps the stores on disk in another engine than Pebble, but for those that name one with [InEngine]. (Java:
// dsl.store.suppliers.class)
func StoreEngine(open state.OpenEngine) AppOption { return func(c *appConfig) { c.engine = open } }

// AutoOffsetReset sets where to begin with a source topic of which nothing is committed, or the committed offset is not
// there any more; a source may say otherwise with [From]. Default Earliest, as in Kafka Streams. (Java: auto.offset.reset)
func AutoOffsetReset(p ResetPolicy) AppOption { return func(c *appConfig) { c.reset = p } }

// ClientOptions are handed to every Kafka client of the application, after its own: for TLS, SASL and dialers.
func ClientOptions(opts ...kgo.Opt) AppOption {
	return func(c *appConfig) { c.clientOptions = append(c.clientOptions, opts...) }
}

// Logger sets where the application logs. Default: slog.Default().
func Logger(log *slog.Logger) AppOption { return func(c *appConfig) { c.log = log } }

// MemoryLimit sets the Go runtime's soft memory limit for the process while the application runs (debug.SetMemoryLimit),
// so that the garbage collector works harder rather than let it grow. Default 0: it is left as it is.
func MemoryLimit(bytes int64) AppOption { return func(c *appConfig) { c.memoryLimit = bytes } }

// OnState sets a function that is called on each change of state, before Run goes on.
func OnState(f func(old, now State)) AppOption { return func(c *appConfig) { c.onState = f } }

// OnRestore sets a function that is called when the restore of a store begins, after each batch, and when it ends. It
// may be called from several goroutines at once, and what it takes the restore waits for.
func OnRestore(f func(RestoreEvent)) AppOption { return func(c *appConfig) { c.onRestore = f } }

// unset is a duration that is chosen by other options.
const unset time.Duration = math.MinInt64

// fill sets the defaults that depend on other options.
func (c *appConfig) fill() {
	if c.commitInterval == unset {
		c.commitInterval = 30 * time.Second
		if c.exactlyOnce {
			c.commitInterval, c.catchUpInterval = 100*time.Millisecond, 3*time.Second
		}
	}
}

// OnStandby sets a function that is called when a standby of a store begins to be kept up to date, after each batch, and
// when that ends (RestoreLeft), because the task moves away or becomes active here. It may be called from several
// goroutines at once, and what it takes the standby waits for. (Java: StandbyUpdateListener, KIP-988)
func OnStandby(f func(RestoreEvent)) AppOption { return func(c *appConfig) { c.onStandby = f } }

var validName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// validate checks the options, each and together; the error names all that is wrong.
func (c *appConfig) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("streams: "+format, args...))
		}
	}
	check(validName.MatchString(c.application) && c.application != "." && c.application != "..",
		"the application id %q is not usable: it names topics and a directory, so it needs 1 to 249 letters, digits, dots, dashes or underscores", c.application)
	check(c.topology != nil, "there is no topology: pass what Build returned")
	check(len(c.brokers) > 0, "option Brokers: no address is given; pass at least one as host:port")
	for _, b := range c.brokers {
		_, _, err := net.SplitHostPort(b)
		check(err == nil, "option Brokers: %q is no address of the form host:port", b)
	}
	check(c.stateDir != "", "option StateDir: it is empty; name a directory")
	check(c.workers >= 1, "option Workers: %d; at least 1 is needed", c.workers)
	check(c.bufferedRecords >= 1, "option BufferedRecords: %d; at least 1 is needed", c.bufferedRecords)
	check(c.fetchBytes >= 1<<10 && c.fetchPartitionMax >= 1<<10, "option FetchBytes: %d and %d; at least 1024 are needed", c.fetchBytes, c.fetchPartitionMax)
	check(c.recordCache >= 0, "option RecordCache: %d; it cannot be negative, 0 switches it off", c.recordCache)
	check(c.overlay >= 1<<20, "option Overlay: %d; at least 1 MiB is needed", c.overlay)
	check(c.blockCache >= 1<<20, "option BlockCache: %d; at least 1 MiB is needed", c.blockCache)
	check(c.replication == -1 || c.replication >= 1 && c.replication < 1<<15, "option ReplicationFactor: %d; pass 1 or more, or -1 for the broker's default", c.replication)
	for name, d := range map[string]time.Duration{
		"CommitInterval": c.commitInterval, "SessionTimeout": c.sessionTimeout, "HeartbeatInterval": c.heartbeat, "RebalanceTimeout": c.rebalanceTimeout,
		"RepartitionPurgeInterval": c.purgeInterval, "CleanupDelay": c.cleanupDelay, "ShutdownTimeout": c.shutdownTimeout, "ConnectTimeout": c.connectTimeout,
		"DeliveryTimeout": c.deliveryTimeout,
	} {
		check(d >= time.Millisecond, "option %s: %v; it must be a millisecond or more", name, d)
	}
	check(c.heartbeat*3 <= c.sessionTimeout, "option HeartbeatInterval: %v is more than a third of the session timeout (%v), so that one lost heartbeat could "+
		"end the session; lower it, or raise SessionTimeout", c.heartbeat, c.sessionTimeout)
	check(c.rebalanceTimeout >= c.sessionTimeout, "option RebalanceTimeout: %v is less than the session timeout (%v); raise it, or lower SessionTimeout",
		c.rebalanceTimeout, c.sessionTimeout)
	check(c.linger >= 0 && c.linger < c.deliveryTimeout, "option Linger: %v; it must be between 0 and the delivery timeout (%v)", c.linger, c.deliveryTimeout)
	check(c.transaction > c.commitInterval || !c.exactlyOnce, "option TransactionTimeout: %v is not more than the commit interval (%v), so that every transaction "+
		"would be ended before its commit; raise it, or lower CommitInterval", c.transaction, c.commitInterval)
	check(c.taskTimeout >= 0, "option TaskTimeout: %v; it cannot be negative", c.taskTimeout)
	check(c.compression <= CompressZstd, "option Compression: %d is no codec", c.compression)
	check(c.reset.Valid(), "option AutoOffsetReset: %d is no policy; Past takes a millisecond or more", int64(c.reset))
	check(c.log != nil, "option Logger: it is nil; slog.New(slog.DiscardHandler) logs nothing")
	check(c.memoryLimit >= 0, "option MemoryLimit: %d; it cannot be negative, 0 leaves it as it is", c.memoryLimit)
	if c.endpoint != "" {
		_, _, err := net.SplitHostPort(c.endpoint)
		check(err == nil, "option Endpoint: %q is no address of the form host:port", c.endpoint)
	}
	c.placement.validate(check)
	return errors.Join(errs...)
}

func (c *appConfig) codec() kgo.CompressionCodec {
	return [...]kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}[c.compression]
}
