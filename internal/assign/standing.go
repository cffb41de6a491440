package assign

import (
	"slices"

	"github.com/millrace/millrace/topology"
)

// A standing is how a process stands to a task.
type standing struct {
	runs bool  // it runs the task now
	lag  int64 // how many records its state is behind
	warm bool  // its state is caught up
	some bool  // it has a state worth something
}

// standings returns how each process stands to a stateful task. Where the ends of the task's changelogs are not known
// only the most advanced state counts as caught up: the task stays where it is, or goes where it is best off.
//
// What the processes own is in order.
func standings(id topology.TaskID, processes []Process, ends Ends, acceptable int64) []standing {
	end, known := ends[id]
	if !known {
		acceptable = 0
		for _, p := range processes {
			end = max(end, p.Sums[id])
		}
		if slices.ContainsFunc(processes, func(p Process) bool { return p.Sums[id] == SumRunning || p.owns(id) }) {
			end++ // more than any that does not run it
		}
	}
	out := make([]standing, len(processes))
	for i, p := range processes {
		s := standing{runs: p.owns(id), lag: end}
		sum := p.Sums[id]
		switch {
		case sum == SumRunning, s.runs && !known:
			s.lag, s.some = 0, true
		case sum > 0 && sum <= end: // more than there is cannot be the state of this changelog
			s.lag, s.some = end-sum, true
		}
		s.warm = s.lag <= acceptable
		out[i] = s
	}
	return out
}

func (p *Process) owns(id topology.TaskID) bool {
	_, found := slices.BinarySearchFunc(p.Owned, id, topology.TaskID.Compare)
	return found
}

// Costs of a task at a process, for spread. A state that is not caught up outweighs any number of tasks that move
// between caught-up ones, and the tags outweigh the state.
const (
	costMove    int64 = 1 << 8 // to another caught-up process
	costBehind  int64 = 1 << 32
	costRestart int64 = 1 << 33 // a restore that has begun
	costNothing int64 = 1 << 34
	costTag     int64 = 1 << 44 // another copy with the same value of a tag
)

// active is the cost of running the task at the process.
func (s standing) active() int64 {
	switch {
	case s.warm && s.runs:
		return 0
	case s.warm:
		return costMove + min(s.lag, 1<<24)
	case s.some:
		return costBehind + min(s.lag, 1<<31)
	case s.runs:
		return costRestart
	}
	return costNothing
}

// standby is the cost of a standby of the task at the process. It stays where it is rather than follow the active one.
func (s standing) standby() int64 {
	if s.warm && s.runs {
		return 1 << 25
	}
	s.runs = false
	return s.active()
}
