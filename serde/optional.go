package serde

import "fmt"

// Opt is a value that may be null. A program that wants to see null keys or values says so in the type: a
// Stream[string, Opt[Order]] shows them to every function, where a Stream[string, Order] hides them.
type Opt[T any] struct {
	Value T
	Valid bool // false: null, and Value is the zero value
}

// Some returns v as a value that is there.
func Some[T any](v T) Opt[T] { return Opt[T]{v, true} }

// None returns null.
func None[T any]() Opt[T] { return Opt[T]{} }

// Get returns the value and whether it is there.
func (o Opt[T]) Get() (T, bool) { return o.Value, o.Valid }

// Or returns the value, or other where it is null.
func (o Opt[T]) Or(other T) T {
	if o.Valid {
		return o.Value
	}
	return other
}

// String prints the value, or "null", which is what Java prints.
func (o Opt[T]) String() string {
	if !o.Valid {
		return "null"
	}
	return fmt.Sprint(o.Value)
}

func (Opt[T]) nullTest() any { return func(o Opt[T]) bool { return !o.Valid } }

// NullTest returns the function that says whether a value of type T is null, or nil where no value of T is:
// only Opt has null values. Callers ask once, when a topology is built, not for each record.
func NullTest[T any]() func(T) bool {
	var zero T
	if o, ok := any(zero).(interface{ nullTest() any }); ok {
		return o.nullTest().(func(T) bool)
	}
	return nil
}

// Optional returns the serde of values that may be null: encoded as s does where there is a value. The null itself is
// never encoded: it is the record's null key or value.
func Optional[T any](s Serde[T]) Serde[Opt[T]] { return optional[T]{s} }

type optional[T any] struct{ inner Serde[T] }

// present returns the serde of the values that are there.
func (s optional[T]) present() any { return s.inner }

func (s optional[T]) Append(dst []byte, v Opt[T]) ([]byte, error) {
	if !v.Valid {
		return dst, fmt.Errorf("serde: a null %T has no encoding", v.Value)
	}
	return s.inner.Append(dst, v.Value)
}

func (s optional[T]) Decode(data []byte) (Opt[T], error) {
	v, err := s.inner.Decode(data)
	if err != nil {
		return Opt[T]{}, err
	}
	return Opt[T]{v, true}, nil
}
