package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// benchStores measures a store on each engine, with and without a record cache.
func benchStores(b *testing.B, base state.Spec, f func(b *testing.B, s *Store)) {
	for _, engine := range []state.EngineKind{state.Disk, state.Memory} {
		for _, cached := range []bool{false, true} {
			spec := base
			spec.Engine, spec.Cached = engine, cached
			b.Run(fmt.Sprintf("%s/cached=%v", [...]string{"disk", "memory"}[engine], cached), func(b *testing.B) {
				s := openBench(b, &spec, Limits{RecordCache: 64 << 20, ReadCache: 64 << 20, Overlay: 64 << 20})
				f(b, s)
				b.StopTimer()
				check(b, s.Abandon())
				check(b, s.Close())
			})
		}
	}
}

func openBench(b *testing.B, spec *state.Spec, l Limits) *Store {
	s, err := Open(Config{Spec: spec, Application: "app", Changelog: "log", Dir: b.TempDir(), Resources: testResources(b, l)})
	check(b, err)
	return s
}

const benchKeys = 100_000

// BenchmarkGetPut reads and writes one of 100,000 keys that are in memory, as an aggregation does. What the commits in
// between take is BenchmarkCommit's.
func BenchmarkGetPut(b *testing.B) {
	benchStores(b, state.Spec{Name: "bench", Timestamped: true}, func(b *testing.B, s *Store) {
		keys := make([][]byte, benchKeys)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "key-%08d", i)
		}
		rand.Shuffle(benchKeys, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		step := aggregate(b, s, func(i int) (Value, error) { return s.Get(keys[i]) },
			func(i int, v Value, r *topology.Record) error { return s.Put(keys[i], v, r) })
		for i := range benchKeys {
			step(i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			step(i % benchKeys)
		}
	})
}

// BenchmarkWindowGetPut reads and writes windows of 1,000 keys; every 100,000 it is a minute later.
func BenchmarkWindowGetPut(b *testing.B) {
	benchStores(b, windows, func(b *testing.B, s *Store) {
		keys := make([][]byte, 1000)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "key-%08d", i)
		}
		start := func(i int) int64 { return int64(i/100_000*60_000 + i/1000%100*1000) }
		step := aggregate(b, s, func(i int) (Value, error) { return s.GetWindow(keys[i%1000], start(i)) },
			func(i int, v Value, r *topology.Record) error { return s.PutWindow(keys[i%1000], start(i), v, r) })
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			step(i)
		}
	})
}

// BenchmarkRange reads one entry and the few around it by a range and changes one of them, as an aggregation by sessions
// does, while many others are changed and not committed.
func BenchmarkRange(b *testing.B) {
	benchStores(b, state.Spec{Name: "bench", Timestamped: true}, func(b *testing.B, s *Store) {
		key := func(i, j int) []byte { return fmt.Appendf(nil, "key-%05d-%02d", i, j) }
		const keys, each = 5000, 4
		for i := range keys * each {
			check(b, s.Put(key(i%keys, i/keys), Value{[]byte("value"), 1}, &topology.Record{}))
		}
		check(b, s.FlushCache())
		check(b, s.Commit(1))
		value := Value{[]byte("VALUE"), 2}
		for i := range keys * each {
			check(b, s.Put(key(i%keys, i/keys), value, &topology.Record{}))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k := key(i%keys, 0)
			for e, err := range s.Range(k[:10], append(k[:10:10], 0xff)) {
				check(b, err)
				k = e.Key
			}
			check(b, s.Put(k, value, &topology.Record{}))
		}
	})
}

// aggregate returns what adds 1 to entry i. It commits now and then, which is not measured.
func aggregate(b *testing.B, s *Store, get func(i int) (Value, error), put func(i int, v Value, r *topology.Record) error) func(i int) {
	origin := &topology.Record{Topic: "in"}
	value := make([]byte, 8)
	n, offset := 0, int64(0)
	return func(i int) {
		v, err := get(i)
		check(b, err)
		count := uint64(0)
		if v.Bytes != nil {
			count = binary.BigEndian.Uint64(v.Bytes)
		}
		binary.BigEndian.PutUint64(value, count+1)
		check(b, put(i, Value{value, int64(i)}, origin))
		if n++; n == benchKeys {
			b.StopTimer()
			n, offset = 0, offset+benchKeys
			check(b, s.FlushCache())
			check(b, s.Commit(offset))
			b.StartTimer()
		}
	}
}

// BenchmarkCommit moves 100,000 entries into the engine.
func BenchmarkCommit(b *testing.B) {
	benchStores(b, state.Spec{Name: "bench", Timestamped: true}, func(b *testing.B, s *Store) {
		key, value := make([]byte, 16), make([]byte, 8)
		for n := int64(1); b.Loop(); n++ {
			b.StopTimer()
			for i := range benchKeys {
				binary.BigEndian.PutUint64(key, uint64(i)*0x9e3779b97f4a7c15)
				check(b, s.Put(key, Value{value, n}, &topology.Record{}))
			}
			check(b, s.FlushCache())
			b.StartTimer()
			check(b, s.Commit(n))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchKeys, "ns/entry")
	})
}

// BenchmarkRestore restores 1,000,000 records of 120 bytes into an empty store, in batches of 5,000 to 50,000.
func BenchmarkRestore(b *testing.B) {
	const total = 1_000_000
	for _, engine := range []state.EngineKind{state.Disk, state.Memory} {
		for _, distinct := range []int{100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/keys=%d", [...]string{"disk", "memory"}[engine], distinct), func(b *testing.B) {
				rnd := rand.New(rand.NewPCG(1, 1))
				arena := make([]byte, 0, total*120)
				records := make([]topology.Record, total)
				for i, k := range rnd.Perm(total) {
					start := len(arena)
					arena = fmt.Appendf(arena, "key-%016d", k%distinct)
					for len(arena) < start+120 {
						arena = binary.LittleEndian.AppendUint32(arena, rnd.Uint32()&0x0f0f0f0f)
					}
					records[i] = topology.Record{Key: arena[start : start+20], Value: arena[start+20 : start+120], Timestamp: int64(i), Offset: int64(i)}
				}
				for b.Loop() {
					b.StopTimer()
					s := openBench(b, &state.Spec{Name: "bench", Timestamped: true, Engine: engine}, Limits{})
					b.StartTimer()
					for next := 0; next < total; {
						n := min(total, next+5000+rnd.IntN(45_000))
						check(b, s.Restore(records[next:n], int64(n)))
						next = n
					}
					check(b, s.RestoreDone())
					b.StopTimer()
					check(b, s.Close())
					b.StartTimer()
				}
				b.ReportMetric(total*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
