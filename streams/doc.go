// Package streams is Kafka Streams for Go: typed, stateful stream processing on Apache Kafka.
//
// A program is written with a [Builder]: sources make a [Stream] or a [Table], verbs make one of another, [Stream.To] writes
// it to a topic. [Builder.Build] checks it and returns its topology, which an [App] runs on a cluster, and package
// streamstest without one.
//
//	b := streams.NewBuilder()
//	b.Stream("lines", serde.String, serde.String).
//		FlatMapValues(strings.FieldsSeq).
//		GroupBy(func(_, word string) string { return word }).
//		Count(streams.As("words")).
//		ToStream().
//		To("counts")
//	t, err := b.Build()
//
// Results, order, timestamps, names and bytes are those of Java Kafka Streams 4.3.1; where they are not, COMPATIBILITY.md
// says why.
//
// # Types and serdes
//
// Serdes are bound where a type enters, and carried along while it stays. Those of primitive types are found by type.
// Where one is missing, Build says where, and which option to pass.
//
// # State
//
// Verbs that keep state have a store, in the state directory unless [InMemory], with a changelog topic in Kafka unless
// [Unlogged]. A store is found again by its name: give it one with [As]. Changes pass through a record cache by default, so
// that of several changes of a key between two commits only the last one is logged and sent on; see [Uncached].
//
// # Time
//
// A record's time is its timestamp, or what [EventTime] takes from it. Windows belong to that time; a late record counts
// while its windows are open: see [TimeWindows.Grace].
package streams
