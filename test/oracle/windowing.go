package oracle

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/streams"
)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func windowedBy[V any](g *streams.Grouped[optString, V], s *Step) (any, error) {
	switch s.Kind {
	case "session":
		return sessions(g, s), nil
	case "sliding":
		return emitting(g.Sliding(sliding(s)), s), nil
	}
	return emitting(g.WindowedBy(windows(s)), s), nil
}

func emitting[V any](w *streams.TimeWindowed[optString, V], s *Step) any {
	if s.Emit == "close" {
		return w.EmitOnClose()
	}
	return w
}

func sliding(s *Step) streams.SlidingWindows {
	w := streams.Apart(ms(s.SizeMs))
	if s.GraceMs != nil {
		w = w.Grace(ms(*s.GraceMs))
	}
	return w
}

func windows(s *Step) streams.TimeWindows {
	w := streams.Tumbling(ms(s.SizeMs))
	if s.AdvanceMs != 0 {
		w = streams.Hopping(ms(s.SizeMs), ms(s.AdvanceMs))
	}
	if s.GraceMs != nil {
		w = w.Grace(ms(*s.GraceMs))
	}
	return w
}

func timeWindowed[V any](w *streams.TimeWindowed[optString, V], s *Step) (any, error) {
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "count":
		return longTable(w.Count(opts...)), nil
	case "reduce":
		return aTable[windowed, V]{w.Reduce(reducer[V](s.Fn), opts...)}, nil
	case "aggregate":
		if s.Fn == "sum" {
			return aTable[windowed, optLong]{w.Aggregate(initial[optLong](s.Fn), adder[V, optLong](s.Fn), opts...)}, nil
		}
		return aTable[windowed, optString]{w.Aggregate(initial[optString](s.Fn), adder[V, optString](s.Fn), opts...)}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

func sessions[V any](g *streams.Grouped[optString, V], s *Step) any {
	windows := g.Sessions(gap(s))
	if s.Emit == "close" {
		windows = windows.EmitOnClose()
	}
	return windows
}

func sessionWindowed[V any](w *streams.SessionWindowed[optString, V], s *Step) (any, error) {
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "count":
		return longTable(w.Count(opts...)), nil
	case "reduce":
		return aTable[windowed, V]{w.Reduce(reducer[V](s.Fn), opts...)}, nil
	case "aggregate":
		if s.Fn == "sum" {
			return aTable[windowed, optLong]{w.Aggregate(initial[optLong](s.Fn), adder[V, optLong](s.Fn), mergerOf[optLong](s.Fn), opts...)}, nil
		}
		return aTable[windowed, optString]{w.Aggregate(initial[optString](s.Fn), adder[V, optString](s.Fn), mergerOf[optString](s.Fn), opts...)}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

func mergerOf[A any](fn string) func(optString, A, A) A {
	return func(_ optString, a, b A) A { return fromAny[A](merge(fn, toAny(a), toAny(b))) }
}

// merge puts the aggregates of two sessions together.
func merge(fn string, a, b any) any {
	if fn == "sum" {
		return a.(int64) + b.(int64)
	}
	return text(a) + "&" + text(b)
}

func gap(s *Step) streams.SessionWindows {
	w := streams.Gap(ms(s.SizeMs))
	if s.GraceMs != nil {
		w = w.Grace(ms(*s.GraceMs))
	}
	return w
}

// suppress interprets a suppression, whose unwindowed tables may wait for a time limit only.
func suppress[K, V any](t *streams.Table[K, V], s *Step) any {
	until := streams.UntilTimeLimit(ms(s.MS))
	if s.Until == "windowCloses" {
		until = streams.UntilWindowCloses()
	}
	if s.MaxRecords != nil {
		until = until.MaxRecords(*s.MaxRecords)
	}
	return aTable[K, V]{t.Suppress(until, s.as()...)}
}

// cogroup interprets an aggregation of several groups, each of which adds its tag and the value.
func (b *interpreter) cogroup(s *Step) (any, error) {
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	var all *streams.Cogrouped[optString, optString]
	for _, part := range s.Parts {
		switch g := b.made[part.From].(type) {
		case *streams.Grouped[optString, optString]:
			all = cogroupWith(all, g, part.Tag)
		case *streams.Grouped[optString, optLong]:
			all = cogroupWith(all, g, part.Tag)
		default:
			return nil, fmt.Errorf("%w: a group of %T", ErrUnsupported, g)
		}
	}
	empty := func() optString { return streams.Some("") }
	switch w := s.Window; {
	case w == nil:
		return aTable[optString, optString]{all.Aggregate(empty, opts...)}, nil
	case w.Kind == "session":
		merge := func(_ optString, a, b optString) optString {
			return streams.Some(text(toAny(a)) + "&" + text(toAny(b)))
		}
		return aTable[windowed, optString]{all.Sessions(gap(w)).Aggregate(empty, merge, opts...)}, nil
	case w.Kind == "sliding":
		return aTable[windowed, optString]{all.Sliding(sliding(w)).Aggregate(empty, opts...)}, nil
	default:
		return aTable[windowed, optString]{all.WindowedBy(windows(w)).Aggregate(empty, opts...)}, nil
	}
}

func cogroupWith[V any](all *streams.Cogrouped[optString, optString], g *streams.Grouped[optString, V], tag string) *streams.Cogrouped[optString, optString] {
	add := func(_ optString, v V, a optString) optString {
		return streams.Some(text(toAny(a)) + tag + text(toAny(v)))
	}
	if all == nil {
		return g.Cogroup(add)
	}
	return all.And(g, add)
}
