package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/state"
)

func TestFilterForgetsNoKeyAndKnowsMostThatAreAbsent(t *testing.T) {
	var used atomic.Int64
	var f filter
	f.begin(3, &used)
	key := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	if f.absent(2, hash(key(0))) || !f.absent(3, hash(key(0))) {
		t.Fatal("what was there before the filter may be anything, what comes after it is empty")
	}
	const n = 200_000
	for i := range n {
		f.add(2, hash(key(i)))
		f.add(3, hash(key(i)))
		f.add(3, hash(key(i/2))) // again
	}
	wrong := 0
	for i := range n {
		if f.absent(3, hash(key(i))) {
			t.Fatalf("key %d of %d is said to be absent", i, n)
		}
		if !f.absent(3, hash(key(n+i))) {
			wrong++
		}
	}
	if wrong > n*3/100 {
		t.Errorf("%d of %d keys that are absent are not known to be", wrong, n)
	}
	if perKey := float64(used.Load()) * 8 / n; perKey > 20 {
		t.Errorf("%.1f bits a key", perKey)
	}
	f.drop(4)
	if used.Load() != 0 {
		t.Errorf("%d bytes are used after all segments were dropped", used.Load())
	}
}

func TestFilterGivesUpAtItsLimits(t *testing.T) {
	var used atomic.Int64
	var f filter
	f.begin(0, &used)
	key := make([]byte, 8)
	for i := range uint64(1_200_000) {
		binary.BigEndian.PutUint64(key, i)
		f.add(0, hash(key))
	}
	binary.BigEndian.PutUint64(key, 1<<40)
	if f.absent(0, hash(key)) || used.Load() != 0 {
		t.Errorf("a filter that is full still answers, or takes %d bytes", used.Load())
	}
	used.Store(filterLimit)
	f.add(1, hash(key))
	if f.absent(1, hash(key)) || f.absent(1, hash(key[:4])) || used.Load() != filterLimit {
		t.Errorf("a filter grows past what all filters may take: %d bytes", used.Load())
	}
}

// What a store had before it was opened is found, whatever segment it is in.
func TestFilterOfAStoreThatIsOpenedAgain(t *testing.T) {
	specs := map[string]state.Spec{
		"key":    {Name: "s", Kind: state.KeyValue, Timestamped: true},
		"window": {Name: "s", Kind: state.Window, Timestamped: true, Retention: time.Hour},
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			dir, r := t.TempDir(), NewResources(Limits{ReadCache: 1})
			t.Cleanup(r.Close)
			rnd := rand.New(rand.NewPCG(1, 2))
			key := func(i int) []byte {
				k := fmt.Appendf(nil, "k%d", i)
				if spec.Kind == state.Window {
					k = appendWindowKey(nil, k, int64(i)*int64(time.Minute/time.Millisecond)/10)
				}
				return k
			}
			for open := range 4 {
				s, err := Open(Config{Spec: &spec, Dir: dir, Resources: r})
				if err != nil {
					t.Fatal(err)
				}
				for range 500 {
					i := rnd.IntN((open + 1) * 100)
					v, err := s.Get(key(i))
					if err != nil {
						t.Fatal(err)
					}
					if want := i < open*100; want && v.Bytes == nil {
						t.Fatalf("opened %d times: key %d is not there", open+1, i)
					}
				}
				for i := range (open + 1) * 100 {
					if err := s.Put(key(i), Value{[]byte("v"), 1}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Commit(-1); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if n := r.filters.Load(); n != 0 {
				t.Errorf("%d bytes of filters are left after the last close", n)
			}
		})
	}
}

// A store of duplicates finds by key and times what was put, in windows shorter and longer than a segment, before and after
// it is opened again; and it knows of most that were never written.
func TestFilterOfDuplicates(t *testing.T) {
	for _, size := range []int64{1, 50, 10_000, 100_000} {
		t.Run(fmt.Sprint("window of ", size), func(t *testing.T) {
			spec := &state.Spec{
				Name: "s", Kind: state.Window, Duplicates: true, Retention: 2 * time.Minute,
				WindowSize: time.Duration(size) * time.Millisecond,
			}
			c := Config{Spec: spec, Dir: t.TempDir(), Resources: testResources(t, Limits{})}
			s, err := Open(c)
			check(t, err)
			defer func() { check(t, s.Close()) }()
			rnd := rand.New(rand.NewPCG(3, 4))
			put := map[string][]int64{}
			now, absent, known := int64(0), 0, 0
			for i := range int64(5000) {
				if now += rnd.Int64N(size + 1); i%500 == 0 {
					now += 60_000 // another segment
				}
				at := max(0, now-rnd.Int64N(2*size))
				key := fmt.Sprint("k", rnd.IntN(20))
				check(t, s.PutDuplicate([]byte(key), at, Value{Bytes: []byte("v")}, nil))
				put[key] = append(put[key], at)

				other := fmt.Sprint("k", rnd.IntN(20))
				from := max(0, now-rnd.Int64N(20*size))
				var want []int64
				for _, at := range put[other] {
					if from <= at && at <= from+size && at >= s.oldest() {
						want = append(want, at)
					}
				}
				slices.Sort(want)
				if from >= s.oldest() && len(want) == 0 {
					absent++
					if s.unwritten([]byte(other), from, from+size) {
						known++
					}
				}
				found, err := s.WindowsOf(nil, []byte(other), from, from+size)
				check(t, err)
				var got []int64
				for _, w := range found {
					got = append(got, w.Start)
				}
				same(t, fmt.Sprintf("record %d, key %s from %d", i, other, from), got, want)

				if i%100 == 0 {
					check(t, s.Commit(i+1))
				}
				if i == 1200 || i == 1300 {
					check(t, s.Commit(i+1))
					check(t, s.Close())
					s, err = Open(c)
					check(t, err)
				}
			}
			if known < absent/2 || absent == 0 {
				t.Errorf("of %d that were not there %d were known", absent, known)
			}
		})
	}
}
