package serde_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
)

// fuzz decodes anything: an error or a value, never a panic. What is decoded is encoded to something that is decoded to
// the same; where exact holds it is encoded as it came.
func fuzz[T any](f *testing.F, s serde.Serde[T], exact bool, seeds ...string) {
	for _, seed := range append(seeds, "", "\x00", "\x00\x00\x00\x00\x00\x00\x03\xe8", "12345678901234567890") {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(data)
		if err != nil {
			return
		}
		once, err := s.Append(nil, v)
		if err != nil {
			t.Fatalf("%x is decoded as %v, which cannot be encoded: %v", data, v, err)
		}
		if exact && !bytes.Equal(once, data) {
			t.Errorf("%x is decoded as %v, which is encoded as %x", data, v, once)
		}
		again, err := s.Decode(once)
		if err != nil {
			t.Fatalf("%x is decoded as %v, which is encoded as %x, which is not: %v", data, v, once, err)
		}
		if twice, err := s.Append(nil, again); err != nil || !bytes.Equal(twice, once) {
			t.Errorf("%x becomes %x, then %x (%v)", data, once, twice, err)
		}
	})
}

func FuzzString(f *testing.F)  { fuzz(f, serde.String, true, "hé", "\xff") }
func FuzzBytes(f *testing.F)   { fuzz(f, serde.Bytes, true) }
func FuzzInt64(f *testing.F)   { fuzz(f, serde.Int64, true) }
func FuzzInt32(f *testing.F)   { fuzz(f, serde.Int32, true, "1234") }
func FuzzInt16(f *testing.F)   { fuzz(f, serde.Int16, true, "12") }
func FuzzFloat64(f *testing.F) { fuzz(f, serde.Float64, false, "\x7f\xf0\x00\x00\x00\x00\x00\x01") }
func FuzzFloat32(f *testing.F) { fuzz(f, serde.Float32, false, "\x7f\x80\x00\x01") }
func FuzzBool(f *testing.F)    { fuzz(f, serde.Bool, true, "\x01", "\x02") }
func FuzzUUID(f *testing.F)    { fuzz(f, serde.UUID, false, "123e4567-e89b-12d3-a456-426614174000") }
func FuzzJSON(f *testing.F) {
	fuzz(f, serde.JSON[struct {
		A string
		B []float64
		C map[string]int
	}](), false, `{"A":"<x>","B":[1.5],"C":{"k":1}}`, "null")
}
func FuzzKeepHeaders(f *testing.F) {
	fuzz(f, serde.KeepHeaders(serde.String), false, string(serde.AppendKept(nil, []serde.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}, {}}, 7, []byte("v"))),
		"\x00\x00\x00\x00\x00\x00\x00\x00\x01v", "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01")
}
func FuzzOptional(f *testing.F) { fuzz(f, serde.Optional(serde.Int64), true) }
func FuzzTimeWindowed(f *testing.F) {
	fuzz(f, serde.TimeWindowed(serde.String, time.Second), true, "k\x7f\xff\xff\xff\xff\xff\xff\xff")
}
func FuzzSessionWindowed(f *testing.F) {
	fuzz(f, serde.SessionWindowed(serde.String), true, "k12345678\x80\x00\x00\x00\x00\x00\x00\x00")
}
func FuzzListOfStrings(f *testing.F) {
	fuzz(f, serde.List(serde.Optional(serde.String)), true, "\x01\x00\x00\x00\x01\xff\xff\xff\xff", "\x01\x00\x00\x00\x00")
}
func FuzzListOfNumbers(f *testing.F) {
	fuzz(f, serde.List(serde.Optional(serde.Int64)), true, "\x00\x00\x00\x00\x00\x00\x00\x00\x00")
}
