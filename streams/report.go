package streams

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/topology"
)

// Report is what a process says of itself, for those who run it: as JSON at /status of [App.Handler], where names are as in the
// tags. Fields may be added. Totals count from the start of the process; rates are made of two reports.
type Report struct {
	Application string    `json:"application"`
	Process     string    `json:"process,omitempty"`  // its UUID, which is kept in the state directory
	Instance    string    `json:"instance,omitempty"` // of a static member
	Endpoint    string    `json:"endpoint,omitempty"`
	Version     string    `json:"version"` // of Millrace
	Time        time.Time `json:"time"`

	State     string `json:"state"`   // as Kafka Streams names it
	Started   bool   `json:"started"` // it was running once
	Ready     bool   `json:"ready"`   // it runs, and all its tasks are restored
	Paused    bool   `json:"paused"`
	Draining  bool   `json:"draining"`
	Departure string `json:"departure"` // configured, stay or leave

	Workers        int     `json:"workers"`
	Rebalances     int64   `json:"rebalances"`     // assignments that the group gave it
	Processed      int64   `json:"processed"`      // records
	BusySeconds    float64 `json:"busySeconds"`    // of all workers, in which they processed or committed
	BlockedSeconds float64 `json:"blockedSeconds"` // of those, waiting for Kafka in commits

	TopologyHash string           `json:"topologyHash"`
	Topology     topology.Outline `json:"topology"`
	TaskCount    int              `json:"taskCount"` // of the whole application; 0: not known yet
	Tasks        []ReportTask     `json:"tasks"`     // that are here
	Restores     []ReportRestore  `json:"restores"`  // that are under way
}

// ReportTask is a task of a [Report].
type ReportTask struct {
	ID     string        `json:"id"`
	Role   Role          `json:"role"`
	Worker int           `json:"worker,omitempty"`
	Inputs []ReportInput `json:"inputs,omitempty"` // of an active one
	Stores []ReportStore `json:"stores,omitempty"`
}

// ReportInput is a partition that a task reads.
type ReportInput struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // offset
	Lag       int64  `json:"lag"`       // records that are not processed yet
}

// ReportStore is a store of a task. Lag is how many offsets of its changelog it lacked when that was last heard.
type ReportStore struct {
	Name  string `json:"name"`
	Lag   int64  `json:"lag"`
	Bytes int64  `json:"bytes"` // on disk
}

// ReportRestore is a restore of a [Report].
type ReportRestore struct {
	Task             string  `json:"task"`
	Store            string  `json:"store"`
	Restored         int64   `json:"restored"`  // records
	Remaining        int64   `json:"remaining"` // offsets
	RecordsPerSecond float64 `json:"recordsPerSecond"`
	SecondsLeft      float64 `json:"secondsLeft"`
	Full             bool    `json:"full"` // from the beginning of the changelog
}

// Report returns what the process says of itself. While it does not run the tasks are missing. It asks nobody else.
func (a *App) Report(ctx context.Context) Report {
	i := a.instance.Load()
	now, started := i.State()
	totals := a.metrics.Totals()
	r := Report{
		Application: a.cfg.application, Instance: a.cfg.instanceID, Endpoint: a.cfg.endpoint, Version: totals.Version, Time: time.Now().UTC(),
		State: now.String(), Started: started, Ready: now == StateRunning, Paused: a.Paused(), Draining: a.Draining(), Departure: i.Departure().String(),
		Workers: totals.Workers, Rebalances: totals.Rebalances, Processed: totals.Processed, BusySeconds: totals.Busy, BlockedSeconds: totals.Blocked,
		Topology: a.cfg.topology.Outline(), Tasks: []ReportTask{}, Restores: []ReportRestore{},
	}
	r.TopologyHash = r.Topology.Hash()
	r.Process, r.TaskCount = i.Known()
	bytes := make(map[[2]string]int64)
	for _, s := range totals.Stores {
		if s.Disk != nil {
			bytes[[2]string{s.Task, s.Name}] = s.Disk.FileBytes
		}
	}
	if tasks, err := a.Status(ctx); err == nil {
		for _, t := range tasks {
			r.Tasks = append(r.Tasks, reportTask(t, bytes))
		}
	}
	for _, e := range a.Restores() {
		r.Restores = append(r.Restores, ReportRestore{
			Task: e.Task.String(), Store: e.Store, Restored: e.Records, Remaining: max(0, e.End-e.Position), RecordsPerSecond: e.Rate(),
			SecondsLeft: e.Remaining().Seconds(), Full: e.Full,
		})
	}
	return r
}

func reportTask(s runtime.TaskStatus, bytes map[[2]string]int64) ReportTask {
	t := ReportTask{ID: s.ID.String(), Role: s.Role, Worker: s.Worker}
	for _, in := range s.Inputs {
		t.Inputs = append(t.Inputs, ReportInput{in.Topic, in.Partition, in.Committed, in.Lag})
	}
	for _, st := range s.Stores {
		t.Stores = append(t.Stores, ReportStore{st.Name, st.Lag, bytes[[2]string{t.ID, st.Name}]})
	}
	return t
}
