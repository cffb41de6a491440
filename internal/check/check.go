// Package check judges what an application did, from outside: by the records in its topics, the offsets of its group,
// the owners of its partitions and what its stores hold. It knows no broker and no clock, so that a simulation and a test
// on a real cluster use the same judges.
//
// The input has a running number for each key, so that the data itself says what is missing, doubled or out of order.
// What every judge returns names the place, and the first few of what is wrong.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Guarantee is what an application promises.
type Guarantee uint8

// The guarantees. At least once allows repeats: the effects of what was not committed may be seen again.
const (
	AtLeastOnce Guarantee = iota
	ExactlyOnce
)

func (g Guarantee) String() string { return [...]string{"at-least-once", "exactly-once"}[g] }

// A Partition is one of a topic.
type Partition struct {
	Topic  string
	Number int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Number) }

// Compare orders partitions.
func (p Partition) Compare(q Partition) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Number, q.Number))
}

// A Record is what a reader of committed records gets.
type Record struct {
	Partition
	Offset    int64
	Key       string
	Value     []byte // nil: a tombstone
	Timestamp int64  // milliseconds
}

func (r Record) String() string {
	return fmt.Sprintf("%v@%d %s=%s", r.Partition, r.Offset, r.Key, r.Value)
}

// few bounds what one judge says.
const few = 5

// findings collects what is wrong, and counts what is too much to say.
type findings struct {
	errs []error
	more int
}

func (f *findings) add(format string, args ...any) {
	if len(f.errs) == few {
		f.more++
		return
	}
	f.errs = append(f.errs, fmt.Errorf(format, args...))
}

func (f *findings) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more", f.more))...)
	}
	return errors.Join(f.errs...)
}

// Same compares two maps: what there is with what must be.
func Same[K cmp.Ordered, V any](what string, got, want map[K]V, equal func(got, want V) bool) error {
	var f findings
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[k]; !ok {
			f.add("%s: %v is missing, which must be %v", what, k, want[k])
		} else if !equal(g, want[k]) {
			f.add("%s: %v is %v, must be %v", what, k, g, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			f.add("%s: %v is %v, and must not be there", what, k, got[k])
		}
	}
	return f.err()
}
