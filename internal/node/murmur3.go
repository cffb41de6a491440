package node

import (
	"encoding/binary"
	"math/bits"
)

// hashSeed is what Kafka Streams begins its hashes with (Murmur3.DEFAULT_SEED).
const hashSeed = 104729

// hashOf returns the 128 bits of MurmurHash3 (x64), which responses of foreign-key joins carry.
func hashOf(data []byte) Hash {
	const c1, c2 = 0x87c37b91114253d5, 0x4cf5ad432745937f
	h1, h2 := uint64(hashSeed), uint64(hashSeed)
	mix1 := func(k uint64) uint64 { return bits.RotateLeft64(k*c1, 31) * c2 }
	mix2 := func(k uint64) uint64 { return bits.RotateLeft64(k*c2, 33) * c1 }
	rest := data
	for ; len(rest) >= 16; rest = rest[16:] {
		h1 = (bits.RotateLeft64(h1^mix1(binary.LittleEndian.Uint64(rest)), 27)+h2)*5 + 0x52dce729
		h2 = (bits.RotateLeft64(h2^mix2(binary.LittleEndian.Uint64(rest[8:])), 31)+h1)*5 + 0x38495ab5
	}
	var last [16]byte
	copy(last[:], rest)
	h2 ^= mix2(binary.LittleEndian.Uint64(last[8:]))
	h1 ^= mix1(binary.LittleEndian.Uint64(last[:]))
	h1 ^= uint64(len(data))
	h2 ^= uint64(len(data))
	h1 += h2
	h2 += h1
	h1, h2 = final(h1), final(h2)
	h1 += h2
	h2 += h1
	h := Hash{Valid: true}
	binary.BigEndian.PutUint64(h.Sum[:], h1)
	binary.BigEndian.PutUint64(h.Sum[8:], h2)
	return h
}

func final(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
