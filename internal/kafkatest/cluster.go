//go:build unix

// Package kafkatest runs real Apache Kafka for integration tests: KRaft brokers started from the published jars, on
// loopback, with their data in a temporary directory.
//
// A test that does not mind company asks for [Shared]; one that kills brokers or needs its own settings calls [Start].
// Brokers never outlive the process that started them, however it ends.
//
// Java 17 or newer is needed, and Maven for the first run, which fetches the jars (45 MB) and keeps what is slow to
// make in the user's cache directory. Where one is missing, tests fail and say so; they are not skipped.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startTimeout bounds the start of a cluster or of one broker. It takes seconds; a machine that also compiles takes
// several times as long.
const startTimeout = 3 * time.Minute

// stopTimeout bounds the orderly end of one broker, after which it is killed.
const stopTimeout = 20 * time.Second

// Cluster is a running Kafka cluster. Its methods may be called from several goroutines.
type Cluster struct {
	bootstrap string
	guarded   string
	outside   string
	brokers   int
	admin     *kadm.Client
	client    *kgo.Client

	mu      sync.Mutex
	inst    *installation
	opts    options
	dir     string
	ownDir  bool    // dir was made here and goes with the cluster
	nodes   []*node // node i+1; nil for a cluster that another process runs
	stopped bool
}

// Start starts a cluster for one test and stops it when the test ends. It fails the test where that is not possible.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := New(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// New starts a cluster and returns when all its brokers serve. The first one on a machine takes longer: it fetches the
// jars. ctx bounds the start only.
func New(ctx context.Context, opts ...Option) (*Cluster, error) {
	o := defaults()
	for _, opt := range opts {
		opt(&o)
	}
	if o.brokers < 1 {
		return nil, fmt.Errorf("kafkatest: a cluster of %d brokers: at least 1 is needed", o.brokers)
	}
	inst, err := install(ctx)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c, err := boot(ctx, inst, o)
		if err == nil {
			return c, nil
		}
		// The ports were free when they were chosen, but are not reserved: another process may have been faster.
		if attempt == 3 || o.port != 0 || !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

// boot makes one attempt to start a cluster.
func boot(ctx context.Context, inst *installation, o options) (_ *Cluster, err error) {
	c := &Cluster{inst: inst, opts: o, brokers: o.brokers, dir: o.dir, ownDir: o.dir == ""}
	if c.ownDir {
		if c.dir, err = os.MkdirTemp("", "millrace-kafka-"); err != nil {
			return nil, fmt.Errorf("kafkatest: no directory for the brokers: %w", err)
		}
	}
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	layout, err := newLayout(o)
	if err != nil {
		return nil, err
	}
	for i := range o.brokers {
		n := &node{id: i + 1, dir: filepath.Join(c.dir, fmt.Sprintf("broker-%d", i+1))}
		if err := layout.format(n, inst); err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.launch(inst, o.heapMiB); err != nil {
			return nil, err
		}
	}
	for _, n := range c.nodes {
		if err := n.awaitReady(ctx); err != nil {
			return nil, err
		}
	}
	c.guarded, c.outside = bootstrap(loopback, layout.guarded), bootstrap(o.outside.host, layout.outside)
	return c, c.connect(bootstrap(loopback, layout.clients))
}

// connect makes the admin client.
func (c *Cluster) connect(bootstrap string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		return fmt.Errorf("kafkatest: no client for %s: %w", bootstrap, err)
	}
	c.bootstrap, c.client, c.admin = bootstrap, client, kadm.NewClient(client)
	return nil
}

// Bootstrap returns the brokers' addresses as host:port, joined by commas.
func (c *Cluster) Bootstrap() string { return c.bootstrap }

// User and Password log in by PLAIN where a cluster is [Guarded]. Tests make users for SCRAM by the admin client.
const (
	User     = "plain"
	Password = "plain-secret"
)

// Guarded returns the addresses at which users log in, as Bootstrap does; it is empty without the option [Guarded].
func (c *Cluster) Guarded() string { return c.guarded }

// Outside returns the addresses for clients elsewhere, as Bootstrap does; it is empty without the option [Outside].
func (c *Cluster) Outside() string { return c.outside }

// Brokers returns how many brokers the cluster has, whether they run or not.
func (c *Cluster) Brokers() int { return c.brokers }

// Admin returns an admin client of the cluster, which is closed with it.
func (c *Cluster) Admin() *kadm.Client { return c.admin }

// Kill ends broker i (from 1) at once, as kill -9 does. Its data stays for [Cluster.Restart].
func (c *Cluster) Kill(i int) error {
	return c.with(i, func(n *node) error { return n.kill() })
}

// Shutdown ends broker i (from 1) in good order: it hands its leaderships over first. Its data stays for
// [Cluster.Restart]. A broker that is not done after 20 s, as happens when the others are down, is killed.
func (c *Cluster) Shutdown(i int) error {
	return c.with(i, func(n *node) error { return n.shutdown(stopTimeout) })
}

// Restart starts broker i (from 1) again, with its old ports and data, and returns when it serves. A broker that is
// still running is shut down first.
func (c *Cluster) Restart(i int) error {
	return c.with(i, func(n *node) error {
		if err := n.shutdown(stopTimeout); err != nil {
			return err
		}
		if err := n.launch(c.inst, c.opts.heapMiB); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		return n.awaitReady(ctx)
	})
}

// Pause freezes broker i (from 1), as SIGSTOP does: its connections stay open and nobody answers.
func (c *Cluster) Pause(i int) error {
	return c.with(i, func(n *node) error { return n.signal("STOP") })
}

// Resume lets a paused broker i (from 1) go on.
func (c *Cluster) Resume(i int) error {
	return c.with(i, func(n *node) error { return n.signal("CONT") })
}

// Log returns the path of the log of broker i (from 1); it goes with the cluster. It is empty for a cluster that
// another process runs.
func (c *Cluster) Log(i int) string {
	if i < 1 || i > len(c.nodes) {
		return ""
	}
	return c.nodes[i-1].logPath()
}

// Stop kills all brokers and removes their data. Stopping twice does no harm. Stopping a cluster that another process
// runs only closes the admin client.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	if c.client != nil {
		c.client.Close()
	}
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.kill(), os.RemoveAll(n.dir))
	}
	if c.ownDir {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// with calls do with broker i, one call at a time.
func (c *Cluster) with(i int, do func(*node) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return errors.New("kafkatest: the cluster is stopped")
	case c.nodes == nil:
		return fmt.Errorf("kafkatest: broker %d belongs to another process (%s is set): "+
			"a test that kills or restarts brokers needs its own cluster from kafkatest.Start", i, EnvBootstrap)
	case i < 1 || i > len(c.nodes):
		return fmt.Errorf("kafkatest: no broker %d: the cluster has 1 to %d", i, len(c.nodes))
	}
	return do(c.nodes[i-1])
}
