package streams_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

func TestReadVersionedStore(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"))
	cl := client(t, c)
	b := streams.NewBuilder()
	b.Table("in", serde.String, serde.String, streams.As("prices"), streams.Versioned(time.Minute))
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, top)
	p.await(streams.StateRunning)
	at := func(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0) }
	produced(t, cl, "in", "k", "old", at(-100))
	produced(t, cl, "in", "k", "a", at(0))
	produced(t, cl, "in", "k", "c", at(20))
	produced(t, cl, "in", "j", "x", at(5))
	seen := produced(t, cl, "in", "k", "b", at(10)) // late
	r, err := p.VersionedStore("prices", serde.String, serde.String, streams.AtLeast(seen))
	if err != nil {
		t.Fatal(err)
	}
	if v, from, ok, err := r.Get(patiently(t), "k"); v != "c" || !from.Equal(at(20)) || !ok || err != nil {
		t.Errorf("the latest is %q from %v, %v, %v", v, from, ok, err)
	}
	if v, from, ok, err := r.GetAt(patiently(t), "k", at(12)); v != "b" || !from.Equal(at(10)) || !ok || err != nil {
		t.Errorf("at 12 it is %q from %v, %v, %v", v, from, ok, err)
	}
	if _, _, ok, err := r.GetAt(patiently(t), "j", at(4)); ok || err != nil {
		t.Errorf("j has a value before it has one: %v", err)
	}
	list := func(versions iter.Seq2[streams.Version[string], error]) (got []string) {
		for v, err := range versions {
			if err != nil {
				t.Fatal(err)
			}
			until := "on"
			if !v.Until.IsZero() {
				until = fmt.Sprint(v.Until.Sub(at(0)).Seconds())
			}
			got = append(got, fmt.Sprint(v.Value, " ", v.From.Sub(at(0)).Seconds(), " ", until))
		}
		return got
	}
	for _, c := range []struct {
		from, to int64
		want     []string
	}{
		{0, 30, []string{"a 0 10", "b 10 20", "c 20 on"}},
		{5, 10, []string{"a 0 10", "b 10 20"}},
		{9, 9, []string{"a 0 10"}},
		{-200, -100, nil}, // older than the history
		{30, 5, nil},
	} {
		if got := list(r.Versions(patiently(t), "k", at(c.from), at(c.to))); !slices.Equal(got, c.want) {
			t.Errorf("from %d to %d: %q, want %q", c.from, c.to, got, c.want)
		}
		slices.Reverse(c.want)
		if got := list(r.VersionsBackward(patiently(t), "k", at(c.from), at(c.to))); !slices.Equal(got, c.want) {
			t.Errorf("from %d to %d, backward: %q, want %q", c.from, c.to, got, c.want)
		}
	}
	if _, err := p.Store("prices", serde.String, serde.String); err == nil || !strings.Contains(err.Error(), "versioned store, not a key-value store") {
		t.Errorf("read as a key-value store: %v", err)
	}
	if _, err := p.VersionedStore("prizes", serde.String, serde.String); err == nil || !strings.Contains(err.Error(), `no store "prizes"`) {
		t.Errorf("an unknown store: %v", err)
	}
}
