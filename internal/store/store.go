// Package store keeps the state of tasks: byte engines, and on top of them one [Store] that caches, logs and commits.
//
// A change passes through a store from top to bottom: it is first held in the record cache (if the store is cached),
// where a later change of the same key replaces it; when the cache is flushed it is written to the changelog and sent
// on; then it lies in the overlay, until the commit that makes it permanent has ended and Commit moves it into the
// engine together with the changelog's position. Reads see all of it. The cache, the overlay and the values kept for
// reads are one hash map, whose entries change their state.
package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// Config is what a store is made of.
type Config struct {
	Spec *state.Spec

	// Application, Changelog (the topic's name in Kafka) and Partition say whose data it is: a directory with data of
	// another store is refused.
	Application string
	Task        topology.TaskID
	Changelog   string
	Partition   int32

	Dir       string // the store's own directory; made, if need be
	Volatile  bool   // keep the data in memory wherever Spec wants it, with the behaviour that it has there
	Shared    bool   // other goroutines read it, see Store.Reader
	Resources *Resources

	// Log writes a change to the changelog; nil: the store is not logged. The bytes are not changed afterwards.
	Log func(key, value []byte, timestamp int64, headers []topology.Header) error

	// Expired is called for a change of a window that the store no longer keeps; nil: not called.
	Expired func(key []byte, start int64)
}

// Value is what a store holds for a key: Bytes is nil where it holds nothing.
type Value struct {
	Bytes     []byte
	Timestamp int64
}

// Store is one partition of a state store, or a whole one that is global. It is used from one goroutine.
type Store struct {
	Config
	engine    engine
	cached    bool
	reads     bool          // it is a reader of another
	shared    *atomic.Int64 // of a store with readers: the stream time by which they leave away what is too old
	entries   map[string]*entry
	slab      slab       // for those that are made next
	passing   bool       // they come and go together
	room      int        // bytes of the value that was put last
	last      *entry     // that was found last
	dirty     list       // in the record cache, in the order of their last change
	puts      uint64     // changes that went into the record cache
	turn      uint64     // changes with a lower number are part of a flush that is under way; 0: there is none
	overlay   []*entry   // logged, not in the engine
	order     *order     // of both; nil: not asked for since the last commit
	clean     list       // as in the engine, the next to be evicted first
	kept      int64      // bytes of clean
	stage     stage      // on the way into the engine
	ingesting *ingestion // a stage that becomes a file; nil: none does
	lost      error      // why what was on its way is not in the engine
	spare     stage      // whose memory the next one takes
	filter    filter     // of what was staged
	restoring bool       // from the first Restore to RestoreDone
	since     time.Time  // when the first record was restored that is in the stage
	position  int64      // as in the engine; -1: none
	next      int64      // as in the engine and the stage
	flush     func(key []byte, newer, older Value, origin *topology.Record) error
	needOld   bool
	counts    counts
	logged    []byte      // where logged bytes are handed out from
	key, val  []byte      // scratch
	query     windowQuery // of windows and sessions of one key
	search    versionSearch
	merger    *merger            // of a range; nil: in use, or not made yet
	origins   []*topology.Record // not in use
	windowed
	forgetting
}

// Open opens a store. The errors *CorruptError and *ForeignError say that its directory cannot be used.
func Open(c Config) (*Store, error) {
	s := &Store{Config: c, entries: map[string]*entry{}, position: -1, next: -1, cached: mayCache(c.Spec) && c.Resources.limits.RecordCache > 0 || c.Spec.Kind == state.Buffer}
	s.windowed.init(c.Spec)
	if c.Shared {
		s.shared = &atomic.Int64{}
		s.shared.Store(-1)
	}
	s.forgetting.init(c.Spec.MaxEntries)
	s.passing = s.window
	if err := s.openEngine(); err != nil {
		return nil, fmt.Errorf("store %q: %w", c.Spec.Name, err)
	}
	c.Resources.stores.Add(1)
	c.Resources.open.add(s)
	return s, nil
}

// mayCache says whether a store that may be cached is: versioned ones never are.
func mayCache(s *state.Spec) bool { return s.Cached && s.Kind != state.Versioned }

func (s *Store) openEngine() error {
	if s.Config.Spec.Engine == state.Memory || s.Volatile {
		s.engine = openMemory(s.Shared)
		s.filter.from = math.MaxInt64 // a map is as fast
		return nil
	}
	var err error
	open := s.Config.Spec.Open
	if open == nil {
		open = s.Resources.engine
	}
	if open != nil {
		s.engine, err = openPlugged(open, s.Dir)
	} else {
		s.engine, err = openDisk(s.Dir, s.Resources)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(s.identify(), s.readPosition(), s.readObserved(), s.beginFilter()); err != nil {
		return errors.Join(err, s.engine.close())
	}
	return nil
}

// CorruptError says that a store's files cannot be read. Its directory can be removed: the store is restored from its
// changelog.
type CorruptError struct {
	Dir string
	Err error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the files in %s cannot be read: %v; remove the directory, and the store is restored from its changelog", e.Dir, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// StartOver says that nothing is lost, and that it helps to begin again from the last commit.
func (e *CorruptError) StartOver() {}

// DiskError says that a store's files cannot be written or read for now: the disk is full, say. The store is to be closed
// and opened again.
type DiskError struct {
	Dir string
	Err error
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("the files in %s cannot be used: %v; nothing is lost, as the store's changelog has it all", e.Dir, e.Err)
}

func (e *DiskError) Unwrap() error { return e.Err }

// StartOver says what that of CorruptError says.
func (e *DiskError) StartOver() {}

// ForeignError says that a directory holds another store, or one of a newer format.
type ForeignError struct{ Dir, Want, Have string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("the directory %s holds %s, not %s; use another state directory, or remove it", e.Dir, e.Have, e.Want)
}

// formatVersion is the version of the layout of keys and values in engines.
const formatVersion = 1

// Keys of an engine begin with a byte that says what they are.
const (
	metaPrefix  = 0
	dataPrefix  = 1
	indexPrefix = 2 // of the same by time, see windowed
)

var (
	identityKey = []byte("\x00identity")
	positionKey = []byte("\x00position")
)

type identity struct {
	Format      int    `json:"format"`
	Application string `json:"application"`
	Changelog   string `json:"changelog"`
	Partition   int32  `json:"partition"`
	Layout      string `json:"layout"`
}

func (i identity) String() string {
	return fmt.Sprintf("application %q, changelog %q partition %d, layout %q, format %d", i.Application, i.Changelog, i.Partition, i.Layout, i.Format)
}

// identify checks whose data the engine holds, and signs an empty one.
func (s *Store) identify() error {
	want := identity{formatVersion, s.Application, s.Changelog, s.Partition, s.layout() + s.valuesAs()}
	b, ok, err := s.engine.get(identityKey, nil)
	if err != nil {
		return err
	}
	if ok {
		var have identity
		if err := json.Unmarshal(b, &have); err != nil {
			return &CorruptError{s.Dir, fmt.Errorf("identity %q: %w", b, err)}
		}
		if s.valuesDiffer(have, want) {
			return &CorruptError{s.Dir, fmt.Errorf("the program keeps %q now, and kept %q", want.Layout, have.Layout)}
		}
		if have != want {
			return &ForeignError{s.Dir, want.String(), have.String()}
		}
		return nil
	}
	b, err = json.Marshal(want)
	if err != nil {
		return err
	}
	batch := s.engine.batch(0)
	if err := batch.set(identityKey, b); err != nil {
		return err
	}
	return batch.apply()
}

// Wipe removes a store's directory, so that it is restored in full.
func Wipe(dir string) error { return os.RemoveAll(dir) }

// Spec returns the store's description.
func (s *Store) Spec() *state.Spec { return s.Config.Spec }

// Cached says whether changes are held back until FlushCache.
func (s *Store) Cached() bool { return s.cached }

// Close closes the store. What is neither committed nor restored is lost.
func (s *Store) Close() error {
	if s.reads {
		return s.closeReader()
	}
	s.forget()
	err := s.apply()
	s.endRestore()
	s.filter.end()
	s.Resources.open.remove(s)
	s.Resources.stores.Add(-1)
	return errors.Join(err, s.engine.close())
}

// Wipe removes everything from the store, its position too. The store stays open.
func (s *Store) Wipe() error {
	s.forget()
	s.windowed.init(s.Config.Spec)
	s.forgetting.init(s.most)
	_ = s.ingested() // what went wrong with it is gone with it
	s.lost = nil
	s.stage.clear(false)
	s.position, s.next = -1, -1
	if err := s.engine.empty(); err != nil {
		return err
	}
	return errors.Join(s.identify(), s.beginFilter())
}

// timestamped says whether the engine holds a timestamp with each value.
func (s *Store) timestamped() bool { return s.Config.Spec.Timestamped || s.versioned }

// encode appends a value as the engine holds it: timestamped stores have 8 bytes of timestamp in front.
func (s *Store) encode(dst []byte, v Value) []byte {
	if s.timestamped() {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.Timestamp))
	}
	return append(dst, v.Bytes...)
}

func (s *Store) decode(b []byte) (v Value, err error) {
	if s.Config.Spec.Headers {
		if _, v.Timestamp, _, err = serde.SplitKept(b); err != nil {
			return v, &CorruptError{s.Dir, err}
		}
	}
	if s.timestamped() {
		if len(b) < 8 {
			return v, &CorruptError{s.Dir, fmt.Errorf("a value has %d bytes, too few for its timestamp", len(b))}
		}
		v.Timestamp, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	}
	if b == nil {
		b = []byte{} // an empty value is one
	}
	v.Bytes = b
	return v, nil
}
