package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// asked makes what is not expected to be asked of a task a panic.
type asked interface{ topology.Context }

// bench is a task that has nothing but nodes.
type bench struct {
	asked
	in     topology.Record
	sent   []topology.Record
	atWork string
}

func (b *bench) Context() context.Context               { return context.Background() }
func (b *bench) Input() *topology.Record                { return &b.in }
func (b *bench) TopicName(name string) string           { return name }
func (b *bench) Around(string) func(func() error) error { return nil }
func (b *bench) AtWork() *string                        { return &b.atWork }
func (b *bench) Shared(_ string, make func() any) any   { return make() }
func (b *bench) Wall() int64                            { return 0 }
func (b *bench) Drop(string, string)                    {}
func (b *bench) Failed(node string, err error) error    { return errors.New(node + ": " + err.Error()) }
func (b *bench) Partitions(string) (int32, error)       { return 12, nil }
func (b *bench) Send(r *topology.Record) error          { b.sent = append(b.sent, *r); return nil }

// chain wires nodes behind each other and returns the first.
func chain(tb testing.TB, task topology.Context, nodes ...topology.NewFunc) any {
	tb.Helper()
	var children []any
	for i := len(nodes) - 1; i >= 0; i-- {
		n, err := nodes[i](task, children)
		if err != nil {
			tb.Fatal(err)
		}
		children = []any{n}
	}
	return children[0]
}

// stateless is a chain of five nodes; count is what reaches its end.
func stateless(tb testing.TB, count *int) Receiver[string, string] {
	return chain(tb, &bench{},
		Filter("filter", func(_ context.Context, _, v string) (bool, error) { return v[0] != 'x', nil }, true),
		MapValues("cut", func(_ context.Context, _, v string) (string, error) { return v[1:], nil }),
		Map("swap", func(_ context.Context, k, v string) (string, string, error) { return v, k, nil }),
		Filter("not", func(_ context.Context, k, _ string) (bool, error) { return strings.HasPrefix(k, "x"), nil }, false),
		Peek("end", func(_ context.Context, _, _ string) error { *count++; return nil }),
	).(Receiver[string, string])
}

// BenchmarkStateless is a chain of five nodes behind decoding: 0 allocations a record.
func BenchmarkStateless(b *testing.B) {
	count := 0
	first := stateless(b, &count)
	r := Record[string, string]{Key: "key", Value: "a value", Time: 1}
	b.ReportAllocs()
	for b.Loop() {
		if err := first.Receive(r); err != nil {
			b.Fatal(err)
		}
	}
	if count != b.N {
		b.Fatalf("%d of %d records came to the end", count, b.N)
	}
}

func TestStatelessAllocatesNothing(t *testing.T) {
	count := 0
	first := stateless(t, &count)
	r := Record[string, string]{Key: "key", Value: "a value", Time: 1}
	if n := testing.AllocsPerRun(1000, func() {
		if err := first.Receive(r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a record through five stateless nodes allocates %v times", n)
	}
	if count == 0 {
		t.Error("nothing came to the end")
	}
}

func TestMiswiredNodesAreRefused(t *testing.T) {
	task := &bench{}
	child, err := Peek("child", func(context.Context, string, int64) error { return nil })(task, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Filter("parent", func(context.Context, string, string) (bool, error) { return true, nil }, true)(task, []any{child})
	if err == nil || !strings.Contains(err.Error(), `"parent"`) {
		t.Errorf("a child of other types is taken: %v", err)
	}
}

// TestSinkKeepsItsHandsOff: bytes that were handed to the producer do not change.
func TestSinkKeepsItsHandsOff(t *testing.T) {
	task := &bench{}
	sink := chain(t, task, Sink("sink", "out", serde.String, serde.String, nil)).(Receiver[string, string])
	var want []string
	for i := range 5000 {
		v := strings.Repeat(string(rune('a'+i%26)), i%700)
		want = append(want, v)
		if err := sink.Receive(Record[string, string]{Key: v, Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range task.sent {
		if string(r.Key) != want[i] || string(r.Value) != want[i] {
			t.Fatalf("record %d has changed after it was sent", i)
		}
		if r.Key == nil || r.Value == nil {
			t.Fatalf("record %d: an empty value became a null", i)
		}
	}
}

func TestWindowedKeysGoByTheKeyWithin(t *testing.T) {
	task := &bench{}
	windowed := serde.TimeWindowed(serde.String, 1000)
	inner := windowed.(interface {
		Inner([]byte, serde.Windowed[string]) ([]byte, error)
	}).Inner
	sink := chain(t, task, Sink("sink", "out", windowed, serde.Int64, &Route[serde.Windowed[string], int64]{ByKey: inner})).(Receiver[serde.Windowed[string], int64])
	for start := range int64(20) {
		w := serde.Windowed[string]{Key: "kafka", Window: serde.Window{Start: start}}
		if err := sink.Receive(Record[serde.Windowed[string], int64]{Key: w}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range task.sent {
		if r.Partition != topology.Partition([]byte("kafka"), 12) {
			t.Fatalf("a window of kafka goes to partition %d", r.Partition)
		}
	}
}

func TestChangesAreJavas(t *testing.T) {
	s := ChangeSerde(serde.String)
	for _, v := range []struct {
		change Change[string]
		bytes  string
	}{
		{Change[string]{New: "n", NullOld: true}, "n\x01"},
		{Change[string]{Old: "o", NullNew: true}, "o\x00"},
		{Change[string]{New: "nn", Old: "o"}, "\x04nno\x02"},
		{Change[string]{New: strings.Repeat("x", 70), Old: "o"}, "\x8c\x01" + strings.Repeat("x", 70) + "o\x02"},
	} {
		b, err := s.Append(nil, v.change)
		if err != nil || string(b) != v.bytes {
			t.Errorf("%+v is %q (%v), want %q", v.change, b, err, v.bytes)
		}
		if c, err := s.Decode([]byte(v.bytes)); err != nil || c != v.change {
			t.Errorf("%q is %+v (%v), want %+v", v.bytes, c, err, v.change)
		}
	}
	if c, err := s.Decode([]byte("n\x01\x04")); err != nil || c.New != "n" { // kind 4 is 1 with a flag
		t.Errorf("kind 4 is %+v (%v)", c, err)
	}
	if _, err := s.Append(nil, Change[string]{NullNew: true, NullOld: true}); err == nil {
		t.Error("a change of nothing into nothing is encoded")
	}
}

func FuzzChange(f *testing.F) {
	for _, seed := range []string{"", "n\x01", "o\x00", "\x04nno\x02", "\x80\x02", "\x05", "x\x01\x03"} {
		f.Add([]byte(seed))
	}
	s := ChangeSerde(serde.Int64)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := s.Decode(data)
		if err != nil {
			return
		}
		if _, err := s.Append(nil, c); err != nil {
			t.Errorf("%x decodes to %+v, which cannot be encoded: %v", data, c, err)
		}
	})
}
