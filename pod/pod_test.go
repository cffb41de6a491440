package pod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/pod"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

const patience = 30 * time.Second

func program(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// A program without options of its own runs as the environment says.
func TestRun(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "in"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "me", "pass"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	address := free(t)
	env := []string{
		"KAFKA_APPLICATION_ID=app", "KAFKA_BOOTSTRAP_SERVERS=" + strings.Join(c.ListenAddrs(), ", "), "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT",
		"KAFKA_SASL_MECHANISM=PLAIN", "MILLRACE_SASL_USERNAME=me", "MILLRACE_SASL_PASSWORD_FILE=" + file("password", "pass\n"),
		"KAFKA_STATE_DIR=" + dir, "KAFKA_NUM_STREAM_THREADS=2", "KAFKA_GROUP_INSTANCE_ID=app-0", "KAFKA_PROCESSING_GUARANTEE=exactly_once_v2",
		"KAFKA_CLIENT_TAG_ZONE=a", "KAFKA_RACK_AWARE_ASSIGNMENT_TAGS=zone, rack", "KAFKA_APPLICATION_SERVER=app-0.app:8080", "KAFKA_COMMIT_INTERVAL_MS=50",
		"KAFKA_NUM_STREAM_TREADS=3", "KAFKA_PORT_9092_TCP=tcp://10.0.0.1:9092", "KAFKA_SERVICE_HOST=10.0.0.1", "KAFKA_STANDBY=",
		"MILLRACE_HTTP_ADDRESS=" + address, "MILLRACE_HTTP_TOKEN_FILE=" + file("token", "secret"), "MILLRACE_MEMORY_LIMIT=256Mi",
	}
	before := debug.SetMemoryLimit(-1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out output
	ended := make(chan error, 1)
	go func() { ended <- pod.Run(ctx, program(t), env, &out, streams.Workers(5), streams.MemoryLimit(200<<20)) }()

	var r streams.Report
	for r.State != "RUNNING" || len(r.Tasks) < 3 {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, out.String())
		case <-ctx.Done():
			t.Fatalf("it does not run: %+v\n%s", r, out.String())
		case <-time.After(10 * time.Millisecond):
			r = report(ctx, t, "http://"+address+"/status")
		}
	}
	if r.Application != "app" || r.Instance != "app-0" || r.Endpoint != "app-0.app:8080" || r.Workers != 2 {
		t.Errorf("%+v", r)
	}
	if got := debug.SetMemoryLimit(-1); got != 200<<20 {
		t.Errorf("the memory limit is %d, not the program's", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("the memory limit stays %d", now)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("it logs what is no JSON: %s", line)
		}
	}
	if n := strings.Count(out.String(), "a variable is not understood"); n != 1 || !strings.Contains(out.String(), "KAFKA_NUM_STREAM_TREADS") {
		t.Errorf("%d variables are not understood, want one:\n%s", n, out.String())
	}
}

// report returns what an application says; nothing where it does not answer.
func report(ctx context.Context, t *testing.T, url string) (r streams.Report) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return r
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// free returns an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type output struct {
	sync.Mutex
	bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.Write(b)
}

func (o *output) String() string {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.String()
}

// The container's memory is divided: most of it is the garbage collector's, and without a limit nothing is.
func TestMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, c := range []struct {
		limit       string
		least, most int64
	}{{"256Mi", 192 << 20, 231 << 20}, {"1G", 750e6, 900e6}, {"536870912", 384 << 20, 461 << 20}} {
		opts, err := pod.Options([]string{"MILLRACE_MEMORY_LIMIT=" + c.limit})
		if err != nil {
			t.Fatal(err)
		}
		if got := memoryLimit(t, opts); got < c.least || got > c.most {
			t.Errorf("of %s the garbage collector keeps to %d, want %d to %d", c.limit, got, c.least, c.most)
		}
	}
}

// memoryLimit returns the limit of an application that begins to run and reaches no broker.
func memoryLimit(t *testing.T, opts []streams.AppOption) (limit int64) {
	t.Helper()
	opts = append(opts, streams.Brokers(free(t)), streams.ConnectTimeout(time.Millisecond), streams.StateDir(t.TempDir()), streams.Logger(slog.New(slog.DiscardHandler)),
		streams.OnState(func(_, _ streams.State) { limit = debug.SetMemoryLimit(-1) }))
	app, err := streams.NewApp("app", program(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Run(t.Context()); err == nil {
		t.Fatal("there is no broker, and yet it ran")
	}
	return limit
}

// An operator asks an image what its topology is.
func TestRunDescribes(t *testing.T) {
	topo := program(t)
	var out bytes.Buffer
	if err := pod.Run(t.Context(), topo, []string{"MILLRACE_DESCRIBE_TOPOLOGY=json"}, &out); err != nil {
		t.Fatal(err)
	}
	var o topology.Outline
	if err := json.Unmarshal(out.Bytes(), &o); err != nil || o.Hash() != topo.Outline().Hash() {
		t.Errorf("%v: %s", err, out.String())
	}
}

// What is wrong is said with its name, before anything is connected to.
func TestRunRefuses(t *testing.T) {
	for env, want := range map[string]string{
		"":                             "application id",
		"KAFKA_NUM_STREAM_THREADS=two": "KAFKA_NUM_STREAM_THREADS=two: it is no whole number",
		"KAFKA_NUM_STREAM_THREADS=0":   "Workers",
		"KAFKA_SESSION_TIMEOUT_MS=45s": "KAFKA_SESSION_TIMEOUT_MS=45s: it is no whole number of milliseconds",
		"KAFKA_COMMIT_INTERVAL_MS=999999999999999999": "no whole number of milliseconds",
		"KAFKA_PROCESSING_GUARANTEE=exactly_once":     "it is none of at_least_once, exactly_once_v2",
		"KAFKA_COMPRESSION_TYPE=brotli":               "it is none of gzip, lz4, none, snappy, zstd",
		"KAFKA_SECURITY_PROTOCOL=SSH":                 "security.protocol=SSH is none of",
		"KAFKA_SECURITY_PROTOCOL=SASL_SSL":            "SASL needs a",
		"MILLRACE_SASL_PASSWORD_FILE=/nowhere":        "MILLRACE_SASL_PASSWORD_FILE: open /nowhere",
		"MILLRACE_HTTP_TLS_CERT=/nowhere":             "MILLRACE_HTTP_TLS_CERT and MILLRACE_HTTP_TLS_KEY",
		"MILLRACE_MEMORY_LIMIT=1Mi":                   "MILLRACE_MEMORY_LIMIT=1Mi is no number of bytes",
		"MILLRACE_MEMORY_LIMIT=99999999999Gi":         "MILLRACE_MEMORY_LIMIT=99999999999Gi is no number of bytes",
		"MILLRACE_LOG_LEVEL=loud":                     "MILLRACE_LOG_LEVEL=loud",
		"MILLRACE_LOG_FORMAT=xml":                     "MILLRACE_LOG_FORMAT=xml",
		"MILLRACE_SHUTDOWN_TIMEOUT=90":                "write it as 90s",
		"MILLRACE_DESCRIBE_TOPOLOGY=xml":              "it can be json",
	} {
		err := pod.Run(t.Context(), program(t), []string{env}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}

// The documentation has every variable that is understood, and no other.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`((?:KAFKA|MILLRACE)_[A-Z_]*[A-Z])`").FindAllStringSubmatch(string(text), -1) {
		documented[name[1]] = true
	}
	delete(documented, "KAFKA_CLIENT_TAG_ZONE")
	for _, name := range pod.Variables() {
		if !documented[name] {
			t.Errorf("docs/kubernetes.md does not have %s", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/kubernetes.md has %s, which is not understood", name)
	}
}
