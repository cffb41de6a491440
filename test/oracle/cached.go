package oracle

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/streamstest"
)

// With a record cache, and commits now and then, an application sends fewer updates of a table on: those in between are left
// out. Java's test driver commits after each record, so its results have them all. What can be judged of a case with the cache
// on is what the two must have in common.

// RunCached runs a case with a commit after every so many inputs only, and what Java's driver does not show: with caches that
// hold changes back between them.
func RunCached(c *Case, every int, opts ...streamstest.Option) (*Result, error) {
	return run(c, func(d *streamstest.Driver, sent int) error {
		if sent%every != 0 && sent < len(c.Inputs) {
			return nil
		}
		for range len(c.Steps) { // what a commit sends on is held back further down, until the next
			if err := d.Commit(); err != nil {
				return err
			}
		}
		return nil
	}, append(opts, streamstest.CommitByHand()))
}

// common is what a step's result must have in common with Java's.
type common struct {
	all     bool // every record
	updates bool // of each key, the values that come are some of Java's, in its order
	final   bool // of each key, the last value
	latest  bool // a table: who reads it finds the latest row
	table   bool
	sources []string // what a table is made of
}

var (
	everything = common{all: true, updates: true, final: true}
	heldBack   = common{updates: true, final: true, latest: true, table: true} // a table of all records, with a cache
	notHeld    = common{all: true, updates: true, final: true, latest: true, table: true}
)

// judgeable returns what must be as Java has it of each topic that a case writes.
func judgeable(c *Case) map[string]common {
	made, topics := map[string]common{}, map[string]common{}
	for _, s := range c.Steps {
		from := made[s.From]
		switch s.Op {
		case "to":
			if old, twice := topics[s.Topic]; twice { // the ways into the topic meet there
				from = common{all: old.all && from.all}
			}
			topics[s.Topic] = from
		case "split":
			for _, b := range append(s.Branches, Branch{ID: s.Default}) {
				made[b.ID] = picked(from)
			}
		case "cogroup":
			made[s.ID] = everything
			for _, p := range s.Parts {
				if !made[p.From].all {
					made[s.ID] = common{}
				}
			}
			made[s.ID] = materialized(&s, made[s.ID])
		case "join":
			made[s.ID] = commonOfJoin(&s, from, made[s.With])
		default:
			made[s.ID] = derived(&s, from)
		}
	}
	return topics
}

// picked is what is left where updates of a stream are picked by their values: the last that is picked may be held back.
func picked(from common) common {
	from.final = from.all
	return from
}

// materialized is what is left of records that make a table.
func materialized(s *Step, from common) common {
	made := heldBack
	switch {
	case !from.all:
		made = common{table: true}
	case s.Store != nil && (s.Store.VersionedMs != nil || s.Store.Caching != nil && !*s.Store.Caching):
		made = notHeld
	}
	made.sources = []string{s.ID}
	return made
}

func derived(s *Step, from common) common {
	switch s.Op {
	case "stream":
		return everything
	case "globalTable":
		return notHeld
	case "table":
		return materialized(s, everything)
	case "toTable", "count", "reduce", "aggregate":
		return materialized(s, from)
	case "toStream":
		from.table = false
		return from
	case "mapValues", "filter", "filterNot":
		if !from.table {
			if s.Op != "mapValues" {
				return picked(from)
			}
			return from
		}
		if s.Store != nil && s.Store.Name != "" { // it is kept, as of the last that was sent on
			from.latest = from.all
			from.all = from.all && materialized(s, everything).all
		}
		return from
	case "flatMapValues": // of a deletion it makes nothing
		return picked(from)
	case "repartition", "windowedBy":
		return from
	}
	if from.all && !from.table {
		return from
	}
	return common{table: from.table, sources: from.sources}
}

func commonOfJoin(s *Step, a, b common) common {
	switch s.Kind {
	case "stream-stream":
		if a.all && b.all {
			return everything
		}
	case "stream-table", "stream-global":
		if a.all && b.latest {
			return everything
		}
	case "table-table", "foreign-key":
		apart := !slices.ContainsFunc(a.sources, func(id string) bool { return slices.Contains(b.sources, id) }) // else a change meets itself
		return common{final: a.final && b.final && apart, table: true, sources: append(slices.Clone(a.sources), b.sources...)}
	}
	return common{}
}

// CompareCached returns the first difference in what a case with caches must have in common with Java; judged is how many
// topics have anything.
func CompareCached(c *Case, java, got *Result) (difference string, judged int) {
	topics := judgeable(c)
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		k := topics[topic]
		if !k.all && !k.updates && !k.final {
			continue
		}
		judged++
		a, b := perKey(java.Topics[topic]), perKey(got.Topics[topic])
		for key := range b {
			if _, ok := a[key]; !ok {
				a[key] = nil
			}
		}
		for _, key := range slices.Sorted(maps.Keys(a)) {
			x, y, what := a[key], b[key], ""
			switch {
			case k.all && !slices.Equal(x, y):
				what = "other records"
			case k.updates && !some(y, x):
				what = "updates that Java does not have"
			case k.final && lastOf(x) != lastOf(y):
				what = "another row in the end"
			}
			if what != "" {
				return fmt.Sprintf("topic %s key %s: %s\n  java: %s\n  here: %s", topic, key, what, x, y), judged
			}
		}
	}
	return "", judged
}

const nothing = "null"

// perKey returns the values of each key, in their order.
func perKey(records []Record) map[string][]string {
	values := map[string][]string{}
	text := func(s *string) string {
		if s == nil {
			return nothing
		}
		return *s
	}
	for _, r := range records {
		values[text(r.K)] = append(values[text(r.K)], text(r.V))
	}
	return values
}

// some says whether values are some of all, in their order.
func some(values, all []string) bool {
	for _, v := range values {
		i := slices.Index(all, v)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// lastOf returns the last value; none is a deletion.
func lastOf(values []string) string {
	if len(values) == 0 {
		return nothing
	}
	return values[len(values)-1]
}
