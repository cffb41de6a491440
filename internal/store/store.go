// Package store keeps the state of tasks.
package store

import (
	"encoding/binary"
	"iter"
	"sort"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

type Resources struct{ rc int64 }
type Limits struct{ BlockCache, RecordCache, Overlay int64 }

func NewResources(l Limits) *Resources { return &Resources{l.RecordCache} }
func (*Resources) Close() error        { return nil }
func (*Resources) CommitWanted() bool  { return false }

type Config struct {
	Spec                   *state.Spec
	Application, Changelog string
	Partition              int32
	Dir                    string
	Resources              *Resources
	Log                    func(key, value []byte, timestamp int64, headers []topology.Header) error
	Expired                func(key []byte, start int64)
}
type Value struct {
	Bytes     []byte
	Timestamp int64
}
type ent struct {
	v      Value
	origin topology.Record
}
type Store struct {
	c     Config
	m     map[string]Value
	dirty map[string]*ent
	order []string
	f     func(key []byte, new, old Value, origin *topology.Record) error
	old   bool
	pos   int64
	posOK bool
}

func Open(c Config) (*Store, error) {
	return &Store{c: c, m: map[string]Value{}, dirty: map[string]*ent{}}, nil
}
func (s *Store) Spec() *state.Spec { return s.c.Spec }
func (s *Store) Cached() bool      { return s.c.Spec.Cached }
func (s *Store) Dirty() bool       { return len(s.order) > 0 }
func (s *Store) Get(k []byte) (Value, error) {
	if e, ok := s.dirty[string(k)]; ok {
		return e.v, nil
	}
	return s.m[string(k)], nil
}
func (s *Store) OnFlush(f func(key []byte, new, old Value, origin *topology.Record) error, old bool) {
	s.f, s.old = f, old
}
func (s *Store) put(k string, v Value) error {
	if v.Bytes == nil {
		delete(s.m, k)
	} else {
		s.m[k] = v
	}
	if s.c.Log != nil {
		return s.c.Log([]byte(k), v.Bytes, v.Timestamp, nil)
	}
	return nil
}
func (s *Store) Put(k []byte, v Value, o *topology.Record) error {
	if v.Bytes != nil {
		v.Bytes = append([]byte{}, v.Bytes...)
	}
	if !s.Cached() {
		return s.put(string(k), v)
	}
	if _, ok := s.dirty[string(k)]; ok {
		for i, x := range s.order {
			if x == string(k) {
				s.order = append(s.order[:i:i], s.order[i+1:]...)
			}
		}
	}
	s.dirty[string(k)] = &ent{v, *o}
	s.order = append(s.order, string(k))
	return nil
}
func (s *Store) FlushCache() error {
	order, dirty := s.order, s.dirty
	s.order, s.dirty = nil, map[string]*ent{}
	for _, k := range order {
		e := dirty[k]
		old := s.m[k]
		if e.v.Bytes == nil && old.Bytes == nil && s.f != nil {
			continue
		}
		if !s.old && e.v.Bytes != nil {
			old = Value{}
		}
		if err := s.put(k, e.v); err != nil {
			return err
		}
		if s.f != nil {
			if err := s.f([]byte(k), e.v, old, &e.origin); err != nil {
				return err
			}
		}
	}
	return nil
}
func (s *Store) Commit(p int64) error { s.pos, s.posOK = p, true; return nil }
func (s *Store) Abandon()             {}
func (s *Store) Close() error         { return nil }

func wk(k []byte, start int64) []byte {
	return append(binary.BigEndian.AppendUint64(append([]byte{}, k...), uint64(start)), 0, 0, 0, 0)
}
func SplitWindowKey(k []byte) ([]byte, int64) {
	n := len(k) - 12
	return k[:n], int64(binary.BigEndian.Uint64(k[n:]))
}
func (s *Store) GetWindow(k []byte, start int64) (Value, error) { return s.Get(wk(k, start)) }
func (s *Store) PutWindow(k []byte, start int64, v Value, o *topology.Record) error {
	return s.Put(wk(k, start), v, o)
}

type WindowEntry struct {
	Key   []byte
	Start int64
	Value Value
}

func (s *Store) Windows(from, to int64) iter.Seq2[WindowEntry, error] {
	var all []WindowEntry
	for k, v := range s.m {
		key, start := SplitWindowKey([]byte(k))
		if start >= from && start <= to {
			all = append(all, WindowEntry{key, start, v})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Start != all[j].Start {
			return all[i].Start < all[j].Start
		}
		return string(all[i].Key) < string(all[j].Key)
	})
	return func(y func(WindowEntry, error) bool) {
		for _, e := range all {
			if !y(e, nil) {
				return
			}
		}
	}
}

func (s *Store) Position() (int64, bool) { return s.pos, s.posOK }
func (s *Store) Restore(rs []topology.Record, next int64) error {
	for _, r := range rs {
		if r.Value == nil {
			delete(s.m, string(r.Key))
		} else {
			s.m[string(r.Key)] = Value{r.Value, r.Timestamp}
		}
	}
	s.pos, s.posOK = next, true
	return nil
}
func (s *Store) RestoreDone() error { return nil }
func (s *Store) Wipe() error {
	s.m, s.pos, s.posOK = map[string]Value{}, 0, false
	return nil
}
