package kafka

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch encodes a record batch: records at the deltas, up to the last delta.
func batch(base int64, attributes int16, last int32, deltas ...int32) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: base, Magic: 2, Attributes: attributes, LastOffsetDelta: last, FirstTimestamp: 1000, MaxTimestamp: 2000,
		ProducerID: 7, NumRecords: int32(len(deltas)),
	}
	for _, d := range deltas {
		r := []byte{0} // attributes
		r = kbin.AppendVarlong(r, int64(d))
		r = kbin.AppendVarint(r, d)
		r = kbin.AppendVarintBytes(r, []byte{byte(d)})
		r = kbin.AppendVarintBytes(r, nil)
		r = kbin.AppendVarint(r, 0)
		b.Records = kbin.AppendVarint(b.Records, int32(len(r)))
		b.Records = append(b.Records, r...)
	}
	raw := b.AppendTo(nil)
	return sign(raw)
}

// sign puts length and checksum into a batch.
func sign(raw []byte) []byte {
	if len(raw) >= atRecords {
		binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-atLeaderEpoch))
		binary.BigEndian.PutUint32(raw[atCRC:], crc32.Checksum(raw[atAttributes:], castagnoli))
	}
	return raw
}

func TestDecodePositions(t *testing.T) {
	d := decoder{decompressor: kgo.DefaultDecompressor()}
	for _, c := range []struct {
		name  string
		raw   []byte
		from  int64
		count int
		next  int64
	}{
		{"all", batch(10, 0, 2, 0, 1, 2), 10, 3, 13},
		{"from within", batch(10, 0, 2, 0, 1, 2), 12, 1, 13},
		{"compacted at the end", batch(10, 0, 9, 0, 1), 10, 2, 20},
		{"emptied", batch(10, 0, 9), 10, 0, 20},
		{"a marker", batch(10, transactional|control, 0, 0), 10, 0, 11},
		{"two", append(batch(10, 0, 0, 0), batch(11, 0, 0, 0)...), 10, 2, 12},
		{"the second cut off", append(batch(10, 0, 0, 0), batch(11, 0, 0, 0)[:50]...), 10, 1, 11},
		{"before what was asked for", batch(10, 0, 2, 0, 1, 2), 13, 0, 13},
	} {
		records, next, err := d.decode("t", c.from, &kmsg.FetchResponseTopicPartition{RecordBatches: c.raw})
		if err != nil || len(records) != c.count || next != c.next {
			t.Errorf("%s: %d records, next %d, %v; want %d and %d", c.name, len(records), next, err, c.count, c.next)
		}
		for _, r := range records {
			if r.Timestamp != 1000+r.Offset-10 && c.name != "two" || r.Value != nil || r.Key == nil {
				t.Errorf("%s: record %+v", c.name, r)
			}
		}
	}
	broken := batch(10, 0, 2, 0, 1, 2)
	broken[len(broken)-1] ^= 1
	if _, _, err := d.decode("t", 10, &kmsg.FetchResponseTopicPartition{RecordBatches: broken}); !errors.Is(err, errCorrupt) {
		t.Errorf("a batch with a wrong checksum: %v", err)
	}
}

// Whatever a batch says, decoding ends, allocates no more than it can hold, and never goes back.
func FuzzDecode(f *testing.F) {
	f.Add(batch(0, 0, 2, 0, 1, 2), int64(0))
	f.Add(batch(5, transactional|control, 0, 0), int64(3))
	f.Add(batch(5, 4, 3, 0), int64(3))
	d := decoder{decompressor: kgo.DefaultDecompressor(), committed: true}
	f.Fuzz(func(t *testing.T, raw []byte, from int64) {
		if len(raw) > atMagic {
			raw[atMagic] = 2
		}
		p := &kmsg.FetchResponseTopicPartition{RecordBatches: sign(raw), AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 7}}}
		if _, next, _ := d.decode("t", from, p); next < from {
			t.Fatalf("from %d to %d", from, next)
		}
	})
}
