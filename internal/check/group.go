package check

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Offsets judges the committed offsets of a group.
type Offsets struct{ last map[Partition]int64 }

// See takes what is committed now. No offset is lower than it was.
func (o *Offsets) See(committed map[Partition]int64) error {
	var f findings
	for _, p := range sorted(o.last) {
		if now, ok := committed[p]; !ok {
			f.add("%v: the committed offset %d is gone", p, o.last[p])
		} else if now < o.last[p] {
			f.add("%v: the committed offset went back from %d to %d", p, o.last[p], now)
		}
	}
	o.last = maps.Clone(committed)
	return f.err()
}

// Processed judges that offsets are not committed ahead of what was made of the records before them.
func Processed(committed, done map[Partition]int64) error {
	var f findings
	for _, p := range sorted(done) {
		if committed[p] > done[p] {
			f.add("%v: committed is %d, but of the record at %d nothing is in the output", p, committed[p], done[p])
		}
	}
	return f.err()
}

// Purged judges a deletion of records before an offset: what is not committed is read again by whoever gets the task.
func Purged(p Partition, before, committed int64) error {
	if before > committed {
		return fmt.Errorf("%v: records before %d are deleted, but committed is %d", p, before, committed)
	}
	return nil
}

// Owners judges who reads what in a group.
type Owners struct {
	Partitions []Partition   // all that are to be read
	Bound      time.Duration // how long one may be without an owner, or with one too many, when nothing is in the way
	since      map[Partition]time.Time
}

// See takes the assignment of one generation, by member. No partition has two owners; and none is without for longer
// than the bound since the last Excuse.
func (o *Owners) See(now time.Time, members map[string][]Partition) error {
	var f findings
	owner := make(map[Partition]string)
	for _, m := range slices.Sorted(maps.Keys(members)) {
		for _, p := range members[m] {
			if other, ok := owner[p]; ok {
				f.add("%v: is assigned to both %s and %s", p, other, m)
			}
			owner[p] = m
		}
	}
	if o.since == nil {
		o.since = make(map[Partition]time.Time)
	}
	for _, p := range o.Partitions {
		since, ok := o.since[p]
		switch {
		case owner[p] != "":
			delete(o.since, p)
		case !ok:
			o.since[p] = now
		case now.Sub(since) > o.Bound:
			f.add("%v: nobody reads it for %v", p, now.Sub(since))
		}
	}
	return f.err()
}

// Excuse begins the bound anew: something was in the way until now.
func (o *Owners) Excuse() { clear(o.since) }

// Running judges the tasks that members of a stable group say they run: none runs twice, and none is left out.
func Running(all []string, members map[string][]string) error {
	var f findings
	runs := make(map[string][]string)
	for _, m := range slices.Sorted(maps.Keys(members)) {
		for _, t := range members[m] {
			runs[t] = append(runs[t], m)
		}
	}
	for _, t := range all {
		switch len(runs[t]) {
		case 0:
			f.add("task %s: nobody runs it", t)
		case 1:
		default:
			f.add("task %s: %v run it", t, runs[t])
		}
	}
	return f.err()
}

func sorted[V any](m map[Partition]V) []Partition {
	return slices.SortedFunc(maps.Keys(m), Partition.Compare)
}
