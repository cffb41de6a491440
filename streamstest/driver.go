// Package streamstest runs a topology in process, without a broker, on a clock that the test moves.
//
// A driver runs the whole topology as one task with one partition of each topic (Java: TopologyTestDriver). Each
// record that is sent is processed wholly, through repartition topics too, and committed, before the call returns;
// what it led to can then be read from the topics, changelogs included.
package streamstest

import (
	"errors"
	"fmt"
	"slices"
	"time"

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
	task      *task.Task
	globals   []*task.Global
	resources *store.Resources
	now       time.Time
	pending   []topology.Record            // produced in the current step
	topics    map[string][]topology.Record // everything produced, by topic
	read      map[string]int               // how much of it was read
	offsets   map[string]int64             // the next offset of each topic
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
// logged and forwarded. As every record is committed, the cache holds back changes of a key by one record only.
func RecordCache(bytes int64) Option { return func(o *options) { o.cache = bytes } }

// EmitInterval sets how often windows that emit on close are looked for, by the wall clock; one second by default.
func EmitInterval(d time.Duration) Option { return func(o *options) { o.emitInterval = &d } }

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
		t: panics{}, now: o.start, topics: map[string][]topology.Record{}, read: map[string]int{}, offsets: map[string]int64{},
		resources: store.NewResources(store.Limits{RecordCache: o.cache}),
	}
	if err := d.open(t, task.Config{
		Application: o.application, Topology: t, Dir: o.dir, Volatile: o.dir == "", Resources: d.resources, Output: d,
		EmitInterval: o.emitInterval, MaxIdle: -1, Now: d.now, Dropped: func(string, string) { d.dropped++ }, Globals: d.reader,
	}); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Driver) open(t *topology.Topology, cfg task.Config) (err error) {
	for _, part := range t.Globals() {
		g, err := task.OpenGlobal(cfg, part)
		if err != nil {
			return err
		}
		d.globals = append(d.globals, g)
	}
	cfg.Part = t.Whole()
	if d.task, err = task.Open(cfg); err != nil {
		return err
	}
	return d.task.Start(nil, d.now)
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
	if d.task != nil {
		errs = append(errs, d.task.Close(true))
	}
	for _, g := range d.globals {
		errs = append(errs, g.Close(true))
	}
	return errors.Join(errs...)
}

// Send takes what the task produces; it is called by the task.
func (d *Driver) Send(r *topology.Record) error {
	d.pending = append(d.pending, *r)
	return nil
}

// Pipe sends a record of bytes to an input topic and processes all that follows from it. Its offset is set by the
// driver. A record that cannot be processed is an error; what follows from it so far stands.
func (d *Driver) Pipe(r topology.Record) error {
	if !d.reads(r.Topic) {
		inputs := d.task.Inputs()
		for _, g := range d.globals {
			inputs = append(inputs, g.Topic())
		}
		return fmt.Errorf("streamstest: the topology does not read topic %q; it reads %q", r.Topic, inputs)
	}
	if err := d.add(r); err != nil {
		return err
	}
	return d.work()
}

func (d *Driver) reads(topic string) bool {
	return slices.Contains(d.task.Inputs(), topic) || d.global(topic) != nil
}

func (d *Driver) add(r topology.Record) error {
	r.Offset = d.offsets[r.Topic]
	d.offsets[r.Topic]++
	if g := d.global(r.Topic); g != nil {
		return errors.Join(g.Apply(r.Partition, []topology.Record{r}, r.Offset+1, d.now), g.State().Publish())
	}
	return d.task.Add(r.Topic, []topology.Record{r})
}

// work processes until nothing is left, with a commit after each record.
func (d *Driver) work() error {
	for {
		n, err := d.task.Process(1, d.now)
		if err != nil {
			return errors.Join(err, d.capture())
		}
		if n == 0 {
			return d.commit() // of records that were dropped
		}
		if err := d.task.Punctuate(d.now); err != nil {
			return err
		}
		if err := d.commit(); err != nil {
			return err
		}
	}
}

// commit flushes the caches, and feeds back what was written to topics that the topology reads.
func (d *Driver) commit() error {
	if err := d.task.Flush(); err != nil {
		return errors.Join(err, d.capture())
	}
	err := d.task.Committed(func(changelog string) (int64, bool) {
		n, ok := d.offsets[changelog]
		return n, ok
	})
	if err != nil {
		return err
	}
	return d.capture()
}

func (d *Driver) capture() error {
	produced := d.pending
	d.pending = nil
	for _, r := range produced {
		r.Partition = 0
		if d.reads(r.Topic) {
			d.topics[r.Topic] = append(d.topics[r.Topic], r)
			if err := d.add(r); err != nil {
				return err
			}
			continue
		}
		r.Offset = d.offsets[r.Topic]
		d.offsets[r.Topic]++
		d.topics[r.Topic] = append(d.topics[r.Topic], r)
	}
	return nil
}

// Advance moves the wall clock, runs what falls due and processes all that follows from it.
func (d *Driver) Advance(by time.Duration) error {
	d.now = d.now.Add(by)
	if err := d.task.Punctuate(d.now); err != nil {
		return err
	}
	if err := d.commit(); err != nil {
		return err
	}
	return d.work()
}

// Now returns the wall clock.
func (d *Driver) Now() time.Time { return d.now }

// Topics returns the names of all topics that were written to, changelogs included, in order.
func (d *Driver) Topics() []string {
	var names []string
	for t := range d.topics {
		names = append(names, t)
	}
	slices.Sort(names)
	return names
}

// Produced returns everything that was written to a topic, by its name in Kafka.
func (d *Driver) Produced(topic string) []topology.Record { return d.topics[topic] }

// Dropped returns how many records were skipped by nodes so far.
func (d *Driver) Dropped() int { return d.dropped }
