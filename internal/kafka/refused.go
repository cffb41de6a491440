package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/topology"
)

// Some records cannot be written because of themselves. Who sends them shall hear of it from Send, while it still knows
// what the record was made of; but brokers refuse batches, later. So:
//
//   - What the client can tell by itself, the size, is checked by Send.
//   - When a broker refuses a batch, its records are remembered as suspects, and the session is spoilt as by any other
//     error: the work starts over from the last commit.
//   - A suspect that comes again is sent alone, and Send waits for it. If it is refused again, it is guilty, and the work
//     starts over once more.
//   - For what is guilty Send returns a *refused, and nothing is spoilt.
//
// Before any of that the topic is asked how large a batch it takes, if the principal may (DESCRIBE_CONFIGS): then batches fit,
// and what does not fit alone is told by Send.
//
// Suspects are forgotten with the next commit. Where the work does not make the same records again, none is found guilty,
// and the pauses between the attempts grow as for any trouble.

// refused is the error of a record that cannot be written because of itself.
type refused struct{ error }

func (e *refused) Unwrap() error { return e.error }

// RecordRefused lets others recognise the error without importing this package.
func (*refused) RecordRefused() {}

// A suspicion is a setback after which more will be known of the records that were refused. Progress says that something
// came of what was known before.
type suspicion struct {
	*Setback
	progress bool
}

func (e *suspicion) Unwrap() error  { return e.Setback }
func (e *suspicion) Progress() bool { return e.progress }

// A suspect is a record of a batch that was refused.
type suspect struct {
	err    error
	guilty bool // it was alone
	used   bool // whoever sent it has heard of it
}

// ofRecord says whether a broker refuses a batch because of a record in it.
func ofRecord(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) ||
		errors.Is(err, kerr.InvalidTimestamp) || errors.Is(err, kerr.InvalidRecord)
}

var seed = maphash.MakeSeed()

// identity tells records apart by what a broker can dislike.
func identity(topic string, millis int64, key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(millis))
	b = binary.BigEndian.AppendUint64(b, uint64(len(topic)))
	b = binary.BigEndian.AppendUint64(b, uint64(len(key)))
	h.Write(b)
	h.WriteString(topic)
	h.Write(key)
	h.Write(value)
	return h.Sum64()
}

// suspect notes a record that was refused, and spoils the session.
func (s *session) suspect(k *kgo.Record, err error) {
	s.mu.Lock()
	if s.mu.refused == nil {
		s.mu.refused = make(map[uint64]suspect)
	}
	s.mu.refused[identity(k.Topic, k.Timestamp.UnixMilli(), k.Key, k.Value)] = suspect{err: meaning(err), guilty: s.alone.Load()}
	if errors.Is(err, kerr.MessageTooLarge) && !slices.Contains(s.mu.large, k.Topic) {
		s.mu.large = append(s.mu.large, k.Topic)
	}
	s.mu.Unlock()
	var failed error = &suspicion{&Setback{fmt.Errorf("%w; looking for the record that is refused", err)}, s.progress.Load()}
	s.failed.CompareAndSwap(nil, &failed)
}

// suspects returns what is known for the session after this one.
func (s *session) suspects() map[uint64]suspect {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.mu.refused
	for id, known := range s.known {
		if now, ok := all[id]; !ok || !now.guilty {
			if all == nil {
				all = make(map[uint64]suspect)
			}
			all[id] = known
		}
	}
	return all
}

// acquit forgets all suspects.
func (s *session) acquit() {
	s.known = nil
	s.mu.Lock()
	s.mu.refused = nil
	s.mu.Unlock()
}

// check sends a record if it is a suspect.
func (s *session) check(r *topology.Record) (done bool, err error) {
	id := identity(r.Topic, r.Timestamp, r.Key, r.Value)
	known, ok := s.known[id]
	switch {
	case !ok:
		return false, nil
	case known.guilty:
		if !known.used {
			known.used = true
			s.known[id] = known
			s.progress.Store(true)
		}
		return true, &refused{known.err}
	}
	if err := s.flush(s.ctx); err != nil {
		return true, err
	}
	s.alone.Store(true)
	s.produce(r)
	err = s.flush(s.ctx)
	s.alone.Store(false)
	if err == nil {
		delete(s.known, id)
	}
	return true, err
}

// learnTimeout bounds the question for the limits of topics; without an answer, records that were refused are sent alone.
const learnTimeout = 5 * time.Second

// learn asks the topics that refused a batch of a session for its size how much they take. That counts bytes as they are
// sent: with compression, batches and records can be larger than that, and it does not help to know.
func (p *Producer) learn(old *session) {
	old.mu.Lock()
	topics := slices.DeleteFunc(slices.Clone(old.mu.large), func(topic string) bool { return p.limits[topic] > 0 })
	old.mu.Unlock()
	if len(topics) == 0 || p.pc.Compression != kgo.NoCompression() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), learnTimeout)
	defer cancel()
	const name = "max.message.bytes"
	values, err := old.client.TopicConfig(ctx, topics, name)
	if err != nil {
		old.client.log.Warn("batches are larger than a topic takes, and it cannot be asked for its max.message.bytes, so that their records are "+
			"sent one by one; allow DESCRIBE_CONFIGS on it, or set kgo.ProducerBatchMaxBytesFn (option ClientOptions)", "error", err)
		return
	}
	limits := make(map[string]int32)
	maps.Copy(limits, p.limits)
	for topic, value := range values {
		if n, err := strconv.ParseInt(value, 10, 32); err == nil && n > 0 {
			limits[topic] = int32(n)
		}
	}
	p.limits = limits // the old ones are of the session before
	old.mu.Lock()
	defer old.mu.Unlock()
	maps.DeleteFunc(old.mu.refused, func(_ uint64, s suspect) bool { return errors.Is(s.err, kerr.MessageTooLarge) })
}

// batchBytes returns how large a batch for a topic can be.
func (p *Producer) batchBytes() func(topic string) int32 {
	limits, most := p.limits, p.pc.BatchBytes
	return func(topic string) int32 {
		if n, ok := limits[topic]; ok {
			return min(n, most)
		}
		return most
	}
}

// tooLarge says whether no batch has room for a record.
func (s *session) tooLarge(r *topology.Record) error {
	n, most := batchSize(r), int(s.batchMax(r.Topic))
	if n <= most {
		return nil
	}
	return &refused{fmt.Errorf("kafka: a record for %q has %d bytes, with its batch, of which %d at most are sent "+
		"(see the topic's max.message.bytes, and kgo.ProducerBatchMaxBytes of option ClientOptions): %w", r.Topic, n, most, kerr.MessageTooLarge)}
}

// batchSize is the size of a batch that has one record, uncompressed.
func batchSize(r *topology.Record) int {
	n := 3 + varint(len(r.Key)) + len(r.Key) + varint(len(r.Value)) + len(r.Value) + varint(len(r.Headers))
	for _, h := range r.Headers {
		n += varint(len(h.Key)) + len(h.Key) + varint(len(h.Value)) + len(h.Value)
	}
	return 65 + varint(n) + n
}

// varint is how many bytes a length needs as a zigzag varint.
func varint(n int) (size int) {
	for n <<= 1; n >= 0x80; n >>= 7 {
		size++
	}
	return size + 1
}
