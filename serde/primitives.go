package serde

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// The serdes of Kafka's primitive types. Integers and floats are big-endian; String is UTF-8 and not checked, as in
// Java; Bool is one byte, 00 or 01; UUID is the 36-character text, not 16 bytes (Java's UUIDSerializer).
var (
	String  Serde[string]   = stringSerde{}
	Bytes   Serde[[]byte]   = bytesSerde{}
	Int64   Serde[int64]    = int64Serde{}
	Int32   Serde[int32]    = int32Serde{}
	Int16   Serde[int16]    = int16Serde{}
	Float64 Serde[float64]  = float64Serde{}
	Float32 Serde[float32]  = float32Serde{}
	Bool    Serde[bool]     = boolSerde{}
	UUID    Serde[[16]byte] = uuidSerde{}
)

type (
	stringSerde  struct{}
	bytesSerde   struct{}
	int64Serde   struct{}
	int32Serde   struct{}
	int16Serde   struct{}
	float64Serde struct{}
	float32Serde struct{}
	boolSerde    struct{}
	uuidSerde    struct{}
)

func (stringSerde) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringSerde) Decode(data []byte) (string, error)          { return string(data), nil }

func (bytesSerde) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesSerde) Decode(data []byte) ([]byte, error) {
	return append(make([]byte, 0, len(data)), data...), nil
}

func (int64Serde) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Serde) Decode(data []byte) (int64, error) {
	if len(data) != 8 {
		return 0, sizeError("int64", 8, data)
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}

func (int32Serde) Append(dst []byte, v int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func (int32Serde) Decode(data []byte) (int32, error) {
	if len(data) != 4 {
		return 0, sizeError("int32", 4, data)
	}
	return int32(binary.BigEndian.Uint32(data)), nil
}

func (int16Serde) Append(dst []byte, v int16) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
}

func (int16Serde) Decode(data []byte) (int16, error) {
	if len(data) != 2 {
		return 0, sizeError("int16", 2, data)
	}
	return int16(binary.BigEndian.Uint16(data)), nil
}

func (float64Serde) Append(dst []byte, v float64) ([]byte, error) {
	bits := math.Float64bits(v)
	if math.IsNaN(v) {
		bits = 0x7ff8000000000000 // Java writes each NaN as this one (Double.doubleToLongBits), of float32 as it is
	}
	return binary.BigEndian.AppendUint64(dst, bits), nil
}

func (float64Serde) Decode(data []byte) (float64, error) {
	if len(data) != 8 {
		return 0, sizeError("float64", 8, data)
	}
	return math.Float64frombits(binary.BigEndian.Uint64(data)), nil
}

func (float32Serde) Append(dst []byte, v float32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v)), nil
}

func (float32Serde) Decode(data []byte) (float32, error) {
	if len(data) != 4 {
		return 0, sizeError("float32", 4, data)
	}
	return math.Float32frombits(binary.BigEndian.Uint32(data)), nil
}

func (boolSerde) Append(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

// Decode refuses bytes other than 00 and 01, as Java's BooleanDeserializer does.
func (boolSerde) Decode(data []byte) (bool, error) {
	if len(data) != 1 {
		return false, sizeError("bool", 1, data)
	}
	if data[0] > 1 {
		return false, fmt.Errorf("serde: bool: byte %#02x is neither 00 nor 01", data[0])
	}
	return data[0] == 1, nil
}

func (uuidSerde) Append(dst []byte, v [16]byte) ([]byte, error) {
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		start := [...]int{0, 4, 6, 8, 10}[i]
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, v[start:end])
	}
	return dst, nil
}

func (uuidSerde) Decode(data []byte) (v [16]byte, err error) {
	if len(data) != 36 {
		return v, sizeError("UUID text", 36, data)
	}
	var digits [32]byte
	n := 0
	for i, c := range data {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return v, fmt.Errorf("serde: UUID %q: no '-' at position %d", data, i)
			}
			continue
		}
		digits[n] = c
		n++
	}
	if _, err := hex.Decode(v[:], digits[:]); err != nil {
		return [16]byte{}, fmt.Errorf("serde: UUID %q: %w", data, err)
	}
	return v, nil
}

func sizeError(what string, want int, data []byte) error {
	return fmt.Errorf("serde: %s wants %d bytes, got %d", what, want, len(data))
}
