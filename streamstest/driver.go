// Package streamstest runs a topology in process, without a broker, on a clock that the test moves.
//
// A driver runs the whole topology as one task with one partition of each topic (Java: TopologyTestDriver), or, with the
// option [Partitions], as the tasks that an application has. Each record that is sent is processed wholly, through repartition
// topics too, and committed, before the call returns; what it led to can then be read from the topics, changelogs included.
// With [CommitByHand] nothing is committed until the test says so, and the record cache holds back what it would.
//
// A driver starts no goroutine and looks at no clock but its own, so it can be used within testing/synctest.
package streamstest

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// T is what a driver needs of a test; *testing.T, *testing.B and *testing.F have it.
type T interface {
	Helper()
	Cleanup(func())
	Error(args ...any)
	Fatal(args ...any)
}

// Driver runs a topology. It is used from one goroutine.
type Driver struct {
	t         T
	options   options
	topology  *topology.Topology
	tasks     []*task.Task // in the order of their ids
	globals   []*task.Global
	owners    map[assign.TopicPartition]*task.Task // of inputs
	resources *store.Resources
	now       time.Time
	pending   []topology.Record               // produced in the current step
	topics    map[string][]topology.Record    // everything produced, by topic
	read      map[string]int                  // how much of it was read
	offsets   map[assign.TopicPartition]int64 // the next one
	counts    map[string]int32                // how many partitions topics have, if not one
	turns     map[string]int32                // records without a key
	dropped   int
}

// An Option changes how a driver runs.
type Option func(*options)

type options struct {
	application  string
	start        time.Time
	dir          string
	cache        int64
	emitInterval *time.Duration
	engine       state.OpenEngine
	all          int32            // partitions of topics that are not named
	partitions   map[string]int32 // of those that are; nil and all 0: the whole topology is one task
	byHand       bool
	existing     []string // topics that patterns may match
	around       func(task topology.TaskID, node string) func(process func() error) error
	undecodable  task.Handler
	failed       task.Handler
	deadLetters  string
}

// Application sets the application's id, by which internal topics are named; "app" by default.
func Application(id string) Option { return func(o *options) { o.application = id } }

// StartAt sets the wall clock at the start; the current time by default.
func StartAt(t time.Time) Option { return func(o *options) { o.start = t } }

// StateDir keeps stores where the topology says, those on disk in this directory. By default all are in memory.
func StateDir(dir string) Option { return func(o *options) { o.dir = dir } }

// StoreEngine keeps the stores that the topology puts on disk in another engine than Pebble, if they name none.
func StoreEngine(open state.OpenEngine) Option { return func(o *options) { o.engine = open } }

// RecordCache sets the size of the record cache in bytes; 10 MiB by default, as in an application. With 0 each change is
// logged and forwarded. Unless commits are by hand, the cache holds back changes of a key by one record only.
func RecordCache(bytes int64) Option { return func(o *options) { o.cache = bytes } }

// EmitInterval sets how often windows that emit on close are looked for, by the wall clock; one second by default.
func EmitInterval(d time.Duration) Option { return func(o *options) { o.emitInterval = &d } }

// Partitions gives topics, those that are read and those that are written, so many partitions; without names, all that no
// other option names. The topology then runs as an application does: as a task for each sub-topology and partition, with
// repartition topics between. A partition is chosen by the key, as Kafka's default partitioner does; without a key each in
// turn.
func Partitions(n int32, topics ...string) Option {
	return func(o *options) {
		if o.partitions == nil {
			o.partitions = map[string]int32{}
		}
		if len(topics) == 0 {
			o.all = n
		}
		for _, t := range topics {
			o.partitions[t] = n
		}
	}
}

// Topics names topics that there are, for sources that read what matches a pattern.
func Topics(names ...string) Option {
	return func(o *options) { o.existing = append(o.existing, names...) }
}

// CommitByHand lets only [Driver.Commit] commit. So the record cache holds changes back, as in an application between two
// commits.
func CommitByHand() Option { return func(o *options) { o.byHand = true } }

// OnUndecodable sets what becomes of a record that cannot be decoded, and OnFailure of one for which a function returns an
// error, as the handlers of an application do; by default the call that sends it returns the error. What goes to the
// dead-letter topic is read there.
func OnUndecodable(decide func(*task.Failure) task.Decision) Option {
	return func(o *options) { o.undecodable.Decide = decide }
}

// OnFailure sets what OnUndecodable says.
func OnFailure(decide func(*task.Failure) task.Decision) Option {
	return func(o *options) { o.failed.Decide = decide }
}

// Around has a function called around each record that a node takes, as the option of an application does.
func Around(make func(task topology.TaskID, node string) func(process func() error) error) Option {
	return func(o *options) { o.around = make }
}

// DeadLetterTopic names the topic for records for which a handler decides so.
func DeadLetterTopic(topic string) Option { return func(o *options) { o.deadLetters = topic } }

// New starts a driver that ends with the test. It fails the test where the topology cannot run.
func New(test T, t *topology.Topology, opts ...Option) *Driver {
	test.Helper()
	d, err := Open(t, opts...)
	if err != nil {
		test.Fatal(err)
	}
	d.t = test
	test.Cleanup(func() {
		if err := d.Close(); err != nil {
			test.Error(err)
		}
	})
	return d
}

// Open starts a driver without a test, to be closed by its user: what an Input or Output cannot do panics.
func Open(t *topology.Topology, opts ...Option) (*Driver, error) {
	o := options{application: "app", start: time.Now(), cache: 10 << 20}
	for _, opt := range opts {
		opt(&o)
	}
	d := &Driver{
		t: panics{}, options: o, topology: t, now: o.start, topics: map[string][]topology.Record{}, read: map[string]int{},
		offsets: map[assign.TopicPartition]int64{}, owners: map[assign.TopicPartition]*task.Task{}, counts: map[string]int32{},
		turns: map[string]int32{}, resources: store.NewResources(store.Limits{RecordCache: o.cache}),
	}
	if t.HasPatterns() {
		d.topology = t.Resolve(o.existing)
	}
	d.resources.Use(o.engine)
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Driver) open() error {
	o := &d.options
	o.undecodable.Topic, o.failed.Topic = o.deadLetters, o.deadLetters
	cfg := task.Config{
		Application: o.application, Topology: d.topology, Dir: o.dir, Volatile: o.dir == "", Resources: d.resources, Output: d,
		EmitInterval: o.emitInterval, MaxIdle: -1, Now: d.now, Dropped: func(string, string) { d.dropped++ }, Globals: d.reader,
		Partitions: func(topic string) (int32, error) { return d.partitions(topic), nil }, Undecodable: o.undecodable, Failed: o.failed,
		Around: o.around,
	}
	for _, part := range d.topology.Globals() {
		g, err := task.OpenGlobal(cfg, part)
		if err != nil {
			return err
		}
		d.globals = append(d.globals, g)
	}
	if o.partitions == nil {
		cfg.Part = d.topology.Whole()
		return d.start(cfg, nil)
	}
	return d.openTasks(cfg)
}

// openTasks opens the tasks that an application has.
func (d *Driver) openTasks(cfg task.Config) error {
	inputs, _ := runtime.TopicNames(cfg.Application, d.topology)
	existing := map[string]int32{}
	for _, topic := range inputs {
		existing[topic] = d.partitions(topic)
	}
	layout, err := runtime.Lay(cfg.Application, d.topology, existing)
	if err != nil {
		return err
	}
	d.counts = layout.Partitions
	for _, t := range layout.Tasks {
		cfg.ID = t.ID
		if cfg.Dir != "" {
			cfg.Dir = filepath.Join(d.options.dir, t.ID.String())
		}
		if err := d.start(cfg, t.Inputs); err != nil {
			return err
		}
	}
	return nil
}

// start opens a task, and starts it. It reads these inputs, or, where there are none, partition 0 of all its topics.
func (d *Driver) start(cfg task.Config, inputs []assign.TopicPartition) error {
	t, err := task.Open(cfg)
	if err != nil {
		return err
	}
	d.tasks = append(d.tasks, t)
	for _, topic := range t.Inputs() {
		p := assign.TopicPartition{Topic: topic, Partition: cfg.ID.Partition}
		if inputs != nil && !slices.Contains(inputs, p) {
			t.Absent(topic) // it has fewer partitions than another
			continue
		}
		d.owners[p] = t
	}
	return t.Start(nil, d.now)
}

// partitions returns how many partitions a topic has.
func (d *Driver) partitions(topic string) int32 {
	if n, ok := d.counts[topic]; ok {
		return n
	}
	if n, ok := d.options.partitions[topic]; ok {
		return n
	}
	return max(d.options.all, 1)
}

// global returns what keeps a global store of a topic, or nil.
func (d *Driver) global(topic string) *task.Global {
	for _, g := range d.globals {
		if g.Topic() == topic {
			return g
		}
	}
	return nil
}

// reader returns a reader of a global store.
func (d *Driver) reader(name string) (*store.Store, error) {
	for _, g := range d.globals {
		if g.State().Spec().Name == name {
			return g.State().Reader(), nil
		}
	}
	return nil, fmt.Errorf("streamstest: there is no global store %q", name)
}

// panics is a test that fails by a panic.
type panics struct{}

func (panics) Helper()           {}
func (panics) Cleanup(func())    {}
func (panics) Error(args ...any) { panic(fmt.Sprint(args...)) }
func (panics) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Close closes the stores.
func (d *Driver) Close() error {
	defer d.resources.Close()
	var errs []error
	for _, t := range d.tasks {
		errs = append(errs, t.Close(!d.options.byHand))
	}
	for _, g := range d.globals {
		errs = append(errs, g.Close(true))
	}
	return errors.Join(errs...)
}

// Now returns the wall clock.
func (d *Driver) Now() time.Time { return d.now }

// Topics returns the names of all topics that were written to, changelogs included, in order.
func (d *Driver) Topics() []string { return slices.Sorted(maps.Keys(d.topics)) }

// Produced returns everything that was written to a topic, by its name in Kafka, in the order in which it was.
func (d *Driver) Produced(topic string) []topology.Record { return d.topics[topic] }

// Dropped returns how many records were skipped by nodes so far.
func (d *Driver) Dropped() int { return d.dropped }
