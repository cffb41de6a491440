package pod

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/properties"
	"github.com/millrace/millrace/streams"
)

// environment is what a process is told, by name.
type environment map[string]string

func parse(env []string) environment {
	e := make(environment)
	for _, line := range env {
		if name, value, ok := strings.Cut(line, "="); ok && value != "" {
			e[name] = value
		}
	}
	return e
}

// Options makes options of an environment of the form name=value. A config of Kafka Streams or of a client is named as in Java, in
// capitals, with underscores for dots, behind KAFKA_: KAFKA_BOOTSTRAP_SERVERS, KAFKA_NUM_STREAM_THREADS. docs/kubernetes.md
// lists them. Of a variable NAME_FILE the value is in that file, as secrets are mounted. An empty one is as good as none. An error
// names the variable.
func Options(env []string) ([]streams.AppOption, error) {
	memory, said, err := options(parse(env))
	return slices.Concat(memory, said), err
}

// A setting makes an option of a variable.
type setting func(value string) (streams.AppOption, error)

// settings are the variables that are an option each.
var settings = map[string]setting{
	"KAFKA_BOOTSTRAP_SERVERS":             list(func(v []string) streams.AppOption { return streams.Brokers(v...) }),
	"KAFKA_STATE_DIR":                     text(streams.StateDir),
	"KAFKA_GROUP_INSTANCE_ID":             text(streams.InstanceID),
	"KAFKA_APPLICATION_SERVER":            text(streams.Endpoint),
	"KAFKA_NUM_STREAM_THREADS":            number(func(n int64) streams.AppOption { return streams.Workers(int(n)) }),
	"KAFKA_NUM_STANDBY_REPLICAS":          number(func(n int64) streams.AppOption { return streams.Standbys(int(n)) }),
	"KAFKA_MAX_WARMUP_REPLICAS":           number(func(n int64) streams.AppOption { return streams.MaxWarmupReplicas(int(n)) }),
	"KAFKA_REPLICATION_FACTOR":            number(func(n int64) streams.AppOption { return streams.ReplicationFactor(int(n)) }),
	"KAFKA_ACCEPTABLE_RECOVERY_LAG":       number(streams.AcceptableRecoveryLag),
	"KAFKA_STATESTORE_CACHE_MAX_BYTES":    number(streams.RecordCache),
	"KAFKA_PROBING_REBALANCE_INTERVAL_MS": millis(streams.ProbingRebalanceInterval),
	"KAFKA_SESSION_TIMEOUT_MS":            millis(streams.SessionTimeout),
	"KAFKA_HEARTBEAT_INTERVAL_MS":         millis(streams.HeartbeatInterval),
	"KAFKA_MAX_POLL_INTERVAL_MS":          millis(streams.RebalanceTimeout),
	"KAFKA_COMMIT_INTERVAL_MS":            millis(streams.CommitInterval),
	"KAFKA_TASK_TIMEOUT_MS":               millis(streams.TaskTimeout),
	"KAFKA_MAX_TASK_IDLE_MS":              millis(streams.MaxTaskIdle),
	"KAFKA_STATE_CLEANUP_DELAY_MS":        millis(streams.CleanupDelay),
	"KAFKA_TRANSACTION_TIMEOUT_MS":        millis(streams.TransactionTimeout),
	"KAFKA_LINGER_MS":                     millis(streams.Linger),
	"KAFKA_PROCESSING_GUARANTEE":          oneOf(map[string]streams.AppOption{"at_least_once": none, "exactly_once_v2": streams.ExactlyOnce()}),
	"KAFKA_AUTO_OFFSET_RESET":             oneOf(map[string]streams.AppOption{"earliest": streams.AutoOffsetReset(streams.Earliest), "latest": streams.AutoOffsetReset(streams.Latest), "none": streams.AutoOffsetReset(streams.NoReset)}),
	"KAFKA_COMPRESSION_TYPE":              oneOf(codecs),
	"MILLRACE_HTTP_ADDRESS":               text(streams.HTTPAddress),
	"MILLRACE_HTTP_TOKEN":                 text(streams.HTTPToken),
	"MILLRACE_SHUTDOWN_TIMEOUT":           duration(streams.ShutdownTimeout),
	"MILLRACE_STAY_IN_GROUP":              oneOf(map[string]streams.AppOption{"true": streams.StayInGroup(), "false": none}),
}

// others are the variables that are read elsewhere: with others, or by Run.
var others = []string{
	"KAFKA_APPLICATION_ID", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_JAAS_CONFIG", "KAFKA_SSL_TRUSTSTORE_LOCATION",
	"KAFKA_SSL_TRUSTSTORE_TYPE", "KAFKA_SSL_KEYSTORE_LOCATION", "KAFKA_SSL_KEYSTORE_TYPE", "KAFKA_SSL_TRUSTSTORE_CERTIFICATES",
	"KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN", "KAFKA_SSL_KEYSTORE_KEY", "MILLRACE_SASL_USERNAME", "MILLRACE_SASL_PASSWORD",
	"MILLRACE_HTTP_TLS_CERT", "MILLRACE_HTTP_TLS_KEY", "MILLRACE_MEMORY_LIMIT", "MILLRACE_LOG_LEVEL", "MILLRACE_LOG_FORMAT",
	"MILLRACE_DESCRIBE_TOPOLOGY", "MILLRACE_TOPOLOGY_CHECK", "MILLRACE_RESET", "MILLRACE_RESET_TO", "MILLRACE_RESET_FORCE", "MILLRACE_RESET_OUTPUTS", rackTags,
}

var codecs = map[string]streams.AppOption{
	"none": streams.Compression(streams.CompressNone), "gzip": streams.Compression(streams.CompressGzip), "snappy": streams.Compression(streams.CompressSnappy),
	"lz4": streams.Compression(streams.CompressLZ4), "zstd": streams.Compression(streams.CompressZstd),
}

// none is an option that is as it would be.
var none = streams.ClientOptions()

// options returns how the memory is divided, and what is said: that overrides the other.
func options(e environment) (memory, said []streams.AppOption, err error) {
	if err := e.readFiles(); err != nil {
		return nil, nil, err
	}
	memory, err = e.memory()
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		set, ok := settings[name]
		if !ok {
			continue
		}
		opt, err := set(e[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("pod: %s=%s: %w", name, e[name], err))
			continue
		}
		said = append(said, opt)
	}
	for _, more := range []func() (streams.AppOption, error){e.connecting, e.serving, e.tags, e.spread} {
		opt, err := more()
		errs = append(errs, err)
		said = append(said, opt)
	}
	return memory, said, errors.Join(errs...)
}

// readFiles takes what NAME_FILE names into NAME.
func (e environment) readFiles() error {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		target, ok := strings.CutSuffix(name, "_FILE")
		if _, single := settings[target]; !ok || !single && !slices.Contains(others, target) {
			continue
		}
		b, err := os.ReadFile(e[name])
		if err != nil {
			return fmt.Errorf("pod: %s: %w", name, err)
		}
		e[target] = strings.TrimSuffix(string(b), "\n")
		delete(e, name)
	}
	return nil
}

// security says how to connect.
func (e environment) security() ([]kgo.Opt, error) {
	p := properties.Properties{}
	for _, name := range others {
		if config, ok := strings.CutPrefix(name, "KAFKA_"); ok && e[name] != "" {
			p[strings.ReplaceAll(strings.ToLower(config), "_", ".")] = e[name]
		}
	}
	opts, err := p.Security(func(name string) string { return e[name] })
	if err != nil {
		return nil, fmt.Errorf("pod: the configs of security, each KAFKA_ and its name in capitals: %w", err)
	}
	return opts, nil
}

func (e environment) connecting() (streams.AppOption, error) {
	opts, err := e.security()
	return streams.ClientOptions(opts...), err
}

// serving says with which certificate the application serves. It is read once.
func (e environment) serving() (streams.AppOption, error) {
	cert, key := e["MILLRACE_HTTP_TLS_CERT"], e["MILLRACE_HTTP_TLS_KEY"]
	if cert == "" && key == "" {
		return none, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return none, fmt.Errorf("pod: MILLRACE_HTTP_TLS_CERT and MILLRACE_HTTP_TLS_KEY: %w", err)
	}
	return streams.HTTPTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}), nil
}

// tags are where the process is: KAFKA_CLIENT_TAG_ZONE is client.tag.zone.
func (e environment) tags() (streams.AppOption, error) {
	tags := make(map[string]string)
	for name, value := range e {
		if tag, ok := strings.CutPrefix(name, tagPrefix); ok {
			tags[strings.ToLower(tag)] = value
		}
	}
	if len(tags) == 0 {
		return none, nil
	}
	return streams.ClientTags(tags), nil
}

// spread says over which tags copies are spread: those that have a value here. A chart cannot know whether nodes have zones.
func (e environment) spread() (streams.AppOption, error) {
	keys := slices.DeleteFunc(words(e[rackTags]), func(tag string) bool { return e[tagPrefix+strings.ToUpper(tag)] == "" })
	if len(keys) == 0 {
		return none, nil
	}
	return streams.RackAwareTags(keys...), nil
}

const (
	tagPrefix = "KAFKA_CLIENT_TAG_"
	rackTags  = "KAFKA_RACK_AWARE_ASSIGNMENT_TAGS"
)

// serviceLink matches what Kubernetes says of a service that is named kafka.
var serviceLink = regexp.MustCompile(`^KAFKA_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)$`)

// unknown returns the variables that look as if they were meant for us, and are not understood.
func unknown(e environment) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		_, known := settings[name]
		ours := strings.HasPrefix(name, "KAFKA_") || strings.HasPrefix(name, "MILLRACE_")
		if ours && !known && !slices.Contains(others, name) && !strings.HasPrefix(name, tagPrefix) && !serviceLink.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

func text(option func(string) streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) { return option(v), nil }
}

func list(option func([]string) streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) { return option(words(v)), nil }
}

// words are what is between commas.
func words(v string) []string {
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func number(option func(int64) streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, errors.New("it is no whole number")
		}
		return option(n), nil
	}
}

func millis(option func(time.Duration) streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) {
		n, err := strconv.ParseInt(v, 10, 64)
		if most := int64(1<<63-1) / int64(time.Millisecond); err != nil || n > most || n < -most {
			return nil, errors.New("it is no whole number of milliseconds")
		}
		return option(time.Duration(n) * time.Millisecond), nil
	}
}

func duration(option func(time.Duration) streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) {
		d, err := time.ParseDuration(v)
		if err != nil {
			return nil, errors.New("it is no duration; write it as 90s or 2m")
		}
		return option(d), nil
	}
}

func oneOf(values map[string]streams.AppOption) setting {
	return func(v string) (streams.AppOption, error) {
		if opt, ok := values[v]; ok {
			return opt, nil
		}
		return nil, fmt.Errorf("it is none of %s", strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
}
