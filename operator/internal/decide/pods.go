// Package decide says what the operator does next, and why not yet. Its functions are pure: what was observed goes in, with the time,
// and a step comes out; the controllers observe and do.
package decide

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/streams"
)

// A Pod is what is known of a pod of an application.
type Pod struct {
	Name     string
	Ordinal  int
	Revision string
	Node     string
	Created  time.Time
	Ready    bool // as Kubernetes says
	Leaving  bool // it is being deleted
	Trouble  Trouble
	// Report is what the program says; nil if it does not answer.
	Report *streams.Report
}

// Trouble is what keeps a pod from running. It is hopeless where time does not help: the image is not there, or the program ended again
// and again.
type Trouble struct {
	What     string // empty: nothing
	Hopeless bool
}

// Works says whether a pod runs and has restored what it has.
func (p Pod) Works() bool {
	return p.Ready && !p.Leaving && p.Report != nil && p.Report.Ready && p.count(streams.RoleRestoring) == 0
}

// Remaining is how many offsets the pod has to restore until all its tasks run. Standbys do not count.
func (p Pod) Remaining() (offsets int64) {
	if p.Report == nil {
		return 0
	}
	for _, r := range p.Report.Restores {
		offsets += r.Remaining
	}
	return offsets
}

func (p Pod) count(role streams.Role) (n int) {
	if p.Report == nil {
		return 0
	}
	for _, t := range p.Report.Tasks {
		if t.Role == role {
			n++
		}
	}
	return n
}

// why says why a pod does not work, as far as that is known.
func (p Pod) why() string {
	switch {
	case p.Leaving:
		return "is being deleted"
	case p.Trouble.What != "":
		return p.Trouble.What
	case p.Report == nil:
		return "does not answer yet"
	case p.Remaining() > 0 || p.count(streams.RoleRestoring) > 0:
		return fmt.Sprintf("restores %d tasks, %d offsets to go", max(1, p.count(streams.RoleRestoring)), p.Remaining())
	case !p.Report.Ready:
		return "is " + p.Report.State
	default:
		return "is not ready yet"
	}
}

// standbyLag returns how far the best standby of a task is behind, among pods that work, and whether there is one.
func standbyLag(pods []Pod, task, except string) (lag int64, there bool) {
	for _, p := range pods {
		if p.Name == except || !p.Works() {
			continue
		}
		for _, t := range p.Report.Tasks {
			if t.ID != task || t.Role != streams.RoleStandby {
				continue
			}
			var behind int64
			for _, s := range t.Stores {
				behind += s.Lag
			}
			if !there || behind < lag {
				lag, there = behind, true
			}
		}
	}
	return lag, there
}

// Missing names the pods of so many that do not work, each with the reason.
func Missing(pods []Pod, replicas int) string {
	return notWorking(pods, replicas, func(Pod) bool { return false })
}

// notWorking is Missing, but for some pods.
func notWorking(pods []Pod, replicas int, except func(Pod) bool) string {
	var bad []string
	there := make(map[int]bool)
	for _, p := range pods {
		there[p.Ordinal] = true
		if p.Ordinal < replicas && !p.Works() && !except(p) {
			bad = append(bad, p.Name+" "+p.why())
		}
	}
	for i := range replicas {
		if !there[i] {
			bad = append(bad, fmt.Sprintf("pod %d is not there yet", i))
		}
	}
	return strings.Join(bad, "; ")
}
