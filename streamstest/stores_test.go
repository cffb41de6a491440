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
