package runtime

import (
	"fmt"
	"slices"
	"sync"
)

// State is the state of an instance, as KafkaStreams.State has it.
type State int32

// The states. An instance is Created, then alternates between Rebalancing, while it waits for its tasks or restores
// them, and Running. It ends in NotRunning by PendingShutdown, or in Failed by PendingError.
const (
	Created State = iota
	Rebalancing
	Running
	PendingShutdown
	NotRunning
	PendingError
	Failed
)

func (s State) String() string {
	return [...]string{"CREATED", "REBALANCING", "RUNNING", "PENDING_SHUTDOWN", "NOT_RUNNING", "PENDING_ERROR", "ERROR"}[s]
}

// successors are the states that each state can turn into.
var successors = map[State][]State{
	Created:         {Rebalancing, PendingShutdown, PendingError},
	Rebalancing:     {Running, PendingShutdown, PendingError},
	Running:         {Rebalancing, PendingShutdown, PendingError},
	PendingShutdown: {NotRunning, PendingError},
	PendingError:    {Failed},
}

// stateCell holds the state, and remembers that it was running once.
type stateCell struct {
	mu struct {
		sync.Mutex
		now     State
		started bool
	}
}

func (c *stateCell) load() (now State, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.now, c.mu.started
}

// become changes the state; it is the only place that does. Turning into what it is already does nothing.
func (i *Instance) become(next State) {
	i.state.mu.Lock()
	old := i.state.mu.now
	if old == next {
		i.state.mu.Unlock()
		return
	}
	if !slices.Contains(successors[old], next) {
		i.state.mu.Unlock()
		panic(fmt.Sprintf("runtime: state %v cannot become %v", old, next))
	}
	i.state.mu.now = next
	i.state.mu.started = i.state.mu.started || next == Running
	i.state.mu.Unlock()
	i.log.Info("state changed", "from", old.String(), "to", next.String())
	if i.cfg.OnState != nil {
		i.cfg.OnState(old, next)
	}
}

func (i *Instance) becomeRebalancing()     { i.become(Rebalancing) }
func (i *Instance) becomeRunning()         { i.become(Running) }
func (i *Instance) becomePendingShutdown() { i.become(PendingShutdown) }
func (i *Instance) becomeNotRunning()      { i.become(NotRunning) }
func (i *Instance) becomePendingError()    { i.become(PendingError) }
func (i *Instance) becomeFailed()          { i.become(Failed) }
