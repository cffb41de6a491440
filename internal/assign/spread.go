package assign

import (
	"cmp"
	"math"
	"slices"

	"github.com/millrace/millrace/topology"
)

// never is the cost of what must not be.
const never int64 = math.MaxInt64

// A quota is how much of something a process shall have: it has count, and shall have low to high.
type quota struct{ id, workers, count, low, high int }

// bound sets the bounds for total of something: as much for every worker, and those that are left over one more each.
func bound(bins []quota, total int) {
	workers := 0
	for _, b := range bins {
		workers += b.workers
	}
	for i := range bins {
		b := &bins[i]
		b.id, b.low, b.high = i, total/workers*b.workers, (total/workers+1)*b.workers
	}
}

// A spread gives tasks to bins, at the least cost within the bins' bounds. Every task first goes where it costs least.
// Then tasks are moved out of bins with too many along the cheapest way to bins with room, where a way may lead over
// others, each handing a task on; so each step keeps the cost the least for the counts there are.
type spread struct {
	tasks []topology.TaskID
	cost  [][]int64 // of each task in each bin
	bins  []quota
	at    []int    // the bin of each task; -1 if it must be in none
	hand  [][]hand // the cheapest task to hand from one bin to another
}

// A hand is a task that goes from one bin to another, and what that costs more.
type hand struct {
	task int
	more int64
}

// spreadTasks returns the bin of each task; their counts are added to the bins'. What it does depends on the order of
// bins and tasks only where costs are equal. It keeps the bounds unless costs of never, or of a tag, forbid it.
func spreadTasks(tasks []topology.TaskID, bins []quota, cost func(task, bin int) int64) []int {
	s := &spread{tasks: tasks, bins: bins, at: make([]int, len(tasks)), hand: make([][]hand, len(bins))}
	for i := range tasks {
		row := make([]int64, len(bins))
		for b := range bins {
			row[b] = cost(i, b)
		}
		s.cost = append(s.cost, row)
		if s.at[i] = s.cheapest(row); s.at[i] >= 0 {
			bins[s.at[i]].count++
		}
	}
	for b := range bins {
		s.look(b)
	}
	over := func(q quota) bool { return q.count > q.high }
	room := func(q quota) bool { return q.count < q.high }
	spare := func(q quota) bool { return q.count > q.low }
	short := func(q quota) bool { return q.count < q.low }
	const most = costTag / 2
	for s.move(over, short, most) || s.move(over, room, most) || s.move(spare, short, most) {
	}
	for s.move(spare, room, 0) {
	}
	for b := range bins {
		s.level(b, most)
	}
	return s.at
}

// level is for what the bounds could not be kept of: a bin that has too few takes from any that has more, one that has
// too many gives to any that has less.
func (s *spread) level(b int, most int64) {
	is := func(q quota) bool { return q.id == b }
	for s.bins[b].count < s.bins[b].low {
		after := s.bins[b].fuller(1)
		if !s.move(func(q quota) bool { return q.fuller(-1) >= after }, is, most) {
			break
		}
	}
	for s.bins[b].count > s.bins[b].high {
		after := s.bins[b].fuller(-1)
		if !s.move(is, func(q quota) bool { return q.fuller(1) <= after }, most) {
			break
		}
	}
}

// cheapest returns the bin of least cost, of several the one with the least in it.
func (s *spread) cheapest(row []int64) int {
	best := -1
	for b, c := range row {
		if c != never && (best < 0 || c < row[best] || c == row[best] && s.bins[b].fuller(1) < s.bins[best].fuller(1)) {
			best = b
		}
	}
	return best
}

// fuller is how full the bin is with n more.
func (q quota) fuller(n int) float64 { return float64(q.count+n) / float64(q.workers) }

// look finds what bin p can hand on.
func (s *spread) look(p int) {
	s.hand[p] = make([]hand, len(s.bins))
	for q := range s.bins {
		s.hand[p][q] = hand{task: -1, more: never}
	}
	for i, at := range s.at {
		if at != p {
			continue
		}
		for q, c := range s.cost[i] {
			if q == p || c == never {
				continue
			}
			h := &s.hand[p][q]
			if more := c - s.cost[i][p]; h.task < 0 || cmp.Or(cmp.Compare(more, h.more), byPartition(s.tasks[h.task], s.tasks[i])) < 0 {
				*h = hand{i, more}
			}
		}
	}
}

// byPartition orders tasks so that neighbours are of different sub-topologies: those of one are alike in load.
func byPartition(a, b topology.TaskID) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Subtopology, b.Subtopology))
}

// move hands one task from a bin that from holds of to one that to holds of, by the cheapest way, if that costs less
// than limit.
func (s *spread) move(from, to func(quota) bool, limit int64) bool {
	dist := make([]int64, len(s.bins))
	prev := make([]int, len(s.bins))
	for b, q := range s.bins {
		dist[b], prev[b] = never, -1
		if from(q) {
			dist[b] = 0
		}
	}
	for changed, round := true, 0; changed && round < len(s.bins); round++ {
		changed = false
		for p := range s.bins {
			for q := range s.bins {
				h := s.hand[p][q]
				if dist[p] == never || h.task < 0 || dist[p]+h.more >= dist[q] {
					continue
				}
				dist[q], prev[q], changed = dist[p]+h.more, p, true
			}
		}
	}
	end := -1
	for b, q := range s.bins {
		if dist[b] < limit && to(q) && (end < 0 || cmp.Or(cmp.Compare(dist[b], dist[end]), cmp.Compare(q.fuller(1), s.bins[end].fuller(1))) < 0) {
			end = b
		}
	}
	if end < 0 {
		return false
	}
	s.apply(prev, end)
	return true
}

// apply hands tasks on along the way that ends at a bin.
func (s *spread) apply(prev []int, end int) {
	way := []int{end}
	for b := end; prev[b] >= 0 && len(way) <= len(s.bins); b = prev[b] {
		way = append(way, prev[b])
	}
	slices.Reverse(way)
	for i, p := range way[:len(way)-1] {
		s.at[s.hand[p][way[i+1]].task] = way[i+1]
	}
	s.bins[way[0]].count--
	s.bins[end].count++
	for _, b := range way {
		s.look(b)
	}
}
