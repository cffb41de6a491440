package decide

import (
	"fmt"

	"github.com/millrace/millrace/streams"
)

// Shrink is the way from so many pods to one less: the last one gives its tasks to where their state is, leaves the group, and is
// taken away.
type Shrink struct {
	Pods []Pod
	From int // that there are
	// Capacity is how many bytes of stores a pod's disk may hold; 0: that does not matter.
	Capacity int64
}

// A ShrinkStep is what it does next: one of these.
type ShrinkStep struct {
	Drain   string // ask the pod to give its tasks away
	Release bool   // have the last pod leave the group when it stops, and take it away
	Wait    string // what for
	Blocked string // why it will not be done
}

// Next decides.
func (s Shrink) Next() ShrinkStep {
	if why := s.full(); why != "" {
		return ShrinkStep{Blocked: why}
	}
	victim, there := find(s.Pods, s.From-1)
	if !there || victim.Leaving || victim.Report == nil && victim.Trouble.What != "" {
		return ShrinkStep{Release: true} // it has nothing any more
	}
	if bad := Missing(s.Pods, s.From-1); bad != "" {
		return ShrinkStep{Wait: fmt.Sprintf("before %s is drained: %s", victim.Name, bad)}
	}
	switch r := victim.Report; {
	case r == nil:
		return ShrinkStep{Wait: victim.Name + " " + victim.why()}
	case !r.Draining:
		return ShrinkStep{Drain: victim.Name}
	case r.State != "RUNNING":
		return ShrinkStep{Wait: fmt.Sprintf("%s is %s", victim.Name, r.State)}
	case len(r.Tasks) > 0:
		return ShrinkStep{Wait: fmt.Sprintf("%s gives its tasks away when they are warm elsewhere: %d active and %d standbys are left",
			victim.Name, victim.count(streams.RoleActive)+victim.count(streams.RoleRestoring), victim.count(streams.RoleStandby))}
	}
	return ShrinkStep{Release: true}
}

// full says why the disks of the pods that stay cannot hold what there is.
func (s Shrink) full() string {
	if s.Capacity == 0 {
		return ""
	}
	var bytes int64
	for _, p := range s.Pods {
		bytes += p.bytes()
	}
	if each := bytes / int64(max(1, s.From-1)); each > s.Capacity*8/10 {
		return fmt.Sprintf("the stores are %d MiB with all copies; on %d pods that is more than 80 %% of their volumes of %d MiB: raise state.storage.size first",
			bytes>>20, s.From-1, s.Capacity>>20)
	}
	return ""
}

func (p Pod) bytes() (n int64) {
	if p.Report == nil {
		return 0
	}
	for _, t := range p.Report.Tasks {
		for _, st := range t.Stores {
			n += st.Bytes
		}
	}
	return n
}

func find(pods []Pod, ordinal int) (Pod, bool) {
	for _, p := range pods {
		if p.Ordinal == ordinal {
			return p, true
		}
	}
	return Pod{}, false
}
