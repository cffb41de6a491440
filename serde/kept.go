package serde

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// A Header is one header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Kept is a value with what a store that keeps headers has beside it. A time before 1970, as the zero time is, is that of
// the record in process when the value is put. (Java: ValueTimestampHeaders, AggregationWithHeaders)
type Kept[V any] struct {
	Value   V
	Time    time.Time
	Headers []Header
}

func (Kept[V]) nullTest() any {
	null := NullTest[V]()
	if null == nil {
		return (func(Kept[V]) bool)(nil)
	}
	return func(k Kept[V]) bool { return null(k.Value) }
}

// KeepHeaders returns the serde of the values of a store that keeps headers and a timestamp beside each. It is for stores
// of a program alone: in topics, the store's changelog too, headers and timestamps are those of the records. (Java:
// timestampedKeyValueStoreWithHeadersBuilder and its like, KIP-1271)
func KeepHeaders[V any](value Serde[V]) Serde[Kept[V]] { return kept[V]{value} }

// KeepsHeaders says whether a serde is one of KeepHeaders.
func KeepsHeaders[V any](s Serde[V]) bool {
	_, ok := s.(interface{ keepsHeaders() })
	return ok
}

type kept[V any] struct{ value Serde[V] }

func (kept[V]) keepsHeaders() {}

func (s kept[V]) Append(dst []byte, k Kept[V]) ([]byte, error) {
	b, err := s.value.Append(AppendKept(dst, k.Headers, k.Time.UnixMilli(), nil), k.Value)
	if err != nil {
		return dst, err
	}
	return b, nil
}

func (s kept[V]) Decode(data []byte) (k Kept[V], err error) {
	raw, at, value, err := SplitKept(data)
	if err == nil {
		k.Time = time.UnixMilli(at)
		k.Headers, err = ParseHeaders(bytes.Clone(raw))
	}
	if err == nil {
		k.Value, err = s.value.Decode(value)
	}
	if err != nil {
		return Kept[V]{}, err
	}
	return k, nil
}

// WithoutHeaders returns the serde that reads the plain values of a store that keeps headers. It writes none.
func WithoutHeaders[V any](value Serde[V]) Serde[V] {
	return Func(func(dst []byte, _ V) ([]byte, error) {
		return dst, errors.New("serde: a serde without headers only reads")
	}, func(data []byte) (v V, err error) {
		_, _, plain, err := SplitKept(data)
		if err != nil {
			return v, err
		}
		return value.Decode(plain)
	})
}

// AppendKept appends what a store that keeps headers holds for a value: the size of the headers, their number and each with
// the sizes of its key and value, nothing where there are none; the timestamp; the value. Sizes are varints
// (ValueTimestampHeadersSerializer, HeadersSerializer).
func AppendKept(dst []byte, headers []Header, at int64, value []byte) []byte {
	size := 0
	if len(headers) > 0 {
		size = varintSize(len(headers))
	}
	for _, h := range headers {
		size += varintSize(len(h.Key)) + len(h.Key) + varintSize(valueSize(h)) + len(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(size))
	if len(headers) > 0 {
		dst = binary.AppendVarint(dst, int64(len(headers)))
	}
	for _, h := range headers {
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = append(binary.AppendVarint(dst, int64(valueSize(h))), h.Value...)
	}
	return append(binary.BigEndian.AppendUint64(dst, uint64(at)), value...)
}

// valueSize is -1 for a null.
func valueSize(h Header) int {
	if h.Value == nil {
		return -1
	}
	return len(h.Value)
}

func varintSize(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutVarint(b[:], int64(n))
}

var errKept = errors.New("serde: these are not a value with headers and a timestamp")

// SplitKept is the opposite of AppendKept: it returns parts of b. [ParseHeaders] reads the headers.
func SplitKept(b []byte) (headers []byte, at int64, value []byte, err error) {
	size, n := binary.Varint(b)
	if n <= 0 || size < 0 || size > int64(len(b)-n-8) {
		return nil, 0, nil, errKept
	}
	headers, b = b[n:n+int(size)], b[n+int(size):]
	return headers, int64(binary.BigEndian.Uint64(b)), b[8:], nil
}

// ParseHeaders returns the headers that SplitKept has returned. Their values are parts of b.
func ParseHeaders(b []byte) ([]Header, error) {
	if len(b) == 0 {
		return nil, nil
	}
	count, n := binary.Varint(b)
	b = b[max(n, 0):]
	if n <= 0 || count < 0 || count > int64(len(b)/2) { // each has two sizes at least
		return nil, errKept
	}
	headers := make([]Header, count)
	for i := range headers {
		key, rest, ok := sized(b)
		if !ok || key == nil {
			return nil, errKept
		}
		headers[i].Key = string(key)
		if headers[i].Value, b, ok = sized(rest); !ok {
			return nil, errKept
		}
	}
	if len(b) > 0 {
		return nil, errKept
	}
	return headers, nil
}

// sized takes bytes behind their size; that of a null is -1.
func sized(b []byte) (taken, rest []byte, ok bool) {
	size, n := binary.Varint(b)
	if n <= 0 || size < -1 || size > int64(len(b)-n) {
		return nil, nil, false
	}
	b = b[n:]
	if size < 0 {
		return nil, b, true
	}
	return b[:size:size], b[size:], true
}
