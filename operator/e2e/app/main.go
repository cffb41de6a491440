// Command app is the application of the end-to-end tests. It counts the records of each key and writes every count, so that of each key
// the output is 1, 2, 3 and so on: what is lost or comes twice is seen there.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/millrace/millrace/pod"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

func main() {
	t, err := program()
	pod.Main(t, err, streams.RecordCache(0), streams.OnRestore(say))
}

// program is the topology, as the environment says: E2E_INPUT and E2E_OUTPUT are topics, E2E_WORK is how long a record takes. The image
// says E2E_VARIANT: other-store keeps the counts elsewhere; broken can say what it would do, and fails when it shall do it.
func program() (*topology.Topology, error) {
	store := "counts"
	switch os.Getenv("E2E_VARIANT") {
	case "other-store":
		store = "totals"
	case "broken":
		if os.Getenv("MILLRACE_TOPOLOGY_CHECK") == "" {
			return nil, errors.New("this program is broken")
		}
	}
	var work time.Duration
	if s := os.Getenv("E2E_WORK"); s != "" {
		var err error
		if work, err = time.ParseDuration(s); err != nil {
			return nil, fmt.Errorf("E2E_WORK: %w", err)
		}
	}
	b := streams.NewBuilder()
	b.Stream(os.Getenv("E2E_INPUT"), serde.String, serde.Bytes).
		Peek(func(string, []byte) { time.Sleep(work) }).
		GroupByKey().Count(streams.As(store)).ToStream().To(os.Getenv("E2E_OUTPUT"))
	return b.Build()
}

// say tells of a restore that is done, one a line, for the tests to read.
func say(e streams.RestoreEvent) {
	if e.Phase == streams.RestoreEnd {
		fmt.Printf("restored full=%v records=%d task=%v\n", e.Full, e.Records, e.Task)
	}
}
