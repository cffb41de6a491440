package runtime

import (
	"context"
	"fmt"
	"time"
)

// A Departure says what becomes of an instance's place in the group when it stops.
type Departure int32

// The departures.
const (
	AsConfigured Departure = iota // as StayInGroup says; a static member stays
	Stay                          // the tasks wait for it to come back until the session times out
	Leave                         // the tasks go to others at once, also those of a static member
)

// String names it.
func (d Departure) String() string { return [...]string{"configured", "stay", "leave"}[d] }

// SetDeparture decides what becomes of the instance's place in the group when it stops.
func (i *Instance) SetDeparture(d Departure) { i.departure.Store(int32(d)) }

// Departure returns what was decided.
func (i *Instance) Departure() Departure { return Departure(i.departure.Load()) }

// TakeOver makes an instance that begins anew after another, of the same process, be asked for what that was asked for.
func (i *Instance) TakeOver(before *Instance) {
	i.SetDeparture(before.Departure())
	i.draining.Store(before.Draining())
	if before.Paused() {
		i.Pause()
	}
}

// Remove gives up the place in the group of a static member that is gone for good.
func (i *Instance) Remove(ctx context.Context, member string) error {
	if now, started := i.State(); !started {
		return fmt.Errorf("the application is %v, and does not know its group yet: ask when it runs", now)
	}
	return i.member.Remove(ctx, member)
}

func (i *Instance) leaveGroup() {
	departure := i.Departure()
	if departure == Stay || departure == AsConfigured && i.cfg.StayInGroup {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := i.member.Leave(ctx, departure == Leave); err != nil {
		i.log.Warn("leaving the group failed; its tasks go to others when the session has timed out", "error", err)
	}
}

// What the main loop is asked about draining.
type (
	// drain: the instance shall have no tasks and standbys. The answer comes when it has none.
	drain struct{ done chan error }
	// undrain: it shall have its part again.
	undrain struct{}
)

// Drain has the group give what the instance has to others, and returns when it has nothing left.
func (i *Instance) Drain(ctx context.Context) error {
	done := make(chan error, 1)
	failed, err := ask(ctx, i, drain{done}, done)
	if err != nil {
		return err
	}
	return failed
}

// BeginDrain is Drain for those who do not wait.
func (i *Instance) BeginDrain() {
	i.draining.Store(true)
	i.events.put(drain{make(chan error, 1)})
}

// EndDrain has the group give the instance its part again.
func (i *Instance) EndDrain() {
	i.draining.Store(false)
	i.events.put(undrain{})
}

// Draining says whether the instance shall have nothing.
func (i *Instance) Draining() bool { return i.draining.Load() }

func (i *Instance) drain(e drain) {
	i.drains = append(i.drains, e.done)
	i.draining.Store(true)
	i.member.SetDraining(true)
	i.log.Info("draining: the tasks move to where their state is")
}

func (i *Instance) undrain() {
	i.endDrains(errDrainEnded)
	i.draining.Store(false) // a drain that was asked for just before may have begun only now
	i.member.SetDraining(false)
	i.log.Info("not draining any more")
}

// drained answers those who wait for the instance to have nothing, after an assignment that has taken it into account.
func (i *Instance) drained() {
	if len(i.drains) > 0 && len(i.slots) == 0 {
		i.log.Info("drained")
		i.endDrains(nil)
	}
}

func (i *Instance) endDrains(err error) {
	for _, done := range i.drains {
		done <- err
	}
	i.drains = nil
}
