package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// A store that keeps headers has them, and a timestamp, in the bytes of each value (serde.AppendKept). In its changelog they
// are those of the record (ChangeLoggingTimestampedKeyValueBytesStoreWithHeaders and its like).

// stamp gives a value that is put the timestamp that is in its bytes, or those the timestamp of the record in process, where
// they have none.
func (s *Store) stamp(v *Value) error {
	_, at, plain, err := serde.SplitKept(v.Bytes)
	switch {
	case err != nil:
		return fmt.Errorf("store %q: %w", s.Config.Spec.Name, err)
	case at >= 0:
		v.Timestamp = at
	default:
		binary.BigEndian.PutUint64(v.Bytes[len(v.Bytes)-len(plain)-8:], uint64(v.Timestamp))
	}
	return nil
}

// plain returns the headers and the value of what the changelog gets; the bytes are not copied.
func (s *Store) plain(kept []byte) ([]topology.Header, []byte, error) {
	raw, _, value, err := serde.SplitKept(kept)
	if err != nil {
		return nil, nil, fmt.Errorf("store %q: %w", s.Config.Spec.Name, err)
	}
	headers, err := serde.ParseHeaders(raw)
	return headers, value, err
}

// restored returns the value of a record of the changelog. The bytes are valid until the next call.
func (s *Store) restored(r *topology.Record) Value {
	if !s.Config.Spec.Headers || r.Value == nil {
		return Value{r.Value, r.Timestamp}
	}
	s.val = serde.AppendKept(s.val[:0], r.Headers, r.Timestamp, r.Value)
	return Value{s.val, r.Timestamp}
}

// valuesAs says how values lie in the engine, where that is for the program to choose.
func (s *Store) valuesAs() string {
	switch spec := s.Config.Spec; {
	case spec.Headers:
		return withHeaders
	case spec.Kind == state.KeyValue && !spec.Timestamped:
		return withoutTimestamps
	}
	return ""
}

const withHeaders, withoutTimestamps = " with headers", " without timestamps"

// valuesDiffer says whether an engine holds the same store with values in another form, which its changelog has too.
func (s *Store) valuesDiffer(have, want identity) bool {
	if have == want || !s.Config.Spec.Logged && s.Config.Spec.SourceTopic == "" {
		return false
	}
	have.Layout = strings.TrimSuffix(strings.TrimSuffix(have.Layout, withHeaders), withoutTimestamps) + s.valuesAs()
	return have == want
}
