package streams

import (
	"context"
	"reflect"
	"runtime"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/topology"
)

// ToTopics writes each record to the topic that a function returns, by its name in Kafka. It must exist: one that does not
// ends the application. The function is given the key and the value, as zero values where they are null, and the place of
// the record that is in process; where none is, as in a function that is called at times, that has no topic and -1 for the
// rest.
//
// Options: as of [Stream.To]. Java: KStream.to(TopicNameExtractor). Names: KSTREAM-SINK-n; the description has the name of
// the function where Java has that of a class.
func (s *Stream[K, V]) ToTopics(topic func(key K, value V, from Place) string, opts ...Option) {
	s.b.function("ToTopics", topic)
	s.toTopics("ToTopics", topic, func(_ context.Context, r Record[K, V], from Place) (string, error) {
		return topic(r.Key, r.Value, from), nil
	}, opts)
}

// TryToTopics is [Stream.ToTopics] with a context, all of the record, and an error.
func (s *Stream[K, V]) TryToTopics(topic func(ctx context.Context, r Record[K, V], from Place) (string, error), opts ...Option) {
	s.b.function("TryToTopics", topic)
	s.toTopics("TryToTopics", topic, topic, opts)
}

func (s *Stream[K, V]) toTopics(verb string, given any, topic func(context.Context, Record[K, V], Place) (string, error), opts []Option) {
	o := s.b.options(verb, opts, nameOption|keyOption|valueOption|partitionerOption)
	key, value := s.serdes(verb, o)
	name := s.b.nameOr(o.name, "KSTREAM-SINK-")
	r := route[K, V](s.b, verb, o, key)
	r.Topic = func(ctx context.Context, r node.Record[K, V], in *topology.Record) (string, error) {
		from := Place{Partition: -1, Offset: -1}
		if in != nil {
			from = Place{in.Topic, in.Partition, in.Offset}
		}
		return topic(ctx, fromNode(r), from)
	}
	make := node.Sink(name, "", key, value, r)
	function := runtime.FuncForPC(reflect.ValueOf(given).Pointer())
	s.b.add(s.step, &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddRouter(name, function.Name(), make, parents...)
	}})
}
