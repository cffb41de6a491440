package serde

// Of returns the serde of T where T is one of the primitive types, or an Opt of one; ok is false for any other type.
// The DSL uses it where a type enters without a serde.
func Of[T any]() (s Serde[T], ok bool) {
	for _, known := range [...]any{
		String, Bytes, Int64, Int32, Int16, Float64, Float32, Bool, UUID,
		Optional(String), Optional(Bytes), Optional(Int64), Optional(Int32), Optional(Int16),
		Optional(Float64), Optional(Float32), Optional(Bool), Optional(UUID),
	} {
		if s, ok := known.(Serde[T]); ok {
			return s, true
		}
	}
	return nil, false
}
