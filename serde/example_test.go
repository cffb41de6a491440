package serde_test

import (
	"encoding/binary"
	"fmt"
	"log"
	"time"

	"github.com/millrace/millrace/serde"
)

// show prints what a serde makes of a value.
func show[T any](s serde.Serde[T], v T) {
	data, err := s.Append(nil, v)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%T %v is %x\n", v, v, data)
}

// The primitives are encoded as Kafka's own serializers do it.
func Example() {
	show(serde.String, "hé")
	show(serde.Bytes, []byte{1, 2})
	show(serde.Int64, 1)
	show(serde.Int32, -2)
	show(serde.Int16, 258)
	show(serde.Float64, 1.5)
	show(serde.Float32, 1.5)
	show(serde.Bool, true)
	// Output:
	// string hé is 68c3a9
	// []uint8 [1 2] is 0102
	// int64 1 is 0000000000000001
	// int32 -2 is fffffffe
	// int16 258 is 0102
	// float64 1.5 is 3ff8000000000000
	// float32 1.5 is 3fc00000
	// bool true is 01
}

// A UUID is text in Kafka, not 16 bytes. [16]byte is what the uuid packages have.
func ExampleUUID() {
	id, err := serde.UUID.Decode([]byte("123e4567-e89b-12d3-a456-426614174000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n", id)
	// Output: 123e4567e89b12d3a456426614174000
}

func ExampleJSON() {
	type order struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	orders := serde.JSON[order]()
	data, err := orders.Append(nil, order{"ann", 500})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", data)
	_, err = orders.Decode([]byte(`{"cents":"many"}`))
	fmt.Println(err != nil)
	// Output:
	// {"customer":"ann","cents":500}
	// true
}

// An Opt has null among its values. The serde never sees it: a null key or value is no bytes, not some.
func ExampleOptional() {
	price := serde.Optional(serde.Int64)
	show(price, serde.Some[int64](500))
	_, err := price.Append(nil, serde.None[int64]())
	fmt.Println(err)
	fmt.Println(serde.None[int64]().Or(-1))
	// Output:
	// serde.Opt[int64] 500 is 00000000000001f4
	// serde: a null int64 has no encoding
	// -1
}

func ExampleTimeWindowed() {
	perSecond := serde.TimeWindowed(serde.String, time.Second)
	show(perSecond, serde.Windowed[string]{Key: "k", Window: serde.Window{Start: 1000, End: 2000}})
	// Output: serde.Windowed[string] [k@1000/2000] is 6b00000000000003e8
}

func ExampleSessionWindowed() {
	show(serde.SessionWindowed(serde.String), serde.Windowed[string]{Key: "k", Window: serde.Window{Start: 1000, End: 2000}})
	// Output: serde.Windowed[string] [k@1000/2000] is 6b00000000000007d000000000000003e8
}

func ExampleFunc() {
	stamp := serde.Func(
		func(dst []byte, v time.Time) ([]byte, error) {
			return binary.BigEndian.AppendUint32(dst, uint32(v.Unix())), nil
		},
		func(data []byte) (time.Time, error) {
			if len(data) != 4 {
				return time.Time{}, fmt.Errorf("a time has 4 bytes, not %d", len(data))
			}
			return time.Unix(int64(binary.BigEndian.Uint32(data)), 0).UTC(), nil
		})
	show(stamp, time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC))
	_, err := stamp.Decode([]byte("abc"))
	fmt.Println(err)
	// Output:
	// time.Time 2027-01-02 03:04:05 +0000 UTC is 6b386925
	// a time has 4 bytes, not 3
}

func ExampleOf() {
	s, ok := serde.Of[int64]()
	show(s, 7)
	fmt.Println(ok)
	_, ok = serde.Of[time.Time]()
	fmt.Println(ok)
	// Output:
	// int64 7 is 0000000000000007
	// true
	// false
}
