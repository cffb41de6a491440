package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// records makes the records of a partition, with offsets from 0 on: "a1" is number 1 of key a, and "-a" deletes key a.
func records(topic, text string) (all []Record) {
	for i, f := range strings.Fields(text) {
		r := Record{Partition: Partition{topic, 0}, Offset: int64(i), Key: f[:1], Value: []byte(f[1:])}
		if f[0] == '-' {
			r.Key, r.Value = f[1:], nil
		}
		all = append(all, r)
	}
	return all
}

func number(r Record) (n int64) {
	_, _ = fmt.Sscan(string(r.Value), &n) // 0 is wrong enough
	return n
}

// A judge that never objects is worth nothing: each is shown a history that is right and one that is wrong in one way.
func judged(t *testing.T, name string, wrong string, err error) {
	t.Helper()
	switch {
	case wrong == "" && err != nil:
		t.Errorf("%s: nothing is wrong, and it says: %v", name, err)
	case wrong != "" && err == nil:
		t.Errorf("%s: it does not see that %s", name, wrong)
	case wrong != "" && !strings.Contains(err.Error(), wrong):
		t.Errorf("%s: it says %q, and not that %s", name, err, wrong)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		guarantee     Guarantee
		output, wrong string
	}{
		{ExactlyOnce, "a1 b1 a2 b2 a3", ""},
		{ExactlyOnce, "a1 b1 a3", "number 3 comes after 1: 1 are lost"},
		{ExactlyOnce, "a2", "number 2 comes after 0: 1 are lost"},
		{ExactlyOnce, "a1 a2 b1 a2", "number 2 comes again, after 2"},
		{ExactlyOnce, "a1 a3 a2", "number 2 comes again, after 3"},
		{AtLeastOnce, "a1 a2 a3 a2 a3 a4", ""},
		{AtLeastOnce, "a1 a2 a1 a4", "number 4 comes after 2: 1 are lost"},
	} {
		n := Numbers{Guarantee: c.guarantee}
		var err error
		for _, r := range records("out", c.output) {
			err = errors.Join(err, n.See(r, r.Key, number(r)))
		}
		judged(t, c.output, c.wrong, err)
	}
}

func TestNumbersCountRepeats(t *testing.T) {
	n := Numbers{}
	for _, r := range records("out", "a1 a2 a1 a2 a3 b1") {
		if err := n.See(r, r.Key, number(r)); err != nil {
			t.Error(err)
		}
	}
	if n.Repeats() != 2 || !maps.Equal(n.Last(), map[string]int64{"a": 3, "b": 1}) {
		t.Errorf("%d repeats, last %v", n.Repeats(), n.Last())
	}
}

func TestEcho(t *testing.T) {
	const input = "a1 b1 a2 c1 b2"
	for _, c := range []struct {
		guarantee     Guarantee
		output, wrong string
		missing       int
	}{
		{ExactlyOnce, input, "", 0},
		{ExactlyOnce, "a1 b1 a2", "", 2},
		{ExactlyOnce, "a1 a2 c1 b2", "comes before in-0@1 b=1", 0},
		{ExactlyOnce, "a1 a2 b1 c1 b2", "comes before in-0@1 b=1", 0},
		{ExactlyOnce, "a1 b1 b1 a2 c1 b2", "comes again", 0},
		{ExactlyOnce, "a1 b1 a7 a2 c1 b2", "nothing like it is in partition 0", 0},
		{AtLeastOnce, "a1 b1 a2 b1 a2 c1 b2", "", 0},
		{AtLeastOnce, "a1 b1 c1 a2 b2", "comes before in-0@2 a=2", 0},
	} {
		e := Echo{Guarantee: c.guarantee}
		var err error
		for _, r := range records("in", input) {
			err = errors.Join(err, e.Input(r))
		}
		for _, r := range records("echo", c.output) {
			err = errors.Join(err, e.Output(r))
		}
		judged(t, c.output, c.wrong, err)
		if c.wrong == "" && e.Missing() != c.missing {
			t.Errorf("%s: %d are missing, want %d", c.output, e.Missing(), c.missing)
		}
	}
}

func TestEchoRefusesInputThatIsNotUnique(t *testing.T) {
	e := Echo{}
	var err error
	for _, r := range records("in", "a1 a2 a1") {
		err = errors.Join(err, e.Input(r))
	}
	judged(t, "input", "the input has this at 0 already", err)
}

// Offsets must not be committed ahead of the echo: with a gap it is done up to the gap only.
func TestProcessed(t *testing.T) {
	in := Partition{"in", 0}
	for output, done := range map[string]int64{"": 0, "a1": 1, "a1 b1 a2": 3, "a1 a1 a1": 1} {
		e := Echo{}
		for _, r := range records("in", "a1 b1 a2") {
			judged(t, "input", "", e.Input(r))
		}
		for _, r := range records("echo", output) {
			judged(t, output, "", e.Output(r))
		}
		if got := e.Done(0); got != done {
			t.Errorf("%q: done up to %d, want %d", output, got, done)
		}
		at := map[Partition]int64{in: e.Done(0)}
		judged(t, output, "", Processed(map[Partition]int64{in: done}, at))
		judged(t, output, "nothing is in the output", Processed(map[Partition]int64{in: done + 1}, at))
	}
}

func TestOffsets(t *testing.T) {
	a, b := Partition{"in", 0}, Partition{"in", 1}
	for _, c := range []struct {
		wrong string
		seen  []map[Partition]int64
	}{
		{"", []map[Partition]int64{{}, {a: 1}, {a: 1, b: 7}, {a: 9, b: 7}}},
		{"in-0: the committed offset went back from 5 to 4", []map[Partition]int64{{a: 5}, {a: 4}}},
		{"in-1: the committed offset 3 is gone", []map[Partition]int64{{a: 5, b: 3}, {a: 5}}},
	} {
		var o Offsets
		var err error
		for _, s := range c.seen {
			err = errors.Join(err, o.See(s))
		}
		judged(t, "offsets", c.wrong, err)
	}
}

func TestPurged(t *testing.T) {
	p := Partition{"repartition", 0}
	judged(t, "purge", "", Purged(p, 10, 10))
	judged(t, "purge", "records before 11 are deleted, but committed is 10", Purged(p, 11, 10))
}

func TestOwners(t *testing.T) {
	a, b := Partition{"in", 0}, Partition{"in", 1}
	type members = map[string][]Partition
	for _, c := range []struct {
		wrong string
		seen  []members // a second apart
	}{
		{"", []members{{}, {"x": {a}}, {"x": {a, b}}, {"x": {a}, "y": {b}}}},
		{"in-1: nobody reads it for 3s", []members{{"x": {a}}, {"x": {a}}, {"y": {a}}, {"y": {a}}}},
		{"", []members{{"x": {a}}, {"x": {a}}, {"x": {a, b}}, {"x": {a}}, {"x": {a}}}},
		{"in-0: is assigned to both x and y", []members{{"x": {a}, "y": {a, b}}}},
	} {
		o := Owners{Partitions: []Partition{a, b}, Bound: 2 * time.Second}
		var err error
		for i, m := range c.seen {
			err = errors.Join(err, o.See(time.Unix(int64(i), 0), m))
		}
		judged(t, "owners", c.wrong, err)
	}
}

func TestOwnersExcuse(t *testing.T) {
	o := Owners{Partitions: []Partition{{"in", 0}}, Bound: 2 * time.Second}
	judged(t, "owners", "", o.See(time.Unix(0, 0), nil))
	o.Excuse()
	judged(t, "owners", "", o.See(time.Unix(10, 0), nil))
	judged(t, "owners", "nobody reads it for 5s", o.See(time.Unix(15, 0), nil))
}

func TestRunning(t *testing.T) {
	all := []string{"0_0", "0_1"}
	judged(t, "running", "", Running(all, map[string][]string{"x": {"0_1"}, "y": {"0_0"}}))
	judged(t, "running", "task 0_0: nobody runs it", Running(all, map[string][]string{"x": {"0_1"}}))
	judged(t, "running", "task 0_1: [x y] run it", Running(all, map[string][]string{"x": {"0_1"}, "y": {"0_0", "0_1"}}))
}

func TestStore(t *testing.T) {
	log := records("changelog", "a1 b1 a2 -b c1")
	for _, c := range []struct {
		holds    string
		position int64
		wrong    string
	}{
		{"a1 b1", 2, ""},
		{"a2 b1", 3, ""},
		{"a2", 4, ""},
		{"a2 c1", 5, ""},
		{"a1 b1", 3, "a is "},
		{"a2", 3, "b is missing"},
		{"a2 b1", 4, "and must not be there"},
		{"a2 c1", 4, "and must not be there"},
	} {
		holds := make(map[string]Record)
		for _, r := range records("store", c.holds) {
			holds[r.Key] = r
		}
		judged(t, fmt.Sprintf("%s at %d", c.holds, c.position), c.wrong, Store("store", holds, log, c.position))
	}
	late := map[string]Record{"a": {Value: []byte("1"), Timestamp: 1}, "b": {Value: []byte("1")}}
	judged(t, "timestamp", "a is ", Store("store", late, log, 2))
}

func TestSame(t *testing.T) {
	equal := func(a, b int) bool { return a == b }
	want := map[string]int{"a": 1, "b": 2}
	judged(t, "same", "", Same("sum", map[string]int{"a": 1, "b": 2}, want, equal))
	judged(t, "same", "sum: b is 3, must be 2", Same("sum", map[string]int{"a": 1, "b": 3}, want, equal))
	judged(t, "same", "sum: b is missing", Same("sum", map[string]int{"a": 1}, want, equal))
	judged(t, "same", "sum: c is 1, and must not be there", Same("sum", map[string]int{"a": 1, "b": 2, "c": 1}, want, equal))
}

// What is wrong a thousand times is said a few times and counted.
func TestFindingsAreFew(t *testing.T) {
	got := make(map[int]int)
	for n := range 1000 {
		got[n] = n
	}
	err := Same("many", got, nil, func(a, b int) bool { return a == b })
	if lines := strings.Split(err.Error(), "\n"); len(lines) != few+1 || !slices.Contains(lines, "and 995 more") {
		t.Error(err)
	}
}
