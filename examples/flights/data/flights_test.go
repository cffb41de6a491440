package flights

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 20_000 {
		t.Errorf("%d flights, want 20,000", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Flight) int { return a.Arrival().Compare(b.Arrival()) }) {
		t.Error("not in the order of arrival")
	}
	if slices.IsSortedFunc(all, func(a, b Flight) int { return a.Date.Compare(b.Date) }) {
		t.Error("in the order of dates: nothing would be late")
	}
	from, to := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2001, 4, 1, 0, 0, 0, 0, time.UTC)
	airports := map[string]bool{}
	for i, f := range all {
		if f.Date.Before(from) || !f.Date.Before(to) || f.Delay < -59 || f.Delay > 522 || f.Distance < 30 ||
			f.Distance > 4475 || len(f.Origin) != 3 || len(f.Destination) != 3 || f.Origin == f.Destination {
			t.Errorf("flight %d is odd: %+v", i, f)
		}
		airports[f.Origin], airports[f.Destination] = true, true
	}
	if len(airports) != 224 {
		t.Errorf("%d airports, want 224", len(airports))
	}
	first := Flight{time.Date(2001, 1, 1, 1, 24, 0, 0, time.UTC), -5, 407, "LAS", "OAK"}
	if all[0] != first {
		t.Errorf("the first flight is %+v, want %+v", all[0], first)
	}
}

func TestBadLines(t *testing.T) {
	for line, want := range map[string]string{
		"16309487,5,407,LAS":             "wrong number of fields",
		"16309487,5,407,LAS,OAK\nx,y,z,": "wrong number of fields",
		"16309487,late,407,LAS,OAK":      `flight 1: strconv.Atoi: parsing "late"`,
	} {
		if _, err := read(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("read(%q): %v, want %q", line, err, want)
		}
	}
}
