package serde

import (
	"encoding/binary"
	"fmt"
	"math"
)

// List returns the serde of lists of values (Java's ListSerializer, KIP-466). Where all values of a kind take the same
// number of bytes (numbers and UUIDs) they lie side by side, else each has its length in front. Null values are those of
// an [Opt].
func List[T any](value Serde[T]) Serde[[]T] {
	inner := any(value)
	if o, ok := inner.(interface{ present() any }); ok {
		inner = o.present()
	}
	return list[T]{value, fixedSize(inner), NullTest[T]()}
}

// fixedSize returns how many bytes each value of a serde has; 0: not always the same.
func fixedSize(s any) int {
	switch s.(type) {
	case int16Serde:
		return 2
	case int32Serde, float32Serde:
		return 4
	case int64Serde, float64Serde:
		return 8
	case uuidSerde:
		return 36
	}
	return 0
}

type list[T any] struct {
	value Serde[T]
	size  int          // of each value; 0: each has its own
	null  func(T) bool // nil: no value is null
}

// Kinds of encodings, ListSerde.SerializationStrategy.
const (
	constantSize = 0
	variableSize = 1
)

func (l list[T]) Append(dst []byte, v []T) ([]byte, error) {
	if len(v) > math.MaxInt32 {
		return dst, fmt.Errorf("serde: a list has %d values, %d at most can be written", len(v), math.MaxInt32)
	}
	if l.size > 0 {
		return l.appendConstant(dst, v)
	}
	out := append(dst, variableSize)
	out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
	for _, e := range v {
		if l.isNull(e) {
			out = binary.BigEndian.AppendUint32(out, math.MaxUint32)
			continue
		}
		at := len(out)
		with, err := l.value.Append(binary.BigEndian.AppendUint32(out, 0), e)
		if err != nil {
			return dst, err
		}
		out = with
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	}
	return out, nil
}

func (l list[T]) appendConstant(dst []byte, v []T) ([]byte, error) {
	out := append(dst, constantSize)
	nulls := len(out)
	out = binary.BigEndian.AppendUint32(out, 0)
	for i, e := range v {
		if l.isNull(e) {
			out = binary.BigEndian.AppendUint32(out, uint32(i))
		}
	}
	binary.BigEndian.PutUint32(out[nulls:], uint32((len(out)-nulls)/4-1))
	out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
	for _, e := range v {
		if l.isNull(e) {
			continue
		}
		with, err := l.value.Append(out, e)
		if err != nil {
			return dst, err
		}
		out = with
	}
	return out, nil
}

func (l list[T]) isNull(v T) bool { return l.null != nil && l.null(v) }

func (l list[T]) Decode(data []byte) ([]T, error) {
	r := listReader{data, nil}
	kind, want := r.byte(), byte(variableSize)
	if l.size > 0 {
		want = constantSize
	}
	if r.err == nil && kind != want {
		return nil, fmt.Errorf("serde: list: encoding %d is not that of its values, %d", kind, want)
	}
	var nulls []int32
	if kind == constantSize {
		for range r.count(4) {
			nulls = append(nulls, r.int32())
		}
	}
	least := 4
	if kind == constantSize {
		least = 0
	}
	n := r.count(least)
	v := make([]T, 0, min(n, len(data)+len(nulls)))
	for i := int32(0); int(i) < n && r.err == nil; i++ {
		size := int32(l.size)
		if kind == variableSize {
			size = r.int32()
		} else if len(nulls) > 0 && nulls[0] == i {
			nulls, size = nulls[1:], -1
		}
		e, err := l.decode(&r, int(size))
		if r.err == nil {
			r.err = err
		}
		v = append(v, e)
	}
	if r.err == nil && (len(r.data) > 0 || len(nulls) > 0) {
		r.err = fmt.Errorf("serde: list: %d bytes and %d nulls are left behind the last value", len(r.data), len(nulls))
	}
	if r.err != nil {
		return nil, r.err
	}
	return v, nil
}

// decode reads a value of a size; -1: null.
func (l list[T]) decode(r *listReader, size int) (v T, err error) {
	switch {
	case size == -1 && l.null == nil:
		return v, fmt.Errorf("serde: list: a value is null; Optional shows it as an Opt[%T]", v)
	case size == -1:
		return v, nil
	}
	b := r.take(size)
	if r.err != nil {
		return v, nil
	}
	return l.value.Decode(b)
}

// listReader reads what is left of a list; after an error it reads zeros.
type listReader struct {
	data []byte
	err  error
}

func (r *listReader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.data)) {
		r.err = fmt.Errorf("serde: list: %d bytes are left where %d are needed", len(r.data), n)
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *listReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *listReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// count reads how many values of a least size follow.
func (r *listReader) count(least int) int {
	n := int(r.int32())
	if r.err == nil && (n < 0 || least > 0 && n > len(r.data)/least) {
		r.err = fmt.Errorf("serde: list: %d values do not fit into %d bytes", n, len(r.data))
	}
	if r.err != nil {
		return 0
	}
	return n
}
