//go:build kafka && unix

package kafkatest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// envOwner makes this test binary the owner of a cluster, for [TestBrokersDieWithTheirOwner] to kill.
const envOwner = "KAFKATEST_OWNER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envOwner); dir != "" {
		c, err := New(context.Background(), Dir(dir))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.Bootstrap())
		select {}
	}
	os.Exit(m.Run())
}

func TestThreeBrokersSurviveAKill(t *testing.T) {
	c := Start(t, Brokers(3))
	topic := c.Topic(t, "survivors", 6)
	produce(t, c, topic, 0, 200)

	must(t, c.Kill(1))
	produce(t, c, topic, 200, 400)
	consume(t, c, topic, 400)

	must(t, c.Restart(1))
	must(t, c.Shutdown(2))
	produce(t, c, topic, 400, 600)
	consume(t, c, topic, 600)

	must(t, c.Restart(2))
	must(t, c.Pause(3))
	if ping(t, c, 3, 300*time.Millisecond) == nil {
		t.Error("a paused broker answers")
	}
	must(t, c.Resume(3))
	must(t, ping(t, c, 3, time.Minute))

	if err := c.Kill(4); err == nil {
		t.Error("a broker that is not there was killed")
	}
	must(t, c.Stop())
	if err := c.Kill(1); err == nil {
		t.Error("a broker of a stopped cluster was killed")
	}
}

func TestSharedIsOne(t *testing.T) {
	c := Shared(t)
	if again := Shared(t); c != again {
		t.Error("a second cluster was started")
	}
	one, other := c.Topic(t, "same", 2), c.Topic(t, "same", 2)
	if one == other {
		t.Errorf("two tests were given the topic %s", one)
	}
	produce(t, c, one, 0, 100)
	produce(t, c, other, 0, 50)
	consume(t, c, one, 100)
	consume(t, c, other, 50)
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, err = New(t.Context(), Port(l.Addr().(*net.TCPAddr).Port))
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("on a taken port: %v", err)
	}
}

func TestBrokersDieWithTheirOwner(t *testing.T) {
	dir := t.TempDir()
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), envOwner+"="+dir)
	out, err := owner.StdoutPipe()
	must(t, err)
	must(t, owner.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	addr := strings.TrimSpace(line)
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()

	must(t, owner.Process.Kill())
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the broker outlived its owner: %v", err)
	}
	_ = owner.Wait() // says that it was killed
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(dir, "broker-1")); os.IsNotExist(err) {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal("the broker's data outlived its owner")
		}
	}
}

// ping asks broker i for an answer.
func ping(t *testing.T, c *Cluster, i int, patience time.Duration) error {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")[i-1]), kgo.RequestTimeoutOverhead(time.Second))
	must(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return client.Ping(ctx)
}

// produce sends the records from to up to, acknowledged by all replicas in sync.
func produce(t *testing.T, c *Cluster, topic string, from, to int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...), kgo.DefaultProduceTopic(topic),
		kgo.MetadataMinAge(100*time.Millisecond))
	must(t, err)
	defer client.Close()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, kgo.KeyStringRecord(fmt.Sprint(i), "v"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(t, client.ProduceSync(ctx, records...).FirstErr())
}

// consume reads the topic from its start until it has seen the keys 0 to n-1, each once.
func consume(t *testing.T, c *Cluster, topic string, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...), kgo.ConsumeTopics(topic))
	must(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records came: %v", len(seen), n, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Key)] {
				t.Errorf("record %s came twice", r.Key)
			}
			seen[string(r.Key)] = true
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
