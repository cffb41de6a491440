//go:build kafka

package kill

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

const (
	kills      = 50
	keys       = 500
	rate       = 2000 // records a second
	partitions = 4

	// settled is how long an instance has to run for its state to be on disk for sure: a commit, and the write of a file
	// that is at most a second behind it.
	settled = 3 * time.Second
)

// instanceEnv, where it is set, makes the test binary the instance that is killed; it is the JSON of an instance.
const instanceEnv = "MILLRACE_KILL_INSTANCE"

type instance struct {
	Brokers, Application, Input, Output, Dir string
	ExactlyOnce                              bool
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(instanceEnv); spec != "" {
		var i instance
		err := json.Unmarshal([]byte(spec), &i)
		if err == nil {
			err = i.run()
		}
		fmt.Fprintln(os.Stderr, "instance:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// report is what the instance says, a JSON line each.
type report struct {
	State   string
	Full    bool
	Start   int64
	Records int64
}

// run counts records by key, and sums them through a repartition topic, until it is killed.
func (i instance) run() error {
	b := streams.NewBuilder()
	in := b.Stream(i.Input, serde.String, serde.Int64)
	in.GroupByKey().Count(streams.As("count")).ToStream().To(i.Output)
	in.GroupBy(func(_ string, v int64) string { return fmt.Sprint("all", v%7) }, streams.As("sevenths")).
		Count(streams.As("sevenths-count")).ToStream().To(i.Output)
	t, err := b.Build()
	if err != nil {
		return err
	}
	say := func(r report) {
		line, _ := json.Marshal(r)
		os.Stdout.Write(append(line, '\n'))
	}
	opts := []streams.AppOption{
		streams.Brokers(strings.Split(i.Brokers, ",")...), streams.StateDir(i.Dir), streams.InstanceID("one"),
		streams.CommitInterval(200 * time.Millisecond),
		streams.RepartitionPurgeInterval(time.Second),
		streams.Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
		streams.OnState(func(_, now streams.State) { say(report{State: now.String()}) }),
		streams.OnRestore(func(e streams.RestoreEvent) {
			if e.Phase == streams.RestoreEnd {
				say(report{State: "restored", Full: e.Full, Start: e.Start, Records: e.Records})
			}
		}),
	}
	if i.ExactlyOnce {
		opts = append(opts, streams.ExactlyOnce())
	}
	app, err := streams.NewApp(i.Application, t, opts...)
	if err != nil {
		return err
	}
	return app.Run(context.Background())
}

// life is one run of the instance.
type life struct {
	cmd     *exec.Cmd
	reports chan report
}

func (i instance) start(t *testing.T) *life {
	spec, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), instanceEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &life{cmd, make(chan report, 1000)}
	go func() {
		defer close(l.reports)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r report
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				l.reports <- r
			}
		}
	}()
	return l
}

// until collects what the instance restored until it runs or the time is over; ran says which.
func (l *life) until(over <-chan time.Time) (restored []report, ran bool, alive bool) {
	for {
		select {
		case r, ok := <-l.reports:
			switch {
			case !ok:
				return restored, false, false
			case r.State == "restored":
				restored = append(restored, r)
			case r.State == streams.StateRunning.String():
				return restored, true, true
			}
		case <-over:
			return restored, false, true
		}
	}
}

func (l *life) kill(t *testing.T) {
	if err := l.cmd.Process.Kill(); err != nil {
		t.Errorf("the instance cannot be killed: %v", err)
	}
	if err := l.cmd.Wait(); err == nil {
		t.Error("the instance ended well, though it was killed")
	}
}

// TestKill kills an instance fifty times at random moments under load, and wipes its directory now and then. No count
// may be lower than the truth, and with exactly-once none higher. Once state has reached the disk, a restart with the
// directory restores a delta; one without restores everything.
func TestKill(t *testing.T) {
	t.Run("at least once", func(t *testing.T) { testKill(t, false) })
	t.Run("exactly once", func(t *testing.T) { testKill(t, true) })
}

func testKill(t *testing.T, exactlyOnce bool) {
	c := kafkatest.Shared(t)
	i := instance{
		Brokers: c.Bootstrap(), Application: kafkatest.Unique("kill"), Dir: t.TempDir(), ExactlyOnce: exactlyOnce,
		Input: c.Topic(t, "kill-in", partitions), Output: c.Topic(t, "kill-out", partitions),
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	load := startLoad(t, c, i.Input)
	defer load.stop()
	deltas, fulls, onDisk, empty := 0, 0, false, true
	for n := range kills {
		l := i.start(t)
		lives := time.Duration(rnd.IntN(1500)) * time.Millisecond
		if n%10 == 3 {
			lives = settled + time.Second
		}
		over := time.After(lives)
		restored, ran, alive := l.until(over)
		for _, r := range restored {
			if onDisk && r.Full {
				t.Errorf("kill %d: a store was restored in full, though its state was on disk", n)
			}
			if empty && !r.Full {
				t.Errorf("kill %d: a store was restored from offset %d on, though there was no state", n, r.Start)
			}
			if r.Full {
				fulls++
			} else {
				deltas++
			}
		}
		if !alive {
			t.Fatalf("kill %d: the instance ended by itself", n)
		}
		if ran {
			running := time.Now()
			<-over // the moment of the kill; the instance works meanwhile
			onDisk = onDisk || time.Since(running) >= settled
		}
		l.kill(t)
		empty = n%10 == 9
		if empty {
			if err := os.RemoveAll(i.Dir); err != nil {
				t.Fatal(err)
			}
			onDisk = false
		}
	}
	t.Logf("%d kills: %d stores restored by a delta, %d in full", kills, deltas, fulls)
	if deltas == 0 || fulls == 0 {
		t.Errorf("there were %d deltas and %d full restores; the test needs both", deltas, fulls)
	}
	truth := load.stop()
	finish(t, c, i)
	check(t, c, i, truth)
}

// load sends records at the rate until it is stopped.
type load struct {
	stopped atomic.Bool
	done    chan map[string]int64
	truth   map[string]int64
}

func startLoad(t *testing.T, c *kafkatest.Cluster, topic string) *load {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...))
	if err != nil {
		t.Fatal(err)
	}
	l := &load{done: make(chan map[string]int64, 1)}
	go func() {
		defer cl.Close()
		truth := map[string]int64{}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := int64(0); !l.stopped.Load(); <-tick.C {
			var batch []*kgo.Record
			for range rate / 100 {
				key, value := fmt.Sprint("k", n%keys), n
				bytes, _ := serde.Int64.Append(nil, value)
				batch = append(batch, &kgo.Record{Topic: topic, Key: []byte(key), Value: bytes})
				truth[key]++
				truth[fmt.Sprint("all", value%7)]++
				n++
			}
			if err := cl.ProduceSync(context.Background(), batch...).FirstErr(); err != nil {
				t.Errorf("producing: %v", err)
				break
			}
		}
		l.done <- truth
	}()
	return l
}

func (l *load) stop() map[string]int64 {
	if !l.stopped.Swap(true) {
		l.truth = <-l.done
	}
	return l.truth
}

// finish lets the instance process what is left, through the repartition topic too.
func finish(t *testing.T, c *kafkatest.Cluster, i instance) {
	l := i.start(t)
	defer l.kill(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	topics := []string{i.Input, i.Application + "-sevenths-repartition"}
	for quiet := 0; quiet < 5; <-tick.C { // some times in a row: the second topic is fed from the first
		ends, err := c.Admin().ListEndOffsets(ctx, topics...)
		if err != nil {
			t.Fatalf("waiting until the instance has processed everything: %v", err)
		}
		committed, err := c.Admin().FetchOffsets(ctx, i.Application)
		if err != nil {
			t.Fatal(err)
		}
		behind := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			at := int64(0)
			if o, ok := committed.Lookup(end.Topic, end.Partition); ok {
				at = max(0, o.At)
			}
			behind += end.Offset - at
		})
		if quiet++; behind != 0 {
			quiet = 0
		}
	}
}

func check(t *testing.T, c *kafkatest.Cluster, i instance, truth map[string]int64) {
	got := map[string]int64{}
	for _, r := range readAll(t, c, i.Output) {
		n, err := serde.Int64.Decode(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if i.ExactlyOnce && n <= got[string(r.Key)] {
			t.Errorf("key %s was counted to %d at offset %d of partition %d, after %d", r.Key, n, r.Offset, r.Partition, got[string(r.Key)])
		}
		got[string(r.Key)] = n
	}
	total, again := int64(0), int64(0)
	for k, want := range truth {
		total += want
		if got[k] < want || i.ExactlyOnce && got[k] > want {
			t.Errorf("key %s was counted %d times; the truth is %d", k, got[k], want)
		}
		again += got[k] - want
	}
	t.Logf("%d records counted, %d of them again", total, again)
}

func readAll(t *testing.T, c *kafkatest.Cluster, topic string) (all []*kgo.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends, err := c.Admin().ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(left) > 0 { // the last of a partition can be the marker of a transaction
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("reading topic %q: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return all
}
