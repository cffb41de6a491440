//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// The topics.
const (
	ordersTopic = "orders"
	pricesTopic = "prices"
)

// outputs are what is read and checked: of each key the numbers 1, 2, 3 and so on, once each and in order.
var outputs = []string{"echo", "counts", "joined", "totals"}

// buckets are the keys of the totals, which go through a repartition topic.
const buckets = 50

// program is the topology. The value of an order is its running number among those of its key.
func program() (*topology.Topology, error) {
	b := streams.NewBuilder()
	orders := b.Stream(ordersTopic, serde.String, serde.Int64)
	prices := b.Table(pricesTopic, serde.String, serde.Int64, streams.As("prices"))
	orders.To("echo")
	orders.GroupByKey().Count(streams.As("count"), streams.Uncached()).ToStream().To("counts")
	orders.JoinTable(prices, func(order, price int64) int64 { return order*price - order*(price-1) }).To("joined")
	orders.GroupBy(func(k string, _ int64) string { return bucketOf(k) }, streams.As("by-bucket")).
		Count(streams.As("total"), streams.Uncached()).ToStream().To("totals")
	return b.Build()
}

func bucketOf(key string) string {
	n, _ := strconv.Atoi(strings.TrimPrefix(key, "k")) // keys are made here
	return fmt.Sprint("b", n%buckets)
}

// instanceEnv, where it is set, makes this program an instance; it is the JSON of a spec.
const instanceEnv = "MILLRACE_CHAOS_INSTANCE"

type spec struct {
	Brokers []string
	Dir     string
}

// runInstance is the process that is killed.
func runInstance(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	t, err := program()
	if err != nil {
		return err
	}
	app, err := streams.NewApp(application, t,
		streams.Brokers(s.Brokers...), streams.StateDir(s.Dir), streams.ExactlyOnce(), streams.Workers(2), streams.Standbys(1),
		streams.SessionTimeout(session), streams.HeartbeatInterval(500*time.Millisecond), streams.RebalanceTimeout(30*time.Second),
		streams.RepartitionPurgeInterval(2*time.Second), streams.ProbingRebalanceInterval(5*time.Second),
		streams.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
		streams.OnRestore(func(e streams.RestoreEvent) {
			if e.Phase == streams.RestoreEnd {
				fmt.Printf("restored full=%v records=%d\n", e.Full, e.Records)
			}
		}))
	if err != nil {
		return err
	}
	return app.Run(context.Background())
}

// instance is one process after the other with the same directory.
type instance struct {
	name   string
	spec   spec
	log    *os.File
	cmd    *exec.Cmd
	gone   chan struct{} // closed when the process has ended
	starts int
	full   atomic.Int64
	delta  atomic.Int64
	disk   *disk
}

func (c *chaos) newInstance(n int) (*instance, error) {
	i := &instance{name: fmt.Sprintf("instance %d", n)}
	dir := filepath.Join(c.dir, fmt.Sprintf("instance-%d", n))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if i.disk, err = newDisk(filepath.Join(dir, "state")); err != nil {
		return nil, err
	}
	i.spec = spec{c.brokers(), i.disk.path}
	i.log, err = os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return i, err
}

func (i *instance) start() error {
	text, err := json.Marshal(i.spec)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	i.starts++
	fmt.Fprintf(i.log, "---- start %d\n", i.starts)
	i.cmd = exec.Command(self)
	i.cmd.Env = append(os.Environ(), instanceEnv+"="+string(text))
	i.cmd.Stderr = i.log
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := i.cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	i.gone = gone
	cmd := i.cmd
	go func() {
		defer close(gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "restored full=true") {
				i.full.Add(1)
			} else if strings.HasPrefix(lines.Text(), "restored") {
				i.delta.Add(1)
			}
		}
		fmt.Fprintf(i.log, "---- ended: %v\n", cmd.Wait())
	}()
	return nil
}

// alive says whether the process runs, or is frozen.
func (i *instance) alive() bool {
	select {
	case <-i.gone:
		return false
	default:
		return true
	}
}

func (i *instance) signal(s syscall.Signal) error {
	if err := i.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %v: %w", i.name, s, err)
	}
	return nil
}

func (i *instance) kill() error {
	err := i.signal(syscall.SIGKILL)
	<-i.gone
	return err
}

// end ends the instance for good.
func (i *instance) end() {
	if i.cmd != nil {
		if err := i.kill(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	i.disk.close()
	i.log.Close()
}
