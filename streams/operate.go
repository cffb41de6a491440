package streams

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/runtime"
)

// SetWorkers changes how many goroutines process tasks while the application runs; at least 1. Tasks move to new workers,
// and from those that end, without a rebalance in between; then the group hears of it, as a process with more workers is
// given more tasks. It returns when the tasks have moved, or with an error if the application does not run or ctx ends
// first; then the change goes on. (Java: KafkaStreams.addStreamThread and removeStreamThread, KIP-663)
func (a *App) SetWorkers(ctx context.Context, n int) error {
	if n < 1 {
		return fmt.Errorf("streams: SetWorkers: %d; at least 1 is needed", n)
	}
	return a.instance.Load().SetWorkers(ctx, n)
}

// Pause stops all processing, restoring and updating of standbys in this process, until Resume. What was processed is
// committed, and the process stays in the group with its tasks. (Java: KafkaStreams.pause, KIP-834)
func (a *App) Pause() { a.instance.Load().Pause() }

// Resume ends a pause. (Java: KafkaStreams.resume)
func (a *App) Resume() { a.instance.Load().Resume() }

// Paused says whether the application is paused. (Java: KafkaStreams.isPaused)
func (a *App) Paused() bool { return a.instance.Load().Paused() }

// TaskStatus is what this process does with a task: its ID, its Role, the Worker that processes it (from 1; 0 where none
// does), for each of its Inputs the partition, the offset Committed last, and the Lag: records of it that are not
// processed; and for each of its Stores the Lag: offsets of the changelog that it lacked when that was last heard.
type TaskStatus = runtime.TaskStatus

// Role is what a process does with a task.
type Role = runtime.Role

// The roles.
const (
	RoleActive    = runtime.Active    // it is processed
	RoleRestoring = runtime.Restoring // it will be when its stores are restored
	RoleStandby   = runtime.Standby   // its stores are kept up to date, to take over
)

// Status returns what this process does with each of its tasks, in their order. It fails while the application does not
// run. (Java: KafkaStreams.metadataForLocalThreads)
func (a *App) Status(ctx context.Context) ([]TaskStatus, error) { return a.instance.Load().Status(ctx) }

// StoreLag is how far a store of a task is behind its changelog: the Position that it goes up to, and the End; offsets
// both, so that what lies between may be fewer records.
type StoreLag = runtime.Lag

// Lags asks the cluster how far each store in this process is behind its changelog. One of an active task is not, for
// what its changelog has comes from it. It fails while the application does not run. (Java:
// KafkaStreams.allLocalStorePartitionLags, KIP-535)
func (a *App) Lags(ctx context.Context) ([]StoreLag, error) { return a.instance.Load().Lags(ctx) }

// Reaction is what becomes of an application after an error that nothing else dealt with.
type Reaction = runtime.Reaction

// The reactions.
const (
	ShutDownInstance    = runtime.ShutDownInstance    // Run returns the error
	ReplaceWorker       = runtime.ReplaceWorker       // the worker begins again from its last commit
	ShutDownApplication = runtime.ShutDownApplication // all processes of the application end
)

// UncaughtHandler sets what becomes of an error that ends a worker: of a function of the program, say, where no other
// handler decides otherwise. With ReplaceWorker what the worker did since the last commit is done again, each time after a
// longer pause; where that does not help for as long as [TaskTimeout] says, the process ends all the same. The handler is
// called by the goroutine of the worker. Default: ShutDownInstance. (Java: StreamsUncaughtExceptionHandler, KIP-671)
func UncaughtHandler(f func(error) Reaction) AppOption {
	return func(c *appConfig) { c.uncaught = f }
}
