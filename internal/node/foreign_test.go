package node

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/millrace/millrace/serde"
)

func FuzzSubscription(f *testing.F) {
	f.Add([]byte("\x01\x020123456789abcdefkey\x00\x00\x00\x07"))
	f.Add([]byte("\x80\x03key"))
	f.Add([]byte("\x01\x020123456789abcdefkey\x8c\x30\x30\x30")) // a partition below zero
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := readSubscription(data)
		if err != nil {
			return
		}
		back, err := appendSubscription(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readSubscription(back)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%v is read back as %v, %v", s, again, err)
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte("\x000123456789abcdefvalue"))
	f.Add([]byte("\x80"))
	s := ResponseSerde(serde.String)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := s.Decode(data)
		if err != nil {
			return
		}
		if back, err := s.Append(nil, r); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%x becomes %x, %v", data, back, err)
		}
	})
}

func FuzzLonely(f *testing.F) {
	f.Add([]byte("short"))
	f.Add(appendLonely(nil, 1_700_000_000_000, true, []byte("key")))
	f.Fuzz(func(t *testing.T, b []byte) {
		time, first, key, ok := splitLonely(b)
		if ok != (len(b) >= lonelyPrefix) {
			t.Fatalf("%x: %v", b, ok)
		}
		if back := appendLonely(nil, time, first, key); ok && b[lonelyPrefix-1] <= 1 && !bytes.Equal(back, b) {
			t.Errorf("%x becomes %x", b, back)
		}
	})
}

// A range ends behind all keys that begin with a prefix.
func TestAfterPrefix(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\x00\x00": "\x00\x01"} {
		if got := after([]byte(prefix)); string(got) != want {
			t.Errorf("after %q comes %q, not %q", prefix, got, want)
		}
	}
	if got := after([]byte("\xff\xff")); got != nil {
		t.Errorf("after all comes %q", got)
	}
}
