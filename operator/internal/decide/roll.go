package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/streams"
)

// Roll is an update of the pods of an application to a revision.
type Roll struct {
	Pods     []Pod
	Replicas int
	Target   string
	// Failed is a revision that was given up: its pods are taken first, whatever they do.
	Failed string
	// Keeps says that a pod that is replaced finds its state again: it has a volume, and is the same member of the group.
	Keeps bool
	// Standbys is how many further copies there shall be.
	Standbys int
	// CaughtUp is the lag, in offsets, up to which a standby can take over.
	CaughtUp int64
	// QuietSince is when a task moved last, or a pod began or ceased to work; QuietFor is how long ago that has to be.
	QuietSince time.Time
	QuietFor   time.Duration
	Deadline   time.Duration
	Now        time.Time
}

// A Step is what an update does next: it takes a pod, or waits, or is over.
type Step struct {
	Take string // the pod to replace now
	// Stay is whether the pod's place in the group is kept for it.
	Stay   bool
	Wait   string // what for
	Failed string // why it cannot go on with this revision
	Stable bool   // all pods have the revision, work, and have been quiet
}

// Next decides. One pod at a time is taken, and only when all others work, nothing moves, and what the pod holds is found
// again: on its own volume, or with standbys that are caught up. Pods that do not work anyway come first, then those with the
// fewest active tasks.
func (r Roll) Next() Step {
	stale := func(p Pod) bool { return p.Ordinal < r.Replicas && p.Revision != r.Target }
	for _, p := range r.Pods {
		if p.Ordinal < r.Replicas && !stale(p) {
			if why := r.failed(p); why != "" {
				return Step{Failed: why}
			}
		}
	}
	for _, p := range r.Pods {
		if stale(p) && !p.Leaving && !p.Works() && (p.Revision == r.Failed || p.Report == nil && p.Trouble.What != "") {
			return Step{Take: p.Name, Stay: r.Keeps} // it holds nothing that it could lose
		}
	}
	next := slices.MinFunc(append(slices.DeleteFunc(slices.Clone(r.Pods), func(p Pod) bool { return !stale(p) }), Pod{Ordinal: -1}), func(x, y Pod) int {
		return cmp.Or(cmp.Compare(load(x), load(y)), cmp.Compare(y.Ordinal, x.Ordinal))
	})
	if wait := notWorking(r.Pods, r.Replicas, func(p Pod) bool { return p.Name == next.Name }); wait != "" {
		return Step{Wait: wait}
	}
	if left := r.QuietFor - r.Now.Sub(r.QuietSince); left > 0 {
		return Step{Wait: fmt.Sprintf("tasks moved, or pods changed, %v ago; %v more without that are waited for", r.Now.Sub(r.QuietSince).Round(time.Second), left.Round(time.Second))}
	}
	if next.Ordinal < 0 {
		return Step{Stable: true}
	}
	if wait := r.held(next); wait != "" {
		return Step{Wait: wait}
	}
	return Step{Take: next.Name, Stay: r.Keeps}
}

// load orders the pods that are to be replaced: none at all is last.
func load(p Pod) int {
	if p.Ordinal < 0 {
		return 1 << 30
	}
	return p.count(streams.RoleActive)
}

// failed says why a pod of the new revision will not work.
func (r Roll) failed(p Pod) string {
	switch {
	case p.Works() || p.Leaving:
		return ""
	case p.Trouble.Hopeless:
		return fmt.Sprintf("%s %s", p.Name, p.Trouble.What)
	case r.Now.Sub(p.Created) > r.Deadline:
		return fmt.Sprintf("%s %s, %v after it was made; the deadline is %v (update.podDeadline)", p.Name, p.why(), r.Now.Sub(p.Created).Round(time.Second), r.Deadline)
	}
	return ""
}

// held says which tasks of a pod nobody else could go on with. Where the pod keeps its volume it does so itself, and where there shall
// be no standbys there is no better moment.
func (r Roll) held(p Pod) string {
	switch {
	case r.Keeps || p.Report == nil:
		return ""
	case p.count(streams.RoleRestoring) > 0:
		return fmt.Sprintf("%s %s, and would begin again", p.Name, p.why())
	case r.Standbys == 0 || r.Replicas < 2:
		return ""
	}
	var waiting []string
	for _, t := range p.Report.Tasks {
		if t.Role != streams.RoleActive || len(t.Stores) == 0 {
			continue
		}
		switch lag, there := standbyLag(r.Pods, t.ID, p.Name); {
		case !there:
			waiting = append(waiting, fmt.Sprintf("task %s has no standby yet", t.ID))
		case lag > r.CaughtUp:
			waiting = append(waiting, fmt.Sprintf("the standby of task %s lacks %d offsets; %d are acceptable", t.ID, lag, r.CaughtUp))
		}
	}
	if len(waiting) == 0 {
		return ""
	}
	more := ""
	if len(waiting) > 3 {
		waiting, more = waiting[:3], fmt.Sprintf(", and %d more", len(waiting)-3)
	}
	return fmt.Sprintf("%s cannot be taken: %s%s", p.Name, strings.Join(waiting, ", "), more)
}
