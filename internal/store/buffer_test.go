package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

func buffer(t *testing.T, dir string) (*Buffer, *[]topology.Record) {
	t.Helper()
	r := NewResources(Limits{})
	t.Cleanup(r.Close)
	logged := &[]topology.Record{}
	s, err := Open(Config{
		Spec: &state.Spec{Name: "waiting", Kind: state.Buffer, Logged: true}, Application: "app", Dir: dir, Resources: r,
		Log: func(key, value []byte, timestamp int64, headers []topology.Header) error {
			*logged = append(*logged, topology.Record{Key: key, Value: value, Timestamp: timestamp, Headers: headers})
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffer(s)
	if err != nil {
		t.Fatal(err)
	}
	return b, logged
}

func closeStore(t *testing.T, b *Buffer) {
	t.Helper()
	if err := b.store.Close(); err != nil {
		t.Error(err)
	}
}

func buffered(old, now string, time int64) Buffered {
	v := Buffered{Time: time, New: []byte(now), Origin: topology.Record{Topic: "in", Partition: 2, Offset: 7, Timestamp: time}}
	if old != "" {
		v.Old = []byte(old)
	}
	return v
}

// drain takes everything out.
func drain(t *testing.T, b *Buffer) (taken []string) {
	t.Helper()
	for {
		if _, ok, err := b.First(); err != nil {
			t.Fatal(err)
		} else if !ok {
			return taken
		}
		if err := b.Take(func(key []byte, v Buffered) error {
			taken = append(taken, fmt.Sprintf("%s:%s<%s<%s@%d", key, v.New, v.Old, v.Prior, v.Time))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// What waits comes out by time and then key; a later change keeps the place and the prior value of the first.
func TestBufferOrder(t *testing.T) {
	b, _ := buffer(t, t.TempDir())
	for _, p := range []struct {
		key string
		v   Buffered
	}{
		{"b", buffered("0", "1", 20)}, {"c", buffered("", "1", 10)}, {"a", buffered("", "1", 20)}, {"b", buffered("1", "2", 5)},
	} {
		if err := b.Put([]byte(p.key), p.v); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := b.Size(); n != 3 {
		t.Errorf("%d keys wait", n)
	}
	if got, want := drain(t, b), []string{"c:1<<@10", "a:1<<@20", "b:2<1<0@20"}; !slices.Equal(got, want) {
		t.Errorf("it gives %q, not %q", got, want)
	}
	closeStore(t, b)
	if n, size := b.Size(); n != 0 || size != 0 {
		t.Errorf("empty, it has %d keys and %d bytes", n, size)
	}
}

// Between two commits only the last change of a key is logged, with its version; what came and went is deleted.
func TestBufferLogsOnce(t *testing.T) {
	b, logged := buffer(t, t.TempDir())
	for n := range 3 {
		if err := b.Put([]byte("a"), buffered("", fmt.Sprint(n), 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.store.FlushCache(); err != nil {
		t.Fatal(err)
	}
	if len(*logged) != 1 || len((*logged)[0].Headers) != 1 || (*logged)[0].Timestamp != -1 {
		t.Fatalf("logged is %v", *logged)
	}
	if err := b.Put([]byte("b"), buffered("", "1", 5)); err != nil {
		t.Fatal(err)
	}
	drain(t, b)
	if err := b.store.FlushCache(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, b)
	for _, r := range (*logged)[1:] {
		if r.Value != nil || r.Headers != nil {
			t.Errorf("a deletion is logged as %v", r)
		}
	}
	if len(*logged) != 3 {
		t.Errorf("%d records are logged", len(*logged))
	}
}

// Headers that were given out stay as they are.
func TestBufferHeaders(t *testing.T) {
	b, _ := buffer(t, t.TempDir())
	for n := range 3 {
		v := buffered("", "v", int64(n))
		v.Origin.Headers = []topology.Header{{Key: "n", Value: []byte{byte(n)}}}
		if err := b.Put([]byte{byte(n)}, v); err != nil {
			t.Fatal(err)
		}
	}
	var kept [][]byte
	for range 3 {
		if err := b.Take(func(_ []byte, v Buffered) error {
			kept = append(kept, v.Origin.Headers[0].Value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, b)
	for n, v := range kept {
		if v[0] != byte(n) {
			t.Errorf("header %d has become %d", n, v[0])
		}
	}
}

// What waits is there again after a restart, in its order.
func TestBufferRestart(t *testing.T) {
	dir := t.TempDir()
	b, _ := buffer(t, dir)
	for n := range 100 {
		if err := b.Put(fmt.Appendf(nil, "k%d", n), buffered("", "v", int64(97*n%100))); err != nil {
			t.Fatal(err)
		}
	}
	_, size := b.Size()
	if err := b.store.FlushCache(); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Commit(100); err != nil {
		t.Fatal(err)
	}
	closeStore(t, b)
	again, _ := buffer(t, dir)
	if first, ok, err := again.First(); err != nil || !ok || first != 0 {
		t.Fatalf("first is %d, %v, %v", first, ok, err)
	}
	if n, now := again.Size(); n != 100 || now != size {
		t.Errorf("%d keys and %d bytes wait, not %d", n, now, size)
	}
	got := drain(t, again)
	for n, s := range got {
		if !strings.HasSuffix(s, fmt.Sprint("@", n)) {
			t.Fatalf("number %d is %s", n, s)
		}
	}
	closeStore(t, again)
}

func FuzzBuffered(f *testing.F) {
	v := buffered("old", "new", 10)
	v.Prior = v.Old
	v.Origin.Headers = []topology.Header{{Key: "h", Value: []byte("x")}, {Key: "n"}}
	f.Add(v.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseBuffered(data)
		if err != nil {
			return
		}
		w, err := parseBuffered(v.append(nil))
		if err != nil || fmt.Sprint(w) != fmt.Sprint(v) {
			t.Errorf("%v is read back as %v, %v", v, w, err)
		}
	})
}
