package check

// Fold returns what the records of one partition of a changelog amount to, those before an offset: the last value of
// each key that has one.
func Fold(changelog []Record, before int64) map[string]Record {
	state := make(map[string]Record)
	for _, r := range changelog {
		switch {
		case r.Offset >= before:
		case r.Value == nil:
			delete(state, r.Key)
		default:
			state[r.Key] = r
		}
	}
	return state
}

// Store judges what a store holds, by key, against its changelog up to the store's position.
func Store(what string, holds map[string]Record, changelog []Record, position int64) error {
	return Same(what, holds, Fold(changelog, position), func(got, want Record) bool {
		return string(got.Value) == string(want.Value) && got.Timestamp == want.Timestamp
	})
}
