package oracle

import (
	"fmt"
	"iter"
	"regexp"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

var (
	strings_ = serde.Optional(serde.String)
	longs    = serde.Optional(serde.Int64)
)

// interpreter builds the topology of a case.
type interpreter struct {
	b    *streams.Builder
	made map[string]any // what each step made: an *aStream, *aTable, *streams.Grouped…

	later []func() // what the judge adds after all other steps
}

// aStream and aTable interpret steps on a stream or table of any of the types that cases have.
type (
	stage interface {
		apply(b *interpreter, s *Step) (any, error)
	}
	aStream[K, V any] struct{ *streams.Stream[K, V] }
	aTable[K, V any]  struct{ *streams.Table[K, V] }
)

func (b *interpreter) apply(s *Step) error {
	made, err := b.make(s)
	if err == nil && s.ID != "" {
		b.made[s.ID] = made
	}
	return err
}

func (b *interpreter) make(s *Step) (any, error) {
	switch s.Op {
	case "stream":
		if s.Pattern != "" {
			pattern, err := regexp.Compile(s.Pattern)
			if err != nil {
				return nil, err
			}
			if s.Value == "long" {
				return aStream[optString, optLong]{b.b.Stream(pattern, strings_, longs, s.as()...)}, nil
			}
			return aStream[optString, optString]{b.b.Stream(pattern, strings_, strings_, s.as()...)}, nil
		}
		if s.Value == "long" {
			return aStream[optString, optLong]{b.b.Stream(s.Topic, strings_, longs, s.as()...)}, nil
		}
		return aStream[optString, optString]{b.b.Stream(s.Topic, strings_, strings_, s.as()...)}, nil
	case "table":
		opts, err := s.store()
		if err != nil {
			return nil, err
		}
		if s.Store == nil {
			opts = nil
		}
		if s.Value == "long" {
			return aTable[optString, optLong]{b.b.Table(s.Topic, strings_, longs, opts...)}, nil
		}
		return aTable[optString, optString]{b.b.Table(s.Topic, strings_, strings_, opts...)}, nil
	case "globalTable":
		opts, err := s.store()
		if err != nil {
			return nil, err
		}
		if s.Store == nil {
			opts = nil
		}
		if s.Value == "long" {
			return b.b.GlobalTable(s.Topic, strings_, longs, opts...), nil
		}
		return b.b.GlobalTable(s.Topic, strings_, strings_, opts...), nil
	case "globalStore", "readOnlyStore":
		return b.kept(s), nil
	case "cogroup":
		return b.cogroup(s)
	}
	switch from := b.made[s.From].(type) {
	case stage:
		return from.apply(b, s)
	case *streams.Grouped[optString, optString]:
		return grouped(from, s)
	case *streams.Grouped[optString, optLong]:
		return grouped(from, s)
	case *streams.TimeWindowed[optString, optString]:
		return timeWindowed(from, s)
	case *streams.TimeWindowed[optString, optLong]:
		return timeWindowed(from, s)
	case *streams.SessionWindowed[optString, optString]:
		return sessionWindowed(from, s)
	case *streams.SessionWindowed[optString, optLong]:
		return sessionWindowed(from, s)
	case *streams.GroupedTable[optString, optString]:
		return groupedTable(from, s)
	case *streams.GroupedTable[optString, optLong]:
		return groupedTable(from, s)
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

// as returns the option of a step's own name, where that is what As names.
func (s *Step) as() []streams.Option {
	if s.Name == "" {
		return nil
	}
	return []streams.Option{streams.As(s.Name)}
}

// store returns the options of a step's materialization, which is always given (as Materialized is in the judge).
func (s *Step) store() ([]streams.Option, error) {
	opts := []streams.Option{streams.OnDisk()}
	if st := s.Store; st != nil {
		if st.VersionedMs != nil {
			opts = append(opts, streams.Versioned(ms(*st.VersionedMs)))
		}
		switch {
		case st.LRU > 0:
			opts[0] = streams.MaxEntries(st.LRU)
		case st.Kind == "memory":
			opts[0] = streams.InMemory()
		}
		if st.Name != "" {
			opts = append(opts, streams.As(st.Name))
		}
		if st.Caching != nil && !*st.Caching {
			opts = append(opts, streams.Uncached())
		}
		if st.Logging != nil && !*st.Logging {
			opts = append(opts, streams.Unlogged())
		}
		if st.RetentionMs != nil {
			opts = append(opts, streams.Retention(time.Duration(*st.RetentionMs)*time.Millisecond))
		}
	}
	if s.Name != "" {
		opts = append(opts, streams.Named(s.Name))
	}
	return opts, nil
}

func (f aStream[K, V]) apply(b *interpreter, s *Step) (any, error) {
	pred := func(fn string) func(K, V) bool {
		return func(k K, v V) bool { return predicate(fn, toAny(k), toAny(v)) }
	}
	switch s.Op {
	case "filter":
		return aStream[K, V]{f.Filter(pred(s.Fn), s.as()...)}, nil
	case "filterNot":
		return aStream[K, V]{f.FilterNot(pred(s.Fn), s.as()...)}, nil
	case "mapValues":
		if valueIsLong(s.Fn) {
			return streamMapValues[K, V, optLong](f, s), nil
		}
		return streamMapValues[K, V, optString](f, s), nil
	case "map":
		if valueIsLong(s.Fn) {
			return streamMap[K, V, optLong](f, s), nil
		}
		return streamMap[K, V, optString](f, s), nil
	case "selectKey":
		return aStream[optString, V]{f.SelectKey(keyOf[K, V](s.Fn), s.as()...)}, nil
	case "flatMapValues":
		return aStream[K, V]{f.FlatMapValues(func(v V) iter.Seq[V] {
			return func(yield func(V) bool) {
				for _, x := range many(s.Fn, toAny(v)) {
					if !yield(fromAny[V](x)) {
						return
					}
				}
			}
		})}, nil
	case "flatMap":
		return aStream[optString, V]{f.FlatMap(func(k K, v V) iter.Seq2[optString, V] {
			return func(yield func(optString, V) bool) {
				for _, x := range many(s.Fn, toAny(v)) {
					if !yield(fromAny[optString](newKey(s.KeyFn, toAny(k), x)), fromAny[V](x)) {
						return
					}
				}
			}
		})}, nil
	case "merge":
		return aStream[K, V]{f.Merge(b.made[s.With].(aStream[K, V]).Stream, s.as()...)}, nil
	case "split":
		split := f.Split(s.as()...)
		for _, br := range s.Branches {
			b.made[br.ID] = aStream[K, V]{split.Branch(pred(br.Fn), streams.As(br.ID))}
		}
		if s.Default != "" {
			b.made[s.Default] = aStream[K, V]{split.Default(streams.As(s.Default))}
		}
		return nil, nil
	case "repartition":
		return aStream[K, V]{f.Repartition(routed[K, V](s)...)}, nil
	case "toTable":
		opts, err := s.store()
		return aTable[K, V]{f.ToTable(opts...)}, err
	case "groupByKey":
		return f.GroupByKey(s.as()...), nil
	case "groupBy":
		return f.GroupBy(keyOf[K, V](s.Fn), s.as()...), nil
	case "join":
		return streamJoin(b, f, s)
	case "process":
		if s.Fn == "lookup" {
			return lookUp(b, f, s)
		}
		return process(b, f, s)
	case "to":
		if s.TopicFn != "" {
			f.ToTopics(topicOf[K, V](s.TopicFn), routed[K, V](s)...)
			return nil, nil
		}
		f.To(s.Topic, routed[K, V](s)...)
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

func keyOf[K, V any](fn string) func(K, V) optString {
	return func(k K, v V) optString { return fromAny[optString](newKey(fn, toAny(k), toAny(v))) }
}

func streamMapValues[K, V, V2 any](f aStream[K, V], s *Step) any {
	return aStream[K, V2]{f.MapValues(func(v V) V2 { return fromAny[V2](value(s.Fn, toAny(v))) }, s.as()...)}
}

func streamMap[K, V, V2 any](f aStream[K, V], s *Step) any {
	return aStream[optString, V2]{f.Map(func(k K, v V) (optString, V2) {
		return fromAny[optString](newKey(s.KeyFn, toAny(k), toAny(v))), fromAny[V2](value(s.Fn, toAny(v)))
	})}
}

func (f aTable[K, V]) apply(b *interpreter, s *Step) (any, error) {
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	if s.Store == nil {
		opts = nil
	}
	pred := func(k K, v V) bool { return predicate(s.Fn, toAny(k), toAny(v)) }
	switch s.Op {
	case "filter":
		return aTable[K, V]{f.Filter(pred, opts...)}, nil
	case "filterNot":
		return aTable[K, V]{f.FilterNot(pred, opts...)}, nil
	case "mapValues":
		if valueIsLong(s.Fn) {
			return tableMapValues[K, V, optLong](f, s, opts), nil
		}
		return tableMapValues[K, V, optString](f, s, opts), nil
	case "toStream":
		return aStream[K, V]{f.ToStream(s.as()...)}, nil
	case "suppress":
		return suppress(f.Table, s), nil
	case "transformValues":
		return transformValues(b, f, s, opts)
	case "join":
		return joinOfTable(b, f, s, opts)
	case "groupBy":
		return f.GroupBy(func(k K, v V) (optString, V) { return keyOf[K, V](s.Fn)(k, v), v }, s.as()...), nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

func tableMapValues[K, V, V2 any](f aTable[K, V], s *Step, opts []streams.Option) any {
	return aTable[K, V2]{f.MapValues(func(v V) V2 { return fromAny[V2](value(s.Fn, toAny(v))) }, opts...)}
}

func grouped[V any](g *streams.Grouped[optString, V], s *Step) (any, error) {
	if s.Op == "windowedBy" {
		return windowedBy(g, s)
	}
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "count":
		return longTable(g.Count(opts...)), nil
	case "reduce":
		return aTable[optString, V]{g.Reduce(reducer[V](s.Fn), opts...)}, nil
	case "aggregate":
		if s.Fn == "sum" {
			return aTable[optString, optLong]{g.Aggregate(initial[optLong](s.Fn), adder[V, optLong](s.Fn), opts...)}, nil
		}
		return aTable[optString, optString]{g.Aggregate(initial[optString](s.Fn), adder[V, optString](s.Fn), opts...)}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}

func reducer[V any](fn string) func(a, b V) V {
	return func(a, b V) V { return fromAny[V](combine(fn, toAny(a), toAny(b))) }
}

func initial[A any](fn string) func() A { return func() A { return fromAny[A](zero(fn)) } }

func adder[V, A any](fn string) func(optString, V, A) A {
	return func(_ optString, v V, a A) A { return fromAny[A](add(fn, toAny(v), toAny(a))) }
}

// longTable shows the nulls of a table of counts.
func longTable[K any](t *streams.Table[K, int64]) any { return aTable[K, optLong]{t.ShowNulls()} }

func groupedTable[V any](g *streams.GroupedTable[optString, V], s *Step) (any, error) {
	opts, err := s.store()
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "count":
		return longTable(g.Count(opts...)), nil
	case "reduce":
		sub := func(a, b V) V { return fromAny[V](separate(s.Fn, toAny(a), toAny(b))) }
		return aTable[optString, V]{g.Reduce(reducer[V](s.Fn), sub, opts...)}, nil
	case "aggregate":
		less := func(_ optString, v V, a optString) optString {
			return fromAny[optString](subtract(s.Fn, toAny(v), toAny(a)))
		}
		return aTable[optString, optString]{g.Aggregate(initial[optString](s.Fn), adder[V, optString](s.Fn), less, opts...)}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, s.Op)
}
