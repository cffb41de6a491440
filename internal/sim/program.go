package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/topology"
)

// The topics of the program. What is in them is text: "k07/12" is number 12 of key k07.
const (
	application = "sim"
	inTopic     = "in"      // the input: by key, running numbers
	rowsTopic   = "rows"    // the table: by key, running versions
	echoTopic   = "echo"    // the input, record by record
	tallyTopic  = "tallies" // of each key, what came of it
	joinedTopic = "joined"  // each record of the input and the version of the row that it met
	groupsTopic = "groups"  // tallies of each group of keys, through a repartition topic
	windowTopic = "windows" // of each key and window, the numbers in it

	repartitionTopic = application + "-by-group-repartition"
)

const windowSize = 10 * time.Minute

// A Tally is what an aggregation saw of running numbers. It tells by itself when something was lost or came twice, and
// when the state that it is built on was: a state that is older than what is committed leaves a gap.
type Tally struct {
	Last    int64 `json:"last"`
	Count   int64 `json:"count"`             // without repeats
	Repeats int64 `json:"repeats,omitempty"` // numbers that were there already
	Gaps    int64 `json:"gaps,omitempty"`    // numbers that were skipped
}

func (t Tally) add(number int64) Tally {
	switch {
	case number <= t.Last:
		t.Repeats++
		return t
	case number > t.Last+1:
		t.Gaps += number - t.Last - 1
	}
	t.Count++
	t.Last = number
	return t
}

// program is what the instances run.
func program(p *plan) (*topology.Topology, error) {
	store := streams.Uncached()
	if p.cached {
		store = streams.Cached()
	}
	b := streams.NewBuilder()
	in := b.Stream(inTopic, serde.String, serde.String)
	in.To(echoTopic)

	byKey := in.GroupByKey()
	byKey.Aggregate(func() Tally { return Tally{} }, func(_, v string, t Tally) Tally {
		_, number := parse(v)
		return t.add(number)
	}, store, streams.As("tallies"), streams.WithValue(serde.JSON[Tally]())).ToStream().To(tallyTopic)

	rows := b.Table(rowsTopic, serde.String, serde.String, streams.As("rows"), store)
	in.LeftJoinTable(rows, func(v string, row serde.Opt[string]) string {
		return v + " " + row.Or("")
	}).To(joinedTopic)

	in.GroupBy(func(key, _ string) string { return group(p, key) }, streams.As("by-group")).
		Aggregate(func() map[string]Tally { return nil }, func(_, v string, ts map[string]Tally) map[string]Tally {
			key, number := parse(v)
			if ts == nil {
				ts = make(map[string]Tally)
			}
			ts[key] = ts[key].add(number)
			return ts
		}, store, streams.As("groups"), streams.WithValue(serde.JSON[map[string]Tally]())).ToStream().To(groupsTopic)

	byKey.WindowedBy(streams.Tumbling(windowSize).Grace(1000*time.Hour)).
		Aggregate(func() []int64 { return nil }, func(_, v string, seen []int64) []int64 {
			_, number := parse(v)
			return append(seen, number)
		}, store, streams.As("windows"), streams.WithValue(serde.JSON[[]int64]())).ToStream().To(windowTopic)
	return b.Build()
}

func parse(v string) (key string, number int64) {
	key, text, _ := strings.Cut(v, "/")
	number, _ = strconv.ParseInt(text, 10, 64)
	return key, number
}

func format(key string, number int64) string { return fmt.Sprintf("%s/%d", key, number) }

func group(p *plan, key string) string {
	n, _ := strconv.Atoi(key[1:])
	return fmt.Sprintf("g%d", n%p.groups)
}
