package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	flights "github.com/millrace/millrace/examples/flights/data"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// Day is what is known of an airport on a day.
type Day struct {
	Flights int `json:"flights"`
	Delay   int `json:"delay"` // minutes, summed
}

// grace is how late a flight may be to count: the latest one of the file was 8 h 42 min.
const grace = 12 * time.Hour

// program counts the flights of a topic, keyed by airport, by day of departure.
func program(input, output string) (*topology.Topology, error) {
	b := streams.NewBuilder()
	b.Stream(input, serde.String, serde.JSON[flights.Flight](), streams.EventTime(func(_ string, f flights.Flight) time.Time { return f.Date })).
		GroupByKey().
		WindowedBy(streams.Tumbling(24*time.Hour).Grace(grace)).
		Aggregate(func() Day { return Day{} }, func(_ string, f flights.Flight, d Day) Day {
			return Day{d.Flights + 1, d.Delay + f.Delay}
		}, streams.As("by-day"), streams.WithValue(serde.JSON[Day]())).
		ToStream().
		To(output)
	return b.Build()
}

// instanceFlags are the flags of the instance's process.
type instanceFlags struct {
	run         bool
	application string
	stateDir    string
}

// An event is what the instance tells the demo, as a JSON line: that it runs, or that it restored a store.
type event struct {
	Running  bool    `json:"running,omitempty"`
	Restored int64   `json:"restored,omitempty"` // records
	Ms       float64 `json:"ms,omitempty"`
	Full     bool    `json:"full,omitempty"`
	Store    string  `json:"store,omitempty"`
}

func tell(e event) {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		os.Exit(1) // the demo is gone
	}
}

// runInstance is the process that counts.
func runInstance(ctx context.Context, brokers []string, f instanceFlags) error {
	t, err := program(f.application+"-flights", f.application+"-by-day")
	if err != nil {
		return err
	}
	app, err := streams.NewApp(f.application, t,
		streams.Brokers(brokers...),
		streams.StateDir(f.stateDir),
		streams.InstanceID("demo"), // it comes back under its name: nobody waits for the one that was killed
		streams.CommitInterval(200*time.Millisecond),
		streams.Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
		streams.OnState(func(_, now streams.State) {
			if now == streams.StateRunning {
				tell(event{Running: true})
			}
		}),
		streams.OnRestore(func(e streams.RestoreEvent) {
			if e.Phase == streams.RestoreEnd {
				tell(event{Restored: e.Records, Ms: float64(e.Duration.Microseconds()) / 1e3, Full: e.Full, Store: e.Store})
			}
		}),
	)
	if err != nil {
		return err
	}
	if err := app.Run(ctx); err != nil {
		return fmt.Errorf("the instance: %w", err)
	}
	return nil
}
