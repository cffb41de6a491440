package decide

import (
	"fmt"
	"math"
	"time"
)

// A Load is what an application's pods had to do, at a time: totals by pod, and the lag.
type Load struct {
	At      time.Time
	Pods    map[string]Work
	Lag     int64  // records
	Hottest int64  // of them, those of the partition that has most
	Where   string // that partition
	Inputs  int    // partitions
}

// Work is what a process has done since it began.
type Work struct {
	Process   string
	Processed int64
	Busy      float64 // seconds, of all workers
	Workers   int
}

// Scaling finds the number of pods that an application needs.
type Scaling struct {
	Min, Max   int // Max 0: none
	Target     float64
	MaxLatency time.Duration
	CatchUp    time.Duration
	Window     time.Duration
	Up, Down   StepRule

	Replicas   int
	Tasks      int
	Loads      []Load // in order, since the number of pods changed last, or pods last began to work
	LastScaled time.Time
	Now        time.Time
	Frozen     string // why it may not act now
}

// StepRule bounds steps.
type StepRule struct {
	Cooldown time.Duration
	MaxStep  int
}

// A Verdict is what was found.
type Verdict struct {
	Recommended int
	// To is where to go now; the number of pods there are if nowhere.
	To     int
	Reason string
	// Blocked is whether more pods would be needed, but would not help, or may not be had.
	Blocked     bool
	Utilization float64 // -1: not known yet
}

// band is how far from the target utilization nothing happens.
const band = 0.2

// hot is the part of the lag in one partition from which on more pods do not help.
const hot = 0.6

// Next finds it. What a record costs is known from the time that workers spent; what has to be processed is what comes, and the lag
// within CatchUp; so many workers at the target utilization do that. It acts when the utilization leaves the band, or the lag in
// time was above MaxLatency, for the whole window.
func (s Scaling) Next() Verdict {
	v := Verdict{Recommended: s.Replicas, To: s.Replicas, Utilization: -1}
	m, ok := s.measure()
	if !ok {
		v.Reason = fmt.Sprintf("measures for %v since pods changed", s.Window)
		return v
	}
	v.Utilization = m.utilization
	if m.processed == 0 && m.last.Lag > 0 {
		v.Reason = fmt.Sprintf("nothing is processed, and %d records wait: more pods would not help", m.last.Lag)
		v.Blocked = true
		return v
	}
	v.Recommended, v.Reason = s.recommend(m)
	s.act(&v, m)
	return v
}

// A measurement is what the loads of the window say.
type measurement struct {
	last        Load
	processed   int64
	rate        float64 // records a second that are processed
	arrival     float64 // and that come
	cost        float64 // seconds of a worker for a record
	utilization float64
	workers     float64 // of a pod
	latency     time.Duration
}

func (s Scaling) measure() (m measurement, ok bool) {
	if len(s.Loads) < 2 {
		return m, false
	}
	m.last = s.Loads[len(s.Loads)-1]
	first := s.Loads[0]
	for _, l := range s.Loads {
		if m.last.At.Sub(l.At) >= s.Window {
			first = l
		}
	}
	seconds := m.last.At.Sub(first.At).Seconds()
	if seconds < s.Window.Seconds() {
		return m, false
	}
	var busy float64
	var workers int
	for name, now := range m.last.Pods {
		before := first.Pods[name]
		if before.Process != now.Process {
			before = Work{}
		}
		m.processed += now.Processed - before.Processed
		busy += now.Busy - before.Busy
		workers += now.Workers
	}
	if workers == 0 {
		return m, false
	}
	least := m.last.Lag
	for _, l := range s.Loads {
		if !l.At.Before(first.At) {
			least = min(least, l.Lag)
		}
	}
	m.workers = float64(workers) / float64(len(m.last.Pods))
	m.utilization = busy / (seconds * float64(workers))
	m.rate = float64(m.processed) / seconds
	m.arrival = max(0, m.rate+float64(m.last.Lag-first.Lag)/seconds)
	if m.processed > 0 {
		m.cost = busy / float64(m.processed)
	}
	m.latency = latency(least, m.arrival, m.rate)
	return m, true
}

// latency is how long records wait: the lag at the rate at which they come, or, when none comes any more, are processed.
func latency(lag int64, arrival, rate float64) time.Duration {
	if lag == 0 {
		return 0
	}
	per := max(arrival, rate, 1e-9)
	return time.Duration(min(float64(lag)/per, 1e6) * float64(time.Second))
}

func (s Scaling) recommend(m measurement) (int, string) {
	needed := m.arrival + float64(m.last.Lag)/s.CatchUp.Seconds()
	busy := needed * m.cost
	raw := int(math.Ceil(busy/(m.workers*s.Target) - 1e-9))
	r := s.bound(max(1, raw), m.workers)
	return r, fmt.Sprintf("%.0f records/s come, %d wait; at %.3g ms each that is %.2f busy workers, and %d pods of %.3g workers at %.0f %%",
		m.arrival, m.last.Lag, m.cost*1000, busy, raw, m.workers, s.Target*100) + s.bounded(raw, r, m.workers)
}

// bound keeps to what is allowed and useful, and to numbers of pods that share the tasks evenly: one more pod that leaves another with as
// many tasks as before is none.
func (s Scaling) bound(r int, workers float64) int {
	most := s.useful(workers)
	if s.Max > 0 {
		most = min(most, s.Max)
	}
	even := func(r int) bool { return r <= 1 || s.Tasks == 0 || ceil(s.Tasks, r-1) > ceil(s.Tasks, r) }
	up := max(r, s.Min)
	for up < most && !even(up) {
		up++
	}
	up = min(up, most)
	for up > max(1, s.Min) && !even(up) {
		up--
	}
	return max(up, s.Min)
}

func (s Scaling) bounded(raw, r int, workers float64) string {
	switch {
	case r == raw:
		return ""
	case r < raw && s.Max > 0 && r >= s.Max:
		return fmt.Sprintf("; maxReplicas is %d", s.Max)
	case r < raw && r == s.useful(workers):
		return fmt.Sprintf("; %d tasks use at most %d pods", s.Tasks, r)
	case r == s.Min:
		return fmt.Sprintf("; minReplicas is %d", s.Min)
	}
	return fmt.Sprintf("; %d share %d tasks evenly", r, s.Tasks)
}

// useful is the number of pods above which some have no task.
func (s Scaling) useful(workers float64) int {
	if s.Tasks == 0 {
		return 1 << 20
	}
	return max(1, int(math.Ceil(float64(s.Tasks)/max(1, workers))))
}

func ceil(a, b int) int { return (a + b - 1) / b }

// act decides whether to go there now.
func (s Scaling) act(v *Verdict, m measurement) {
	late, busy, idle := m.latency > s.MaxLatency, m.utilization > s.Target+band, m.utilization < s.Target-band
	switch {
	case v.Recommended >= s.Replicas && (late || busy) && s.skewed(m):
		v.Blocked = true
		v.Recommended = s.Replicas
		v.Reason = fmt.Sprintf("skew: %d of the %d records that wait are in %s, and one task reads them: more pods would not help; spread the keys, or make a record cost less",
			m.last.Hottest, m.last.Lag, m.last.Where)
	case v.Recommended > s.Replicas && (late || busy):
		s.step(v, min(v.Recommended, s.Replicas+s.Up.MaxStep), s.Up)
	case v.Recommended <= s.Replicas && late && v.Recommended == s.most(m.workers):
		v.Blocked = true
	case v.Recommended < s.Replicas && idle && m.latency <= s.MaxLatency/2:
		s.step(v, max(v.Recommended, s.Replicas-s.Down.MaxStep), s.Down)
	case v.Recommended != s.Replicas:
		v.Reason += fmt.Sprintf("; it stays: the utilization of %.0f %% is within %.0f and %.0f %%, and records wait %v", m.utilization*100,
			(s.Target-band)*100, (s.Target+band)*100, m.latency.Round(time.Second/10))
	}
}

// skewed says whether most of what waits is in one partition, and so much that it is no chance.
func (s Scaling) skewed(m measurement) bool {
	return m.last.Inputs > 1 && float64(m.last.Hottest) > hot*float64(m.last.Lag) && latency(m.last.Lag, m.arrival, m.rate) > s.MaxLatency/4
}

func (s Scaling) most(workers float64) int {
	if s.Max > 0 {
		return min(s.Max, s.useful(workers))
	}
	return s.useful(workers)
}

func (s Scaling) step(v *Verdict, to int, rule StepRule) {
	switch left := rule.Cooldown - s.Now.Sub(s.LastScaled); {
	case s.Frozen != "":
		v.Reason += "; not now: " + s.Frozen
	case left > 0:
		v.Reason += fmt.Sprintf("; in %v, after the cool-down", left.Round(time.Second))
	default:
		v.To = to
	}
}
