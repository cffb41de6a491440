package streams_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// A kind is a store of one kind, as a processor fills it and as it is read from outside.
type kind struct {
	store streams.AnyStore
	open  func(streams.StoreUser) (fill func(text) error, err error)
	read  func(ctx context.Context, app *streams.App, seen streams.Position) iter.Seq2[any, error]
}

var base = time.Unix(1_700_000_000, 0)

func deletes(r text) bool { return r.Value == "-" }

func keptOf(r text) streams.Kept[string] {
	return streams.Kept[string]{Value: r.Value, Time: r.Time.Add(-time.Second), Headers: r.Headers}
}

func keyValueKind[V any](b *streams.Builder, name string, value serde.Serde[V], of func(text) V, opts ...streams.Option) kind {
	store := b.KeyValueStore(name, serde.String, value, opts...)
	return kind{store, func(c streams.StoreUser) (func(text) error, error) {
		values, err := store.Open(c)
		return func(r text) error {
			if deletes(r) {
				return values.Delete(r.Key)
			}
			return values.Put(r.Key, of(r))
		}, err
	}, func(ctx context.Context, app *streams.App, seen streams.Position) iter.Seq2[any, error] {
		r, err := app.Store(name, serde.String, value, streams.AtLeast(seen))
		if err != nil {
			return failed(err)
		}
		return rowsOf(r.All(ctx))
	}}
}

func windowKind[V any](b *streams.Builder, name string, value serde.Serde[V], of func(text) V, opts ...streams.Option) kind {
	store := b.WindowStore(name, time.Minute, time.Hour, serde.String, value, opts...)
	return kind{store, func(c streams.StoreUser) (func(text) error, error) {
		values, err := store.Open(c)
		return func(r text) error {
			start := r.Time.Truncate(time.Minute)
			if deletes(r) {
				return values.Delete(r.Key, start)
			}
			return values.Put(r.Key, start, of(r))
		}, err
	}, func(ctx context.Context, app *streams.App, seen streams.Position) iter.Seq2[any, error] {
		r, err := app.WindowStore(name, serde.String, value, streams.AtLeast(seen))
		if err != nil {
			return failed(err)
		}
		return rowsOf(r.All(ctx, base, base.Add(time.Hour)))
	}}
}

func sessionKind[V any](b *streams.Builder, name string, value serde.Serde[V], of func(text) V, opts ...streams.Option) kind {
	store := b.SessionStore(name, time.Hour, serde.String, value, opts...)
	return kind{store, func(c streams.StoreUser) (func(text) error, error) {
		values, err := store.Open(c)
		return func(r text) error {
			start, end := r.Time.Truncate(time.Minute), r.Time.Truncate(20*time.Second)
			if deletes(r) {
				return values.Remove(r.Key, start, end)
			}
			return values.Put(r.Key, start, end, of(r))
		}, err
	}, func(ctx context.Context, app *streams.App, seen streams.Position) iter.Seq2[any, error] {
		r, err := app.SessionStore(name, serde.String, value, streams.AtLeast(seen))
		if err != nil {
			return failed(err)
		}
		return rowsOf(r.All(ctx, base, base.Add(time.Hour)))
	}}
}

func versionedKind(b *streams.Builder, name string, opts ...streams.Option) kind {
	store := b.VersionedStore(name, time.Hour, serde.String, serde.String, opts...)
	return kind{store, func(c streams.StoreUser) (func(text) error, error) {
		values, err := store.Open(c)
		return func(r text) error {
			if deletes(r) {
				_, _, err := values.Delete(r.Key, r.Time)
				return err
			}
			_, _, err := values.Put(r.Key, r.Value, r.Time)
			return err
		}, err
	}, func(ctx context.Context, app *streams.App, seen streams.Position) iter.Seq2[any, error] {
		r, err := app.VersionedStore(name, serde.String, serde.String, streams.AtLeast(seen))
		if err != nil {
			return failed(err)
		}
		return func(yield func(any, error) bool) {
			for _, key := range []string{"a", "b", "c", "d"} {
				for v, err := range r.Versions(ctx, key, base, base.Add(time.Hour)) {
					if !yield(fmt.Sprint(key, v), err) {
						return
					}
				}
			}
		}
	}}
}

func failed(err error) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) { yield(nil, err) }
}

func rowsOf[R any](rows iter.Seq2[R, error]) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for row, err := range rows {
			if !yield(row, err) {
				return
			}
		}
	}
}

// TestKindsAreRestored: a store of each kind, on disk and in memory, cached and not, has the same after a restart with its
// state, with that of a while before, and without.
func TestKindsAreRestored(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"))
	cl := client(t, c)
	dir := t.TempDir()
	plain := func(r text) string { return r.Value }

	b := streams.NewBuilder()
	kinds := map[string]kind{}
	for suffix, opts := range map[string][]streams.Option{
		"disk": nil, "memory": {streams.InMemory()}, "cached": {streams.Cached()}, "memory-cached": {streams.InMemory(), streams.Cached()},
	} {
		headers := serde.KeepHeaders(serde.String)
		kinds["plain-"+suffix] = keyValueKind(b, "plain-"+suffix, serde.String, plain, opts...)
		kinds["timed-"+suffix] = keyValueKind(b, "timed-"+suffix, serde.String, plain, append(opts, streams.Timestamped())...)
		kinds["kept-"+suffix] = keyValueKind(b, "kept-"+suffix, headers, keptOf, opts...)
		kinds["windows-"+suffix] = windowKind(b, "windows-"+suffix, serde.String, plain, opts...)
		kinds["kept-windows-"+suffix] = windowKind(b, "kept-windows-"+suffix, headers, keptOf, opts...)
		kinds["sessions-"+suffix] = sessionKind(b, "sessions-"+suffix, serde.String, plain, opts...)
		kinds["kept-sessions-"+suffix] = sessionKind(b, "kept-sessions-"+suffix, headers, keptOf, opts...)
		if suffix == "disk" || suffix == "memory" {
			kinds["versions-"+suffix] = versionedKind(b, "versions-"+suffix, opts...)
			forgets := append(opts[:len(opts):len(opts)], streams.MaxEntries(2))
			kinds["recent-"+suffix] = keyValueKind(b, "recent-"+suffix, serde.String, plain, forgets...)
			kinds["recent-timed-"+suffix] = keyValueKind(b, "recent-timed-"+suffix, serde.String, plain, append(forgets, streams.Timestamped())...)
			kinds["recent-kept-"+suffix] = keyValueKind(b, "recent-kept-"+suffix, headers, keptOf, forgets...)
		}
	}
	var stores []streams.AnyStore
	for _, k := range kinds {
		stores = append(stores, k.store)
	}
	b.Stream("in", serde.String, serde.String).Process(func() streams.Processor[string, string, string, string] {
		var fill []func(text) error
		return &acts{init: func(ctx *textCtx) error {
			for _, k := range kinds {
				f, err := k.open(ctx)
				if err != nil {
					return err
				}
				fill = append(fill, f)
			}
			return nil
		}, process: func(r text) error {
			var errs []error
			for _, f := range fill {
				errs = append(errs, f(r))
			}
			return errors.Join(errs...)
		}}
	}, streams.Uses(stores...))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	n := 0
	send := func(key, value string, headers ...kgo.RecordHeader) (seen streams.Position) {
		t.Helper()
		n++
		r := &kgo.Record{Topic: "in", Key: []byte(key), Value: []byte(value), Timestamp: base.Add(time.Duration(n) * 10 * time.Second), Headers: headers}
		if err := cl.ProduceSync(patiently(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return streams.Position{}.At(r.Topic, r.Partition, r.Offset)
	}
	var seen streams.Position
	read := func(p *process) map[string][]string {
		t.Helper()
		all := map[string][]string{}
		for name, k := range kinds {
			for row, err := range k.read(patiently(t), p.App, seen) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				all[name] = append(all[name], fmt.Sprintf("%+v", row))
			}
		}
		return all
	}
	round := func(what string, want map[string][]string) map[string][]string {
		t.Helper()
		p := start(t, c, program, streams.StateDir(dir))
		p.await(streams.StateRunning)
		if want == nil {
			seen = send("a", "1", kgo.RecordHeader{Key: "h", Value: []byte("x")}, kgo.RecordHeader{Key: "h"})
			seen = send("b", "2")
			seen = send("c", "3", kgo.RecordHeader{Key: "", Value: []byte{}})
			seen = send("b", "-", kgo.RecordHeader{Key: "gone"})
			seen = send("d", "4")
			seen = send("a", fmt.Sprint(n)) // what forgets has d and a
		}
		got := read(p)
		for name := range kinds {
			if want != nil && !slices.Equal(got[name], want[name]) {
				t.Errorf("%s: %s has\n%q, want\n%q", what, name, got[name], want[name])
			}
			if len(got[name]) == 0 {
				t.Errorf("%s: %s is empty", what, name)
			}
		}
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	round("the first start", nil)
	task := filepath.Join(dir, "app", "0_0")
	copied := filepath.Join(t.TempDir(), "0_0")
	if err := os.CopyFS(copied, os.DirFS(task)); err != nil {
		t.Fatal(err)
	}
	want := round("the second start", nil)
	round("after an orderly stop", want)
	if err := errors.Join(os.RemoveAll(task), os.CopyFS(task, os.DirFS(copied))); err != nil {
		t.Fatal(err)
	}
	round("with the state of a round before", want)
	if err := os.RemoveAll(task); err != nil {
		t.Fatal(err)
	}
	round("without state", want)
}

// A store that is to keep headers, or timestamps, from now on is restored, and what is known of its values is kept.
func TestStoreThatKeepsMoreThanBefore(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(1, "in"))
	cl := client(t, c)
	dir := t.TempDir()
	plain := func(r text) string { return r.Value }
	seen := produced(t, cl, "in", "k", "v", base)
	for _, declare := range []func(b *streams.Builder) kind{
		func(b *streams.Builder) kind { return keyValueKind(b, "s", serde.String, plain) },
		func(b *streams.Builder) kind { return keyValueKind(b, "s", serde.String, plain, streams.Timestamped()) },
		func(b *streams.Builder) kind { return keyValueKind(b, "s", serde.KeepHeaders(serde.String), keptOf) },
		func(b *streams.Builder) kind { return keyValueKind(b, "s", serde.String, plain) },
	} {
		b := streams.NewBuilder()
		k := declare(b)
		b.Stream("in", serde.String, serde.String).Process(func() streams.Processor[string, string, string, string] {
			var fill func(text) error
			return &acts{init: func(ctx *textCtx) (err error) { fill, err = k.open(ctx); return err }, process: func(r text) error { return fill(r) }}
		}, streams.Uses(k.store))
		program, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, c, program, streams.StateDir(dir))
		p.await(streams.StateRunning)
		rows := 0
		for row, err := range k.read(patiently(t), p.App, seen) {
			if rows++; err != nil {
				t.Fatal(err)
			}
			switch row := row.(type) {
			case streams.Row[string, string]:
				same(t, "the value", row.Value, "v")
			case streams.Row[string, streams.Kept[string]]:
				same(t, "the value", row.Value.Value, "v")
				same(t, "its time", row.Value.Time.Equal(base), true)
			}
		}
		same(t, "rows", rows, 1)
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
