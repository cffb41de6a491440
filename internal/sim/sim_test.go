//go:build synctests

package sim

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/check"
)

var (
	seeds   = flag.Uint64("sim.seeds", 0, "how many seeds to run; 0: as many as fit in half a minute")
	first   = flag.Uint64("sim.first", 0, "the first seed")
	one     = flag.Uint64("sim.seed", 0, "run this seed alone")
	verbose = flag.Bool("sim.v", false, "print all that is logged")
)

// found are the seeds that found something, and what.
var found = []struct {
	seed uint64
	what string
}{
	{13, "what was fetched for a task whose stores had to be opened again was a nil dereference"},
	{569, "a commit of what was fetched during a pause set the offset back before a marker that was committed"},
}

func TestFound(t *testing.T) {
	for _, f := range found {
		t.Run(fmt.Sprint(f.seed), func(t *testing.T) { runSeed(t, f.seed) })
	}
}

// A commit that was given up, and arrives after later ones, does not set the offsets back for good, though there is
// nothing new to commit.
func TestStrayCommit(t *testing.T) {
	p := calmPlan()
	p.guarantee = check.AtLeastOnce
	p.late = func(key int16, nth int) time.Duration {
		if key == int16(kmsg.OffsetCommit) && nth == 28 { // the client gives up sooner
			return 7 * time.Second
		}
		return 0
	}
	p.brokers, p.length = 2, 30*time.Second
	dir := t.TempDir()
	cryptotest.SetGlobalRandom(t, p.seed)
	synctest.Test(t, func(t *testing.T) {
		res := run(p, dir, nil, nil)
		t.Log(res.Faults)
		for _, err := range res.Errs {
			t.Error(err)
		}
		if !strings.Contains(res.Faults, "late by 7s: OffsetCommit") {
			t.Errorf("no commit was late:\n%s", res.Faults)
		}
	})
}

// Whatever happens, nothing is lost, nothing is doubled that must not be, and when it stops all goes on.
func TestSeeds(t *testing.T) {
	if *one != 0 {
		runSeed(t, *one)
		return
	}
	began, enough := time.Now(), 30*time.Second
	if testing.Short() {
		enough = 3 * time.Second
	}
	n, failed, virtual := uint64(0), 0, time.Duration(0)
	for ; *seeds == 0 && time.Since(began) < enough || n < *seeds; n++ {
		seed := 1 + *first + n
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { virtual += runSeed(t, seed).Virtual })
		if !ok {
			failed++
		}
		if failed >= 10 {
			t.Fatalf("%d seeds failed; that is enough", failed)
		}
	}
	t.Logf("%d seeds in %v, %v of virtual time", n, time.Since(began).Round(time.Second), virtual.Round(time.Minute))
}

// runSeed runs one seed in a bubble.
func runSeed(t *testing.T, seed uint64) (res *Result) {
	cryptotest.SetGlobalRandom(t, seed)
	dir := t.TempDir()
	out := io.Writer(nil)
	if *verbose {
		out = os.Stderr
	}
	defer func() {
		if p := recover(); p != nil { // the bubble does so if goroutines are left
			t.Logf("what was done:\n%s", latest.Load().faults())
			t.Logf("seed %d: %s", seed, newPlan(seed))
			panic(p)
		}
	}()
	synctest.Test(t, func(t *testing.T) { res = Run(seed, dir, out) })
	if len(res.Errs) == 0 {
		if *verbose {
			t.Logf("%d records, %d lives, failures %v, %v", res.Records, res.Lives, res.Failures, res.Virtual)
		}
		return res
	}
	for _, err := range res.Errs {
		t.Error(err)
	}
	t.Logf("what was done:\n%s", res.Faults)
	t.Logf("seed %d: %s\nto run it again: go test -tags synctests ./internal/sim -run TestSeeds -sim.seed=%d -sim.v", seed, res.Plan, seed)
	return res
}
