//go:build unix

// Chaos runs an application on a cluster of three brokers while things fail, and checks that its results are exactly
// right:
//
//	go run ./test/chaos [-minutes 3] [-seed N] [-instances 3] [-faults kill,broker,freeze,wipe,disk] [-dir DIR]
//
// Three instances run a program with an aggregation, a join, a repartition and an echo on ten partitions, exactly once,
// with a standby of each task. By lot, one of them is killed every few seconds, sometimes with its state directory
// removed, or is frozen for longer than its session, so that it comes back as a zombie, or its disk is full for a while;
// a broker is killed every half a minute. Meanwhile the output is read, committed records only, and each number in it
// must be the next one of its key: a gap is a loss, a repeat a record that counted twice.
//
// After the faults, everything that was written to the input must come out within the liveness bound. Nor may any output
// be without progress for longer than the stall bound while the faults last. It prints a line every ten seconds and a
// table at the end, and exits with 1 if anything was wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/kafkatest"
)

// The bounds of liveness. A stall can be as long as it takes to notice two deaths in a row, a broker's among them, and
// to restore.
const (
	stallBound    = 60 * time.Second
	livenessBound = 90 * time.Second
)

const (
	partitions = 10
	session    = 6 * time.Second
)

func main() {
	if spec := os.Getenv(instanceEnv); spec != "" {
		fmt.Fprintln(os.Stderr, "instance:", runInstance(spec))
		os.Exit(1)
	}
	var c chaos
	flag.DurationVar(&c.lasts, "for", 0, "how long there are faults; instead of -minutes")
	minutes := flag.Float64("minutes", 3, "how long there are faults")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the lots; the timing of the processes is not in it")
	flag.IntVar(&c.count, "instances", 3, "instances of the application")
	flag.IntVar(&c.rate, "rate", 600, "records a second")
	flag.StringVar(&c.dir, "dir", "", "where logs and state are kept; empty: a temporary directory, removed at the end if all is well")
	faults := flag.String("faults", "kill,broker,freeze,wipe,disk", "what may happen")
	flag.Parse()
	if c.lasts == 0 {
		c.lasts = time.Duration(*minutes * float64(time.Minute))
	}
	c.faults = strings.Split(*faults, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\nlogs are in %s; the seed was %d\n", err, c.dir, c.seed)
		os.Exit(1)
	}
}

type chaos struct {
	lasts  time.Duration
	seed   uint64
	count  int
	rate   int
	faults []string
	dir    string

	cluster   *kafkatest.Cluster
	instances []*instance
	load      *load
	reader    *reader
	counts    map[string]int // of faults
}

const application = "chaos"

func (c *chaos) run(ctx context.Context) (err error) {
	temporary := c.dir == ""
	if temporary {
		if c.dir, err = os.MkdirTemp("", "chaos"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(c.dir)
			}
		}()
	}
	fmt.Printf("seed %d, %v of %s, logs in %s\n", c.seed, c.lasts, strings.Join(c.faults, ", "), c.dir)
	c.cluster, err = kafkatest.New(ctx, kafkatest.Brokers(3), kafkatest.Heap(384))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.cluster.Stop()) }()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	for n := range c.count {
		i, err := c.newInstance(n + 1)
		if err != nil {
			return err
		}
		defer i.end()
		c.instances = append(c.instances, i)
		if err := i.start(); err != nil {
			return err
		}
	}
	return c.judge(ctx)
}

// judge lets the faults happen and sees that all comes out right.
func (c *chaos) judge(ctx context.Context) error {
	if c.load = startLoad(c.brokers(), c.rate); c.load.err != nil {
		return c.load.err
	}
	defer c.load.stop()
	var err error
	if c.reader, err = startReader(c.brokers()); err != nil {
		return err
	}
	defer c.reader.stop()
	if err := c.harass(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "giving up: %v\n", err) // at once: to end the load takes its time if brokers are away
		return err
	}
	truth := c.load.stop()
	if c.load.err != nil {
		return c.load.err
	}
	fmt.Printf("the faults are over; %d records were written, waiting for all of their results\n", truth.records)
	took, err := c.reader.await(ctx, truth, livenessBound)
	c.table(truth, took)
	return err
}

func (c *chaos) brokers() []string { return strings.Split(c.cluster.Bootstrap(), ",") }

// prepare makes the topics, and fills the one that is joined.
func (c *chaos) prepare(ctx context.Context) error {
	r, err := c.cluster.Admin().CreateTopics(ctx, partitions, -1, nil, append([]string{ordersTopic, pricesTopic}, outputs...)...)
	if err == nil {
		err = r.Error()
	}
	if err != nil {
		return fmt.Errorf("making the topics: %w", err)
	}
	return fillPrices(ctx, c.brokers())
}

// table prints what happened.
func (c *chaos) table(t truth, took time.Duration) {
	fmt.Println("\nwhat happened")
	for _, f := range []string{"kill", "wipe", "freeze", "disk", "broker"} {
		fmt.Printf("  %-22s %d\n", names[f], c.counts[f])
	}
	ran := 0
	for _, i := range c.instances {
		ran += i.starts
	}
	fmt.Printf("  %-22s %d\n", "starts of instances", ran)
	fmt.Printf("  %-22s %d\n", "stores restored: delta", c.restores(false))
	fmt.Printf("  %-22s %d\n", "stores restored: full", c.restores(true))
	fmt.Printf("\n%-10s %12s %12s %10s %10s %14s\n", "output", "due", "read", "lost", "twice", "longest stall")
	for _, topic := range outputs {
		s := c.reader.summary(topic)
		fmt.Printf("%-10s %12d %12d %10d %10d %14v\n", topic, t.due(topic), s.records, s.lost, s.again, s.stall.Round(10*time.Millisecond))
	}
	fmt.Printf("\nall results were there %v after the faults were over (bound: %v); the bound of a stall is %v\n",
		took.Round(10*time.Millisecond), livenessBound, stallBound)
}

func (c *chaos) restores(full bool) (n int) {
	for _, i := range c.instances {
		if full {
			n += int(i.full.Load())
		} else {
			n += int(i.delta.Load())
		}
	}
	return n
}
