package streams_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

// TestBuildSaysWhatIsMissing makes the mistakes of those who leave something away, or pass what no verb can use: Build names
// the verb, the thing and the place, and does not panic.
func TestBuildSaysWhatIsMissing(t *testing.T) {
	str := serde.String
	type (
		text   = string
		stream = *streams.Stream[text, text]
		table  = *streams.Table[text, text]
	)
	key := func(_, v text) text { return v }
	concat := func(a, b text) text { return a + b }
	add := func(_, v, a text) text { return a + v }
	empty := func() text { return "" }
	none := func() streams.Processor[text, text, struct{}, struct{}] { return breaking{} }
	elsewhere := func() *streams.Builder { return streams.NewBuilder() }

	for name, c := range map[string]struct {
		verb func(b *streams.Builder, s stream, t table)
		says []string
	}{
		"Map":           {func(_ *streams.Builder, s stream, _ table) { s.Map((func(text, text) (text, text))(nil)) }, []string{"Map is given no function"}},
		"FlatMap":       {func(_ *streams.Builder, s stream, _ table) { s.FlatMap((func(text, text) iter.Seq2[text, text])(nil)) }, []string{"FlatMap is given no function"}},
		"FlatMapValues": {func(_ *streams.Builder, s stream, _ table) { s.FlatMapValues((func(text) iter.Seq[text])(nil)) }, []string{"FlatMapValues is given no function"}},
		"SelectKey":     {func(_ *streams.Builder, s stream, _ table) { s.SelectKey((func(text, text) text)(nil)) }, []string{"SelectKey is given no function"}},
		"Peek":          {func(_ *streams.Builder, s stream, _ table) { s.Peek(nil) }, []string{"Peek is given no function"}},
		"ForEach":       {func(_ *streams.Builder, s stream, _ table) { s.ForEach(nil) }, []string{"ForEach is given no function"}},
		"Print":         {func(_ *streams.Builder, s stream, _ table) { s.Print(nil) }, []string{"Print"}},
		"Branch":        {func(_ *streams.Builder, s stream, _ table) { s.Split().Branch(nil) }, []string{"Branch is given no function"}},
		"ToTopics":      {func(_ *streams.Builder, s stream, _ table) { s.ToTopics(nil) }, []string{"ToTopics is given no function"}},
		"Partitioner":   {func(_ *streams.Builder, s stream, _ table) { s.To("out", streams.Partitioner[text, text](nil)) }, []string{"Partitioner"}},
		"Join": {func(b *streams.Builder, s stream, _ table) {
			s.Join(s, streams.Within(time.Second), (func(text, text) text)(nil))
		}, []string{"Join is given no function"}},
		"JoinTable":         {func(_ *streams.Builder, s stream, t table) { s.JoinTable(t, (func(text, text) text)(nil)) }, []string{"JoinTable is given no function"}},
		"JoinGlobal":        {func(b *streams.Builder, s stream, _ table) { s.JoinGlobal(b.GlobalTable("g", str, str), nil, concat) }, []string{"JoinGlobal is given no function"}},
		"Table.Join":        {func(_ *streams.Builder, _ stream, t table) { t.Join(t, (func(text, text) text)(nil)) }, []string{"Join is given no function"}},
		"JoinOn":            {func(_ *streams.Builder, _ stream, t table) { t.JoinOn(t, nil, concat) }, []string{"JoinOn is given no function"}},
		"JoinOn's function": {func(_ *streams.Builder, _ stream, t table) { t.JoinOn(t, key, (func(text, text) text)(nil)) }, []string{"JoinOn is given no function"}},
		"Table.Filter":      {func(_ *streams.Builder, _ stream, t table) { t.Filter(nil) }, []string{"Filter is given no function"}},
		"Table.MapValues":   {func(_ *streams.Builder, _ stream, t table) { t.MapValues((func(text) text)(nil)) }, []string{"MapValues is given no function"}},
		"TransformValues": {func(_ *streams.Builder, _ stream, t table) {
			t.TransformValues((func(*textCtx) (func(text, text) (text, error), error))(nil))
		}, []string{"TransformValues is given no function"}},
		"Process": {func(_ *streams.Builder, s stream, _ table) {
			s.Process((func() streams.Processor[text, text, text, text])(nil))
		}, []string{"Process is given no function"}},
		"ProcessValues": {func(_ *streams.Builder, s stream, _ table) {
			s.ProcessValues((func() streams.Processor[text, text, text, text])(nil))
		}, []string{"ProcessValues is given no function"}},
		"Cogroup": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Cogroup((func(text, text, text) text)(nil)).Aggregate(empty)
		}, []string{"Cogroup is given no function"}},
		"And": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Cogroup(add).And((*streams.Grouped[text, text])(nil), add).Aggregate(empty)
		}, []string{"And takes a group"}},
		"Cogrouped.Aggregate": {func(_ *streams.Builder, s stream, _ table) { s.GroupByKey().Cogroup(add).Aggregate(nil) }, []string{"Aggregate is given no function"}},
		"a merger of sessions": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Sessions(streams.Gap(time.Second)).Aggregate(empty, add, nil)
		}, []string{"Aggregate is given no function"}},
		"GlobalStore": {func(b *streams.Builder, _ stream, _ table) {
			b.GlobalStore(b.KeyValueStore("s", str, str), "g", str, str, nil)
		}, []string{"GlobalStore is given no function"}},
		"GlobalStore's store": {func(b *streams.Builder, _ stream, _ table) { b.GlobalStore(nil, "g", str, str, none) }, []string{"GlobalStore"}},
		"ReadOnlyStore": {func(b *streams.Builder, _ stream, _ table) {
			b.ReadOnlyStore(b.KeyValueStore("s", str, str), "g", str, str, nil)
		}, []string{"ReadOnlyStore is given no function"}},
		"ReadOnlyStore's store": {func(b *streams.Builder, _ stream, _ table) { b.ReadOnlyStore(nil, "g", str, str, none) }, []string{"ReadOnlyStore"}},
		"an engine":             {func(_ *streams.Builder, s stream, _ table) { s.GroupByKey().Count(streams.InEngine(nil)) }, []string{"InEngine"}},
		"a store to use":        {func(_ *streams.Builder, s stream, _ table) { s.Process(processor(&acts{}), streams.Uses(nil)) }, []string{"Uses"}},
		"a store that is nil": {func(_ *streams.Builder, s stream, _ table) {
			s.Process(processor(&acts{}), streams.Uses((*streams.KeyValueStore[text, text])(nil), new(streams.WindowStore[text, text])))
		}, []string{"Process: Uses takes stores of the same Builder"}},
		"a global table that is nil": {func(_ *streams.Builder, s stream, _ table) {
			s.Process(processor(&acts{}), streams.Uses((*streams.GlobalTable[text, text])(nil), new(streams.GlobalTable[text, text])))
		}, []string{"Process: Uses takes stores of the same Builder"}},
		"GlobalStore of nil": {func(b *streams.Builder, _ stream, _ table) {
			b.GlobalStore((*streams.KeyValueStore[text, text])(nil), "g", str, str, none)
		}, []string{"GlobalStore takes a store of the same Builder"}},
		"a store of no entries": {func(b *streams.Builder, _ stream, _ table) {
			b.KeyValueStore("s", str, str, streams.MaxEntries(0))
		}, []string{`store "s" keeps 0 entries`, "1 or more"}},
		"a table of no entries": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Count(streams.As("s"), streams.MaxEntries(-1))
		}, []string{`Count: store "s" keeps -1 entries`, "1 or more"}},
		"a table that forgets, without a name": {func(_ *streams.Builder, _ stream, t table) {
			t.MapValues(func(v text) text { return v }, streams.MaxEntries(3))
		}, []string{"MapValues", "streams.As"}},
		"a store that forgets, on disk": {func(b *streams.Builder, _ stream, _ table) {
			b.KeyValueStore("s", str, str, streams.MaxEntries(3), streams.OnDisk())
		}, []string{`KeyValueStore: store "s"`, "leave OnDisk or InEngine away"}},
		"a table that forgets, with its history": {func(b *streams.Builder, _ stream, _ table) {
			b.Table("t", str, str, streams.As("s"), streams.MaxEntries(3), streams.Versioned(0))
		}, []string{`Table: store "s"`, "leave MaxEntries or Versioned away"}},
		"a versioned store with headers": {func(b *streams.Builder, _ stream, _ table) {
			b.VersionedStore("s", time.Hour, str, serde.KeepHeaders(str))
		}, []string{`VersionedStore: store "s" cannot keep headers`, "plain serde"}},
		"a topic with headers in its values": {func(b *streams.Builder, _ stream, _ table) {
			b.Stream("t", str, serde.KeepHeaders(str))
		}, []string{"serde.KeepHeaders is for the values of stores of the program"}},
		"a table with headers in its values": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Aggregate(func() streams.Kept[text] { return streams.Kept[text]{} },
				func(_, _ text, k streams.Kept[text]) streams.Kept[text] { return k }, streams.WithValue(serde.KeepHeaders(str)))
		}, []string{"serde.KeepHeaders is for the values of stores of the program"}},
		"windows that forget": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().WindowedBy(streams.Tumbling(time.Second)).Count(streams.As("s"), streams.MaxEntries(3))
		}, []string{"Count does not take MaxEntries"}},
		"a window store that forgets": {func(b *streams.Builder, _ stream, _ table) {
			b.WindowStore("w", time.Minute, time.Hour, str, str, streams.MaxEntries(3))
		}, []string{"WindowStore does not take MaxEntries"}},
		"a store of another program": {func(_ *streams.Builder, s stream, _ table) {
			s.Process(processor(&acts{}), streams.Uses(elsewhere().KeyValueStore("s", str, str)))
		}, []string{"same Builder"}},
		"a table of another program": {func(_ *streams.Builder, _ stream, t table) { t.JoinOn(elsewhere().Table("t", str, str), key, concat) }, []string{"JoinOn takes a table of the same Builder"}},
		"a global table of another program": {func(_ *streams.Builder, s stream, _ table) {
			s.JoinGlobal(elsewhere().GlobalTable("t", str, str), key, concat)
		}, []string{"JoinGlobal takes a global table of the same Builder"}},
		"a stream of another program": {func(_ *streams.Builder, s stream, _ table) {
			s.OuterJoin(elsewhere().Stream("x", str, str), streams.Within(time.Second), func(a, _ streams.Opt[text]) text { return a.Or("") })
		}, []string{"OuterJoin takes a stream of the same Builder"}},
		"a buffer of 0 bytes": {func(_ *streams.Builder, _ stream, t table) {
			t.Suppress(streams.UntilTimeLimit(time.Second).MaxBytes(0))
		}, []string{"0 bytes", "at least 1"}},
		"a buffer of no time":      {func(_ *streams.Builder, _ stream, t table) { t.Suppress(streams.UntilTimeLimit(-time.Second)) }, []string{"-1s", "0 or more"}},
		"a suppression of nothing": {func(_ *streams.Builder, _ stream, t table) { t.Suppress(streams.UntilWindowCloses()) }, []string{"not windowed"}},
		"a negative difference":    {func(_ *streams.Builder, s stream, _ table) { s.Join(s, streams.Within(-time.Second), concat) }, []string{"Join", "-1s"}},
		"a negative advance": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().WindowedBy(streams.Hopping(1e9, -1e9)).Count()
		}, []string{"advance by -1s"}},
		"sliding, negative grace": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Sliding(streams.Apart(1e9).Grace(-1e9)).Count()
		}, []string{"grace period -1s", "negative"}},
		"a negative gap": {func(_ *streams.Builder, s stream, _ table) {
			s.GroupByKey().Sessions(streams.Gap(-time.Second)).Count()
		}, []string{"gap -1s", "at least 1ms"}},
		"a window store of size 0":      {func(b *streams.Builder, _ stream, _ table) { b.WindowStore("w", 0, time.Hour, str, str) }, []string{`WindowStore`, `"w"`, "0s"}},
		"a window store kept too short": {func(b *streams.Builder, _ stream, _ table) { b.WindowStore("w", time.Hour, time.Minute, str, str) }, []string{`"w"`, "1m0s", "1h0m0s"}},
		"a session store of the past":   {func(b *streams.Builder, _ stream, _ table) { b.SessionStore("w", -time.Hour, str, str) }, []string{`"w"`, "-1h0m0s"}},
		"a store of a bad name":         {func(b *streams.Builder, _ stream, _ table) { b.KeyValueStore("a b", str, str) }, []string{`"a b"`, "a-z A-Z 0-9 . _ -"}},
		"a store without a name":        {func(b *streams.Builder, _ stream, _ table) { b.KeyValueStore("", str, str) }, []string{"KeyValueStore", "name"}},
		"a store named . ":              {func(_ *streams.Builder, s stream, _ table) { s.GroupByKey().Count(streams.As(".")) }, []string{`"."`}},
		"two stores of one name": {func(b *streams.Builder, _ stream, _ table) {
			b.KeyValueStore("s", str, str)
			b.KeyValueStore("s", str, str)
		}, []string{`two stores have the name "s"`}},
		"a policy of no time": {func(b *streams.Builder, _ stream, _ table) {
			b.Stream("p", str, str, streams.From(streams.Past(0))).To("o")
		}, []string{"From"}},
		"a policy of the future": {func(b *streams.Builder, _ stream, _ table) {
			b.Stream("p", str, str, streams.From(streams.Past(-time.Hour))).To("o")
		}, []string{"From"}},
		"Try with nothing": {func(_ *streams.Builder, s stream, _ table) {
			s.TryForEach((func(context.Context, text, text) error)(nil))
		}, []string{"TryForEach is given no function"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := streams.NewBuilder()
			c.verb(b, b.Stream("in", str, str), b.Table("rows", str, str))
			_, err := b.Build()
			says(t, err, append(c.says, "mistakes_test.go:")...)
		})
	}
}

// What a program does wrong while it runs is an error with the node's name, and the place of the record where there is one.
func TestProcessorMistakes(t *testing.T) {
	build := func(make func() streams.Processor[string, string, string, string]) error {
		b := streams.NewBuilder()
		b.Stream("in", serde.String, serde.String).Process(make, streams.As("p"))
		program, err := b.Build()
		if err != nil {
			return err
		}
		d, err := streamstest.Open(program)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Pipe(topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("v")})
	}
	says(t, build(func() streams.Processor[string, string, string, string] { return nil }), `node "p"`)
	says(t, build(func() streams.Processor[string, string, string, string] { panic("no way") }), `node "p"`, "panic: no way")
}

// A record with a negative timestamp is a matter of the deserialization handler, and the error says how to leave it out.
func TestNegativeTimestamp(t *testing.T) {
	r := topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("v"), Timestamp: -1}
	d := drive(t, func(b *streams.Builder) { b.Stream("in", serde.String, serde.String).To("out") })
	says(t, d.Pipe(r), `topic "in" partition 0 offset 0`, "timestamp -1", "SkipNegativeTime")
}

// Nulls everywhere: no function sees one, nothing panics, and tables and joins take them as they should.
func TestNullsEverywhere(t *testing.T) {
	seen := 0
	see := func(_, v string) string { seen++; return strings.ToUpper(v) }
	d := drive(t, func(b *streams.Builder) {
		s := b.Stream("in", serde.String, serde.String)
		table := b.Table("rows", serde.String, serde.String, streams.As("rows"))
		byKey := s.GroupByKey()
		byKey.Count()
		byKey.Reduce(see)
		byKey.Aggregate(func() string { return "" }, func(_, v, a string) string { return a + see("", v) })
		byKey.WindowedBy(streams.Tumbling(time.Second)).Reduce(see)
		byKey.Sessions(streams.Gap(time.Second)).Reduce(see)
		byKey.Sliding(streams.Apart(time.Second)).Reduce(see)
		s.MapValues(func(v string) string { return see("", v) }).Filter(func(_, v string) bool { see("", v); return true }).To("out")
		s.GroupBy(see).Count()
		s.SelectKey(see).ToTable()
		s.JoinTable(table, see)
		s.LeftJoinTable(table, func(v string, row streams.Opt[string]) string { return see("", v) })
		s.Join(s, streams.Within(time.Second), see)
		s.Process(processor(&acts{}))
		table.Filter(func(_, v string) bool { see("", v); return true }).MapValues(func(v string) string { return see("", v) }).ToStream().To("out")
		table.GroupBy(func(_, v string) (string, string) { return see("", v), v }).Count()
		table.Join(table, see)
	})
	for _, topic := range []string{"in", "rows"} {
		for _, k := range [][]byte{nil, []byte("k")} {
			if err := d.Pipe(topology.Record{Topic: topic, Key: k}); err != nil {
				t.Error(topic, err)
			}
		}
	}
	if seen > 0 {
		t.Errorf("functions were called %d times with nulls", seen)
	}
}
