package streams_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

type order struct{ ID, Customer string }

// TestBuildSaysWhatIsWrong makes each mistake, and looks for the thing, the remedy and the place in the error.
func TestBuildSaysWhatIsWrong(t *testing.T) {
	str := serde.String
	lines := func(b *streams.Builder) *streams.Stream[string, string] { return b.Stream("lines", str, str) }
	words := func(b *streams.Builder) *streams.Grouped[string, string] { return lines(b).GroupByKey() }
	key := func(_, v string) string { return v }
	yes := func(_, _ string) bool { return true }
	concat := func(a, b string) string { return a + b }

	for name, mistake := range map[string]struct {
		make func(b *streams.Builder)
		says []string
	}{
		"no serde for a type": {func(b *streams.Builder) {
			lines(b).MapValues(func(v string) order { return order{v, v} }).To("out")
		}, []string{"no serde for the value type streams_test.order", "streams.WithValue(serde.JSON["}},
		"a serde of another type":     {func(b *streams.Builder) { lines(b).To("out", streams.WithValue(serde.Int64)) }, []string{"To", "serde of another type"}},
		"an option that does not fit": {func(b *streams.Builder) { lines(b).Filter(yes, streams.Retention(time.Hour)) }, []string{"Filter does not take Retention"}},
		"a bad name":                  {func(b *streams.Builder) { lines(b).Filter(yes, streams.As("a b")) }, []string{`"a b"`, "a-z A-Z 0-9 . _ -"}},
		"an empty name":               {func(b *streams.Builder) { words(b).Count(streams.As("")) }, []string{"Count", "name is empty"}},
		"a long name":                 {func(b *streams.Builder) { words(b).Count(streams.As(strings.Repeat("x", 250))) }, []string{"250 characters", "249"}},
		"two nodes of one name": {func(b *streams.Builder) {
			lines(b).Filter(yes, streams.As("same"))
			lines(b).Filter(yes, streams.As("same"))
		}, []string{`two nodes have the name "same"`}},
		"two stores of one name": {func(b *streams.Builder) {
			words(b).Count(streams.As("same"))
			words(b).Reduce(concat, streams.As("same"))
		}, []string{`two stores have the name "same"`}},
		"a topic of two types": {func(b *streams.Builder) {
			lines(b)
			b.Stream("lines", str, serde.Int64)
		}, []string{`"lines"`, "string and int64", "read it once and map it"}},
		"overlapping topics": {func(b *streams.Builder) {
			lines(b)
			b.Stream([]string{"lines", "more"}, str, str)
		}, []string{`"lines"`, "two sources"}},
		"a topic twice":        {func(b *streams.Builder) { b.Stream([]string{"a", "a"}, str, str) }, []string{`topic "a" twice`}},
		"no topic":             {func(b *streams.Builder) { b.Stream([]string{}, str, str) }, []string{"reads no topic"}},
		"a bad topic":          {func(b *streams.Builder) { b.Stream("a topic", str, str) }, []string{`"a topic" is no name of a topic`}},
		"a sink without topic": {func(b *streams.Builder) { lines(b).To("") }, []string{`"" is no name of a topic`}},
		"a topic as stream and table": {func(b *streams.Builder) {
			lines(b)
			b.Table("lines", str, str)
		}, []string{`topic "lines" is read by source`}},
		"sessions without gap": {func(b *streams.Builder) { words(b).Sessions(streams.Gap(0)).Count() }, []string{"gap 0s", "at least 1ms"}},
		"sessions of negative grace": {func(b *streams.Builder) {
			words(b).Sessions(streams.Gap(time.Second).Grace(-1 * time.Second)).Count()
		}, []string{"grace period -1s", "cannot be negative"}},
		"sessions kept too short": {func(b *streams.Builder) {
			words(b).Sessions(streams.Gap(time.Minute)).Count(streams.Retention(time.Second))
		}, []string{"Count keeps windows for 1s", "1m0s"}},
		"sliding windows of 0":     {func(b *streams.Builder) { words(b).Sliding(streams.Apart(0)).Count() }, []string{"difference 0s", "at least 1ms"}},
		"sliding windows in parts": {func(b *streams.Builder) { words(b).Sliding(streams.Apart(time.Nanosecond)).Count() }, []string{"whole milliseconds"}},
		"unlimited before 1970":    {func(b *streams.Builder) { words(b).Unlimited(time.UnixMilli(-1)).Count() }, []string{"1970 or later"}},
		"unlimited on close":       {func(b *streams.Builder) { words(b).Unlimited(time.UnixMilli(0)).EmitOnClose().Count() }, []string{"never close"}},
		"final without windows":    {func(b *streams.Builder) { words(b).Count().Final() }, []string{"Final waits for windows to close", "not windowed"}},
		"a buffer for nothing": {func(b *streams.Builder) {
			words(b).Count().Suppress(streams.UntilTimeLimit(time.Second).MaxRecords(0))
		}, []string{"0 records", "at least 1"}},
		"a join of windows that end before they begin": {func(b *streams.Builder) {
			lines(b).Join(lines(b), streams.Within(time.Second).Before(-2*time.Second), concat)
		}, []string{"Join", "-2s before", "which is earlier"}},
		"a join of negative grace": {func(b *streams.Builder) {
			lines(b).LeftJoin(lines(b), streams.Within(time.Second).Grace(-1), func(a string, _ streams.Opt[string]) string { return a })
		}, []string{"LeftJoin", "whole milliseconds"}},
		"a join with another program": {func(b *streams.Builder) {
			lines(b).Join(lines(streams.NewBuilder()), streams.Within(time.Second), concat)
		}, []string{"Join takes a stream of the same Builder"}},
		"a table join with another program": {func(b *streams.Builder) {
			b.Table("t", str, str).Join(streams.NewBuilder().Table("t", str, str), concat)
		}, []string{"Join takes a table of the same Builder"}},
		"a cogroup with another program": {func(b *streams.Builder) {
			words(b).Cogroup(func(_, v, a string) string { return a + v }).And(words(streams.NewBuilder()), func(_, v, a string) string { return a + v })
		}, []string{"And takes a group of the same Builder"}},
		"windows of size 0":        {func(b *streams.Builder) { words(b).WindowedBy(streams.Tumbling(0)).Count() }, []string{"size 0s", "at least 1ms"}},
		"negative windows":         {func(b *streams.Builder) { words(b).WindowedBy(streams.Tumbling(-time.Second)).Count() }, []string{"size -1s"}},
		"negative grace":           {func(b *streams.Builder) { words(b).WindowedBy(streams.Tumbling(1e9).Grace(-1e9)).Count() }, []string{"grace period -1s", "negative"}},
		"windows that leave gaps":  {func(b *streams.Builder) { words(b).WindowedBy(streams.Hopping(1e9, 2e9)).Count() }, []string{"advance by 2s"}},
		"windows that stand still": {func(b *streams.Builder) { words(b).WindowedBy(streams.Hopping(1e9, 0)).Count() }, []string{"advance by 0s"}},
		"windows of nanoseconds":   {func(b *streams.Builder) { words(b).WindowedBy(streams.Tumbling(time.Microsecond)).Count() }, []string{"1µs", "whole milliseconds"}},
		"retention below the window": {func(b *streams.Builder) {
			words(b).WindowedBy(streams.Tumbling(time.Hour)).Count(streams.Retention(time.Minute))
		}, []string{"keeps windows for 1m0s", "1h0m0s"}},
		"a stream of another builder": {func(b *streams.Builder) { lines(b).Merge(lines(streams.NewBuilder())) }, []string{"Merge takes a stream of the same Builder"}},
		"no stream to merge":          {func(b *streams.Builder) { lines(b).Merge(nil) }, []string{"Merge takes a stream"}},
		"a table of another builder":  {func(b *streams.Builder) { lines(b).JoinTable(streams.NewBuilder().Table("t", str, str), concat) }, []string{"JoinTable takes a table of the same Builder"}},
		"no table to join":            {func(b *streams.Builder) { lines(b).JoinTable((*streams.Table[string, string])(nil), concat) }, []string{"JoinTable takes a table"}},
		"a branch after the default":  {func(b *streams.Builder) { s := lines(b).Split(); s.Default(); s.Branch(yes) }, []string{"Branch is called after Default"}},
		"two defaults": {func(b *streams.Builder) {
			s := lines(b).Split()
			s.Default(streams.As("a"))
			s.Default(streams.As("b"))
		}, []string{"Default is called twice"}},
		"no partitions":            {func(b *streams.Builder) { lines(b).Repartition(streams.Partitions(-1)) }, []string{"Partitions(-1)", "at least one"}},
		"no partitions at all":     {func(b *streams.Builder) { lines(b).Repartition(streams.Partitions(0)) }, []string{"Partitions(0)", "at least one"}},
		"more partitions than fit": {func(b *streams.Builder) { lines(b).Repartition(streams.Partitions(1<<32 + 1)) }, []string{"Partitions(4294967297)"}},
		"no extractor": {func(b *streams.Builder) {
			b.Stream("lines", str, str, streams.EventTime((func(string, string) time.Time)(nil)))
		}, []string{"EventTime is given no function"}},
		"a versioned table without a name": {func(b *streams.Builder) {
			b.Table("t", str, str, streams.Versioned(time.Second))
		}, []string{"Table", "versioned needs a name", "streams.As"}},
		"a negative history": {func(b *streams.Builder) {
			lines(b).ToTable(streams.As("t"), streams.Versioned(-time.Second))
		}, []string{"ToTable", `store "t"`, "-1s", "0 or more whole milliseconds"}},
		"windows that are versioned": {func(b *streams.Builder) {
			words(b).WindowedBy(streams.Tumbling(1e9)).Count(streams.As("c"), streams.Versioned(time.Second))
		}, []string{"Count does not take Versioned"}},
		"a versioned table that is suppressed": {func(b *streams.Builder) {
			b.Table("t", str, str, streams.As("t"), streams.Versioned(time.Second)).Filter(yes).Suppress(streams.UntilTimeLimit(time.Second))
		}, []string{"Suppress takes no table that is versioned", "keep the table in a store that is not"}},
		"a versioned store that is cached": {func(b *streams.Builder) {
			b.VersionedStore("s", time.Second, str, str, streams.Cached())
		}, []string{"VersionedStore", `store "s"`, "leave Cached away"}},
		"a versioned store of a fraction": {func(b *streams.Builder) {
			b.VersionedStore("s", time.Microsecond, str, str)
		}, []string{"VersionedStore", `store "s"`, "1µs", "whole milliseconds"}},
		"a join that waits for a table without history": {func(b *streams.Builder) {
			lines(b).JoinTable(b.Table("t", str, str, streams.As("t"), streams.Versioned(time.Minute)).MapValues(strings.Clone, streams.As("plain")), concat, streams.Grace(time.Second))
		}, []string{"JoinTable waits for 1s", "not versioned", "streams.Versioned"}},
		"a join that waits longer than the history": {func(b *streams.Builder) {
			lines(b).JoinTable(b.Table("t", str, str, streams.As("t"), streams.Versioned(time.Minute)).Filter(yes), concat, streams.Grace(time.Hour))
		}, []string{"JoinTable waits for 1h0m0s", "keeps its history for 1m0s"}},
		"a join that waits for less than nothing": {func(b *streams.Builder) {
			lines(b).JoinTable(b.Table("t", str, str, streams.As("t"), streams.Versioned(time.Minute)), concat, streams.Grace(-time.Second))
		}, []string{"JoinTable waits for -1s", "0 or more whole milliseconds"}},
		"an option of nothing":    {func(b *streams.Builder) { lines(b).Filter(yes, streams.Option{}) }, []string{"Filter does not take"}},
		"a serde that is missing": {func(b *streams.Builder) { b.Stream[string, string, order]("lines", str, nil) }, []string{"no serde for the value type streams_test.order"}},
		"a key serde of another type": {func(b *streams.Builder) {
			words(b).Count(streams.WithKey(serde.Int64))
		}, []string{"Count is given a serde of another type"}},
		"a grouping of another type": {func(b *streams.Builder) {
			lines(b).GroupBy(func(_, v string) order { return order{v, v} }).Count()
		}, []string{"no serde for the key type streams_test.order", "streams.WithKey(serde.JSON["}},
		"a result without serde": {func(b *streams.Builder) {
			words(b).Aggregate(func() order { return order{} }, func(_, _ string, a order) order { return a }, streams.As("orders"))
		}, []string{"no serde for the value type streams_test.order"}},
		"no subtractor": {func(b *streams.Builder) {
			b.Table("t", str, str).GroupBy(func(k, v string) (string, string) { return v, k }).Reduce(concat, nil)
		}, []string{"Reduce is given no function"}},
		"no reducer of windows": {func(b *streams.Builder) { words(b).WindowedBy(streams.Tumbling(1e9)).Reduce(nil) }, []string{"Reduce is given no function"}},
		"no initializer of windows": {func(b *streams.Builder) {
			words(b).WindowedBy(streams.Tumbling(1e9)).Aggregate(nil, func(_, v, a string) string { return a + v })
		}, []string{"Aggregate is given no function"}},
		"retention of a fraction": {func(b *streams.Builder) {
			words(b).WindowedBy(streams.Tumbling(1e9)).Count(streams.Retention(time.Second + time.Microsecond))
		}, []string{"1.000001s", "whole milliseconds"}},
		"windows longer than time": {func(b *streams.Builder) {
			words(b).WindowedBy(streams.Tumbling(200 * 365 * 24 * time.Hour).Grace(200 * 365 * 24 * time.Hour)).Count()
		}, []string{"size plus grace"}},
		"two repartitions of one name": {func(b *streams.Builder) {
			s := lines(b)
			s.Repartition(streams.As("same"))
			s.Repartition(streams.As("same"))
		}, []string{`"same-repartition-`, "two nodes"}},
		"a name that grows too long": {func(b *streams.Builder) { lines(b).Repartition(streams.As(strings.Repeat("x", 249))) }, []string{"249"}},
		"an extractor of other types": {func(b *streams.Builder) {
			b.Stream("lines", str, str, streams.EventTime(func(int64, int64) time.Time { return time.Time{} }))
		}, []string{"EventTime is given a func(int64, int64)", "func(string, string) time.Time"}},
		"no function": {func(b *streams.Builder) { lines(b).Filter(nil) }, []string{"Filter is given no function"}},
		"no function with an error": {func(b *streams.Builder) {
			lines(b).TryMapValues((func(context.Context, string, string) (string, error))(nil))
		}, []string{"TryMapValues is given no function"}},
		"no key function": {func(b *streams.Builder) { lines(b).GroupBy((func(string, string) string)(nil)).Count() }, []string{"GroupBy is given no function"}},
		"no initializer":  {func(b *streams.Builder) { words(b).Aggregate(nil, func(_, v, a string) string { return a + v }) }, []string{"Aggregate is given no function"}},
		"no source":       {func(*streams.Builder) {}, []string{"reads no topic"}},
		"a store of the same name as another table's": {func(b *streams.Builder) {
			b.Table("t", str, str, streams.As("store"))
			lines(b).GroupBy(key).Count(streams.As("store"))
		}, []string{`two stores have the name "store"`}},
	} {
		t.Run(name, func(t *testing.T) {
			b := streams.NewBuilder()
			mistake.make(b)
			_, err := b.Build()
			if err == nil {
				t.Fatal("Build says nothing")
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != 1 {
				t.Errorf("one mistake makes %d errors:\n%v", n, err)
			}
			if name != "no source" && !strings.Contains(err.Error(), "errors_test.go:") {
				t.Errorf("the error does not say where:\n%v", err)
			}
			for _, want := range mistake.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestErrorsHaveTheirPlace: the error names the line of the call, and all mistakes are reported at once.
func TestErrorsHaveTheirPlace(t *testing.T) {
	b := streams.NewBuilder()
	s := b.Stream("lines", serde.String, serde.String)
	s.Filter(nil)
	s.To("a topic")
	_, err := b.Build()
	if err == nil {
		t.Fatal("Build says nothing")
	}
	if n := strings.Count(err.Error(), "errors_test.go:"); n != 2 {
		t.Errorf("%d of 2 mistakes have their place:\n%v", n, err)
	}
}
