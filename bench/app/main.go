// App is one workload of the benchmark as one process: it takes the arguments of the Java baseline and prints the same
// JSON lines, so that one driver runs both.
//
//	app --bootstrap B --app-id A --state-dir D --workload W1|W2|W4|W7|R|COPY --in T --out T --records N --t0 MS
//	    [--guarantee at_least_once|exactly_once_v2] [--cache BYTES] [--standby N] [--set NAME=VALUE,...] [--leave] [--threads N] [--cpuprofile FILE]
//
// The lines are start, state, running and done; with --records 0 it serves until SIGTERM and prints closed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/bench/load"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// arguments are --name value, or --name alone.
type arguments map[string]string

func parse(argv []string) (arguments, error) {
	a := arguments{}
	for i := 0; i < len(argv); i++ {
		name, ok := strings.CutPrefix(argv[i], "--")
		if !ok {
			return nil, fmt.Errorf("argument %q does not begin with --", argv[i])
		}
		a[name] = "true"
		if i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "--") {
			i++
			a[name] = argv[i]
		}
	}
	return a, nil
}

func (a arguments) number(name string, otherwise float64) (float64, error) {
	if a[name] == "" {
		return otherwise, nil
	}
	v, err := strconv.ParseFloat(a[name], 64)
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", name, err)
	}
	return v, nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	a, err := parse(argv)
	if err != nil {
		return err
	}
	t0, err := a.number("t0", nowMs())
	if err != nil {
		return err
	}
	records, err := a.number("records", 0)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if name := a["cpuprofile"]; name != "" {
		stopProfile, err := profile(name)
		if err != nil {
			return err
		}
		defer stopProfile()
	}
	say("event", "start", "pid", os.Getpid(), "main_after_ms", nowMs()-t0)
	if a["workload"] == "COPY" {
		return rawCopy(ctx, a, t0, int64(records))
	}
	return measure(ctx, a, t0, int64(records))
}

// measure runs a workload until it has processed the records, or until ctx ends where there are none.
func measure(ctx context.Context, a arguments, t0 float64, records int64) error {
	var seen atomic.Int64
	t, err := program(a, &seen)
	if err != nil {
		return err
	}
	running := make(chan usage, 1)
	var restored, restores, full, restoreBegan, restoreEnded atomic.Int64
	opts := []streams.AppOption{
		streams.Brokers(strings.Split(a["bootstrap"], ",")...), streams.StateDir(a["state-dir"]),
		streams.Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))),
		streams.OnState(func(_, now streams.State) {
			u := usageNow()
			say("event", "state", "state", now.String(), "at_ms", u.at, "since_start_ms", u.at-t0)
			if now == streams.StateRunning {
				select {
				case running <- u:
				default:
				}
			}
		}),
		streams.OnRestore(func(e streams.RestoreEvent) {
			switch now := time.Now().UnixMicro(); e.Phase {
			case streams.RestoreBegin:
				restoreBegan.CompareAndSwap(0, now)
			case streams.RestoreEnd:
				restoreEnded.Store(now)
				if e.Full {
					full.Add(1)
				}
				restored.Add(e.Records)
				restores.Add(1)
			}
		}),
	}
	more, err := appOptions(a)
	if err != nil {
		return err
	}
	app, err := streams.NewApp(a["app-id"], t, append(opts, more...)...)
	if err != nil {
		return err
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(runCtx) }()

	var first usage
	select {
	case first = <-running:
	case err := <-ended:
		say("event", "error")
		return err
	}
	say("event", "running", "at_ms", first.at, "since_start_ms", first.at-t0, "restored_records", restored.Load(), "restores", restores.Load(), "restored_full", full.Load(),
		"restore_ms", float64(restoreEnded.Load()-restoreBegan.Load())/1e3,
		"cpu_s", first.cpu, "rss_mib", memory("VmRSS"), "peak_rss_mib", memory("VmHWM"))
	if records == 0 {
		return serve(ctx, cancel, ended)
	}
	if err := untilSeen(&seen, records, ended); err != nil {
		return err
	}
	processed := usageNow()
	cancel()
	err = <-ended
	end := usageNow()
	wall := (end.at - first.at) / 1e3
	say("event", "done", "ok", err == nil, "records", records, "processed_s", (processed.at-first.at)/1e3, "wall_s", wall,
		"rec_s", float64(records)/wall, "cold_start_ms", first.at-t0, "cpu_run_s", end.cpu-first.cpu, "cpu_total_s", end.cpu,
		"peak_rss_mib", memory("VmHWM"), "at_ms", end.at)
	return err
}

func serve(ctx context.Context, cancel func(), ended <-chan error) error {
	select {
	case <-ctx.Done():
	case err := <-ended:
		say("event", "error")
		return err
	}
	begin := nowMs()
	cancel()
	err := <-ended
	say("event", "closed", "ok", err == nil, "close_ms", nowMs()-begin, "cpu_s", usageNow().cpu, "peak_rss_mib", memory("VmHWM"))
	return err
}

func untilSeen(seen *atomic.Int64, records int64, ended <-chan error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for seen.Load() < records {
		select {
		case <-tick.C:
		case err := <-ended:
			say("event", "error")
			return fmt.Errorf("ended after %d of %d records: %w", seen.Load(), records, err)
		}
	}
	return nil
}

func appOptions(a arguments) ([]streams.AppOption, error) {
	var opts []streams.AppOption
	if a["cache"] != "" {
		n, err := a.number("cache", 0)
		if err != nil {
			return nil, err
		}
		opts = append(opts, streams.RecordCache(int64(n)))
	}
	settings, err := set(a["set"])
	if err != nil {
		return nil, err
	}
	opts = append(opts, settings...)
	if a["standby"] != "" {
		n, err := a.number("standby", 0)
		if err != nil {
			return nil, err
		}
		opts = append(opts, streams.Standbys(int(n)))
	}
	if a["guarantee"] == "exactly_once_v2" {
		opts = append(opts, streams.ExactlyOnce())
	}
	if a["threads"] != "" {
		n, err := a.number("threads", 1)
		if err != nil {
			return nil, err
		}
		opts = append(opts, streams.Workers(int(n)))
	}
	return opts, nil
}

// set reads those of Java's settings that there are options for: name=value,name=value.
func set(settings string) (opts []streams.AppOption, err error) {
	for setting := range strings.SplitSeq(settings, ",") {
		name, value, _ := strings.Cut(setting, "=")
		ms := func() time.Duration {
			n, e := strconv.Atoi(value)
			if e != nil {
				err = fmt.Errorf("--set %s: %w", setting, e)
			}
			return time.Duration(n) * time.Millisecond
		}
		switch name {
		case "":
		case "consumer.session.timeout.ms":
			opts = append(opts, streams.SessionTimeout(ms()))
		case "consumer.heartbeat.interval.ms":
			opts = append(opts, streams.HeartbeatInterval(ms()))
		case "group.instance.id":
			opts = append(opts, streams.InstanceID(value))
		default:
			return nil, fmt.Errorf("--set %s: there is no such setting here", name)
		}
	}
	return opts, err
}

// program is the topology of a workload.
func program(a arguments, seen *atomic.Int64) (*topology.Topology, error) {
	b := streams.NewBuilder()
	count := func(_, _ string) { seen.Add(1) }
	in, out := a["in"], a["out"]
	source := b.Stream(in, serde.String, serde.String)
	switch w := a["workload"]; w {
	case "W1": // stateless: one record in ten is dropped
		source.Peek(count).Filter(func(_, v string) bool { return v[11] != '0' }).MapValues(strings.ToUpper).To(out)
	case "W2": // count by key
		source.Peek(count).GroupByKey().Count(streams.As("store")).ToStream().To(out)
	case "W4": // count by key and window
		source.Peek(count).GroupByKey().WindowedBy(streams.Tumbling(load.WindowMs * time.Millisecond)).Count(streams.As("store")).ToStream().To(out)
	case "W7": // sum by another key, through a repartition topic
		source.GroupBy(func(_, v string) string { return v[13:19] }, streams.As("rp")).
			Aggregate(func() int64 { return 0 }, func(_, v string, sum int64) int64 {
				seen.Add(1)
				n, _ := strconv.ParseInt(v[9:12], 10, 64) // digits, by construction
				return sum + n
			}, streams.As("store")).ToStream().To(out)
	case "R": // last value by key: a store of 100-byte values
		source.Peek(count).GroupByKey().Reduce(func(_, v string) string { return v }, streams.As("store")).ToStream().To(out)
	default:
		return nil, fmt.Errorf("there is no workload %q", w)
	}
	return b.Build()
}

// say prints a JSON line of names and values.
func say(kv ...any) {
	line := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		line[kv[i].(string)] = kv[i+1]
	}
	b, err := json.Marshal(line)
	if err != nil {
		b = fmt.Appendf(nil, `{"event":"error","error":%q}`, err)
	}
	os.Stdout.Write(append(b, '\n'))
}
