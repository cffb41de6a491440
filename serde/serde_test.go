package serde_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
)

// vector is a value with the bytes that Java's serializer makes of it.
type vector struct {
	what, hex string
	check     func(t *testing.T, want []byte)
}

func vec[T any](what string, s serde.Serde[T], v T, hex string) vector {
	return vector{what, hex, func(t *testing.T, want []byte) {
		got, err := s.Append([]byte("before"), v)
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("it is encoded as %x (%v)", got, err)
		}
		data := bytes.Clone(want)
		back, err := s.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		clear(data) // Decode keeps no reference
		if fmt.Sprint(back) != fmt.Sprint(v) {
			t.Errorf("it is decoded as %v", back)
		}
	}}
}

// TestBytesAreJavas: the bytes are those of the serializers of Kafka 4.3.1.
func TestBytesAreJavas(t *testing.T) {
	window := serde.Windowed[string]{Key: "k", Window: serde.Window{Start: 1000, End: 2000}}
	last := serde.Windowed[string]{Key: "k", Window: serde.Window{Start: math.MaxInt64 - 1, End: math.MaxInt64}}
	for _, v := range []vector{
		vec("a long", serde.Int64, 0, "0000000000000000"),
		vec("a long", serde.Int64, 1, "0000000000000001"),
		vec("a long", serde.Int64, -1, "ffffffffffffffff"),
		vec("a long", serde.Int64, math.MinInt64, "8000000000000000"),
		vec("an int", serde.Int32, -2, "fffffffe"),
		vec("a short", serde.Int16, 258, "0102"),
		vec("a double", serde.Float64, 1.5, "3ff8000000000000"),
		vec("a double that is no number", serde.Float64, math.NaN(), "7ff8000000000000"),
		vec("a double", serde.Float64, math.Inf(-1), "fff0000000000000"),
		vec("a float", serde.Float32, 1.5, "3fc00000"),
		vec("a float that is no number", serde.Float32, float32(math.NaN()), "7fc00000"),
		vec("a boolean", serde.Bool, true, "01"),
		vec("a boolean", serde.Bool, false, "00"),
		vec("a string", serde.String, "hé", "68c3a9"),
		vec("an empty string", serde.String, "", ""),
		vec("bytes", serde.Bytes, []byte{1, 2}, "0102"),
		vec("a UUID", serde.UUID, [16]byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00},
			"31323365343536372d653839622d313264332d613435362d343236363134313734303030"),
		vec("a key with its window", serde.TimeWindowed(serde.String, time.Second), window, "6b00000000000003e8"),
		vec("a window at the end of time", serde.TimeWindowed(serde.String, time.Second), last, "6b7ffffffffffffffe"),
		vec("a key with its session", serde.SessionWindowed(serde.String), window, "6b00000000000007d000000000000003e8"),
		vec("an optional long", serde.Optional(serde.Int64), serde.Some[int64](1), "0000000000000001"),
	} {
		t.Run(v.what, func(t *testing.T) {
			want, err := hex.DecodeString(v.hex)
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, want)
		})
	}
}

func refuses[T any](t *testing.T, what string, s serde.Serde[T], data, says string) {
	t.Helper()
	if v, err := s.Decode([]byte(data)); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %q is decoded as %v (%v); the error should say %q", what, data, v, err, says)
	}
}

func TestWhatNoSerializerWroteIsRefused(t *testing.T) {
	refuses(t, "an int64", serde.Int64, "1234567", "int64 wants 8 bytes, got 7")
	refuses(t, "an int64", serde.Int64, "", "got 0")
	refuses(t, "an int32", serde.Int32, "12345", "int32 wants 4 bytes, got 5")
	refuses(t, "an int16", serde.Int16, "1", "int16 wants 2 bytes, got 1")
	refuses(t, "a float64", serde.Float64, "1234", "float64 wants 8 bytes, got 4")
	refuses(t, "a float32", serde.Float32, "12345678", "float32 wants 4 bytes, got 8")
	refuses(t, "a bool", serde.Bool, "", "bool wants 1 bytes, got 0")
	refuses(t, "a bool", serde.Bool, "\x02", "0x02")
	refuses(t, "a UUID", serde.UUID, "123e4567", "36 bytes, got 8")
	refuses(t, "a UUID", serde.UUID, "123e4567xe89b-12d3-a456-426614174000", "position 8")
	refuses(t, "a UUID", serde.UUID, "123e4567-e89b-12d3-a456-42661417400g", "invalid byte")
	refuses(t, "a window", serde.TimeWindowed(serde.String, time.Second), "1234567", "7 bytes")
	refuses(t, "a window's key", serde.TimeWindowed(serde.Int64, time.Second), "123456789", "int64 wants 8 bytes, got 1")
	refuses(t, "a session", serde.SessionWindowed(serde.String), "123456789012345", "15 bytes")
	refuses(t, "a session's key", serde.SessionWindowed(serde.Int16), "1234567890123456", "int16 wants 2 bytes, got 0")
	refuses(t, "an optional", serde.Optional(serde.Int64), "1", "int64 wants 8 bytes")
	refuses(t, "JSON", serde.JSON[int](), "{", "JSON into int")
	refuses(t, "JSON", serde.JSON[int](), "1 2", "JSON into int")
	refuses(t, "JSON", serde.JSON[int](), "", "JSON into int")
}

func TestWhatHasNoEncoding(t *testing.T) {
	for what, try := range map[string]func(dst []byte) ([]byte, error){
		"a null": func(dst []byte) ([]byte, error) { return serde.Optional(serde.Int64).Append(dst, serde.None[int64]()) },
		"a null in a window": func(dst []byte) ([]byte, error) {
			return serde.TimeWindowed(serde.Optional(serde.String), time.Second).Append(dst, serde.Windowed[serde.Opt[string]]{})
		},
		"a null in a session": func(dst []byte) ([]byte, error) {
			return serde.SessionWindowed(serde.Optional(serde.String)).Append(dst, serde.Windowed[serde.Opt[string]]{})
		},
		"a channel": func(dst []byte) ([]byte, error) { return serde.JSON[chan int]().Append(dst, make(chan int)) },
	} {
		if out, err := try([]byte("before")); err == nil || string(out) != "before" {
			t.Errorf("%s is encoded as %q (%v)", what, out, err)
		}
	}
}

func TestOf(t *testing.T) {
	has := func(what string, ok bool) {
		if !ok {
			t.Errorf("there is no serde of %s", what)
		}
	}
	_, ok := serde.Of[string]()
	has("string", ok)
	_, ok = serde.Of[[]byte]()
	has("[]byte", ok)
	_, ok = serde.Of[[16]byte]()
	has("[16]byte", ok)
	_, ok = serde.Of[serde.Opt[float32]]()
	has("Opt[float32]", ok)
	type named string
	if _, ok := serde.Of[named](); ok {
		t.Error("there is a serde of a type that is not a primitive one")
	}
	if _, ok := serde.Of[int](); ok {
		t.Error("int has no size that Java would know")
	}
}

func TestOpt(t *testing.T) {
	some, none := serde.Some("x"), serde.None[string]()
	if v, ok := some.Get(); v != "x" || !ok || some.Or("y") != "x" || some.String() != "x" {
		t.Errorf("some is %v", some)
	}
	if _, ok := none.Get(); ok || none.Or("y") != "y" || none.String() != "null" || !reflect.ValueOf(none).IsZero() {
		t.Errorf("none is %v", none)
	}
	if null := serde.NullTest[serde.Opt[string]](); null == nil || null(some) || !null(none) {
		t.Error("nulls are not told from values")
	}
	if serde.NullTest[string]() != nil || serde.NullTest[*int]() != nil || serde.NullTest[error]() != nil {
		t.Error("a type without nulls has some")
	}
}

func TestWindowedPrintsAsJava(t *testing.T) {
	w := serde.Windowed[string]{Key: "k", Window: serde.Window{Start: 0, End: 60000}}
	if w.String() != "[k@0/60000]" {
		t.Error(w)
	}
}

func TestJSONIsPlain(t *testing.T) {
	type page struct {
		Title string `json:"title"`
	}
	got, err := serde.JSON[page]().Append([]byte("x"), page{"a < b & c"})
	if err != nil || string(got) != `x{"title":"a < b & c"}` {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestFunc(t *testing.T) {
	odd := errors.New("odd")
	s := serde.Func(
		func(dst []byte, v int) ([]byte, error) { return append(dst, byte(v)), nil },
		func(data []byte) (int, error) {
			if len(data) != 1 {
				return 0, odd
			}
			return int(data[0]), nil
		})
	if b, err := s.Append(nil, 7); err != nil || string(b) != "\a" {
		t.Errorf("%q (%v)", b, err)
	}
	if _, err := s.Decode(nil); !errors.Is(err, odd) {
		t.Error(err)
	}
}
