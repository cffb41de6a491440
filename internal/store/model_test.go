package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// variants are the stores that the random tests run on.
func variants() (all []*state.Spec) {
	for _, kind := range []state.Kind{state.KeyValue, state.Window, state.Session} {
		for _, engine := range []state.EngineKind{state.Memory, state.Disk} {
			for _, cached := range []bool{false, true} {
				for _, byTime := range []string{"", "first", "index"} {
					if kind == state.KeyValue && byTime != "" || kind == state.Session && byTime == "first" {
						continue
					}
					s := &state.Spec{
						Name: "counts", Kind: kind, Engine: engine, Cached: cached, Timestamped: true,
						TimeFirst: byTime == "first", TimeIndexed: byTime == "index",
					}
					if kind != state.KeyValue {
						s.Retention = 3 * time.Minute // two segments
					}
					all = append(all, s)
				}
			}
		}
	}
	return all
}

func describe(s *state.Spec) string {
	return fmt.Sprintf("%v/%s/cached=%v/timefirst=%v/indexed=%v", s.Kind, [...]string{"disk", "memory"}[s.Engine], s.Cached, s.TimeFirst, s.TimeIndexed)
}

// logged is a record of the changelog, and change what is sent on when the cache is flushed.
type (
	logged struct{ key, value string }
	change struct{ key, newer, older, origin string }
)

// show writes a value so that two of them can be compared: nil is "-", with its timestamp where it is logged.
func show(v Value) string {
	if v.Bytes == nil {
		return "-"
	}
	return showLogged(v)
}

func showLogged(v Value) string {
	if v.Bytes == nil {
		return fmt.Sprintf("-@%d", v.Timestamp)
	}
	return fmt.Sprintf("=%s@%d", v.Bytes, v.Timestamp)
}

func isNull(value string) bool { return value[0] == '-' }

// dirty is a change in the cache: logged is as showLogged has it.
type dirty struct{ key, logged, origin string }

// model says in plain maps what a Store is to do. Keys are those of the changelog, values those of show.
type model struct {
	spec    *state.Spec
	needOld bool
	w       struct{ retention, interval int64 }

	engine, below      map[string]string // committed; what is below the cache: logged
	position           int64             // -1: none
	dirty              []dirty           // in the cache, in order
	observed, atCommit int64
	floor              int64 // the first time that was read after the last restore

	log     []logged
	acked   int // the records of log that are committed
	flushed []change
	expired []logged // key, start

	meanwhile map[int]func() // what is put when so many are flushed
}

func newModel(spec *state.Spec, needOld bool) *model {
	m := &model{spec: spec, needOld: needOld, engine: map[string]string{}, below: map[string]string{}, meanwhile: map[int]func(){}}
	m.w.retention, m.w.interval = spec.Retention.Milliseconds(), spec.SegmentInterval().Milliseconds()
	m.position, m.observed, m.atCommit = -1, -1, -1
	return m
}

// windowed says whether keys have a window or session behind them.
func (m *model) windowed() bool { return m.spec.Kind != state.KeyValue }

// plain returns a key without its window or session.
func (m *model) plain(key string) string {
	if m.spec.Kind == state.Session {
		return key[:len(key)-16]
	}
	return key[:len(key)-12]
}

// time returns the start of a key's window, or the end of its session.
func (m *model) time(key string) int64 {
	return int64(binary.BigEndian.Uint64([]byte(key[len(m.plain(key)):])))
}

// begin returns the start of a key's session.
func begin(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key[len(key)-8:]))) }

func (m *model) hides(key string) bool {
	if !m.windowed() || m.observed < 0 {
		return false
	}
	return m.time(key) < m.oldest()
}

// oldest returns the first time that is read without a cache.
func (m *model) oldest() int64 {
	seen := m.observed - m.w.retention + 1
	if m.spec.Engine == state.Disk && m.spec.Kind == state.Window && (m.spec.TimeFirst || m.spec.TimeIndexed) {
		seen--
	}
	return seen
}

func (m *model) liveSegment() int64 { return max(0, m.observed-m.w.retention) / m.w.interval }

// kept says whether a window that is too old is still read through a cache.
func (m *model) kept(key string) bool {
	return m.time(key)/m.w.interval >= m.liveSegment() && m.time(key) >= m.floor
}

// keeps advances the stream time, and says whether a window is written.
func (m *model) keeps(key string) bool {
	if !m.windowed() {
		return true
	}
	m.observed = max(m.observed, m.time(key))
	if m.spec.Engine == state.Memory {
		return m.time(key) > m.observed-m.w.retention
	}
	return m.time(key)/m.w.interval >= m.liveSegment()
}

// under is what the layers below the cache answer.
func (m *model) under(key string) string {
	if v, ok := m.below[key]; ok && !m.hides(key) {
		return v
	}
	return "-"
}

func (m *model) get(key string) string {
	for _, d := range m.dirty {
		if d.key == key {
			return visible(d.logged)
		}
	}
	if v, ok := m.below[key]; ok && m.spec.Cached && m.windowed() && m.kept(key) {
		return v // it is too old, but may be in the cache
	}
	return m.under(key)
}

func visible(logged string) string {
	if isNull(logged) {
		return "-"
	}
	return logged
}

func (m *model) write(key, value string) {
	m.log = append(m.log, logged{key, value})
	kept := m.keeps(key)
	if !kept {
		m.expired = append(m.expired, logged{m.plain(key), fmt.Sprint(m.time(key))})
	}
	switch {
	case !kept && !(m.spec.Cached && m.spec.Engine == state.Memory): // there it stays in the cache
	case isNull(value):
		delete(m.below, key)
	default:
		m.below[key] = value
	}
}

func (m *model) put(key, value, origin string) {
	if !m.spec.Cached {
		m.write(key, value)
		return
	}
	m.dirty = slices.DeleteFunc(m.dirty, func(d dirty) bool { return d.key == key })
	m.dirty = append(m.dirty, dirty{key, value, origin})
}

func (m *model) flush() {
	changes := m.dirty
	m.dirty = nil
	for _, d := range changes {
		older := m.under(d.key)
		if isNull(d.logged) && older == "-" {
			if m.hides(d.key) {
				delete(m.below, d.key)
			}
			continue
		}
		if !isNull(d.logged) && !m.needOld {
			older = "any"
		}
		m.write(d.key, d.logged)
		m.flushed = append(m.flushed, change{d.key, visible(d.logged), older, d.origin})
		if put := m.meanwhile[len(m.flushed)]; put != nil {
			put()
		}
	}
	clear(m.meanwhile)
}

func (m *model) commit() {
	m.dropSegments()
	m.engine, m.atCommit, m.acked = maps.Clone(m.below), m.observed, len(m.log)
	m.position = int64(len(m.log))
}

func (m *model) dropSegments() {
	if m.windowed() {
		maps.DeleteFunc(m.below, func(k, _ string) bool { return m.time(k)/m.w.interval < m.liveSegment() })
	}
}

func (m *model) abandon() {
	m.dirty, m.below, m.observed, m.log = nil, maps.Clone(m.engine), m.atCommit, m.log[:m.acked]
}

// wipe forgets everything but the log.
func (m *model) wipe() {
	m.dirty, m.engine, m.below = nil, map[string]string{}, map[string]string{}
	m.position, m.observed, m.atCommit, m.log = -1, -1, -1, m.log[:m.acked]
}

// restore applies the log from the position on.
func (m *model) restore() {
	log := m.log[max(0, m.position):m.acked]
	m.log = m.log[:m.acked-len(log)]
	for _, l := range log {
		m.write(l.key, l.value)
	}
	m.expired = nil
	m.commit()
	if m.floor = 0; m.windowed() && m.observed >= 0 {
		m.floor = max(0, m.oldest())
	}
}

// driven drives a store and its model, and compares them.
type driven struct {
	*model
	t       *testing.T
	rnd     *rand.Rand
	config  Config
	store   *Store
	log     []logged
	records []topology.Record
	flushed []change
	expired []logged
	clock   int64

	compared int // the records of log that were compared already

	keys []keptKey // of flushed, all
}

// keptKey is a key as it was handed out by a flush, and as it was then.
type keptKey struct {
	key []byte
	was string
}

func drive(t *testing.T, spec *state.Spec, seed uint64) *driven {
	rnd := rand.New(rand.NewPCG(seed, 2))
	d := &driven{model: newModel(spec, seed%2 == 0), t: t, rnd: rnd, clock: 1e12}
	d.config = Config{
		Spec: spec, Application: "app", Changelog: "app-counts-changelog", Dir: t.TempDir(),
		Resources: testResources(t, Limits{RecordCache: 1 << 20}),
		Log: func(key, value []byte, timestamp int64, headers []topology.Header) error {
			l := logged{string(key), showLogged(Value{value, timestamp})}
			d.log = append(d.log, l)
			d.records = append(d.records, topology.Record{Key: key, Value: value, Timestamp: timestamp})
			return nil
		},
		Expired: func(key []byte, start int64) {
			d.expired = append(d.expired, logged{string(key), fmt.Sprint(start)})
		},
	}
	d.config.Resources.fs = vfs.NewMem() // much faster than files; those have their own tests
	d.open()
	return d
}

func (d *driven) open() {
	s, err := Open(d.config)
	check(d.t, err)
	s.OnFlush(func(key []byte, newer, older Value, origin *topology.Record) error {
		c := change{string(key), show(newer), show(older), describeOrigin(origin)}
		if !d.needOld && newer.Bytes != nil {
			c.older = "any"
		}
		d.flushed = append(d.flushed, c)
		d.keys = append(d.keys, keptKey{key, c.key})
		if d.rnd.IntN(5) == 0 {
			d.meanwhile[len(d.flushed)] = d.putStore()
		}
		return nil
	}, d.needOld)
	d.store = s
}

func describeOrigin(r *topology.Record) string {
	return fmt.Sprintf("%s/%d/%d@%d%s", r.Topic, r.Partition, r.Offset, r.Timestamp, r.Headers)
}

func (d *driven) randomKey() string {
	k := []byte("abc\x00\xff"[d.rnd.IntN(5):])[:1]
	if d.rnd.IntN(8) == 0 {
		k = nil
	}
	if d.windowed() {
		// Mostly near the stream time, at times far behind it.
		start := d.clock/60_000*60_000 - 30_000*int64(d.rnd.IntN(6))
		if d.rnd.IntN(10) == 0 {
			start -= 90_000 * int64(d.rnd.IntN(8))
		}
		switch d.rnd.IntN(16) {
		case 0: // one that begins as the windows of a shorter key do
			k = binary.BigEndian.AppendUint64(k, uint64(start))[:len(k)+d.rnd.IntN(9)]
		case 1:
			k = appendWindowKey(nil, k, start)
		}
		if d.spec.Kind == state.Session {
			return string(appendSessionKey(nil, k, start-10_000*int64(d.rnd.IntN(4)), start))
		}
		return string(appendWindowKey(nil, k, start))
	}
	return string(append(k, "xyz\x00\xff"[d.rnd.IntN(5)]))
}

// split returns the key and start that the store's methods for windows take.
func (m *model) split(key string) ([]byte, int64) { return []byte(m.plain(key)), m.time(key) }

func (d *driven) put() { d.putStore()() }

// putStore puts something into the store, and returns what puts it into the model.
func (d *driven) putStore() func() {
	d.clock += int64(d.rnd.IntN(20_000))
	key := d.randomKey()
	v := Value{Timestamp: int64(d.rnd.IntN(100))}
	if d.rnd.IntN(3) > 0 {
		v.Bytes = bytes.Repeat([]byte("v"), d.rnd.IntN(4)*d.rnd.IntN(10))
		v.Bytes = fmt.Append(v.Bytes, d.rnd.IntN(100))[:len(v.Bytes)+d.rnd.IntN(2)]
	}
	origin := &topology.Record{
		Topic: "in", Partition: 1, Offset: int64(d.rnd.IntN(1000)), Timestamp: int64(d.rnd.IntN(1000)),
		Key: []byte("key"), Value: []byte("value"), Headers: []topology.Header{{Key: "h", Value: []byte(fmt.Sprint(d.rnd.IntN(9)))}},
	}
	logged, from := showLogged(v), describeOrigin(origin)
	kb := []byte(key)
	switch d.spec.Kind {
	case state.Window:
		k, start := d.split(key)
		check(d.t, d.store.PutWindow(k, start, v, origin))
		clear(k)
	case state.Session:
		k, end := d.split(key)
		check(d.t, d.store.PutSession(k, begin(key), end, v, origin))
		clear(k)
	default:
		check(d.t, d.store.Put(kb, v, origin))
	}
	clear(kb) // all that is kept is copied
	clear(v.Bytes)
	origin.Headers[0].Value[0] = '!'
	origin.Topic = "another"
	return func() { d.model.put(key, logged, from) }
}

func (d *driven) get() {
	d.t.Helper()
	key := d.randomKey()
	var got Value
	var err error
	switch d.spec.Kind {
	case state.Window:
		got, err = d.store.GetWindow(d.split(key))
	case state.Session:
		k, end := d.split(key)
		got, err = d.store.GetSession(k, begin(key), end)
	default:
		got, err = d.store.Get([]byte(key))
	}
	check(d.t, err)
	if got, want := show(got), d.model.get(key); got != want {
		d.t.Fatalf("get(%x) = %s, want %s", key, got, want)
	}
}

// scan compares what ranges see.
func (d *driven) scan() {
	d.t.Helper()
	keys := maps.Clone(d.below)
	for _, c := range d.dirty {
		keys[c.key] = c.logged
	}
	if d.windowed() {
		unit := []int64{1, 30_000}[d.rnd.IntN(2)] // 30 s: where windows start
		from := (d.clock - d.rnd.Int64N(1_000_000)) / unit * unit
		to := from + (d.rnd.Int64N(1_000_000)-1000)/unit*unit
		if d.spec.Kind == state.Session {
			d.scanSessions(keys, from, to)
			return
		}
		d.scanWindows(keys, from, to)
		return
	}
	lo, hi := []byte(d.randomKey()), []byte(d.randomKey())
	if d.rnd.IntN(3) == 0 {
		lo = nil
	}
	if d.rnd.IntN(3) == 0 {
		hi = nil
	}
	var got, want []string
	for e, err := range d.store.Range(lo, hi) {
		check(d.t, err)
		got = append(got, string(e.Key)+show(e.Value))
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if v := d.model.get(k); k >= string(lo) && (hi == nil || k < string(hi)) && v != "-" {
			want = append(want, k+v)
		}
	}
	same(d.t, fmt.Sprintf("range(%x, %x)", lo, hi), got, want)
	got = nil
	for e, err := range d.store.RangeBackward(lo, hi) {
		check(d.t, err)
		got = append(got, string(e.Key)+show(e.Value))
	}
	slices.Reverse(want)
	same(d.t, fmt.Sprintf("backward(%x, %x)", lo, hi), got, want)
}

func (d *driven) scanWindows(keys map[string]string, from, to int64) {
	d.t.Helper()
	sorted := slices.SortedFunc(maps.Keys(keys), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.time(a), d.time(b)), cmp.Compare(d.plain(a), d.plain(b)))
	})
	var all, ofKey []string
	key, _ := d.split(d.randomKey())
	for _, k := range sorted {
		if v := d.model.get(k); d.time(k) >= from && d.time(k) <= to && v != "-" {
			all = append(all, fmt.Sprintf("%d %x%s", d.time(k), d.plain(k), v))
			if d.plain(k) == string(key) {
				ofKey = append(ofKey, all[len(all)-1])
			}
		}
	}
	same(d.t, fmt.Sprintf("windows(%d, %d)", from, to), gatherWindows(d.t, d.store.Windows(from, to)), all)
	same(d.t, fmt.Sprintf("windowsOf(%x, %d, %d)", key, from, to), gatherWindows(d.t, all2(d.t)(d.store.WindowsOf(nil, key, from, to))), ofKey)
}

// scanSessions does the same for sessions. Those older than the retention are seen in all of a time on disk, and of a key
// where there is a cache, as long as their segment is kept.
func (d *driven) scanSessions(keys map[string]string, from, to int64) {
	d.t.Helper()
	sorted := slices.SortedFunc(maps.Keys(keys), func(a, b string) int {
		starts, plain := cmp.Compare(begin(a), begin(b)), cmp.Compare(d.plain(a), d.plain(b))
		if d.spec.Engine == state.Memory {
			starts, plain = plain, starts
		}
		return cmp.Or(cmp.Compare(d.time(a), d.time(b)), starts, plain)
	})
	var all, ofKey []string
	key, _ := d.split(d.randomKey())
	for _, k := range sorted {
		v := visible(keys[k])
		if v == "-" {
			continue
		}
		seen := d.model.get(k) != "-"
		kept := seen || d.kept(k)
		shown := fmt.Sprintf("%d-%d %x%s", begin(k), d.time(k), d.plain(k), v)
		if d.time(k) >= from && d.time(k) <= to && (seen || kept && d.spec.Engine == state.Disk) {
			all = append(all, shown)
		}
		if d.plain(k) == string(key) && d.time(k) >= from && begin(k) <= to && (seen || kept && d.spec.Cached) {
			ofKey = append(ofKey, shown)
		}
	}
	same(d.t, fmt.Sprintf("sessions(%d, %d)", from, to), gatherSessions(d.t, d.store.Sessions(from, to)), all)
	same(d.t, fmt.Sprintf("sessionsOf(%x, %d, %d)", key, from, to), gatherSessions(d.t, all2(d.t)(d.store.SessionsOf(nil, key, from, to))), ofKey)
}

// all2 makes of what was found what gathers take.
func all2(t *testing.T) func([]WindowEntry, error) iter.Seq2[WindowEntry, error] {
	return func(found []WindowEntry, err error) iter.Seq2[WindowEntry, error] {
		t.Helper()
		check(t, err)
		return func(yield func(WindowEntry, error) bool) {
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func gatherSessions(t *testing.T, sessions iter.Seq2[WindowEntry, error]) (found []string) {
	t.Helper()
	for e, err := range sessions {
		check(t, err)
		found = append(found, fmt.Sprintf("%d-%d %x%s", e.Start, e.End, e.Key, show(e.Value)))
	}
	return found
}

func gatherWindows(t *testing.T, windows iter.Seq2[WindowEntry, error]) (found []string) {
	t.Helper()
	for e, err := range windows {
		check(t, err)
		found = append(found, fmt.Sprintf("%d %x%s", e.Start, e.Key, show(e.Value)))
	}
	return found
}

// compare compares what came out of the store with what the model says.
func (d *driven) compare() {
	d.t.Helper()
	n := min(d.compared, len(d.log), len(d.model.log))
	same(d.t, "changelog", d.log[n:], d.model.log[n:])
	same(d.t, "flushed", d.flushed, d.model.flushed)
	same(d.t, "expired", d.expired, d.model.expired)
	d.compared = len(d.log)
	d.flushed, d.expired, d.model.flushed, d.model.expired = nil, nil, nil, nil
}

func same[E comparable](t *testing.T, what string, got, want []E) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s\n got %+v\nwant %+v", what, got, want)
	}
}

func (d *driven) commit() {
	if d.rnd.IntN(4) > 0 { // what is still in the cache belongs to the next commit
		check(d.t, d.store.FlushCache())
		d.model.flush()
	}
	check(d.t, d.store.Commit(int64(len(d.log))))
	d.model.commit()
}

func (d *driven) abandon() {
	check(d.t, d.store.Abandon())
	d.model.abandon()
	d.log, d.records = d.log[:d.acked], d.records[:d.acked]
}

// reopen closes the store and opens it again: what is on disk is what was committed, and the rest is restored.
func (d *driven) reopen() {
	if d.rnd.IntN(2) == 0 {
		check(d.t, d.store.Abandon())
	}
	check(d.t, d.store.Close())
	d.open()
	d.abandon()
	d.model.observed, d.model.atCommit = -1, -1 // as in Java, stream time begins anew
	if d.spec.Engine == state.Memory {
		d.model.wipe()
	}
	d.comparePosition()
	d.restore()
}

func (d *driven) comparePosition() {
	d.t.Helper()
	next, ok := d.store.Position()
	if want := d.model.position; next != max(0, want) || ok != (want >= 0) {
		d.t.Fatalf("position %d %v, want %d", next, ok, want)
	}
}

// restore applies what the changelog has beyond the store's position, in batches.
func (d *driven) restore() {
	d.t.Helper()
	next, _ := d.store.Position()
	if next == int64(d.acked) {
		return
	}
	for next < int64(d.acked) {
		n := min(next+1+int64(d.rnd.IntN(50)), int64(d.acked))
		check(d.t, d.store.Restore(d.records[next:n], n))
		next = n
	}
	check(d.t, d.store.RestoreDone())
	d.model.restore()
	d.comparePosition()
}

// A store and its model stay the same, whatever is done to them.
func TestStoreModel(t *testing.T) {
	for _, spec := range variants() {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(describe(spec), "/", seed), func(t *testing.T) {
				t.Parallel()
				d := drive(t, spec, seed)
				for range 1500 {
					switch n := d.rnd.IntN(100); {
					case n < 50:
						d.put()
					case n < 75:
						d.get()
					case n < 85:
						d.scan()
					case n < 90:
						check(t, d.store.FlushCache())
						d.model.flush()
					case n < 95:
						d.commit()
					case n < 97:
						d.abandon()
					case n < 98:
						d.reopen()
					case n < 99:
						// What was restored in full is what was committed.
						d.abandon()
						check(t, d.store.Wipe())
						d.model.wipe()
						d.comparePosition()
						d.restore()
					}
					d.compare()
				}
				check(t, d.store.Close())
				for _, k := range d.keys {
					if string(k.key) != k.was {
						t.Fatalf("the key %x of a change has become %x", k.was, k.key)
					}
				}
			})
		}
	}
}
