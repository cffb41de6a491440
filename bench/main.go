// Bench measures Millrace on a real broker, beside Java Kafka Streams and beside a raw copy by the Kafka client:
//
//	go run ./bench [-baseline DIR] [-records N] [-keys K] [-runs N] [-workloads W1,W2,W4,W7]
//	    [-guarantees at_least_once,exactly_once_v2]
//
// Each workload runs on the same input topic by one implementation after the other, several times over; the output of
// each implementation's first run is compared with the right answer. It prints a JSON line for each measure, with the
// medians of the runs and their ratio, Millrace to Java:
//
//	{"workload","guarantee","measure","millrace","java","ratio"}
//
// and, for the raw copy, "raw" instead of the last three. With both guarantees there is a line of the measure
// exactly_once_share as well: the records a second with exactly-once, as a share of those with at-least-once. The measures
// are records_s (records a second, from RUNNING until all is processed, flushed and committed), cpu_s_per_million (CPU seconds of the process in that time for a
// million records), peak_rss_mib, and start_to_running_ms (from the start of the process).
//
// The baseline is a directory with a Maven project whose class bench.Bench takes the arguments that bench/app takes and
// prints the lines that it prints; without one Millrace runs alone.
//
// The workload R is recovery: see recoveryMeasures. It is best run with as many keys as records.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/bench/load"
	"github.com/millrace/millrace/internal/kafkatest"
)

func main() {
	var b bench
	flag.StringVar(&b.baseline, "baseline", "", "directory of the Java baseline; empty: none")
	flag.Int64Var(&b.set.Records, "records", 1_000_000, "records of the input topic")
	flag.Int64Var(&b.set.Keys, "keys", 100_000, "distinct keys")
	flag.IntVar(&b.runs, "runs", 3, "runs of each implementation")
	workloads := flag.String("workloads", "W1,W2,W4,W7", "what to run")
	guarantees := flag.String("guarantees", atLeastOnce, "what is promised")
	flag.Parse()
	b.workloads, b.guarantees = strings.Split(*workloads, ","), strings.Split(*guarantees, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	baseline   string
	set        load.Set
	runs       int
	workloads  []string
	guarantees []string

	cluster *kafkatest.Cluster
	brokers []string
	dir     string // for binaries and state
	results map[key][]float64
}

// key is one measure of one implementation.
type key struct{ workload, guarantee, implementation, measure string }

const (
	atLeastOnce = "at_least_once"
	exactlyOnce = "exactly_once_v2"
	partitions  = 4
	input       = "bench-input"
	raw         = "raw copy"
)

var measures = []string{"records_s", "cpu_s_per_million", "peak_rss_mib", "start_to_running_ms"}

func (b *bench) run(ctx context.Context) (err error) {
	b.results = map[key][]float64{}
	b.set.Seed, b.set.Base = 1, time.Now().Truncate(time.Hour).Add(-time.Hour).UnixMilli()
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	implementations, err := b.build(ctx)
	if err != nil {
		return err
	}
	b.progress("starting Kafka")
	if b.cluster, err = kafkatest.New(ctx, kafkatest.Heap(1024)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Stop()) }()
	b.brokers = strings.Split(b.cluster.Bootstrap(), ",")
	if err := b.create(ctx, input); err != nil {
		return err
	}
	b.progress("filling %s with %d records", input, b.set.Records)
	if err := b.set.Fill(ctx, b.brokers, input); err != nil {
		return err
	}
	for run := range b.runs {
		for _, w := range b.workloads {
			for _, g := range b.guarantees {
				for _, i := range implementations {
					measure := b.once
					if w == recoveryName {
						measure = func(ctx context.Context, _, g string, i implementation, run int) error {
							return b.recovery(ctx, g, i, run)
						}
					}
					if err := measure(ctx, w, g, i, run); err != nil {
						return fmt.Errorf("%s by %s: %w", w, i.name, err)
					}
				}
			}
		}
		if err := b.once(ctx, raw, atLeastOnce, implementation{"raw", []string{filepath.Join(b.dir, "app"), "--workload", "COPY"}}, run); err != nil {
			return err
		}
	}
	return b.report()
}

// implementation is a program that runs a workload.
type implementation struct {
	name    string
	command []string
}

// build builds the programs that are to be compared.
func (b *bench) build(ctx context.Context) ([]implementation, error) {
	app := filepath.Join(b.dir, "app")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", app, "github.com/millrace/millrace/bench/app").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building bench/app: %w\n%s", err, out)
	}
	all := []implementation{{"millrace", []string{app}}}
	if b.baseline == "" {
		return all, nil
	}
	b.progress("building the baseline")
	java := filepath.Join(b.dir, "java")
	for _, part := range []string{"src", "pom.xml"} { // the directory may be read-only
		if err := copyAll(filepath.Join(java, part), filepath.Join(b.baseline, part)); err != nil {
			return nil, err
		}
	}
	maven := exec.CommandContext(ctx, "mvn", "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath")
	maven.Dir = java
	if out, err := maven.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the baseline in %s: %w\n%s", b.baseline, err, out)
	}
	classpath, err := os.ReadFile(filepath.Join(java, "classpath"))
	if err != nil {
		return nil, err
	}
	return append(all, implementation{"java", []string{
		"java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", filepath.Join(java, "target", "classes") + ":" + string(classpath), "bench.Bench",
	}}), nil
}

func copyAll(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// once runs a workload by one implementation, and checks its output the first time.
func (b *bench) once(ctx context.Context, workload, guarantee string, i implementation, run int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	id := kafkatest.Unique("bench")
	out := id + "-out"
	if err := b.create(ctx, out); err != nil {
		return err
	}
	state := filepath.Join(b.dir, id)
	defer os.RemoveAll(state)
	args := slices.Clone(i.command[1:])
	if workload != raw {
		args = append(args, "--workload", workload)
	}
	args = append(args, "--bootstrap", b.cluster.Bootstrap(), "--app-id", id, "--state-dir", state, "--guarantee", guarantee,
		"--in", input, "--out", out, "--records", fmt.Sprint(b.set.Records), "--t0", fmt.Sprintf("%.3f", float64(time.Now().UnixMicro())/1e3))
	cmd := exec.CommandContext(ctx, i.command[0], args...)
	cmd.Stderr = os.Stderr
	printed, err := cmd.Output()
	if err != nil {
		return err
	}
	done, err := lastEvent(printed, "done")
	if err != nil {
		return err
	}
	record := func(measure string, v float64) {
		k := key{workload, guarantee, i.name, measure}
		b.results[k] = append(b.results[k], v)
	}
	record("records_s", done["rec_s"])
	record("cpu_s_per_million", done["cpu_run_s"]*1e6/float64(b.set.Records))
	record("peak_rss_mib", done["peak_rss_mib"])
	record("start_to_running_ms", done["cold_start_ms"])
	b.progress("run %d of %d: %s %s by %s: %.0f records/s, %.2f CPU s, %.0f MiB", run+1, b.runs, workload, guarantee, i.name,
		done["rec_s"], done["cpu_run_s"], done["peak_rss_mib"])
	if run == 0 && workload != raw {
		if err := b.set.Verify(ctx, b.brokers, workload, out); err != nil {
			return err
		}
	}
	return b.remove(ctx, id)
}

// lastEvent returns the numbers of the last JSON line with that event.
func lastEvent(printed []byte, event string) (map[string]float64, error) {
	var found map[string]any
	for line := range strings.Lines(string(printed)) {
		var e map[string]any
		if json.Unmarshal([]byte(line), &e) == nil && e["event"] == event {
			found = e
		}
	}
	if found == nil || found["ok"] != true {
		return nil, fmt.Errorf("it did not say that it was done well: %s", printed)
	}
	numbers := map[string]float64{}
	for name, v := range found {
		if n, ok := v.(float64); ok {
			numbers[name] = n
		}
	}
	return numbers, nil
}

func (b *bench) create(ctx context.Context, topic string) error {
	r, err := b.cluster.Admin().CreateTopic(ctx, partitions, 1, nil, topic)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return fmt.Errorf("creating topic %q: %w", topic, err)
	}
	return nil
}

// remove deletes the topics of a run.
func (b *bench) remove(ctx context.Context, id string) error {
	topics, err := b.cluster.Admin().ListTopics(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, id+"-") {
			gone = append(gone, name)
		}
	}
	_, err = b.cluster.Admin().DeleteTopics(ctx, gone...)
	return err
}

// report prints the medians.
func (b *bench) report() error {
	print := func(line map[string]any) error {
		out, err := json.Marshal(line)
		fmt.Println(string(out))
		return err
	}
	for _, w := range b.workloads {
		for _, g := range b.guarantees {
			of := measures
			if w == recoveryName {
				of = recoveryMeasures
			}
			for _, m := range of {
				if err := print(b.compare(w, g, m, func(by string) float64 { return b.median(key{w, g, by, m}) })); err != nil {
					return err
				}
			}
		}
		if len(b.guarantees) < 2 || w == recoveryName {
			continue
		}
		share := func(by string) float64 {
			return b.median(key{w, exactlyOnce, by, "records_s"}) / b.median(key{w, atLeastOnce, by, "records_s"})
		}
		if err := print(b.compare(w, exactlyOnce, "exactly_once_share", share)); err != nil {
			return err
		}
	}
	for _, m := range measures[:3] {
		if err := print(map[string]any{"workload": raw, "guarantee": atLeastOnce, "measure": m, "raw": round(b.median(key{raw, atLeastOnce, "raw", m}))}); err != nil {
			return err
		}
	}
	return nil
}

// compare makes a line of the report.
func (b *bench) compare(workload, guarantee, measure string, of func(implementation string) float64) map[string]any {
	line := map[string]any{"workload": workload, "guarantee": guarantee, "measure": measure, "millrace": round(of("millrace"))}
	if b.baseline == "" {
		return line
	}
	java := of("java")
	line["java"] = round(java)
	if java != 0 { // of nothing at all there is no part
		line["ratio"] = round(of("millrace") / java)
	}
	return line
}

func (b *bench) median(k key) float64 {
	v := slices.Sorted(slices.Values(b.results[k]))
	if len(v) == 0 {
		return 0
	}
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// round keeps three digits behind the point of small numbers, none of large ones.
func round(v float64) json.Number {
	digits := 3
	if v >= 100 {
		digits = 0
	}
	return json.Number(strconv.FormatFloat(v, 'f', digits, 64))
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
