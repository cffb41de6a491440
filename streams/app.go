package streams

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/restore"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// State is what an application is doing (Java: KafkaStreams.State).
type State = runtime.State

// The states. An App is StateCreated until it runs. Then it is StateRebalancing while it waits for its tasks or restores
// them, and StateRunning. It ends in StateNotRunning by way of StatePendingShutdown, or, if something is fatal, in
// StateError by way of StatePendingError.
const (
	StateCreated         = runtime.Created
	StateRebalancing     = runtime.Rebalancing
	StateRunning         = runtime.Running
	StatePendingShutdown = runtime.PendingShutdown
	StateNotRunning      = runtime.NotRunning
	StatePendingError    = runtime.PendingError
	StateError           = runtime.Failed
)

// RestoreEvent says how far the restore of a store is: Store and From (the partition of the changelog; a global store, of
// the task -1_-1, has one restore for each partition of its topic), Start, Position
// and End (offsets), Records applied, Duration, Full (from the beginning of the log, or from the store's own position),
// and the computed Rate and Remaining. Its Phase is one of RestoreBegin, RestoreProgress, RestoreEnd and, where it was
// given up, RestoreLeft.
type RestoreEvent = restore.Progress

// The phases of a restore.
const (
	RestoreBegin    = restore.Begin
	RestoreProgress = restore.Going
	RestoreEnd      = restore.End
	RestoreLeft     = restore.Left
)

// App is one process of an application: a program, a cluster and a directory for state. Several with the same
// application id, on whatever machines, share its tasks.
type App struct {
	cfg      *appConfig
	metrics  *metrics.Recorder
	instance atomic.Pointer[runtime.Instance]
	clients  clients
	ran      atomic.Bool

	restores struct { // under way
		sync.Mutex
		now map[restoreKey]RestoreEvent
	}
}

type restoreKey struct {
	task  topology.TaskID
	store string
	from  assign.TopicPartition // a global store has several
}

// NewApp makes an application out of a topology. The application id names it among others of the cluster: its group, its
// internal topics and its directory. NewApp checks the options and does not connect.
func NewApp(application string, t *topology.Topology, opts ...AppOption) (*App, error) {
	cfg := defaultConfig(application, t)
	for _, opt := range opts {
		opt(cfg)
	}
	cfg.fill()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg}
	a.restores.now = make(map[restoreKey]RestoreEvent)
	var states []string
	for s := StateCreated; s <= StateError; s++ {
		states = append(states, s.String())
	}
	a.metrics = metrics.New(application, states)
	a.metrics.State(StateCreated.String(), StateCreated.String())
	a.instance.Store(runtime.New(a.runtimeConfig(), a.ports()))
	return a, nil
}

// Run runs the application until ctx ends, or something fatal happens, which it returns. When ctx ends, what was done is
// committed, the tasks are closed and the group is left, so that others take them over at once; that takes as long as
// ShutdownTimeout at most. An App runs once.
func (a *App) Run(ctx context.Context) (err error) {
	if a.ran.Swap(true) {
		return errors.New("streams: this App has run already; make a new one")
	}
	if a.cfg.memoryLimit > 0 {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(a.cfg.memoryLimit))
	}
	if err := a.clients.open(a.cfg); err != nil {
		return err
	}
	defer a.clients.close()
	if a.cfg.httpAddress != "" {
		stop, err := a.serve()
		if err != nil {
			return err
		}
		defer stop()
	}
	for {
		err := a.instance.Load().Run(ctx)
		if !errors.Is(err, runtime.ErrTopics) {
			return err
		}
		next := runtime.New(a.runtimeConfig(), a.ports())
		next.TakeOver(a.instance.Load())
		a.instance.Store(next)
	}
}

// State returns what the application is doing.
func (a *App) State() State {
	now, _ := a.instance.Load().State()
	return now
}

// Tasks returns the tasks that run in this process, in order. Those that are still restored are not among them.
func (a *App) Tasks() []topology.TaskID { return a.instance.Load().Tasks() }

// Restores returns the restores that are under way, in the order of their tasks.
func (a *App) Restores() []RestoreEvent {
	a.restores.Lock()
	defer a.restores.Unlock()
	var out []RestoreEvent
	for _, e := range a.restores.now {
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y RestoreEvent) int {
		if c := x.Task.Compare(y.Task); c != 0 {
			return c
		}
		return x.From.Compare(y.From)
	})
	return out
}

func (a *App) restored(e RestoreEvent) {
	if e.Standby {
		if a.cfg.onStandby != nil {
			a.cfg.onStandby(e)
		}
		return
	}
	a.restores.Lock()
	if key := (restoreKey{e.Task, e.Store, e.From}); e.Phase == RestoreEnd || e.Phase == RestoreLeft {
		delete(a.restores.now, key)
	} else {
		a.restores.now[key] = e
	}
	a.restores.Unlock()
	if a.cfg.onRestore != nil {
		a.cfg.onRestore(e)
	}
}

// Metrics returns the application's metrics, to serve them together with others; docs/metrics.md lists them.
func (a *App) Metrics() prometheus.Gatherer { return a.metrics.Registry() }

func (a *App) runtimeConfig() runtime.Config {
	c := a.cfg
	dir := ""
	for _, sub := range c.topology.Subtopologies() {
		for _, s := range sub.Stores {
			if s.Engine == state.Disk {
				dir = c.stateDir
			}
		}
	}
	return runtime.Config{
		Application: c.application, Topology: c.topology, StateDir: dir, Workers: c.workers,
		Limits: store.Limits{BlockCache: c.blockCache, RecordCache: c.recordCache, Overlay: c.overlay},
		Engine: c.engine, Around: c.around, ExactlyOnce: c.exactlyOnce, Replication: int16(c.replication), Reset: c.reset, MaxIdle: c.maxTaskIdle,
		Undecodable: c.handler(c.undecodable, 0), Failed: c.handler(c.failed, c.taskTimeout), Unwritable: c.handler(c.unwritable, 0), RestoreTasks: 8, StayInGroup: c.stayInGroup,
		StartTimeout:   c.connectTimeout + time.Minute,
		CommitInterval: c.commitInterval, CatchUpInterval: c.catchUpInterval, CommitTimeout: c.rebalanceTimeout, TaskTimeout: c.taskTimeout, PurgeInterval: c.purgeInterval, CleanupDelay: c.cleanupDelay,
		RevokeTimeout: c.rebalanceTimeout, ShutdownTimeout: c.shutdownTimeout,
		Uncaught: c.uncaught,
		OnState: func(old, now State) {
			a.metrics.State(old.String(), now.String())
			if c.onState != nil {
				c.onState(old, now)
			}
		},
		OnRestore: a.restored, Metrics: a.metrics, Log: c.log.With("application", c.application),
	}
}

// ports joins the runtime and its peer, the glue to Kafka.
func (a *App) ports() runtime.Ports {
	c := a.cfg
	return runtime.Ports{
		Cluster: &a.clients,
		Inputs:  &a.clients,
		NewProducer: func(worker int, of runtime.Membership) (runtime.Producer, error) {
			group := of.(*kafka.Group)
			pc := kafka.ProducerConfig{
				Linger: c.linger, Compression: c.codec(), BatchBytes: 1 << 20, BufferBytes: 32 << 20, DeliveryTimeout: c.deliveryTimeout,
				Group: group,
			}
			if c.exactlyOnce {
				pc.TransactionalID, pc.TransactionTimeout = group.TransactionalID(worker), c.transaction
			}
			return kafka.NewProducer(c.kafka(fmt.Sprintf("%s-producer-%d", c.application, worker)), pc)
		},
		NewMembership: func(info runtime.MemberInfo) runtime.Membership {
			return kafka.NewGroup(a.clients.Client, kafka.GroupConfig{
				Group: c.application, InstanceID: c.instanceID, Process: info.Process, Workers: info.Workers, Topics: info.Topics,
				Tasks: info.Tasks, Sums: info.Sums, Former: info.Former, Remember: info.Remember, Endpoint: c.endpoint, SessionTimeout: c.sessionTimeout, HeartbeatInterval: c.heartbeat,
				RebalanceTimeout: c.rebalanceTimeout, Log: c.log.With("application", c.application),
				Tags: c.placement.clientTags, ProbingInterval: c.placement.probing,
				Placement: assign.Options{
					Standbys: c.placement.standbys, AcceptableLag: c.placement.lag, Warmups: c.placement.warmups, RackTags: c.placement.rackTags,
				},
			})
		},
		NewRestores: func() (runtime.Source, func(), error) {
			client, err := kafka.NewClient(c.kafka(c.application + "-restore"))
			if err != nil {
				return nil, nil, err
			}
			f := kafka.NewFetcher(client, kafka.FetchConfig{
				MaxBytes: 2 * int32(c.fetchBytes), MaxPartitionBytes: 2 * int32(c.fetchPartitionMax), MaxWait: 500 * time.Millisecond,
				Buffer: 4 * c.bufferedRecords, ReadCommitted: true, Log: c.log, // a partition without room is one the broker waits for
			})
			return f, func() { f.Close(); client.Close() }, nil
		},
	}
}

func (c *appConfig) kafka(id string) kafka.Config {
	return kafka.Config{Brokers: c.brokers, ClientID: id, Options: c.clientOptions, Patience: c.connectTimeout, ExactlyOnce: c.exactlyOnce, Log: c.log}
}

// clients are what an App keeps to the cluster while it runs.
type clients struct {
	*kafka.Client
	*kafka.Fetcher
}

func (c *clients) open(cfg *appConfig) error {
	client, err := kafka.NewClient(cfg.kafka(cfg.application), kgo.RequestTimeoutOverhead(10*time.Second))
	if err != nil {
		return err
	}
	c.Client = client
	c.Fetcher = kafka.NewFetcher(client, kafka.FetchConfig{
		MaxBytes: int32(cfg.fetchBytes), MaxPartitionBytes: int32(cfg.fetchPartitionMax), MaxWait: 500 * time.Millisecond,
		Buffer: cfg.bufferedRecords, ReadCommitted: cfg.exactlyOnce, Log: cfg.log,
	})
	return nil
}

func (c *clients) close() {
	c.Fetcher.Close()
	c.Client.Close()
}
