package streams

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// A Stream is an unbounded sequence of records, each of which stands for itself (Java: KStream). It is a handle on a
// step of a [Builder]'s program; it may be used any number of times.
//
// # Nulls
//
// The functions given to verbs never see a null: a null value is passed by, as each verb says, and a null key comes to
// a function as the zero value and stays null. A program that wants to see nulls asks for them in the type: a
// Stream[K, Opt[V]], made with [serde.Optional], shows them to every function, as Java does.
//
// # Errors
//
// Each verb V that takes a function has a form TryV whose function takes a context, which ends when the task is closed,
// and returns an error. What becomes of the record then is decided by the processing handler of the application: by
// default the application stops.
type Stream[K, V any] struct {
	b     *Builder
	step  *step
	name  string // of the node that made it
	key   serde.Serde[K]
	value serde.Serde[V]

	sources     []string // the sources that feed it, for co-partitioning
	repartition bool     // the key was changed: an aggregation or join has to repartition first
	repeated    *step    // the repartition that joins share
}

// Topics is what a source reads: the name of a topic, several, or a pattern.
type Topics interface {
	string | []string | *regexp.Regexp
}

// Stream reads topics as a stream. A pattern stands for the topics whose whole names it matches; it must not match a topic that
// another source reads. One that comes later is seen within seconds: then the application begins again with it, on its own,
// with the state and the offsets that it has. key and value decode the records; what cannot be decoded goes to the
// deserialization handler of the application, which stops it by default.
//
// Options: As names the source; EventTime and the other timestamp options say what the records' timestamps are; From says
// where to begin.
// Java: StreamsBuilder.stream. Names: KSTREAM-SOURCE-n.
func (b *Builder) Stream[T Topics, K, V any](topics T, key serde.Serde[K], value serde.Serde[V], opts ...Option) *Stream[K, V] {
	s := b.options("Stream", opts, nameOption|timeOption|resetOption)
	list, pattern := b.topicsOf("Stream", topics)
	name := b.nameOr(s.name, "KSTREAM-SOURCE-")
	key, value = serdeFor(b, key, "key", "the key serde"), serdeFor(b, value, "value", "the value serde")
	extract := extractor[K, V](b, s.extract)
	make := func(topics int) topology.NewFunc { return node.Source(name, topics, key, value, extract) }
	st := b.add(b.root, &step{
		name: name, source: &source{list, typesOf[K, V](), s.reset},
		write: func(t *topology.Builder, _ []string) {
			if pattern != nil {
				t.AddPattern(name, pattern, make)
			} else {
				t.AddSource(name, list, make(len(list)))
			}
			t.SetReset(name, s.reset)
		},
	})
	return &Stream[K, V]{b: b, step: st, name: name, key: key, value: value, sources: []string{name}}
}

// topicsOf returns the topics, or the pattern, that a source is given. A pattern has a name among topics that no topic has.
func (b *Builder) topicsOf(verb string, topics any) (list []string, pattern *regexp.Regexp) {
	switch t := topics.(type) {
	case string:
		list = []string{t}
	case []string:
		list = slices.Clone(t)
	case *regexp.Regexp:
		if t == nil {
			b.fail("%s is given no pattern", verb)
			t = regexp.MustCompile("")
		}
		return []string{"pattern " + t.String()}, t
	}
	b.checkTopics(verb, list)
	return list, nil
}

func (b *Builder) checkTopics(verb string, topics []string) {
	if len(topics) == 0 {
		b.fail("%s reads no topic", verb)
	}
	for i, t := range topics {
		if err := topology.CheckName(t); err != nil {
			b.fail("%s: %q is no name of a topic: 1 to 249 of a-z A-Z 0-9 . _ - are allowed", verb, t)
		}
		if slices.Contains(topics[:i], t) {
			b.fail("%s reads topic %q twice", verb, t)
		}
	}
}

// then adds a node of one step below the stream.
func (s *Stream[K, V]) then(name string, make topology.NewFunc) *step {
	return s.b.add(s.step, &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
	}})
}

// made returns the stream that a step makes of s.
func made[K, V, K2, V2 any](s *Stream[K, V], st *step, key serde.Serde[K2], value serde.Serde[V2], repartition bool) *Stream[K2, V2] {
	return &Stream[K2, V2]{b: s.b, step: st, name: st.name, key: key, value: value, sources: s.sources, repartition: repartition}
}

// extractor returns the timestamp extractor that was asked for; by default a negative timestamp stops the application
// (FailOnInvalidTimestamp).
func extractor[K, V any](b *Builder, option any) node.Extractor[K, V] {
	switch e := option.(type) {
	case nil:
		return failOnNegative[K, V]
	case anyExtractor:
		return func(r node.Record[K, V], partitionTime, now int64) (int64, error) {
			return e(r.Time, partitionTime, now), nil
		}
	case func(K, V) time.Time:
		b.function("EventTime", e)
		return func(r node.Record[K, V], _, _ int64) (int64, error) { return e(r.Key, r.Value).UnixMilli(), nil }
	default:
		b.fail("EventTime is given a %T; the source has %v", option, reflect.TypeFor[func(K, V) time.Time]())
		return nil
	}
}

func failOnNegative[K, V any](r node.Record[K, V], _, _ int64) (int64, error) {
	if r.Time < 0 {
		return 0, fmt.Errorf("the record has the timestamp %d; use SkipNegativeTime to drop such records, or EventTime to take the time from the value", r.Time)
	}
	return r.Time, nil
}

// anyExtractor is a timestamp extractor that looks at times only.
type anyExtractor func(recordTime, partitionTime, now int64) int64

// EventTime lets a source take a record's timestamp from its key or value. A null that the type does not show comes as
// the zero value. A time before 1970 drops the record.
func EventTime[K, V any](f func(K, V) time.Time) Option {
	return Option{timeOption, func(s *settings) { s.extract = f }}
}

// SkipNegativeTime drops records with a negative timestamp, counted, where by default they stop the application (Java:
// LogAndSkipOnInvalidTimestamp).
func SkipNegativeTime() Option {
	return Option{timeOption, func(s *settings) {
		s.extract = anyExtractor(func(recordTime, _, _ int64) int64 { return recordTime })
	}}
}

// PartitionTimeForNegative gives records with a negative timestamp the greatest one seen in their partition so far;
// where there is none they are dropped (Java: UsePartitionTimeOnInvalidTimestamp).
func PartitionTimeForNegative() Option {
	return Option{timeOption, func(s *settings) {
		s.extract = anyExtractor(func(recordTime, partitionTime, _ int64) int64 {
			if recordTime < 0 {
				return partitionTime
			}
			return recordTime
		})
	}}
}

// WallClockTime stamps records with the time at which they are processed (Java: WallclockTimestampExtractor). Results
// then differ from run to run.
func WallClockTime() Option {
	return Option{timeOption, func(s *settings) {
		s.extract = anyExtractor(func(_, _, now int64) int64 { return now })
	}}
}

// plain2 gives a function of key and value the form with context and error.
func plain2[K, V, R any](f func(K, V) R) func(context.Context, K, V) (R, error) {
	return func(_ context.Context, k K, v V) (R, error) { return f(k, v), nil }
}
