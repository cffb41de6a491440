package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/state"
)

// Changes leave the stage in the order of their keys, and the last of each key only, whatever the keys have in common.
func TestStageIsInTheOrderOfKeys(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	shapes := map[string]func() []byte{
		"digits":   func() []byte { return fmt.Appendf(nil, "key-%08d", rnd.IntN(5000)) },
		"few":      func() []byte { return []byte{byte(rnd.IntN(3))} },
		"any":      func() []byte { return binary.BigEndian.AppendUint64(nil, rnd.Uint64())[:rnd.IntN(9)] },
		"long":     func() []byte { return append(make([]byte, 20), byte(rnd.IntN(4)), byte(rnd.IntN(4))) },
		"zeros":    func() []byte { return make([]byte, rnd.IntN(12)) },
		"the same": func() []byte { return []byte("k") },
	}
	for name, key := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 100, 3000} {
				s := &Store{Config: Config{Spec: &state.Spec{}}, filter: filter{from: 1}}
				last := map[string]string{}
				for i := range n {
					k := key()
					v := Value{Bytes: fmt.Append(nil, i)}
					if i%5 == 0 {
						v.Bytes = nil
					}
					s.stageChange(k, v)
					last[string(k)] = string(v.Bytes)
				}
				var got changes
				check(t, s.stage.writeTo(&got, 0, 0))
				if !slices.IsSortedFunc(got, func(a, b pair) int { return bytes.Compare(a.key, b.key) }) || len(got) != len(last) {
					t.Fatalf("%d changes of %d keys give %d, in order: %v", n, len(last), len(got), got)
				}
				for _, p := range got {
					if want := last[string(p.key[1:])]; string(p.value) != want {
						t.Fatalf("key %q has %q, want %q", p.key, p.value, want)
					}
				}
			}
		})
	}
}

// changes is a batch that keeps what it is given.
type changes []pair

func (c *changes) set(key, value []byte) error {
	*c = append(*c, pair{bytes.Clone(key), bytes.Clone(value)})
	return nil
}
func (c *changes) remove(key []byte) error         { return c.set(key, nil) }
func (c *changes) removeRange(lo, hi []byte) error { return nil }
func (c *changes) apply() error                    { return nil }
