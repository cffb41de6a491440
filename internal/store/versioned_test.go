package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// versions says in plain maps what a versioned store is to do: of each key what begins when, a null being "-".
type versions struct {
	begins    map[string]map[int64]string
	ends      map[string]map[int64]bool // times that stay known as an end, even if what begins there is deleted
	observed  int64
	retention int64
}

func newVersions(retention int64) *versions {
	return &versions{map[string]map[int64]string{}, map[string]map[int64]bool{}, -1, retention}
}

func (m *versions) clone() *versions {
	c := newVersions(m.retention)
	c.observed = m.observed
	for k := range m.begins {
		c.begins[k], c.ends[k] = maps.Clone(m.begins[k]), maps.Clone(m.ends[k])
	}
	return c
}

// around returns the last time at or before a time at which something begins, and the next one after it; -1: none.
func (m *versions) around(key string, at int64) (before, after int64) {
	before, after = -1, -1
	for _, t := range slices.Sorted(maps.Keys(m.begins[key])) {
		if t <= at {
			before = t
		} else if after < 0 {
			after = t
		}
	}
	return before, after
}

func (m *versions) put(key, value string, at int64) int64 {
	if at < m.observed-m.retention {
		return Refused
	}
	m.observed = max(m.observed, at)
	if m.begins[key] == nil {
		m.begins[key], m.ends[key] = map[int64]string{}, map[int64]bool{}
	}
	before, after := m.around(key, at-1)
	if after == at {
		_, after = m.around(key, at)
	}
	there, replaced := m.begins[key][at]
	switch {
	case value != "-":
		m.ends[key][at] = m.ends[key][at] || replaced && there == "-"
	case after < 0 && replaced && there != "-" && !m.ends[key][at] && (before < 0 || m.begins[key][before] == "-"):
		// A deletion at the very time of the latest, where nothing ends: Java does not know of it later.
		delete(m.begins[key], at)
		return Latest
	case after >= 0:
		m.ends[key][after] = true
	}
	m.begins[key][at] = value
	if after < 0 {
		return Latest
	}
	return after
}

func (m *versions) get(key string, at int64) string {
	before, after := m.around(key, at)
	if before < 0 || m.begins[key][before] == "-" || after >= 0 && at < m.observed-m.retention {
		return "-"
	}
	if after < 0 {
		after = endless
	}
	return fmt.Sprintf("=%s@%d-%d", m.begins[key][before], before, after)
}

func showVersion(v Version) string {
	if v.Bytes == nil {
		return "-"
	}
	return fmt.Sprintf("=%s@%d-%d", v.Bytes, v.Timestamp, v.End)
}

// versionedTest drives a versioned store and its model.
type versionedTest struct {
	t            *testing.T
	rnd          *rand.Rand
	config       Config
	store        *Store
	now, engine  *versions
	log          []topology.Record
	acked        int
	expired, old int
	clock        int64
}

func newVersionedTest(t *testing.T, engine state.EngineKind, retention time.Duration, seed uint64) *versionedTest {
	d := &versionedTest{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), clock: 1000}
	d.now = newVersions(retention.Milliseconds())
	d.engine = d.now.clone()
	d.config = Config{
		Spec:        &state.Spec{Name: "prices", Kind: state.Versioned, Engine: engine, Retention: retention, Cached: true},
		Application: "app", Changelog: "app-prices-changelog", Dir: t.TempDir(), Resources: testResources(t, Limits{RecordCache: 1 << 20}),
		Log: func(key, value []byte, timestamp int64, _ []topology.Header) error {
			d.log = append(d.log, topology.Record{Key: key, Value: value, Timestamp: timestamp})
			return nil
		},
		Expired: func([]byte, int64) { d.expired++ },
	}
	d.config.Resources.fs = vfs.NewMem()
	d.open()
	return d
}

func (d *versionedTest) open() {
	s, err := Open(d.config)
	check(d.t, err)
	d.store = s
}

func (d *versionedTest) key() string {
	return []string{"", "a", "b", "a\x00", "a\x00\x00\x00\x00\x00\x00\x00\x07"}[d.rnd.IntN(5)]
}

// time returns one near the clock, at times far behind it, mostly one of few.
func (d *versionedTest) time() int64 {
	back := d.rnd.Int64N(d.now.retention/4 + 2)
	if d.rnd.IntN(6) == 0 {
		back = d.rnd.Int64N(2*d.now.retention + 2)
	}
	at := max(0, d.clock-back)
	if unit := d.now.retention/10 + 1; d.rnd.IntN(2) == 0 {
		at = at / unit * unit
	}
	return at
}

func (d *versionedTest) put() {
	if d.rnd.IntN(3) == 0 {
		d.clock += d.rnd.Int64N(d.now.retention/5 + 2)
	}
	key, value, at := d.key(), "-", d.time()
	v := Value{Timestamp: at}
	if d.rnd.IntN(3) > 0 {
		value = fmt.Sprint(d.rnd.IntN(100))[d.rnd.IntN(2):] // at times empty
		v.Bytes = append([]byte{}, value...)
	}
	kb := []byte(key)
	logged := len(d.log)
	if value == "-" && d.rnd.IntN(2) == 0 {
		want := d.now.get(key, at)
		if d.now.put(key, value, at) == Refused {
			want = "-"
			d.old++
		}
		was, err := d.store.DeleteVersion(kb, at)
		check(d.t, err)
		if got := showVersion(was); got != want {
			d.t.Fatalf("delete(%q, %d) = %s, want %s", key, at, got, want)
		}
	} else {
		want := d.now.put(key, value, at)
		if want == Refused {
			d.old++
		}
		got, err := d.store.PutVersion(kb, v)
		check(d.t, err)
		if got != want {
			d.t.Fatalf("put(%q, %s, %d) = %d, want %d", key, value, at, got, want)
		}
	}
	clear(kb)
	clear(v.Bytes)
	if len(d.log) != logged+1 || string(d.log[logged].Key) != key || d.log[logged].Timestamp != at || (d.log[logged].Value == nil) != (value == "-") {
		d.t.Fatalf("put(%q, %s, %d) logged %v", key, value, at, d.log[logged:])
	}
	if d.expired != d.old {
		d.t.Fatalf("%d were refused, %d of them told", d.old, d.expired)
	}
}

func (d *versionedTest) get() {
	key, at := d.key(), d.time()+d.rnd.Int64N(10)
	got, err := d.store.GetVersion([]byte(key), at)
	check(d.t, err)
	if got, want := showVersion(got), d.now.get(key, at); got != want {
		d.t.Fatalf("get(%q, %d) = %s, want %s (%v, observed %d)", key, at, got, want, d.now.begins[key], d.now.observed)
	}
	got, err = d.store.GetLatest([]byte(key))
	check(d.t, err)
	if got, want := showVersion(got), d.now.get(key, endless-1); got != want {
		d.t.Fatalf("latest(%q) = %s, want %s", key, got, want)
	}
}

func (d *versionedTest) commit() {
	check(d.t, d.store.Commit(int64(len(d.log))))
	d.engine, d.acked = d.now.clone(), len(d.log)
}

func (d *versionedTest) abandon() {
	check(d.t, d.store.Abandon())
	d.now, d.log = d.engine.clone(), d.log[:d.acked]
}

// restore gives the store what it lacks of the changelog, at times some of it twice.
func (d *versionedTest) restore() {
	next, _ := d.store.Position()
	for next < int64(d.acked) {
		n := min(next+1+int64(d.rnd.IntN(50)), int64(d.acked))
		check(d.t, d.store.Restore(d.log[next:n], n))
		next = n
	}
	check(d.t, d.store.RestoreDone())
}

func (d *versionedTest) reopen() {
	check(d.t, d.store.Close())
	d.open()
	d.now, d.log = d.engine.clone(), d.log[:d.acked]
	d.restore()
}

func (d *versionedTest) wipe() {
	check(d.t, d.store.Wipe())
	d.now, d.log = d.engine.clone(), d.log[:d.acked]
	d.restore()
}

// A versioned store and its model stay the same, whatever is done to them: on a restart, and when it is restored in full.
func TestVersionedModel(t *testing.T) {
	for _, engine := range []state.EngineKind{state.Memory, state.Disk} {
		for _, retention := range []time.Duration{0, 100 * time.Millisecond, 20 * time.Second, 10 * time.Minute} {
			for seed := range uint64(6) {
				t.Run(fmt.Sprintf("%v/%v/%d", engine, retention, seed), func(t *testing.T) {
					t.Parallel()
					d := newVersionedTest(t, engine, retention, seed)
					for range 1500 {
						switch n := d.rnd.IntN(100); {
						case n < 55:
							d.put()
						case n < 88:
							d.get()
						case n < 96:
							d.commit()
						case n < 98:
							d.abandon()
						case n < 99:
							d.reopen()
						default:
							d.wipe()
						}
					}
					check(t, d.store.Close())
				})
			}
		}
	}
}

// What is older than the retention leaves the engine by segments, the latest never.
func TestVersionsExpire(t *testing.T) {
	for _, engine := range []state.EngineKind{state.Memory, state.Disk} {
		d := newVersionedTest(t, engine, time.Minute, 1)
		key := []byte("a")
		for at := int64(0); at <= 600_000; at += 1000 {
			_, err := d.store.PutVersion(key, Value{[]byte("v"), at})
			check(t, err)
		}
		_, err := d.store.PutVersion([]byte("old"), Value{[]byte("v"), 599_000})
		check(t, err)
		_, err = d.store.PutVersion(key, Value{[]byte("v"), 1_200_000})
		check(t, err)
		d.commit()
		check(t, d.store.apply())
		var left []string
		for p, err := range d.store.engine.scan([]byte{dataPrefix}, []byte{dataPrefix + 1}) {
			check(t, err)
			k := d.store.mapKey(nil, p.key)
			left = append(left, fmt.Sprint(string(k[:len(k)-versionSuffix]), " until ", d.store.time(k)))
		}
		slices.Sort(left)
		same(t, "left", left, []string{"a until 1200000", fmt.Sprint("a until ", int64(endless)), fmt.Sprint("old until ", int64(endless))})
		old, err := d.store.GetVersion([]byte("old"), 600_000) // the latest is found before the retention as well
		check(t, err)
		if got := showVersion(old); got != fmt.Sprint("=v@599000-", int64(endless)) {
			t.Errorf("the latest of an old key is %s", got)
		}
		check(t, d.store.Close())
	}
}

// A changelog is restored as it was written: what was refused is refused again, what comes twice or late is where it was.
func TestVersionsRestore(t *testing.T) {
	d := newVersionedTest(t, state.Disk, 100*time.Millisecond, 1)
	record := func(value string, at int64) topology.Record {
		r := topology.Record{Topic: "app-prices-changelog", Key: []byte("k"), Timestamp: at}
		if value != "-" {
			r.Value = []byte(value)
		}
		return r
	}
	log := []topology.Record{
		record("a", 1000), record("b", 1050), record("late", 1020), record("refused", 900), record("b", 1050), record("late", 1020),
		record("-", 1080), {Topic: "app-prices-changelog", Value: []byte("no key"), Timestamp: 5000},
	}
	for i := range log {
		check(t, d.store.Restore(log[i:i+1], int64(i+1)))
	}
	check(t, d.store.RestoreDone())
	for at, want := range map[int64]string{999: "-", 1000: "=a@1000-1020", 1020: "=late@1020-1050", 1079: "=b@1050-1080", 1080: "-"} {
		v, err := d.store.GetVersion([]byte("k"), at)
		check(t, err)
		if got := showVersion(v); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
	if d.expired > 0 || len(d.log) > 0 {
		t.Errorf("a restore counted %d as dropped and logged %d", d.expired, len(d.log))
	}
	// After a restart it refuses what it would have refused.
	check(t, d.store.Close())
	d.open()
	if end, err := d.store.PutVersion([]byte("k"), Value{[]byte("x"), 979}); end != Refused || err != nil {
		t.Errorf("what is 101 ms late ends at %d (%v), want it refused", end, err)
	}
	if end, err := d.store.PutVersion([]byte("k"), Value{[]byte("x"), 980}); end != 1000 || err != nil {
		t.Errorf("what is 100 ms late ends at %d (%v), want 1000", end, err)
	}
	if _, err := d.store.PutVersion([]byte("k"), Value{[]byte("x"), -1}); err == nil {
		t.Error("a version begins before 1970")
	}
	check(t, d.store.Close())
}

// Whatever the engine holds, reading it does not panic.
func FuzzVersion(f *testing.F) {
	f.Add([]byte("key"), appendSegmentKey(nil, 7, []byte("key"), 15_000)[1:], []byte("\x00\x00\x00\x00\x00\x00\x00\x05value"), int64(10))
	f.Add([]byte("key"), appendSegmentKey(nil, endless/2000, []byte("key"), endless)[1:], []byte("\x00\x00\x00\x00\x00\x00\x00\x05"), int64(10))
	f.Add([]byte(""), []byte{}, []byte{}, int64(0))
	resources := NewResources(Limits{})
	f.Cleanup(resources.Close)
	f.Fuzz(func(t *testing.T, key, at, value []byte, time int64) {
		s, err := Open(Config{Spec: &state.Spec{Name: "prices", Kind: state.Versioned, Engine: state.Memory}, Resources: resources})
		check(t, err)
		check(t, s.engine.batch(0).set(append([]byte{dataPrefix}, at...), value))
		s.observed, s.retention = endless-1, endless
		v, err := s.GetVersion(key, time)
		if err == nil && v.Bytes != nil && v.Timestamp > time {
			t.Fatalf("the version at %d begins at %d", time, v.Timestamp)
		}
		if err == nil && v.Bytes != nil && len(value) != len(v.Bytes)+8 {
			t.Fatalf("%x is read as %x", value, v.Bytes)
		}
		_, _ = s.PutVersion(key, Value{[]byte("new"), max(0, time)})
		_, _ = s.DeleteVersion(key, max(0, time/2))
		check(t, s.Close())
	})
}

// Versions gives what GetVersion gives at each time of the range.
func TestVersions(t *testing.T) {
	for _, engine := range []state.EngineKind{state.Disk, state.Memory} {
		d := newVersionedTest(t, engine, time.Minute, 7)
		key := []byte("k")
		for step := range 300 {
			at := d.rnd.Int64N(40)
			if d.rnd.IntN(3) == 0 {
				_, err := d.store.DeleteVersion(key, at)
				check(t, err)
			} else {
				_, err := d.store.PutVersion(key, Value{Bytes: fmt.Append(nil, step), Timestamp: at})
				check(t, err)
			}
			if d.rnd.IntN(4) == 0 {
				check(t, d.store.Commit(int64(step)))
			}
			from, to := d.rnd.Int64N(45), d.rnd.Int64N(45)
			var want []string
			for at := from; at <= to; at++ {
				v, err := d.store.GetVersion(key, at)
				check(t, err)
				if one := fmt.Sprintf("%s@%d-%d", v.Bytes, v.Timestamp, v.End); v.Bytes != nil && !slices.Contains(want, one) {
					want = append(want, one)
				}
			}
			found, err := d.store.Versions(key, from, to)
			check(t, err)
			var got []string
			for _, v := range found {
				got = append(got, fmt.Sprintf("%s@%d-%d", v.Bytes, v.Timestamp, v.End))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("step %d, from %d to %d: %q, want %q", step, from, to, got, want)
			}
		}
		check(t, d.store.Close())
	}
}
