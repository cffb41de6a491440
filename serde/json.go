package serde

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// JSON returns the serde of T as JSON text, by encoding/json. It is written without a trailing newline and without
// escaping of <, > and &.
func JSON[T any]() Serde[T] { return jsonSerde[T]{} }

type jsonSerde[T any] struct{}

func (jsonSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, fmt.Errorf("serde: JSON of %T: %w", v, err)
	}
	out := buf.Bytes()
	return out[:len(out)-1], nil
}

func (jsonSerde[T]) Decode(data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("serde: JSON into %T: %w", v, err)
	}
	return v, nil
}
