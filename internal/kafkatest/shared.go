//go:build unix

package kafkatest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// EnvBootstrap is the environment variable that names a running cluster (host:port, or several joined by commas) for
// [Shared] to use. `go run ./internal/kafkatest/cmd/kafka run -- go test -tags kafka ./...` sets it, so that
// the tests of several packages share one broker.
const EnvBootstrap = "MILLRACE_TEST_KAFKA"

// shared is the cluster of this process, made by the first test that asks for it.
var shared = sync.OnceValues(func() (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if addr := os.Getenv(EnvBootstrap); addr != "" {
		return attach(ctx, addr)
	}
	return New(ctx)
})

// Shared returns the cluster of one broker that all tests of the process share: the one that [EnvBootstrap] names, or
// else one that is started now and ends with the process. Its tests keep to topics from [Cluster.Topic] and to group
// and application ids from [Unique]. It fails the test where there is no cluster.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// attach uses a cluster that another process runs.
func attach(ctx context.Context, addr string) (*Cluster, error) {
	c := &Cluster{}
	if err := c.connect(addr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		c.client.Close()
		return nil, fmt.Errorf("kafkatest: %s=%s, but no broker answers there: start one "+
			"(go run ./internal/kafkatest/cmd/kafka start --dir DIR) or unset the variable: %w", EnvBootstrap, addr, err)
	}
	c.brokers = len(brokers)
	return c, nil
}

// Unique returns prefix with a random ending: a name for a topic, a group or an application that no other test has.
func Unique(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:10])
}

// Topic creates a topic whose name begins with prefix, with the cluster's default configs, and returns its name once
// every partition has a leader that answers. The topic goes with the cluster. It fails the test where that takes more
// than a minute.
func (c *Cluster) Topic(t testing.TB, prefix string, partitions int) string {
	t.Helper()
	name := Unique(prefix)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.admin.CreateTopic(ctx, int32(partitions), -1, nil, name); err != nil {
		t.Fatalf("kafkatest: topic %s cannot be created: %v", name, err)
	}
	if err := c.awaitTopic(ctx, name, partitions); err != nil {
		t.Fatalf("kafkatest: topic %s was created, but is not served: %v", name, err)
	}
	return name
}

// awaitTopic returns when every partition's leader says where it ends.
func (c *Cluster) awaitTopic(ctx context.Context, name string, partitions int) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ends, err := c.admin.ListEndOffsets(ctx, name)
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[name]) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-again.C:
		}
	}
}
