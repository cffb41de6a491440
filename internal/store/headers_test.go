package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

func showHeaders(headers []topology.Header) (s string) {
	for _, h := range headers {
		if s += " " + h.Key; h.Value != nil {
			s += "=" + string(h.Value)
		}
	}
	return s
}

// keeping opens a store that keeps headers, and notes what it logs.
func keeping(t *testing.T, change func(*Config)) (*Store, *[]string) {
	t.Helper()
	var seen []string
	c := Config{
		Spec:        &state.Spec{Name: "kept", Headers: true, Logged: true, Engine: state.Memory},
		Application: "app", Changelog: "app-kept-changelog", Dir: t.TempDir(), Resources: testResources(t, Limits{RecordCache: 1 << 20}),
		Log: func(key, value []byte, timestamp int64, headers []topology.Header) error {
			seen = append(seen, fmt.Sprintf("%s%s%s", key, showLogged(Value{value, timestamp}), showHeaders(headers)))
			return nil
		},
	}
	if change != nil {
		change(&c)
	}
	s, err := Open(c)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s, &seen
}

// What is logged are the plain value and the headers and the timestamp that are kept with it, or those of the record in
// process: the timestamp where none is given, the headers of what is deleted.
func TestHeadersAreLogged(t *testing.T) {
	two := []topology.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}}
	in := &topology.Record{Headers: []topology.Header{{Key: "in", Value: []byte{}}}}
	for _, cached := range []bool{false, true} {
		s, seen := keeping(t, func(c *Config) { c.Spec.Cached = cached })
		for _, c := range []struct {
			kept []byte
			want string
		}{
			{serde.AppendKept(nil, two, 5, []byte("v")), "k=v@5 h=1 h"},
			{serde.AppendKept(nil, nil, -1, []byte{}), "k=@9"},
			{nil, "k-@9 in="},
		} {
			check(t, s.Put([]byte("k"), Value{c.kept, 9}, in))
			check(t, s.FlushCache())
			if got := (*seen)[len(*seen)-1]; got != c.want {
				t.Errorf("cached %v: logged %q, want %q", cached, got, c.want)
			}
		}
		same(t, "logged", []int{len(*seen)}, []int{3})
	}
}

// A restore puts headers and timestamp back beside the value.
func TestHeadersAreRestored(t *testing.T) {
	s, _ := keeping(t, nil)
	headers := []topology.Header{{Key: "h", Value: []byte("1")}, {Key: "", Value: nil}}
	check(t, s.Restore([]topology.Record{
		{Key: []byte("a"), Value: []byte("1"), Timestamp: 7, Headers: headers},
		{Key: []byte("b"), Value: []byte{}, Timestamp: 8},
		{Key: []byte("c"), Value: []byte("3"), Timestamp: 9},
		{Key: []byte("c"), Timestamp: 10, Headers: headers},
	}, 4))
	check(t, s.RestoreDone())
	for key, want := range map[string][]byte{
		"a": serde.AppendKept(nil, headers, 7, []byte("1")), "b": serde.AppendKept(nil, nil, 8, nil), "c": nil,
	} {
		v, err := s.Get([]byte(key))
		check(t, err)
		if string(v.Bytes) != string(want) || (v.Bytes == nil) != (want == nil) {
			t.Errorf("%s is %x, want %x", key, v.Bytes, want)
		}
	}
}

// A directory with the same store and values of another form is to be restored; without a changelog it is refused.
func TestValuesOfAnotherForm(t *testing.T) {
	dir := t.TempDir()
	open := func(change func(*state.Spec)) error {
		c := Config{
			Spec:        &state.Spec{Name: "s", Timestamped: true, Logged: true},
			Application: "app", Changelog: "app-s-changelog", Dir: dir, Resources: testResources(t, Limits{}),
		}
		change(c.Spec)
		s, err := Open(c)
		if err == nil {
			err = s.Close()
		}
		return err
	}
	check(t, open(func(*state.Spec) {}))
	for _, change := range []func(*state.Spec){
		func(s *state.Spec) { s.Timestamped = false },
		func(s *state.Spec) { s.Timestamped, s.Headers = false, true },
	} {
		var corrupt *CorruptError
		if err := open(change); !errors.As(err, &corrupt) {
			t.Errorf("another form: %v", err)
		}
		var foreign *ForeignError
		if err := open(func(s *state.Spec) { change(s); s.Logged = false }); !errors.As(err, &foreign) {
			t.Errorf("another form without a changelog: %v", err)
		}
	}
	check(t, open(func(*state.Spec) {}))
}
