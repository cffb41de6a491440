package oracle

import (
	"hash/fnv"
	"testing"
)

// With caches that hold changes back between commits, the rows are Java's in the end, and the updates some of Java's.
func TestCached(t *testing.T) {
	for _, level := range []struct {
		name    string
		atLeast int // topics
	}{{"level2", 1000}, {"level3", 1000}, {"level5", 300}} {
		t.Run(level.name, func(t *testing.T) {
			topics, fewer := 0, 0
			each(t, "testdata/"+level.name, func(c *Case, java *Result) {
				if java.Error != "" || miscast(java) || len(java.InputErrors) > 0 {
					return
				}
				h := fnv.New32()
				_, _ = h.Write([]byte(c.ID)) // it never fails
				got, err := RunCached(c, 2+int(h.Sum32()%9))
				if err != nil {
					t.Fatal(err)
				}
				if len(got.InputErrors) > 0 {
					t.Errorf("case %s: %q", c.ID, got.InputErrors)
				}
				difference, judged := CompareCached(c, java, got)
				if difference != "" {
					t.Errorf("case %s: %s", c.ID, difference)
				}
				topics += judged
				for topic := range got.Topics {
					if len(got.Topics[topic]) < len(java.Topics[topic]) {
						fewer++
					}
				}
			})
			t.Logf("%d topics judged, %d have fewer records than with a commit after each", topics, fewer)
			if topics < level.atLeast || fewer < level.atLeast/4 {
				t.Errorf("%d topics were judged and %d have fewer records: too few", topics, fewer)
			}
		})
	}
}

// The judge says no to an update that Java does not have, to rows that are missing in the end, and to records in another order.
func TestCompareCachedFails(t *testing.T) {
	c := &Case{Steps: []Step{
		{Op: "stream", ID: "s", Topic: "in"},
		{Op: "groupByKey", ID: "g", From: "s"}, {Op: "count", ID: "c", From: "g"}, {Op: "toStream", ID: "t", From: "c"}, {Op: "to", From: "t", Topic: "counts"},
		{Op: "to", From: "s", Topic: "copy"},
	}}
	records := func(values ...string) (all []Record) {
		k := "61"
		for _, v := range values {
			all = append(all, Record{K: &k, V: &v})
		}
		return all
	}
	java := &Result{Topics: map[string][]Record{"counts": records("01", "02", "03"), "copy": records("01", "02")}}
	for name, got := range map[string]map[string][]Record{
		"an update of its own": {"counts": records("01", "04", "03"), "copy": records("01", "02")},
		"another order":        {"counts": records("02", "01", "03"), "copy": records("01", "02")},
		"an end of its own":    {"counts": records("01", "02"), "copy": records("01", "02")},
		"a record is missing":  {"counts": records("03"), "copy": records("02")},
	} {
		if d, _ := CompareCached(c, java, &Result{Topics: got}); d == "" {
			t.Errorf("%s: the difference is not seen", name)
		}
	}
	if d, judged := CompareCached(c, java, &Result{Topics: map[string][]Record{"counts": records("03"), "copy": records("01", "02")}}); d != "" || judged != 2 {
		t.Errorf("of %d topics: %s", judged, d)
	}
}
