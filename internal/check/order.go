package check

import "fmt"

// Numbers judges the running numbers of keys, in the order in which they are read: of each key 1, 2, 3 and so on.
type Numbers struct {
	Guarantee Guarantee
	last      map[string]int64
	repeats   int
}

// See takes the next number of a key. With at least once a number that was there before may come again; one that skips
// others may not come at all.
func (n *Numbers) See(r Record, key string, number int64) error {
	if n.last == nil {
		n.last = make(map[string]int64)
	}
	last := n.last[key]
	switch {
	case number == last+1:
		n.last[key] = number
	case number > last+1:
		n.last[key] = number
		return fmt.Errorf("%v: of key %s number %d comes after %d: %d are lost", r, key, number, last, number-last-1)
	case n.Guarantee == ExactlyOnce:
		return fmt.Errorf("%v: of key %s number %d comes again, after %d", r, key, number, last)
	default:
		n.repeats++
	}
	return nil
}

// Last returns the highest number of each key so far.
func (n *Numbers) Last() map[string]int64 { return n.last }

// Repeats counts what came again.
func (n *Numbers) Repeats() int { return n.repeats }

// An Echo judges a topic to which each input record is written as it is: partition by partition it has what the input
// has, in its order. With at least once a stretch may come again; the first time of each record is still in order.
type Echo struct {
	Guarantee Guarantee
	parts     map[int32]*echoed
}

type echoed struct {
	input []Record
	index map[string]int // of the input, by identity
	next  int            // of the input, to come for the first time
}

func (e *Echo) part(number int32) *echoed {
	if e.parts == nil {
		e.parts = make(map[int32]*echoed)
	}
	p := e.parts[number]
	if p == nil {
		p = &echoed{index: make(map[string]int)}
		e.parts[number] = p
	}
	return p
}

func identity(r Record) string { return r.Key + "\x00" + string(r.Value) }

// Input takes the next record of the input; each is unique.
func (e *Echo) Input(r Record) error {
	p := e.part(r.Number)
	if i, ok := p.index[identity(r)]; ok {
		return fmt.Errorf("%v: the input has this at %d already", r, p.input[i].Offset)
	}
	p.index[identity(r)] = len(p.input)
	p.input = append(p.input, r)
	return nil
}

// Output takes the next record of the output.
func (e *Echo) Output(r Record) error {
	p := e.part(r.Number)
	i, ok := p.index[identity(r)]
	switch {
	case !ok:
		return fmt.Errorf("%v: nothing like it is in partition %d of the input", r, r.Number)
	case i > p.next:
		lost := p.input[p.next]
		p.next = i + 1
		return fmt.Errorf("%v: comes before %v, which is ahead of it in the input", r, lost)
	case i < p.next && e.Guarantee == ExactlyOnce:
		return fmt.Errorf("%v: comes again; %d records of the input are there", r, p.next)
	case i == p.next:
		p.next++
	}
	return nil
}

// Done returns the offset in a partition of the input up to which all is in the output.
func (e *Echo) Done(number int32) int64 {
	p := e.part(number)
	if p.next == len(p.input) {
		if p.next == 0 {
			return 0
		}
		return p.input[p.next-1].Offset + 1
	}
	return p.input[p.next].Offset
}

// Missing returns how many records of the input are not in the output yet.
func (e *Echo) Missing() (n int) {
	for _, p := range e.parts {
		n += len(p.input) - p.next
	}
	return n
}
