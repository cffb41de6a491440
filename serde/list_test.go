package serde_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/millrace/millrace/serde"
)

// The bytes are those of Java's ListSerializer 4.3.1.
func TestListBytes(t *testing.T) {
	str, num := serde.Optional(serde.String), serde.Optional(serde.Int64)
	hasBytes(t, serde.List(str), []serde.Opt[string]{serde.Some("a"), serde.None[string](), serde.Some("bcd"), serde.Some("")},
		"01000000040000000161ffffffff0000000362636400000000")
	hasBytes(t, serde.List(num), []serde.Opt[int64]{serde.Some[int64](1), serde.None[int64](), serde.Some[int64](-2)},
		"000000000100000001000000030000000000000001fffffffffffffffe")
	hasBytes(t, serde.List(serde.Int32), nil, "000000000000000000")
	hasBytes(t, serde.List(serde.String), nil, "0100000000")
	hasBytes(t, serde.List(serde.Bool), []bool{true}, "01000000010000000101")
	hasBytes(t, serde.List(serde.Int16), []int16{7, -7}, "0000000000000000020007fff9")
	hasBytes(t, serde.List(serde.UUID), [][16]byte{{7: 1, 15: 2}},
		"000000000000000001"+"30303030303030302d303030302d303030312d303030302d303030303030303030303032")
}

func hasBytes[T any](t *testing.T, s serde.Serde[[]T], v []T, want string) {
	t.Helper()
	b, err := s.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("%v is %s, not %s", v, got, want)
	}
	back, err := s.Decode(b)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(append([]T{}, v...)) {
		t.Errorf("%v is read back as %v, %v", v, back, err)
	}
}

func TestListErrors(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "another encoding": "000000000000000000", "no encoding": "0200000000", "too many values": "017fffffff", "too few bytes": "010000000100000009",
		"bytes left": "010000000000", "a null": "0100000001ffffffff", "a negative length": "0100000001fffffffe",
	} {
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := serde.List(serde.String).Decode(b); err == nil {
			t.Errorf("%s: it is read as %v", name, v)
		}
	}
}
