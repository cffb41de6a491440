package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/topology"
)

// The layout of a record batch, version 2 (org.apache.kafka.common.record.DefaultRecordBatch): the places of its
// fields. Offset and length come first and are not counted in the length.
const (
	atBaseOffset    = 0
	atLength        = 8
	atLeaderEpoch   = 12
	atMagic         = 16
	atCRC           = 17
	atAttributes    = 21
	atLastDelta     = 23
	atBaseTimestamp = 27
	atMaxTimestamp  = 35
	atProducerID    = 43
	atCount         = 57
	atRecords       = 61

	compressionMask = 0x07
	logAppendTime   = 0x08
	transactional   = 0x10
	control         = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A decoder turns the batches of a fetched partition into records.
type decoder struct {
	decompressor kgo.Decompressor
	committed    bool // leave out what was aborted
}

// decode returns the records from offset from on, and the offset after everything that was read: past control records,
// aborted records and batches that compaction emptied too. Keys and values point into the response. A batch cut off at
// the end of the response is left for the next fetch.
func (d *decoder) decode(topic string, from int64, p *kmsg.FetchResponseTopicPartition) (records []topology.Record, next int64, err error) {
	next = from
	raw := p.RecordBatches
	records = make([]topology.Record, 0, countRecords(raw))
	aborted := abortedTransactions(p, d.committed)
	for len(raw) > atMagic {
		length := int(int32(binary.BigEndian.Uint32(raw[atLength:]))) + atLeaderEpoch
		if magic := raw[atMagic]; magic != 2 {
			return d.decodeOld(records, topic, next, p, raw)
		}
		if length > len(raw) {
			break
		}
		if length < atRecords {
			return records, next, fmt.Errorf("%w: its length is %d", errCorrupt, length)
		}
		batch := raw[:length]
		raw = raw[length:]
		if crc32.Checksum(batch[atAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[atCRC:]) {
			return records, next, fmt.Errorf("%w: its checksum differs", errCorrupt)
		}
		after := int64(binary.BigEndian.Uint64(batch[atBaseOffset:])) + int64(int32(binary.BigEndian.Uint32(batch[atLastDelta:]))) + 1
		if after <= next {
			continue
		}
		if !aborted.drop(batch) {
			if records, err = d.batch(records, topic, p.Partition, next, batch); err != nil {
				return records, next, err
			}
		}
		next = after
	}
	return records, next, nil
}

var errCorrupt = errors.New("a record batch is corrupt")

// countRecords adds up what the batches say they hold, so that all records fit one slice; no more than the bytes can
// hold, should a batch lie.
func countRecords(raw []byte) int {
	n, size := 0, len(raw)
	for len(raw) >= atRecords && raw[atMagic] == 2 {
		length := int(int32(binary.BigEndian.Uint32(raw[atLength:]))) + atLeaderEpoch
		if length < atRecords || length > len(raw) {
			break
		}
		if raw[atAttributes+1]&control == 0 {
			n += int(int32(binary.BigEndian.Uint32(raw[atCount:])))
		}
		raw = raw[length:]
	}
	return max(0, min(n, size/smallest+1))
}

// smallest is how many bytes a record takes at least. (Compressed it can be less; then the slice grows.)
const smallest = 7

// batch appends the records of a batch that are not before from. A control batch has none.
func (d *decoder) batch(records []topology.Record, topic string, partition int32, from int64, batch []byte) ([]topology.Record, error) {
	attributes := binary.BigEndian.Uint16(batch[atAttributes:])
	if attributes&control != 0 {
		return records, nil
	}
	r := topology.Record{
		Topic: topic, Partition: partition,
		LeaderEpoch: int32(binary.BigEndian.Uint32(batch[atLeaderEpoch:])),
	}
	base := int64(binary.BigEndian.Uint64(batch[atBaseOffset:]))
	baseTimestamp := int64(binary.BigEndian.Uint64(batch[atBaseTimestamp:]))
	count := int(int32(binary.BigEndian.Uint32(batch[atCount:])))
	body := batch[atRecords:]
	if codec := attributes & compressionMask; codec != 0 {
		var err error
		if body, err = d.decompressor.Decompress(body, kgo.CompressionCodecType(codec)); err != nil {
			return records, fmt.Errorf("%w: it cannot be decompressed: %w", errCorrupt, err)
		}
	}
	records = slices.Grow(records, min(max(count, 0), len(body)/smallest+1))
	in := reader{b: body}
	for range count {
		size := in.varint()
		rec := reader{b: in.take(size)}
		rec.take(1) // attributes, unused
		r.Timestamp = baseTimestamp + rec.varint()
		if attributes&logAppendTime != 0 {
			r.Timestamp = int64(binary.BigEndian.Uint64(batch[atMaxTimestamp:]))
		}
		r.Offset = base + rec.varint()
		r.Key = rec.bytes()
		r.Value = rec.bytes()
		r.Headers = rec.headers()
		if in.bad || rec.bad {
			return records, fmt.Errorf("%w: a record in it cannot be read", errCorrupt)
		}
		if r.Offset >= from {
			records = append(records, r)
		}
	}
	return records, nil
}

// decodeOld reads what is left in the formats before Kafka 0.11, through the client.
func (d *decoder) decodeOld(records []topology.Record, topic string, from int64, p *kmsg.FetchResponseTopicPartition, raw []byte) ([]topology.Record, int64, error) {
	rest := *p
	rest.RecordBatches = raw
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, Topic: topic, Partition: p.Partition,
	}, &rest, d.decompressor, nil)
	for _, r := range fp.Records {
		records = append(records, topology.Record{
			Topic: topic, Partition: r.Partition, LeaderEpoch: r.LeaderEpoch, Offset: r.Offset,
			Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value,
		})
	}
	return records, next, fp.Err
}

// aborts are the transactions that were aborted in what was fetched: for each producer the first offsets of those, in
// order.
type aborts map[int64][]int64

func abortedTransactions(p *kmsg.FetchResponseTopicPartition, committed bool) aborts {
	if !committed || len(p.AbortedTransactions) == 0 {
		return nil
	}
	a := make(aborts, len(p.AbortedTransactions))
	for _, t := range p.AbortedTransactions {
		a[t.ProducerID] = append(a[t.ProducerID], t.FirstOffset)
	}
	for _, offsets := range a {
		slices.Sort(offsets)
	}
	return a
}

// drop reports whether the batch belongs to an aborted transaction. The marker that ends one makes way for the next of
// its producer.
func (a aborts) drop(batch []byte) bool {
	attributes := binary.BigEndian.Uint16(batch[atAttributes:])
	if len(a) == 0 || attributes&transactional == 0 {
		return false
	}
	producer := int64(binary.BigEndian.Uint64(batch[atProducerID:]))
	first := a[producer]
	if len(first) == 0 || int64(binary.BigEndian.Uint64(batch[atBaseOffset:])) < first[0] {
		return false
	}
	if attributes&control != 0 && isAbortMarker(batch[atRecords:]) {
		a[producer] = first[1:]
	}
	return true
}

// isAbortMarker looks at the first record of a control batch; its key is a version and a type, 0 for abort.
func isAbortMarker(body []byte) bool {
	in := reader{b: body}
	in.varint()
	in.take(1)
	in.varint()
	in.varint()
	key := in.bytes()
	return !in.bad && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

// A reader reads the varints of a record; after the first error it reads zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// bytes reads a length and so many bytes; nil for -1.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n == -1 || r.bad {
		return nil
	}
	if n == 0 {
		return []byte{}
	}
	return r.take(n)
}

func (r *reader) headers() []topology.Header {
	n := r.varint()
	if n <= 0 || r.bad {
		r.bad = r.bad || n < 0
		return nil
	}
	if n > int64(len(r.b)) {
		r.bad = true
		return nil
	}
	h := make([]topology.Header, n)
	for i := range h {
		h[i].Key = string(r.bytes())
		h[i].Value = r.bytes()
	}
	return h
}
