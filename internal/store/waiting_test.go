package store

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

func openWaiting(t testing.TB, logged *[]topology.Record, resources *Resources) (*Store, *Waiting) {
	s, err := Open(Config{
		Spec: &state.Spec{Name: "join-Buffer", Kind: state.KeyValue, Engine: state.Memory}, Resources: resources,
		Log: func(key, value []byte, timestamp int64, headers []topology.Header) error {
			*logged = append(*logged, topology.Record{Key: key, Value: value, Timestamp: timestamp, Headers: headers})
			return nil
		},
	})
	check(t, err)
	return s, NewWaiting(s)
}

func waitingRecord(value string, at int64) Buffered {
	return Buffered{New: []byte(value), Origin: topology.Record{Topic: "in", Partition: 1, Offset: 7, Timestamp: at}}
}

// take takes what is ready, as key=value@time.
func take(t testing.TB, w *Waiting, until int64) (all []string) {
	t.Helper()
	check(t, w.Take(until, func(key []byte, v Buffered) error {
		all = append(all, fmt.Sprintf("%s=%s@%d", key, v.New, v.Origin.Timestamp))
		return nil
	}))
	return all
}

func TestWaiting(t *testing.T) {
	var log []topology.Record
	s, w := openWaiting(t, &log, testResources(t, Limits{}))
	if last, err := w.Load(); last != -1 || err != nil {
		t.Fatal(last, err)
	}
	for i, r := range []string{"b@20", "a@20", "a@20", "c@10", "d@30"} {
		at := int64(r[2]-'0') * 10
		check(t, w.Put([]byte(r[:1]), at, waitingRecord(fmt.Sprint(i), at)))
	}
	same(t, "before the first", take(t, w, 9), nil)
	same(t, "at 20", take(t, w, 20), []string{"c=3@10", "a=1@20", "a=2@20", "b=0@20"})
	same(t, "at 29", take(t, w, 29), nil)
	check(t, s.Commit(int64(len(log))))
	check(t, s.Close())

	// Another instance restores what waits, and numbers on.
	s, w = openWaiting(t, &log, testResources(t, Limits{}))
	check(t, s.Restore(log, int64(len(log))))
	check(t, s.RestoreDone())
	if last, err := w.Load(); last != 30 || err != nil {
		t.Fatal(last, err)
	}
	check(t, w.Put([]byte("d"), 30, waitingRecord("again", 30)))
	if got, want := fmt.Sprintf("%x", log[len(log)-1].Key), "00000000000000001e640000000a"; got != want {
		t.Errorf("the key in the changelog is %s, want %s", got, want)
	}
	same(t, "at 30", take(t, w, 30), []string{"d=4@30", "d=again@30"})
	same(t, "at the end", take(t, w, 1<<62), nil)
	check(t, s.Close())
}

// Whatever is in the changelog, reading it does not panic, and what is not a record that waits is an error.
func FuzzWaiting(f *testing.F) {
	v := waitingRecord("value", 5)
	f.Add(append(appendWaitingTime(nil, 5), "key\x00\x00\x00\x01"...), v.append(nil))
	f.Add([]byte("key"), []byte{})
	resources := NewResources(Limits{})
	f.Cleanup(resources.Close)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var log []topology.Record
		s, w := openWaiting(t, &log, resources)
		check(t, s.Restore([]topology.Record{{Key: append([]byte{}, key...), Value: value}}, 1))
		check(t, s.RestoreDone())
		last, err := w.Load()
		n := 0
		if err == nil {
			err = w.Take(max(last, 0), func(key []byte, v Buffered) error { n++; return nil })
		}
		if err == nil && value != nil && last >= 0 && n != 1 {
			t.Fatalf("%d records are taken", n)
		}
		check(t, s.Close())
	})
}
