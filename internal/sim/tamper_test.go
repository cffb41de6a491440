//go:build synctests

package sim

import (
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/check"
)

// calmPlan is one in which nothing happens, and that has something of everything.
func calmPlan() *plan {
	return &plan{
		seed: 1, guarantee: check.ExactlyOnce, instances: 2, workers: 1, partitions: 2, brokers: 1, keys: 4, groups: 2, rate: 20,
		length: 5 * time.Second, commit: time.Second, purge: time.Second, delivery: time.Minute, buffered: 1000, fetchBytes: 1 << 20,
	}
}

// part returns the first partition of a topic that has some records.
func part(t *testing.T, w *world, topic string) (check.Partition, []check.Record) {
	for n := range w.plan.partitions {
		if r := w.history.of(topic, n); len(r) > 5 {
			return check.Partition{Topic: topic, Number: n}, slices.Clone(r)
		}
	}
	t.Fatalf("topic %s has no partition with more than five records", topic)
	return check.Partition{}, nil
}

// edit returns a tamper that changes the records of a topic.
func edit(t *testing.T, topic string, f func([]check.Record) []check.Record) tamper {
	return func(w *world) {
		p, records := part(t, w, topic)
		w.history.mu.Lock()
		defer w.history.mu.Unlock()
		w.history.mu.records[p] = f(records)
	}
}

func lose(r []check.Record) []check.Record   { return slices.Delete(r, 3, 4) }
func double(r []check.Record) []check.Record { return slices.Insert(r, 4, r[3]) }
func forge(r []check.Record) []check.Record {
	last := &r[len(r)-1]
	last.Value = []byte(strings.NewReplacer("1", "7", "2", "8", "3", "9").Replace(string(last.Value)))
	return r
}

func swap(r []check.Record) []check.Record {
	for i := range len(r) - 1 {
		if r[i].Key == r[i+1].Key {
			r[i], r[i+1] = r[i+1], r[i]
			return r
		}
	}
	return double(r)
}

// Each judge of the simulation sees what it is there for.
func TestJudgesSee(t *testing.T) {
	for _, c := range []struct {
		name, wrong string // what a violation says; empty: there is none
		tamper      tamper
	}{
		{"nothing", "", nil},
		{"echo lost", "ahead of it in the input", edit(t, echoTopic, lose)},
		{"echo doubled", "comes again", edit(t, echoTopic, double)},
		{"echo out of order", "ahead of it in the input", edit(t, echoTopic, swap)},
		{"echo forged", "nothing like it is in partition", edit(t, echoTopic, forge)},
		{"end of the echo lost", "are not in the echo", edit(t, echoTopic, func(r []check.Record) []check.Record { return r[:len(r)-1] })},
		{"tally forged", "tally:", edit(t, tallyTopic, forge)},
		{"tally of a repeat", "has seen numbers twice", edit(t, tallyTopic, func(r []check.Record) []check.Record {
			r[3].Value = []byte(strings.Replace(string(r[3].Value), "}", `,"repeats":1}`, 1))
			return r
		})},
		{"tally of a gap", "must be of 1 to", edit(t, tallyTopic, func(r []check.Record) []check.Record {
			r[3].Value = []byte(strings.Replace(string(r[3].Value), "}", `,"gaps":1}`, 1))
			return r
		})},
		{"last tally lost", "tally:", edit(t, tallyTopic, func(r []check.Record) []check.Record { return r[:2] })},
		{"group forged", "tally in a group", edit(t, groupsTopic, forge)},
		{"joined lost", "are lost", edit(t, joinedTopic, lose)},
		{"joined doubled", "comes again", edit(t, joinedTopic, double)},
		{"row is old", "row that the last number met", edit(t, joinedTopic, func(r []check.Record) []check.Record {
			last := &r[len(r)-1]
			v, _, _ := strings.Cut(string(last.Value), " ")
			last.Value = []byte(v + " " + last.Key + "/0")
			return r
		})},
		{"window forged", "window:", edit(t, windowTopic, forge)},
		{"changelog lost", "changelog of tallies", edit(t, application+"-tallies-changelog", func([]check.Record) []check.Record { return nil })},
		{"store differs from its changelog", `store "rows" at`, edit(t, application+"-rows-changelog", forge)},
		{"window store differs from its changelog", `store "windows" at`, edit(t, application+"-windows-changelog", forge)},
		{"committed ahead of the echo", "nothing is in the output", func(w *world) {
			for _, l := range w.looks {
				for p := range l.committed {
					l.committed[p] += 3
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			dir := t.TempDir()
			var res *Result
			synctest.Test(t, func(*testing.T) { res = run(calmPlan(), dir, nil, c.tamper) })
			seen := ""
			for _, err := range res.Errs {
				seen += err.Error() + "\n"
			}
			if c.wrong == "" && seen != "" || !strings.Contains(seen, c.wrong) {
				t.Errorf("want a violation that says %q, got:\n%s\n%s", c.wrong, seen, res.Faults)
			}
		})
	}
}

// An application that does nothing is found out within the bound.
func TestStuckIsSeen(t *testing.T) {
	p := calmPlan()
	p.instances, p.events = 1, []event{{at: time.Second, kind: stuck}}
	dir := t.TempDir()
	var res *Result
	synctest.Test(t, func(*testing.T) { res = run(p, dir, nil, nil) })
	if len(res.Errs) == 0 || !strings.Contains(res.Errs[len(res.Errs)-1].Error(), "not all is processed") {
		t.Errorf("%v", res.Errs)
	}
}
