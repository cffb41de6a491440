package node

import (
	"encoding/binary"
	"fmt"

	"github.com/millrace/millrace/serde"
)

// A Subscription is what a row of the first table of a foreign-key join asks of the other table's partition: an
// instruction, in the name of its primary key (Java: SubscriptionWrapper, version 1).
type Subscription struct {
	Hash        Hash
	Instruction Instruction
	Primary     []byte // the encoded key of the row
	Partition   int32  // of the row; -1: not known (version 0)
}

// A Response is what the other side answers (Java: SubscriptionResponseWrapper).
type Response[V any] struct {
	Hash      Hash
	Value     V
	Null      bool
	Partition int32 // of the row that asked, which is not written; -1: not known
}

// Hash is that of a row's value, by which a response that is out of date is known; of no row it is not Valid.
type Hash struct {
	Sum   [16]byte
	Valid bool
}

// Instruction is what is to be done for a subscription.
type Instruction byte

// The instructions, as they are on the wire.
const (
	unsubscribe        Instruction = iota // say nothing
	unsubscribeAndTell                    // respond with null
	subscribeAndTell                      // respond with the row, or null
	subscribeIfThereIs                    // respond with the row, if there is one
	lastInstruction                = subscribeIfThereIs
	nullHash           byte        = 0x80 // in the byte of the version
	wrapperVersion     byte        = 1
)

func appendHash(dst []byte, version byte, h Hash) []byte {
	if !h.Valid {
		return append(dst, version|nullHash)
	}
	return append(append(dst, version), h.Sum[:]...)
}

// SubscriptionSerde is the serde of subscriptions.
func SubscriptionSerde() serde.Serde[Subscription] {
	return serde.Func(appendSubscription, readSubscription)
}

func appendSubscription(dst []byte, s Subscription) ([]byte, error) {
	version := wrapperVersion
	if s.Partition < 0 {
		version = 0
	}
	if !s.Hash.Valid {
		dst = append(dst, version|nullHash, byte(s.Instruction))
	} else {
		dst = append(append(dst, version, byte(s.Instruction)), s.Hash.Sum[:]...)
	}
	dst = append(dst, s.Primary...)
	if version == 0 {
		return dst, nil
	}
	return binary.BigEndian.AppendUint32(dst, uint32(s.Partition)), nil
}

func readSubscription(b []byte) (Subscription, error) {
	s, err := parseSubscription(b)
	s.Primary = append([]byte{}, s.Primary...)
	return s, err
}

// parseSubscription reads a subscription that refers to the bytes.
func parseSubscription(b []byte) (s Subscription, err error) {
	if len(b) < 2 {
		return s, fmt.Errorf("a subscription of a foreign-key join has %d bytes, too few", len(b))
	}
	version := b[0] &^ nullHash
	if version > wrapperVersion || Instruction(b[1]) > lastInstruction {
		return s, fmt.Errorf("a subscription of a foreign-key join has the version %d and the instruction %d, which are not known", version, b[1])
	}
	s.Instruction, s.Hash.Valid, s.Partition = Instruction(b[1]), b[0]&nullHash == 0, -1
	b = b[2:]
	if s.Hash.Valid {
		if len(b) < len(s.Hash.Sum) {
			return s, fmt.Errorf("a subscription of a foreign-key join has %d bytes of a hash, too few", len(b))
		}
		b = b[copy(s.Hash.Sum[:], b):]
	}
	if version > 0 {
		if len(b) < 4 {
			return s, fmt.Errorf("a subscription of a foreign-key join ends before its partition")
		}
		s.Partition = int32(binary.BigEndian.Uint32(b[len(b)-4:]))
		if s.Partition < 0 {
			return s, fmt.Errorf("a subscription of a foreign-key join comes from partition %d, which cannot be", s.Partition)
		}
		b = b[:len(b)-4]
	}
	s.Primary = b
	return s, nil
}

// ResponseSerde is the serde of responses with values of a serde. An empty value is read back as null, as in Java.
func ResponseSerde[V any](value serde.Serde[V]) serde.Serde[Response[V]] {
	return serde.Func(
		func(dst []byte, r Response[V]) ([]byte, error) {
			out := appendHash(dst, 0, r.Hash)
			if r.Null {
				return out, nil
			}
			with, err := value.Append(out, r.Value)
			if err != nil {
				return dst, err
			}
			return with, nil
		},
		func(b []byte) (r Response[V], err error) {
			if len(b) < 1 || b[0]&^nullHash != 0 {
				return r, fmt.Errorf("a response of a foreign-key join of %d bytes is not of version 0", len(b))
			}
			r.Hash.Valid, r.Partition = b[0]&nullHash == 0, -1
			b = b[1:]
			if r.Hash.Valid {
				if len(b) < len(r.Hash.Sum) {
					return r, fmt.Errorf("a response of a foreign-key join has %d bytes of a hash, too few", len(b))
				}
				b = b[copy(r.Hash.Sum[:], b):]
			}
			if len(b) == 0 {
				r.Null = true
				return r, nil
			}
			r.Value, err = value.Decode(b)
			return r, err
		})
}

// foreignKey appends a key of the store of subscriptions: the foreign key with its length (CombinedKeySchema), behind
// which the primary key comes.
func foreignKey[K any](dst []byte, key serde.Serde[K], k K) ([]byte, error) {
	out := append(dst, 0, 0, 0, 0)
	at := len(dst)
	out, err := key.Append(out, k)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	return out, nil
}
