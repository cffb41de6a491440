package store

import (
	"encoding/binary"
	"iter"

	"github.com/millrace/millrace/topology"
)

// SplitSessionKey returns the key, the start and the end of a key as it is in the changelog of a session store. A key
// that is too short is returned as it is, with zeros.
func SplitSessionKey(k []byte) (key []byte, start, end int64) {
	n := len(k) - sessionSuffix
	if n < 0 {
		return k, 0, 0
	}
	return k[:n], int64(binary.BigEndian.Uint64(k[n+8:])), int64(binary.BigEndian.Uint64(k[n:]))
}

func appendSessionKey(dst, key []byte, start, end int64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, key...), uint64(end))
	return binary.BigEndian.AppendUint64(dst, uint64(start))
}

// GetSession returns what a session store holds for a key and a session; see Get.
func (s *Store) GetSession(key []byte, start, end int64) (Value, error) {
	s.windowKey = appendSessionKey(s.windowKey[:0], key, start, end)
	return s.Get(s.windowKey)
}

// PutSession sets the value of a key and a session; see Put.
func (s *Store) PutSession(key []byte, start, end int64, v Value, origin *topology.Record) error {
	s.windowKey = appendSessionKey(s.windowKey[:0], key, start, end)
	return s.Put(s.windowKey, v, origin)
}

// RemoveSession removes a session, logged at the time of the record in process. Unlike putting nothing, what is expired
// already is not counted as dropped. In memory it does not advance the store's stream time (InMemorySessionStore.remove).
func (s *Store) RemoveSession(key []byte, start, end int64, time int64, origin *topology.Record) error {
	if s.cached {
		return s.PutSession(key, start, end, Value{Timestamp: time}, origin)
	}
	expired, observed := s.Expired, s.observed
	s.Expired = nil
	err := s.PutSession(key, start, end, Value{Timestamp: time}, origin)
	if s.Expired = expired; !s.onDisk {
		s.observed = observed
	}
	return err
}

// SessionsOf appends the sessions of a key that end at from or later and start at to or earlier, by end and start. Their
// bytes are valid until the next call. A store with a record cache also gives those older than the retention whose segment
// is kept, as Java finds them in its cache.
func (s *Store) SessionsOf(found []WindowEntry, key []byte, from, to int64) ([]WindowEntry, error) {
	return s.windowsOf(found, windowQuery{key: key, from: from, to: to, expired: s.cached})
}

// Sessions returns the sessions that end between from and to, both included, by end; those that end together are in the
// order of start and key, or of key and start where the store is in memory. On disk those older than the retention are
// returned too while their segment is kept (RocksDBTimeOrderedSessionSegmentedBytesStore), as of SessionsOf. They are those of the moment of
// the call, whatever is changed meanwhile, and their bytes stay valid.
func (s *Store) Sessions(from, to int64) iter.Seq2[WindowEntry, error] {
	return s.windows(windowQuery{from: from, to: to, expired: s.onDisk || s.cached})
}
