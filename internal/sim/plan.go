package sim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/check"
)

// A plan is what a seed says: how the application is set up, and what happens to it when. It is a function of the seed
// alone. What is not is the order in which goroutines run, so that two runs of a seed are alike, but not the same.
type plan struct {
	seed      uint64
	guarantee check.Guarantee
	standbys  int
	lag       int64 // records that a store may be behind and count as warm

	instances    int // at the beginning
	workers      int
	partitions   int32
	brokers      int
	keys, groups int
	rate         int // records a second
	length       time.Duration

	commit      time.Duration
	purge       time.Duration
	delivery    time.Duration
	linger      time.Duration
	cached      bool
	recordCache int64
	buffered    int
	fetchBytes  int

	weather weather
	events  []event
	late    func(key int16, nth int) time.Duration // how late requests are, in plans made by hand; nil: by lot
}

// weather is what happens to requests all the time: probabilities.
type weather struct{ lost, answerLost, late float64 }

// An event is one fault.
type event struct {
	at    time.Duration
	kind  kind
	which uint64        // chooses the process, the broker, the request
	lasts time.Duration // where it lasts
}

type kind uint8

const (
	kill         kind = iota // kill -9 at any moment
	killAt                   // the same just before or after a request
	wipe                     // kill, and the state directory is gone
	freeze                   // the network of a process stands still for longer than its session, mostly
	stop                     // a process stops in order
	add                      // one starts
	diskFull                 // nothing more fits on a process's disk
	broker                   // a broker is away for a while
	leaders                  // partitions get new leaders
	coordinators             // groups and transactions get new coordinators
	refuse                   // brokers answer with an error
	compact                  // changelogs are compacted, and what is superseded at their beginning is deleted
	eventTime                // the time in records jumps
	workers                  // a process gets more or fewer workers, or none of the tasks
	pause                    // a process is asked to pause, and to go on
	kinds

	stuck // the network of a process stands still for ever; no plan has it
)

func (k kind) String() string {
	return [...]string{"kill", "kill at a request", "wipe", "freeze", "stop", "add", "disk full", "broker away", "leaders move",
		"coordinators move", "errors", "compact", "event time jumps", "workers", "pause"}[k]
}

// newPlan draws a plan.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0x6d696c6c72616365))
	p := &plan{
		seed: seed, instances: 1 + r.IntN(3), workers: 1 + r.IntN(2), partitions: int32(1 + r.IntN(4)), brokers: 1 + r.IntN(3),
		keys: 1 + r.IntN(20), rate: 5 + r.IntN(50), length: time.Duration(20+r.IntN(70)) * time.Second,
		commit:   pick(r, 100*time.Millisecond, time.Second, 5*time.Second),
		purge:    pick(r, time.Second, 10*time.Second),
		delivery: pick(r, 20*time.Second, 2*time.Minute),
		linger:   pick(r, 0, 5*time.Millisecond, 100*time.Millisecond),
		cached:   r.IntN(2) == 0, recordCache: pick[int64](r, 0, 2000, 10<<20),
		buffered: pick(r, 10, 4000), fetchBytes: pick(r, 1<<10, 1<<20),
	}
	p.groups = 1 + r.IntN(min(p.keys, 5))
	p.guarantee, p.standbys = guarantees(r)
	p.lag = pick[int64](r, 0, 10, 10_000)
	wild := pick(r, 0, 0, 0.0005, 0.002, 0.01)
	p.weather = weather{lost: wild * r.Float64(), answerLost: wild * r.Float64(), late: wild * 2 * r.Float64()}
	often := pick(r, 0, 0.15, 0.3, 0.6) // how many kinds of faults there are
	for k := range kinds {
		r := rand.New(rand.NewPCG(seed, uint64(k))) // its own, so that a new kind leaves the others what they are
		if r.Float64() >= often {
			continue
		}
		for range 1 + r.IntN(3) {
			p.events = append(p.events, event{
				at: time.Duration(r.Int64N(int64(p.length))), kind: k, which: r.Uint64(),
				lasts: time.Duration(1+r.IntN(30)) * time.Second,
			})
		}
	}
	slices.SortStableFunc(p.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return p
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// does says whether a kind of fault happens.
func (p *plan) does(kinds ...kind) bool {
	return slices.ContainsFunc(p.events, func(e event) bool { return slices.Contains(kinds, e.kind) })
}

// quiet says that nothing is in the way of anything.
func (p *plan) quiet() bool { return len(p.events) == 0 && p.weather == weather{} }

// chance returns a number below 1 that depends on the seed and what it is for: the same in each run, whatever the order
// in which it is asked for.
func (p *plan) chance(of ...any) float64 {
	h := fnv.New64a()
	fmt.Fprint(h, p.seed, of)
	return rand.New(rand.NewPCG(h.Sum64(), 1)).Float64()
}

func (p *plan) String() string {
	var kinds []string
	for _, e := range p.events {
		kinds = append(kinds, fmt.Sprintf("%v %v", e.at.Round(time.Millisecond), e.kind))
	}
	return fmt.Sprintf("%v, %d standbys, %d instances of %d workers, %d partitions, %d brokers, %d keys in %d groups, %d records/s for %v, "+
		"commit %v, purge %v, delivery %v, linger %v, cached %v (%d bytes), buffered %d, fetch %d, weather %+v, events [%s]",
		p.guarantee, p.standbys, p.instances, p.workers, p.partitions, p.brokers, p.keys, p.groups, p.rate, p.length, p.commit, p.purge,
		p.delivery, p.linger, p.cached, p.recordCache, p.buffered, p.fetchBytes, p.weather, strings.Join(kinds, ", "))
}
