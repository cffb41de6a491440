package task

import (
	"container/heap"
	"time"

	"github.com/millrace/millrace/topology"
)

// input is one partition that a task reads: the records that wait, the head of which is decoded.
type input struct {
	topic  string
	source topology.Source
	node   string
	slot   int

	batches [][]topology.Record // waiting, in order; the first one from next on
	next    int
	waiting int

	hasHead bool
	head    *topology.Record
	stamp   int64 // the head's timestamp
	time    int64 // the greatest timestamp of the records processed; -1: none
	lag     int64 // how many records the broker still has; -1: unknown

	idleUntil time.Time // until when the task waits for a record, while there is none; zero: it has not begun to

	epoch     int32
	position  int64 // the offset after the last record processed
	committed int64 // of position, what was committed
}

func (in *input) add(records []topology.Record) {
	if len(records) > 0 {
		in.batches = append(in.batches, records)
		in.waiting += len(records)
	}
}

// pull returns the next waiting record, or nil.
func (in *input) pull() *topology.Record {
	for len(in.batches) > 0 {
		if batch := in.batches[0]; in.next < len(batch) {
			r := &batch[in.next]
			in.next++
			in.waiting--
			return r
		}
		in.batches[0] = nil
		in.batches = in.batches[1:]
		in.next = 0
	}
	return nil
}

// heads is a heap of the inputs that have a head, the lowest timestamp first. Equal ones leave it as they leave a
// java.util.PriorityQueue, which sifts the same way.
type heads []*input

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].stamp < h[j].stamp }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(*input)) }
func (h *heads) Pop() any {
	old := *h
	in := old[len(old)-1]
	*h = old[:len(old)-1]
	return in
}

var _ heap.Interface = (*heads)(nil)
