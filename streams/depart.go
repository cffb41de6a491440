package streams

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/runtime"
)

// Departure says what becomes of a process's place in the group when it stops.
type Departure = runtime.Departure

// The departures.
const (
	DepartAsConfigured = runtime.AsConfigured // as [StayInGroup] and [InstanceID] say
	DepartStay         = runtime.Stay         // it is expected back: its tasks wait until the session times out
	DepartLeave        = runtime.Leave        // it is not: its tasks go to others at once, also those of a static member
)

// SetDeparture decides what becomes of the process's place in the group when Run ends, whatever the options say: for one
// who knows why it is stopped, to be started again or for good. (Java: CloseOptions, KIP-812)
func (a *App) SetDeparture(d Departure) { a.instance.Load().SetDeparture(d) }

// RemoveMember gives up the place in the group of another process, one with [InstanceID], which is gone for good: its tasks go to
// others at once, and not when its session has timed out. One that is still there is fenced, and ends with an error; one that has no
// place is no error. (Java: AdminClient.removeMembersFromConsumerGroup)
func (a *App) RemoveMember(ctx context.Context, instanceID string) error {
	if instanceID == "" || instanceID == a.cfg.instanceID {
		return fmt.Errorf("streams: RemoveMember: %q is this process, which gives up its own place when it stops: SetDeparture", instanceID)
	}
	return a.instance.Load().Remove(ctx, instanceID)
}

// Drain has the group give the tasks and standbys of this process to others, and returns when it has none left, or with
// an error if the application does not run or ctx ends first; then the drain goes on. Each task runs on here until its
// state is caught up elsewhere, so that nothing waits: with a standby it moves at once. Where the group is led by a Java
// process nothing moves. It ends with the process, or by EndDrain. Then stop with DepartLeave. (Java has none; it comes
// closest with removeStreamThread)
func (a *App) Drain(ctx context.Context) error { return a.instance.Load().Drain(ctx) }

// EndDrain has the group give the process its part again.
func (a *App) EndDrain() { a.instance.Load().EndDrain() }

// Draining says whether the process shall have nothing, because of Drain.
func (a *App) Draining() bool { return a.instance.Load().Draining() }
