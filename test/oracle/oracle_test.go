package oracle

import (
	"testing"

	"github.com/millrace/millrace/streamstest"
)

func TestLevel1(t *testing.T)    { judge(t, "testdata/level1", 600) }
func TestLevel2(t *testing.T)    { judge(t, "testdata/level2", 900) }
func TestLevel3(t *testing.T)    { judge(t, "testdata/level3", 900) }
func TestLevel4(t *testing.T)    { judge(t, "testdata/level4", 400) }
func TestLevel5(t *testing.T)    { judge(t, "testdata/level5", 400) }
func TestLevel6(t *testing.T)    { judge(t, "testdata/level6", 400) }
func TestVersioned(t *testing.T) { judge(t, "testdata/versioned", 500) }

// TestOnDisk runs the stores where the cases put them: on disk, unless they say in memory.
func TestOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of stores")
	}
	n := 0
	for _, name := range []string{"level2", "level6", "versioned"} {
		each(t, "testdata/"+name, func(c *Case, java *Result) {
			if n++; n%5 != 0 {
				return
			}
			got, err := Run(c, streamstest.StateDir(t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			if difference := Compare(java, got); difference != "" {
				t.Errorf("case %s: %s", c.ID, difference)
			}
		})
	}
}

func judge(t *testing.T, name string, atLeast int) {
	judged := 0
	each(t, name, func(c *Case, java *Result) {
		got, err := Run(c)
		if err != nil {
			t.Fatal(err)
		}
		judged++
		if difference := Compare(java, got); difference != "" {
			t.Errorf("case %s: %s", c.ID, difference)
		}
	})
	t.Logf("%s: %d cases judged", name, judged)
	if judged < atLeast {
		t.Errorf("%s: %d cases were judged, %d should be", name, judged, atLeast)
	}
}

func each(t *testing.T, name string, f func(c *Case, java *Result)) {
	t.Helper()
	for c, java := range Golden(t, name) {
		f(c, java)
	}
}

// TestCompareFails makes sure that the judge can say no.
func TestCompareFails(t *testing.T) {
	k, v, w := "61", "31", "32"
	java := Result{Topics: map[string][]Record{"out": {{K: &k, V: &v, TS: 1}}}, Describe: "Sub-topology: 0\n  a\n"}
	for name, change := range map[string]func(*Result){
		"value":    func(r *Result) { r.Topics = map[string][]Record{"out": {{K: &k, V: &w, TS: 1}}} },
		"time":     func(r *Result) { r.Topics = map[string][]Record{"out": {{K: &k, V: &v, TS: 2}}} },
		"null":     func(r *Result) { r.Topics = map[string][]Record{"out": {{K: &k, TS: 1}}} },
		"missing":  func(r *Result) { r.Topics = nil },
		"describe": func(r *Result) { r.Describe = "Sub-topology: 0\n  b\n" },
		"dropped":  func(r *Result) { r.Dropped = 1 },
		"error":    func(r *Result) { r.Error = "no" },
	} {
		got := java
		change(&got)
		if Compare(&java, &got) == "" {
			t.Errorf("%s: the difference is not seen", name)
		}
	}
	if d := Compare(&java, &java); d != "" {
		t.Errorf("a result differs from itself: %s", d)
	}
}
