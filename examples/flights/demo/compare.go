package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

type airportDay = streams.Windowed[string]

// truth counts the flights directly.
func (d *demo) truth() map[airportDay]Day {
	days := map[airportDay]Day{}
	for _, f := range d.flights {
		start := f.Date.Truncate(24 * time.Hour)
		k := airportDay{Key: f.Origin, Window: streams.Window{Start: start.UnixMilli(), End: start.Add(24 * time.Hour).UnixMilli()}}
		days[k] = Day{days[k].Flights + 1, days[k].Delay + f.Delay}
	}
	return days
}

// compare reads the final results and compares each with the truth. At least once means that flights may be counted
// again after a kill, and that none is lost.
func (d *demo) compare(ctx context.Context) error {
	got, err := d.results(ctx)
	if err != nil {
		return err
	}
	truth := d.truth()
	missing, below, again := 0, 0, 0
	for k, want := range truth {
		switch have, ok := got[k]; {
		case !ok:
			missing++
		case have.Flights < want.Flights:
			below++
		default:
			again += have.Flights - want.Flights
			if have.Flights == want.Flights && have.Delay != want.Delay {
				return fmt.Errorf("%v: %d minutes of delay in as many flights; the truth is %d", k, have.Delay, want.Delay)
			}
		}
	}
	for k := range got {
		if _, ok := truth[k]; !ok {
			return fmt.Errorf("%v is in the results, but not in the file", k)
		}
	}
	d.table.say("\n%d windows of %d flights compared with the truth: %d missing, %d below it; at-least-once counted %d flights again.",
		len(truth), len(d.flights), missing, below, again)
	if missing > 0 || below > 0 {
		return errors.New("flights were lost")
	}
	return nil
}

// results returns the last value of each window.
func (d *demo) results(ctx context.Context) (map[airportDay]Day, error) {
	ends, err := d.admin.ListEndOffsets(ctx, d.output())
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.brokers...), kgo.ConsumeTopics(d.output()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	key, value := serde.TimeWindowed(serde.String, 24*time.Hour), serde.JSON[Day]()
	got := map[airportDay]Day{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("reading the results: %w", err)
		}
		var bad error
		fetches.EachRecord(func(r *kgo.Record) {
			k, err := key.Decode(r.Key)
			v, err2 := value.Decode(r.Value)
			bad = errors.Join(bad, err, err2)
			got[k] = v
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
		if bad != nil {
			return nil, fmt.Errorf("a result cannot be read: %w", bad)
		}
	}
	return got, nil
}
