//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

var names = map[string]string{
	"kill": "instances killed", "wipe": "with their state", "freeze": "instances frozen", "disk": "disks filled", "broker": "brokers killed",
}

// An event is something that is due.
type event struct {
	at time.Time
	do func() error
}

// harass lets faults happen until their time is over, and then sets everything right again.
func (c *chaos) harass(ctx context.Context) error {
	c.counts = map[string]int{}
	h := &harasser{chaos: c, rnd: rand.New(rand.NewPCG(c.seed, 0)), busy: map[*instance]bool{}, began: time.Now(), broken: make(chan error, 1)}
	h.after(2*time.Second, h.instance)
	if c.may("broker") {
		h.after(20*time.Second, h.broker)
	}
	h.after(10*time.Second, h.say)
	over := h.began.Add(c.lasts)
	for len(h.due) > 0 {
		slices.SortStableFunc(h.due, func(a, b event) int { return a.at.Compare(b.at) })
		next := h.due[0]
		h.due = h.due[1:]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-h.broken:
			return err
		case <-time.After(time.Until(next.at)):
		}
		h.over = time.Now().After(over)
		if err := next.do(); err != nil {
			return err
		}
		if err := c.reader.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) may(fault string) bool { return slices.Contains(c.faults, fault) }

type harasser struct {
	*chaos
	rnd   *rand.Rand
	due   []event
	busy  map[*instance]bool // something is done to it
	began time.Time
	over  bool // nothing new begins

	broken chan error // a broker that does not come back
}

func (h *harasser) after(d time.Duration, do func() error) {
	h.due = append(h.due, event{time.Now().Add(d), do})
}

// between is a duration by lot.
func (h *harasser) between(least, most time.Duration) time.Duration {
	return least + time.Duration(h.rnd.Int64N(int64(most-least)))
}

func (h *harasser) say() error {
	if h.over {
		return nil
	}
	fmt.Printf("%4.0f s: %d records written, read %s; killed %d instances and %d brokers, froze %d, filled %d disks\n",
		time.Since(h.began).Seconds(), h.load.written(), h.reader.progress(), h.counts["kill"], h.counts["broker"], h.counts["freeze"], h.counts["disk"])
	h.after(10*time.Second, h.say)
	return nil
}

// instance does something to an instance that nothing is done to, and revives those that ended by themselves, as a
// supervisor would.
func (h *harasser) instance() error {
	for _, i := range h.instances {
		if !h.busy[i] && !i.alive() {
			fmt.Printf("%s ended by itself; starting it again\n", i.name)
			if err := i.start(); err != nil {
				return err
			}
		}
	}
	if h.over {
		return nil
	}
	h.after(h.between(3*time.Second, 6*time.Second), h.instance)
	i := h.instances[h.rnd.IntN(len(h.instances))]
	if h.busy[i] {
		return nil
	}
	h.busy[i] = true
	switch lot := h.rnd.IntN(10); {
	case lot < 2 && h.may("freeze"):
		h.counts["freeze"]++
		h.after(h.between(session/2, 2*session), func() error { return h.free(i, i.signal(syscall.SIGCONT)) })
		return i.signal(syscall.SIGSTOP)
	case lot < 3 && h.may("disk") && i.disk.small:
		h.counts["disk"]++
		h.after(h.between(2*time.Second, 8*time.Second), func() error { return h.free(i, i.disk.free()) })
		return i.disk.fill()
	case h.may("kill"):
		return h.kill(i)
	}
	return h.free(i, nil)
}

func (h *harasser) free(i *instance, err error) error {
	h.busy[i] = false
	return err
}

func (h *harasser) kill(i *instance) error {
	h.counts["kill"]++
	if err := i.kill(); err != nil {
		return err
	}
	if h.may("wipe") && h.rnd.IntN(4) == 0 {
		h.counts["wipe"]++
		if err := i.disk.wipe(); err != nil {
			return err
		}
	}
	h.after(h.between(0, 4*time.Second), func() error { return h.free(i, i.start()) })
	return nil
}

// broker kills a broker, and starts it again before the next one is.
func (h *harasser) broker() error {
	if h.over {
		return nil
	}
	n := 1 + h.rnd.IntN(h.cluster.Brokers())
	h.counts["broker"]++
	back := make(chan struct{})
	h.after(h.between(5*time.Second, 12*time.Second), func() error {
		go func() { // it takes its time
			defer close(back)
			if err := h.cluster.Restart(n); err != nil {
				h.broken <- err
			}
		}()
		return nil
	})
	h.after(30*time.Second, func() error {
		select {
		case <-back:
			return h.broker()
		case err := <-h.broken:
			return err
		}
	})
	return h.cluster.Kill(n)
}
