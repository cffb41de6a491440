package sim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/streams"
)

// A process is one life of an instance: from its start until it ends, fails or is killed.
type process struct {
	name  string // a1, a2: the first and second life of instance a
	dir   string
	left  string // where the directory was copied to when it was killed
	wire  *wire
	disk  *disk
	app   *streams.App
	ended chan struct{}
	err   error // how Run ended, once ended is closed

	cancel  context.CancelFunc
	kill    func() // as kill -9
	killed  chan struct{}
	stopped atomic.Bool // it was asked to stop
	frozen  atomic.Bool
}

// An instance is a place where processes run, one after the other, on the same directory.
type instance struct {
	name    string
	lives   int
	now     *process // nil: none runs
	dir     string   // where the next life begins
	wanted  bool
	restart time.Time // when the next life begins
}

// start begins the next life of an instance.
func (w *world) start(i *instance) {
	i.lives++
	p := &process{
		name: fmt.Sprintf("%s%d", i.name, i.lives), dir: i.dir, wire: newWire(&w.net), disk: newDisk(),
		ended: make(chan struct{}), killed: make(chan struct{}),
	}
	p.wire.fate = func(key int16, nth int) fate { return w.fate(p, key, nth) }
	p.wire.see = w.sees
	p.kill = sync.OnceFunc(func() {
		p.wire.cut()
		p.left = filepath.Join(w.dir, p.name+"-left")
		if err := p.disk.copy(p.dir, p.left); err != nil {
			w.journal.violation(fmt.Errorf("%s cannot be copied: %w", p.dir, err))
		}
		close(p.killed)
		p.cancel()
	})
	app, err := streams.NewApp(application, w.topology, w.options(p)...)
	if err != nil {
		w.journal.violation(err)
		return
	}
	ctx, cancel := context.WithCancel(store.WithFS(context.Background(), p.disk))
	p.app, p.cancel = app, cancel
	i.now = p
	w.lives = append(w.lives, p)
	w.journal.fault("%s starts", p.name)
	go func() {
		defer close(p.ended)
		p.err = app.Run(ctx)
	}()
}

func (w *world) options(p *process) []streams.AppOption {
	c := w.plan
	opts := []streams.AppOption{
		streams.Brokers(w.brokers...), streams.StateDir(p.dir), streams.Workers(c.workers), streams.Logger(w.journal.logger(p.name)),
		streams.CommitInterval(c.commit), streams.RepartitionPurgeInterval(c.purge), streams.Linger(c.linger),
		streams.RecordCache(c.recordCache), streams.BlockCache(1 << 20), streams.BufferedRecords(c.buffered),
		streams.FetchBytes(wholeResponse, c.fetchBytes),
		streams.SessionTimeout(sessionTimeout), streams.HeartbeatInterval(sessionTimeout / 5), streams.RebalanceTimeout(rebalanceTimeout),
		streams.DeliveryTimeout(c.delivery), streams.ClientOptions(kgo.Dialer(p.wire.DialContext), kgo.WithHooks(&p.wire.warm)),
	}
	return append(opts, promise(c)...)
}

const (
	// kfake does not name the aborted transactions of a response that it cuts short, so that none is.
	wholeResponse = 64 << 20

	sessionTimeout   = 10 * time.Second
	rebalanceTimeout = 30 * time.Second
)

// ends looks after a process that has ended: what it left is where the next one begins.
func (w *world) ends(i *instance) {
	p := i.now
	switch {
	case closed(p.killed):
		i.dir = p.left
	case closed(p.ended):
		w.exited(p)
	default:
		return
	}
	i.now = nil
	i.restart = time.Now().Add(time.Duration(w.plan.chance("restart", p.name) * float64(5*time.Second)))
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// exited judges how a process ended.
func (w *world) exited(p *process) {
	w.journal.fault("%s ended: %v", p.name, p.err)
	switch {
	case p.err == nil && !p.stopped.Load():
		w.journal.violation(fmt.Errorf("%s ended by itself, without an error", p.name))
	case p.err != nil:
		w.failures = append(w.failures, p.err)
		if w.plan.quiet() || w.calm.Load() {
			w.journal.violation(fmt.Errorf("%s failed, and nothing was in its way: %w", p.name, p.err))
		}
	}
	p.wire.cut()
	p.disk.full.Store(false)
}

// wipeDir makes an instance begin with nothing.
func (w *world) wipeDir(i *instance) {
	i.dir = filepath.Join(w.dir, fmt.Sprintf("%s%d-new", i.name, i.lives+1))
	if err := os.MkdirAll(i.dir, 0o750); err != nil {
		w.journal.violation(err)
	}
}
