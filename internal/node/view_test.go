package node

import (
	"testing"

	"github.com/millrace/millrace/serde"
)

// What a string key is decoded to is the bytes, and what others are is their own: it may be changed.
func TestRefer(t *testing.T) {
	key := []byte("a key of more bytes than a few")
	text := refer(serde.String)
	if n := testing.AllocsPerRun(10, func() {
		if k, err := text(key); k != string(key) || err != nil {
			t.Errorf("%q is decoded as %q, %v", key, k, err)
		}
	}); n > 0 {
		t.Errorf("to decode a string takes %v allocations", n)
	}
	if k, err := text(nil); k != "" || err != nil {
		t.Errorf("no bytes are decoded as %q, %v", k, err)
	}
	raw, err := refer(serde.Bytes)(key)
	clear(raw)
	if key[0] != 'a' || err != nil {
		t.Error("bytes that were decoded are those of the key:", err)
	}
	type id string
	own := serde.Func(func(dst []byte, v id) ([]byte, error) { return append(dst, v...), nil }, func(b []byte) (id, error) { return id("-" + string(b)), nil })
	if k, err := refer(own)([]byte("k")); k != "-k" || err != nil {
		t.Errorf("a serde of the program's own decodes %q, %v", k, err)
	}
}
