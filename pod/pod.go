// Package pod runs an application in a container: what a chart or an operator says by the environment, and what the container
// allows, become its options. The chart streams-app and the operator run programs that use it; others run on Kubernetes as well,
// with options of their own.
//
//	func main() { pod.Main(program().Build()) }
package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// Main runs an application until SIGTERM or an interrupt, and ends the process with status 1 if it has failed, or could not be
// built (err). See [Run].
func Main(t *topology.Topology, err error, opts ...streams.AppOption) {
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = Run(ctx, t, os.Environ(), os.Stdout, opts...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, ErrIncompatible) {
			os.Exit(incompatibleStatus)
		}
		os.Exit(1)
	}
}

// Run runs an application until ctx ends, as an environment of the form name=value says: see [Options]. What the environment says
// overrides opts, and opts how the container's memory is divided. Where the environment has
// MILLRACE_DESCRIBE_TOPOLOGY=json, it writes the topology's outline to out instead, and connects to nothing; where it has
// MILLRACE_TOPOLOGY_CHECK, it says whether it can go on where the outline in that file is: so an operator asks an image before it
// starts it. Where it has MILLRACE_RESET, it takes its own application back to the beginning, or plans that.
func Run(ctx context.Context, t *topology.Topology, env []string, out io.Writer, opts ...streams.AppOption) error {
	e := parse(env)
	switch as := e["MILLRACE_DESCRIBE_TOPOLOGY"]; as {
	case "":
	case "json":
		text, err := json.MarshalIndent(t.Outline(), "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", text)
		}
		return err
	default:
		return fmt.Errorf("pod: MILLRACE_DESCRIBE_TOPOLOGY=%s; it can be json", as)
	}
	if file := e["MILLRACE_TOPOLOGY_CHECK"]; file != "" {
		return check(t, file, out)
	}
	if e["MILLRACE_RESET"] != "" {
		if err := e.readFiles(); err != nil {
			return err
		}
		return resetApplication(ctx, t, e, out)
	}
	memory, said, err := options(e)
	if err != nil {
		return err
	}
	log, err := logger(e, out)
	if err != nil {
		return err
	}
	for _, name := range unknown(e) {
		log.Warn("a variable is not understood, and does nothing", "name", name)
	}
	base := []streams.AppOption{streams.Logger(log), streams.HTTPAddress(":8080")}
	app, err := streams.NewApp(e["KAFKA_APPLICATION_ID"], t, slices.Concat(base, memory, opts, said)...)
	if err != nil {
		return err
	}
	if err := app.Run(ctx); err != nil {
		return fmt.Errorf("pod: the application has failed: %w", err)
	}
	return nil
}

// logger logs as MILLRACE_LOG_FORMAT (json, the default, or text) and MILLRACE_LOG_LEVEL say.
func logger(e environment, out io.Writer) (*slog.Logger, error) {
	level := slog.LevelInfo
	if s := e["MILLRACE_LOG_LEVEL"]; s != "" {
		if err := level.UnmarshalText([]byte(s)); err != nil {
			return nil, fmt.Errorf("pod: MILLRACE_LOG_LEVEL=%s is none of DEBUG, INFO, WARN and ERROR", s)
		}
	}
	how := &slog.HandlerOptions{Level: level}
	switch as := e["MILLRACE_LOG_FORMAT"]; as {
	case "", "json":
		return slog.New(slog.NewJSONHandler(out, how)), nil
	case "text":
		return slog.New(slog.NewTextHandler(out, how)), nil
	default:
		return nil, fmt.Errorf("pod: MILLRACE_LOG_FORMAT=%s is neither json nor text", as)
	}
}
