package streamstest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
)

// TestStoresThatAreNotThere: a store of another name or kind is named in the failure.
func TestStoresThatAreNotThere(t *testing.T) {
	b := streams.NewBuilder()
	b.Stream("in", serde.String, serde.String).GroupByKey().Count(streams.As("counts"))
	topology, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for want, read := range map[string]func(d *streamstest.Driver){
		`no store "other"`: func(d *streamstest.Driver) { d.Store("other", serde.String, serde.Int64) },
		`"counts" is a key-value store, not a session store`: func(d *streamstest.Driver) { d.SessionStore("counts", serde.String, serde.Int64) },
		`"counts" is a key-value store, not a window store`:  func(d *streamstest.Driver) { d.WindowStore("counts", serde.String, serde.Int64) },
	} {
		d, err := streamstest.Open(topology)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("the failure is %q, which does not say %q", got, want)
				}
			}()
			read(d)
		}()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A store that keeps headers is read with them or without; one that does not says so.
func TestReadHeaders(t *testing.T) {
	b := streams.NewBuilder()
	kept := b.KeyValueStore("kept", serde.String, serde.KeepHeaders(serde.String))
	plain := b.KeyValueStore("plain", serde.String, serde.String)
	b.GlobalStore(kept, "in", serde.String, serde.String, func() streams.Processor[string, string, struct{}, struct{}] { return &keeper{store: kept} })
	b.Stream("other", serde.String, serde.String).Process(func() streams.Processor[string, string, string, string] { return nothing{} }, streams.Uses(plain))
	topology, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d, err := streamstest.Open(topology)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Input("in", serde.String, serde.String).Send("k", "v")
	if v, ok := d.Store("kept", serde.String, serde.KeepHeaders(serde.String)).Get("k"); !ok || v.Value != "v" || len(v.Headers) != 1 {
		t.Errorf("with headers there is %+v, %v", v, ok)
	}
	if v, ok := d.Store("kept", serde.String, serde.String).Get("k"); !ok || v != "v" {
		t.Errorf("without headers there is %q, %v", v, ok)
	}
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, `store "plain" keeps no headers`) {
			t.Errorf("the failure is %q", got)
		}
	}()
	d.Store("plain", serde.String, serde.KeepHeaders(serde.String))
}

type keeper struct {
	store *streams.KeyValueStore[string, streams.Kept[string]]
	of    *streams.KeyValues[string, streams.Kept[string]]
}

func (k *keeper) Init(c *streams.Context[struct{}, struct{}]) (err error) {
	k.of, err = k.store.Open(c)
	return err
}

func (k *keeper) Process(r streams.Record[string, string]) error {
	return k.of.Put(r.Key, streams.Kept[string]{Value: r.Value, Headers: []streams.Header{{Key: "h"}}})
}

type nothing struct{}

func (nothing) Init(*streams.Context[string, string]) error  { return nil }
func (nothing) Process(streams.Record[string, string]) error { return nil }
