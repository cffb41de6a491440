// Package serde turns typed values into the bytes of Kafka records and back, and does nothing else.
//
// The encodings are those of Kafka's own serializers (org.apache.kafka.common.serialization), byte for byte, so
// that a topic written by a Java application is read here and the other way round.
//
// Null is not a value: a serde never sees a null record key or value and never makes one. Null travels beside the
// value (see [Opt] for the type that lets a program see it).
package serde

// A Serde encodes and decodes values of type T. A Serde holds no state and may be used from many goroutines.
type Serde[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice. On error dst is returned as it was.
	Append(dst []byte, v T) ([]byte, error)

	// Decode returns the value that data encodes. It keeps no reference to data. Data that no Append of this
	// serde could have written is an error, never a panic.
	Decode(data []byte) (T, error)
}

// Func makes a Serde of two functions.
func Func[T any](appendTo func(dst []byte, v T) ([]byte, error), decode func(data []byte) (T, error)) Serde[T] {
	return funcs[T]{appendTo, decode}
}

type funcs[T any] struct {
	appendTo func([]byte, T) ([]byte, error)
	decode   func([]byte) (T, error)
}

func (f funcs[T]) Append(dst []byte, v T) ([]byte, error) { return f.appendTo(dst, v) }
func (f funcs[T]) Decode(data []byte) (T, error)          { return f.decode(data) }
