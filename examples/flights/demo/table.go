package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// table shows the airports with the most flights of the latest day. On a terminal it stands still and changes; elsewhere
// it is a line now and then.
type table struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	feed  int
	day   int64 // the start of the latest window
	days  map[string]Day
	drawn int // lines to go up before drawing again
}

func newTable(out *os.File) *table {
	info, err := out.Stat()
	return &table{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, days: map[string]Day{}}
}

// say prints a line above the table.
func (t *table) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *table) sent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.feed
}

func (t *table) setSent(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed = n
}

func (t *table) set(key streams.Windowed[string], d Day) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key.Window.Start > t.day {
		t.day = key.Window.Start
		clear(t.days)
	}
	if key.Window.Start == t.day {
		t.days[key.Key] = d
	}
}

func (t *table) erase() {
	if t.drawn > 0 {
		fmt.Fprintf(t.out, "\x1b[%dA\x1b[J", t.drawn)
		t.drawn = 0
	}
}

const rows = 8

func (t *table) draw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	airports := make([]string, 0, len(t.days))
	for a := range t.days {
		airports = append(airports, a)
	}
	slices.SortFunc(airports, func(a, b string) int {
		return cmp.Or(t.days[b].Flights-t.days[a].Flights, strings.Compare(a, b))
	})
	airports = airports[:min(rows, len(airports))]
	day := time.UnixMilli(t.day).UTC().Format("Mon 2 Jan 2006")
	if !t.terminal {
		var top []string
		for _, a := range airports[:min(5, len(airports))] {
			top = append(top, fmt.Sprintf("%s %d (%+d min)", a, t.days[a].Flights, t.days[a].Delay))
		}
		fmt.Fprintf(t.out, "  %6d sent  %s  %s\n", t.feed, day, strings.Join(top, "  "))
		return
	}
	t.erase()
	fmt.Fprintf(t.out, "\n  %s   %d flights sent\n  airport  flights  delay\n", day, t.feed)
	for _, a := range airports {
		d := t.days[a]
		fmt.Fprintf(t.out, "  %-7s  %7d  %5d min  %s\n", a, d.Flights, d.Delay, strings.Repeat("#", min(60, d.Flights)))
	}
	t.drawn = len(airports) + 3
}

// show reads the results and draws the table until ctx ends.
func (d *demo) show(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.brokers...), kgo.ConsumeTopics(d.output()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	every := 2 * time.Second
	if d.table.terminal {
		every = 200 * time.Millisecond
	}
	drawn := time.Now()
	key, value := serde.TimeWindowed(serde.String, 24*time.Hour), serde.JSON[Day]()
	for ctx.Err() == nil {
		pollCtx, cancel := context.WithTimeout(ctx, every/4)
		cl.PollFetches(pollCtx).EachRecord(func(r *kgo.Record) {
			k, err1 := key.Decode(r.Key)
			v, err2 := value.Decode(r.Value)
			if err1 == nil && err2 == nil {
				d.table.set(k, v)
			}
		})
		cancel()
		if time.Since(drawn) >= every {
			drawn = time.Now()
			d.table.draw()
		}
	}
	return nil
}
