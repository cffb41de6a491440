package metrics

import (
	"sync/atomic"
	"time"
)

// Totals are what of the metrics a process says of itself in its report.
type Totals struct {
	Version       string
	Workers       int
	Rebalances    int64
	Processed     int64   // records
	Busy, Blocked float64 // seconds
	Stores        []Store
}

// totals are counted beside the metrics, which cannot be read one by one.
type totals struct{ workers, rebalances, processed, busy, blocked atomic.Int64 }

// Totals returns what was counted, and asks the stores.
func (r *Recorder) Totals() Totals {
	t := &r.totals
	out := Totals{
		Version: version(), Workers: int(t.workers.Load()), Rebalances: t.rebalances.Load(), Processed: t.processed.Load(),
		Busy: time.Duration(t.busy.Load()).Seconds(), Blocked: time.Duration(t.blocked.Load()).Seconds(),
	}
	if of := r.stores.of.Load(); of != nil {
		out.Stores = (*of)()
	}
	return out
}
