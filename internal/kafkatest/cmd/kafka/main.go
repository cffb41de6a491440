//go:build unix

// Command kafka runs real Apache Kafka for the integration tests of several packages, or for a look around.
//
//	kafka run [flags] -- go test -tags kafka ./...   a cluster for as long as the command runs
//	kafka start [flags] --dir DIR                    a cluster in the background; prints its address
//	kafka stop --dir DIR                             ends it and removes its data
//
// The command of run finds the cluster through the environment variable MILLRACE_TEST_KAFKA, and its exit status
// becomes that of run. Nothing is left behind if run is killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/kafkatest"
)

const usage = "usage: kafka run [flags] -- COMMAND..., kafka start [flags] --dir DIR, kafka stop --dir DIR"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode()) // the command of run has said why
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb := args[0]
	flags := flag.NewFlagSet("kafka "+verb, flag.ContinueOnError)
	dir := flags.String("dir", "", "`directory` of the cluster; for run, default a temporary one")
	brokers := flags.Int("brokers", 1, "number of brokers")
	port := flags.Int("port", 0, "port of the first broker; the others follow (default: free ports)")
	heap := flags.Int("heap", 512, "largest heap of each broker in MiB")
	var settings []string
	flags.Func("set", "a broker setting as `key=value`; may be given several times", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("want key=value")
		}
		settings = append(settings, s)
		return nil
	})
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	opts := []kafkatest.Option{kafkatest.Brokers(*brokers), kafkatest.Port(*port), kafkatest.Heap(*heap), kafkatest.Dir(*dir)}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		opts = append(opts, kafkatest.Setting(key, value))
	}
	if verb != "run" && *dir == "" {
		return fmt.Errorf("kafka %s: --dir is missing: it names the cluster", verb)
	}
	switch verb {
	case "run":
		return run(ctx, flags.Args(), opts)
	case "start":
		return start(ctx, *dir, args[1:])
	case "stop":
		_, err := ask(*dir, "stop")
		return err
	case serveVerb:
		return serve(ctx, *dir, opts)
	}
	return fmt.Errorf("kafka: there is no %q; %s", verb, usage)
}

// run runs a command beside a cluster.
func run(ctx context.Context, command []string, opts []kafkatest.Option) (err error) {
	if len(command) == 0 {
		return errors.New("kafka run: no command after the flags; " + usage)
	}
	cluster, err := kafkatest.New(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), kafkatest.EnvBootstrap+"="+cluster.Bootstrap())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd.Run()
}
