package streamstest

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Input writes typed records to an input topic.
type Input[K, V any] struct {
	d     *Driver
	topic string
	key   serde.Serde[K]
	value serde.Serde[V]
}

// Input returns a writer to an input topic. What goes wrong fails the test.
func (d *Driver) Input[K, V any](topic string, key serde.Serde[K], value serde.Serde[V]) *Input[K, V] {
	return &Input[K, V]{d, topic, key, value}
}

// Send sends a record with the time of the wall clock.
func (in *Input[K, V]) Send(key K, value V) {
	in.d.t.Helper()
	in.SendAt(key, value, in.d.now)
}

// SendAt sends a record with a timestamp. A null Opt is sent as null.
func (in *Input[K, V]) SendAt(key K, value V, at time.Time) {
	in.d.t.Helper()
	in.pipe(at, encoded(in.d.t, in.key, key), encoded(in.d.t, in.value, value))
}

// Delete sends a record with a null value.
func (in *Input[K, V]) Delete(key K, at time.Time) {
	in.d.t.Helper()
	in.pipe(at, encoded(in.d.t, in.key, key), nil)
}

func (in *Input[K, V]) pipe(at time.Time, key, value []byte) {
	in.d.t.Helper()
	r := topology.Record{Topic: in.topic, Partition: in.d.choose(in.topic, key), Timestamp: at.UnixMilli(), Key: key, Value: value}
	if err := in.d.Pipe(r); err != nil {
		in.d.t.Fatal(err)
	}
}

func encoded[V any](t T, s serde.Serde[V], v V) []byte {
	t.Helper()
	if null := serde.NullTest[V](); null != nil && null(v) {
		return nil
	}
	b, err := s.Append([]byte{}, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A Record is a record of an output topic. Null says that its value is null.
type Record[K, V any] struct {
	Key       K
	Value     V
	Null      bool
	Time      time.Time
	Partition int32
}

// String prints key=value@milliseconds.
func (r Record[K, V]) String() string {
	if r.Null {
		return fmt.Sprintf("%v=null@%d", r.Key, r.Time.UnixMilli())
	}
	return fmt.Sprintf("%v=%v@%d", r.Key, r.Value, r.Time.UnixMilli())
}

// Output reads typed records of a topic that the topology writes.
type Output[K, V any] struct {
	d     *Driver
	topic string
	key   serde.Serde[K]
	value serde.Serde[V]
}

// Output returns a reader of a topic, by its name in Kafka. What goes wrong fails the test.
func (d *Driver) Output[K, V any](topic string, key serde.Serde[K], value serde.Serde[V]) *Output[K, V] {
	return &Output[K, V]{d, topic, key, value}
}

// Next returns the next record that was not read yet; ok is false where there is none.
func (out *Output[K, V]) Next() (r Record[K, V], ok bool) {
	out.d.t.Helper()
	n := out.d.read[out.topic]
	if n == len(out.d.topics[out.topic]) {
		return r, false
	}
	raw := out.d.topics[out.topic][n]
	out.d.read[out.topic]++
	var err error
	if raw.Key != nil {
		if r.Key, err = out.key.Decode(raw.Key); err != nil {
			out.d.t.Fatal(fmt.Errorf("decoding a key of topic %q: %w", out.topic, err))
		}
	}
	if r.Null = raw.Value == nil; !r.Null {
		if r.Value, err = out.value.Decode(raw.Value); err != nil {
			out.d.t.Fatal(fmt.Errorf("decoding a value of topic %q: %w", out.topic, err))
		}
	}
	r.Time, r.Partition = time.UnixMilli(raw.Timestamp), raw.Partition
	return r, true
}

// All returns all records that were not read yet.
func (out *Output[K, V]) All() []Record[K, V] {
	out.d.t.Helper()
	var all []Record[K, V]
	for {
		r, ok := out.Next()
		if !ok {
			return all
		}
		all = append(all, r)
	}
}
