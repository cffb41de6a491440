// Demo counts real flights by airport and day, kills the instance that counts them with SIGKILL, twice, and compares the
// result with the truth.
//
//	go run ./examples/flights/demo [-brokers host:port,...]
//
// It starts a broker inside the program, or takes a cluster, and runs the instance (instance.go) as a process of its
// own. While the flights arrive a table shows the counts. Halfway the instance is killed and started again with its state
// directory: only what it had not yet on disk is restored. Then it is killed again and the directory removed: everything
// is restored. At the end every window of every airport is compared with what the file says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/devkafka"
	flights "github.com/millrace/millrace/examples/flights/data"
)

const (
	partitions = 4
	rate       = 1500            // flights a second
	deadline   = 3 * time.Minute // of the whole demo
)

func main() {
	brokers := flag.String("brokers", "", "a cluster to run on (host:port,...); empty: a broker inside the program")
	var in instanceFlags
	flag.BoolVar(&in.run, "instance", false, "be the instance: used by the demo itself")
	flag.StringVar(&in.application, "application", "", "with -instance: the application id")
	flag.StringVar(&in.stateDir, "state-dir", "", "with -instance: the state directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if in.run {
		err = runInstance(ctx, strings.Split(*brokers, ","), in)
	} else {
		ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("the demo was not done after %v", deadline))
		defer cancel()
		err = runDemo(ctx, *brokers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run: a cluster, an application on it, and what came out so far.
type demo struct {
	brokers     []string
	application string
	stateDir    string
	client      *kgo.Client
	admin       *kadm.Client
	flights     []flights.Flight
	table       *table
}

func (d *demo) input() string  { return d.application + "-flights" }
func (d *demo) output() string { return d.application + "-by-day" }

func runDemo(ctx context.Context, brokers string) (err error) {
	d := &demo{application: "flights-" + strconv.FormatInt(time.Now().UnixMilli(), 36), table: newTable(os.Stdout)}
	if d.flights, err = flights.All(); err != nil {
		return err
	}
	if d.stateDir, err = os.MkdirTemp("", "flights"); err != nil {
		return err
	}
	defer os.RemoveAll(d.stateDir)
	if brokers != "" {
		d.brokers = strings.Split(brokers, ",")
	} else {
		b, err := devkafka.Start()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		d.brokers = b.Brokers()
	}
	if d.client, err = kgo.NewClient(kgo.SeedBrokers(d.brokers...)); err != nil {
		return err
	}
	defer d.client.Close()
	d.admin = kadm.NewClient(d.client)
	if err := d.createTopics(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.deleteTopics()) }()
	d.table.say("%d flights of the first quarter of 2001, %d a second, counted by airport and day on %s", len(d.flights), rate, strings.Join(d.brokers, ","))
	if err := d.play(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return err
	}
	return d.compare(ctx)
}

func (d *demo) createTopics(ctx context.Context) error {
	created, err := d.admin.CreateTopics(ctx, partitions, -1, nil, d.input(), d.output())
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		return fmt.Errorf("creating the topics: %w", err)
	}
	return nil
}

// deleteTopics removes what the demo made on the cluster, the application's internal topics too.
func (d *demo) deleteTopics() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	topics, err := d.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var ours []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, d.application+"-") {
			ours = append(ours, name)
		}
	}
	_, err1 := d.admin.DeleteTopics(ctx, ours...)
	_, err2 := d.admin.DeleteGroups(ctx, d.application)
	return errors.Join(err1, err2)
}

// play feeds the flights and kills the instance on the way.
func (d *demo) play(ctx context.Context) (err error) {
	showing, stopShowing := context.WithCancel(ctx)
	shown := make(chan error, 1)
	go func() { shown <- d.show(showing) }()
	defer func() {
		stopShowing()
		err = errors.Join(err, <-shown)
	}()

	half, later := len(d.flights)/2, len(d.flights)*3/4
	in, err := d.start(ctx, "The instance is running.")
	if err != nil {
		return err
	}
	for _, act := range []struct {
		upTo int
		then func() error
	}{
		{half, func() error {
			if err := in.kill(); err != nil {
				return err
			}
			d.table.say("Killed with SIGKILL after %d flights. Starting it again with its state directory ...", half)
			in, err = d.start(ctx, "")
			return err
		}},
		{later, func() error {
			if err := errors.Join(in.kill(), os.RemoveAll(d.stateDir)); err != nil {
				return err
			}
			d.table.say("Killed again after %d flights, and its state directory removed. Starting it without ...", later)
			in, err = d.start(ctx, "")
			return err
		}},
		{len(d.flights), func() error { return d.untilProcessed(ctx) }},
	} {
		if err := d.feed(ctx, act.upTo); err != nil {
			return errors.Join(err, in.kill())
		}
		if err := act.then(); err != nil {
			if in != nil {
				err = errors.Join(err, in.kill())
			}
			return err
		}
	}
	return in.stop()
}

// feed sends the flights that were not sent yet, up to a number, at the rate.
func (d *demo) feed(ctx context.Context, upTo int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	begin, from := time.Now(), d.table.sent()
	for sent := from; sent < upTo; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		due := min(upTo, from+int(time.Since(begin).Seconds()*rate))
		var batch []*kgo.Record
		for _, f := range d.flights[sent:due] {
			value, err := json.Marshal(f)
			if err != nil {
				return err
			}
			batch = append(batch, &kgo.Record{Topic: d.input(), Key: []byte(f.Origin), Value: value, Timestamp: f.Arrival()})
		}
		if err := d.client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return fmt.Errorf("sending flights: %w", err)
		}
		sent = due
		d.table.setSent(sent)
	}
	return nil
}

// untilProcessed waits until the group has committed the whole input.
func (d *demo) untilProcessed(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := d.admin.ListEndOffsets(ctx, d.input())
		if err != nil {
			return err
		}
		committed, err := d.admin.FetchOffsets(ctx, d.application)
		if err != nil {
			return err
		}
		behind := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			at := int64(0)
			if c, ok := committed.Lookup(end.Topic, end.Partition); ok {
				at = max(0, c.At)
			}
			behind += end.Offset - at
		})
		if behind == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the instance, which is %d flights behind: %w", behind, context.Cause(ctx))
		}
	}
}
