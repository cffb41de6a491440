package reset

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

type partition struct {
	topic  string
	number int32
}

// bounds are where partitions begin and end.
type bounds struct{ starts, ends map[partition]int64 }

func boundsOf(ctx context.Context, admin *kadm.Client, topics []string) (b bounds, err error) {
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return b, fmt.Errorf("reset: asking where the topics begin: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return b, fmt.Errorf("reset: asking where the topics end: %w", err)
	}
	if b.starts, err = numbers(starts); err == nil {
		b.ends, err = numbers(ends)
	}
	return b, err
}

func numbers(listed kadm.ListedOffsets) (map[partition]int64, error) {
	if err := listed.Error(); err != nil {
		return nil, fmt.Errorf("reset: asking for offsets: %w", err)
	}
	out := map[partition]int64{}
	listed.Each(func(o kadm.ListedOffset) { out[partition{o.Topic, o.Partition}] = o.Offset })
	return out, nil
}

// A Target says where the offsets of inputs go. The zero Target is the earliest record.
type Target struct {
	find func(at partition, now map[partition]int64, b bounds) int64
	time time.Time // where it is set: the first record from then on
	file map[partition]int64
}

// Earliest is the beginning of each partition.
func Earliest() Target { return Target{} }

// Latest is the end of each partition.
func Latest() Target {
	return Target{find: func(at partition, _ map[partition]int64, b bounds) int64 { return b.ends[at] }}
}

// Offset is the same offset in each partition.
func Offset(n int64) Target {
	return Target{find: func(partition, map[partition]int64, bounds) int64 { return n }}
}

// Shift goes by so many offsets from what is committed; where nothing is, from the beginning.
func Shift(by int64) Target {
	return Target{find: func(at partition, now map[partition]int64, b bounds) int64 {
		from, ok := now[at]
		if !ok {
			from = b.starts[at]
		}
		return from + by
	}}
}

// Since is the first record of each partition with this timestamp or a later one.
func Since(t time.Time) Target { return Target{time: t} }

// File has lines of topic,partition,offset. Partitions that it does not name stay as they are.
func File(r io.Reader) (Target, error) {
	t := Target{file: map[partition]int64{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		fields := strings.Split(text, ",")
		if len(fields) != 3 {
			return t, fmt.Errorf("reset: line %d of the file is %q; topic,partition,offset is needed", n, text)
		}
		number, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
		offset, err2 := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil || err2 != nil || number < 0 || offset < 0 {
			return t, fmt.Errorf("reset: line %d of the file is %q; a partition and an offset are numbers from 0 on", n, text)
		}
		t.file[partition{strings.TrimSpace(fields[0]), int32(number)}] = offset
	}
	return t, lines.Err()
}

// offsets returns where each partition of the topics goes.
func (t Target) offsets(ctx context.Context, admin *kadm.Client, topics []string, now map[partition]int64, b bounds) (map[partition]int64, error) {
	ours := map[string]bool{}
	for _, name := range topics {
		ours[name] = true
	}
	out := map[partition]int64{}
	switch {
	case t.file != nil:
		for at, offset := range t.file {
			if _, ok := b.ends[at]; !ok || !ours[at.topic] {
				return nil, fmt.Errorf("reset: the file names %s-%d, which is no partition of the input topics %s", at.topic, at.number, strings.Join(topics, ", "))
			}
			out[at] = offset
		}
		return out, nil
	case !t.time.IsZero() && len(topics) > 0:
		listed, err := admin.ListOffsetsAfterMilli(ctx, t.time.UnixMilli(), topics...)
		if err != nil {
			return nil, fmt.Errorf("reset: looking for the records since %v: %w", t.time, err)
		}
		return numbers(listed)
	}
	for at, start := range b.starts {
		if !ours[at.topic] {
			continue
		}
		out[at] = start
		if t.find != nil {
			out[at] = t.find(at, now, b)
		}
	}
	return out, nil
}

var iso8601 = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// ParseDuration reads Go's notation, 90m, and that of ISO 8601, P1DT30M, which the Java tool takes.
func ParseDuration(s string) (time.Duration, error) {
	if m := iso8601.FindStringSubmatch(s); m != nil && s != "P" && !strings.HasSuffix(s, "T") {
		text := ""
		if m[1] != "" {
			days, err := strconv.ParseInt(m[1], 10, 16)
			if err != nil {
				return 0, fmt.Errorf("reset: %q are too many days", s)
			}
			text = fmt.Sprintf("%dh", 24*days)
		}
		for i, unit := range []string{"h", "m", "s"} {
			if m[i+2] != "" {
				text += m[i+2] + unit
			}
		}
		s = text
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("reset: %q is no duration such as 90m, or P1DT30M as the Java tool takes", s)
	}
	return d, nil
}

// ParseTime reads a time as the Java tool does, YYYY-MM-DDThh:mm:ss.sss, in the zone of this machine unless one is given.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	t, err := time.ParseInLocation("2006-01-02T15:04:05.999", s, time.Local)
	if err != nil {
		return t, fmt.Errorf("reset: %q is no time such as 2026-01-31T13:45:00.000, with a zone or without", s)
	}
	return t, nil
}
