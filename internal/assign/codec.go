package assign

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/topology"
)

// Version is the version of the encodings that is spoken here, of Kafka Streams 3.3 (KIP-925) and later. A member
// that says it knows a later one knows this one too.
const Version = 11

// Error codes of a subscription or an assignment (AssignorError).
const (
	ErrNone            int32 = 0
	ErrMissingSource   int32 = 1 // a source topic does not exist
	ErrAssignment      int32 = 3 // the leader failed
	ErrShutdownRequest int32 = 4 // every member has to stop
)

// NoRebalance as the time of the next rebalance says that none is planned.
const NoRebalance int64 = 1<<63 - 1

// A Subscription is the user data of a member's subscription (SubscriptionInfo).
type Subscription struct {
	Process  ProcessID
	Endpoint string // "host:port" where its state can be queried, or empty
	Sums     map[topology.TaskID]int64
	Unique   int8 // differs from join to join, so that the broker takes each for a change
	Err      int32
	Tags     map[string]string
}

// AppendTo encodes s after b.
func (s *Subscription) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, Version)
	b = binary.BigEndian.AppendUint32(b, Version)
	b = append(b, s.Process[:]...)
	b = appendString32(b, s.Endpoint)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Sums)))
	for _, id := range slices.SortedFunc(maps.Keys(s.Sums), topology.TaskID.Compare) {
		b = binary.BigEndian.AppendUint32(b, uint32(id.Subtopology))
		b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
		b = binary.BigEndian.AppendUint64(b, uint64(s.Sums[id]))
		b = append(b, 0xff, 0xff) // no named topology
	}
	b = append(b, byte(s.Unique))
	b = binary.BigEndian.AppendUint32(b, uint32(s.Err))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Tags)))
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		b = appendString32(b, k)
		b = appendString32(b, s.Tags[k])
	}
	return b
}

// ParseSubscription decodes a member's user data.
func ParseSubscription(b []byte) (*Subscription, error) {
	d := decoder{b: b}
	version, latest := d.int32(), d.int32()
	if d.err == nil && version != Version {
		return nil, fmt.Errorf("assign: a member speaks version %d of the subscription (it knows %d), only %d is known here",
			version, latest, Version)
	}
	s := &Subscription{}
	copy(s.Process[:], d.take(len(s.Process)))
	s.Endpoint = string(d.take(int(d.int32())))
	n := d.count(18)
	s.Sums = make(map[topology.TaskID]int64, n)
	for range n {
		id := d.task()
		s.Sums[id] = d.int64()
		if l := d.int16(); l > 0 {
			d.take(int(l))
		}
	}
	if u := d.take(1); len(u) == 1 {
		s.Unique = int8(u[0])
	}
	s.Err = d.int32()
	n = d.count(8)
	s.Tags = make(map[string]string, n)
	for range n {
		k := string(d.take(int(d.int32())))
		s.Tags[k] = string(d.take(int(d.int32())))
	}
	return s, d.end("subscription")
}

// An Assignment is the user data of a member's assignment (AssignmentInfo).
type Assignment struct {
	// Active has one entry for each assigned partition, in the order of the partitions by topic and number: the task
	// that it belongs to.
	Active    []topology.TaskID
	Standby   map[topology.TaskID][]TopicPartition // the inputs of each, as Java has it
	Hosts     map[Endpoint][]TopicPartition        // the partitions of each member with an endpoint
	Replicas  map[Endpoint][]TopicPartition        // the same, of its standbys
	Err       int32
	Rebalance int64 // when the member shall ask for the next rebalance, in milliseconds since the epoch; 0: at once
}

// An Endpoint is where a member answers queries.
type Endpoint struct {
	Host string
	Port int32
}

// Compare orders endpoints by host and port.
func (e Endpoint) Compare(f Endpoint) int {
	return cmp.Or(cmp.Compare(e.Host, f.Host), cmp.Compare(e.Port, f.Port))
}

// AppendTo encodes a after b.
func (a *Assignment) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, Version)
	b = binary.BigEndian.AppendUint32(b, Version)
	b = binary.BigEndian.AppendUint32(b, uint32(len(a.Active)))
	for _, id := range a.Active {
		b = appendTask(b, id)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(a.Standby)))
	for _, id := range slices.SortedFunc(maps.Keys(a.Standby), topology.TaskID.Compare) {
		b = appendTask(b, id)
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.Standby[id])))
		for _, p := range a.Standby[id] {
			b = appendString16(b, p.Topic)
			b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
		}
	}
	b = a.appendHosts(b)
	b = binary.BigEndian.AppendUint32(b, uint32(a.Err))
	return binary.BigEndian.AppendUint64(b, uint64(a.Rebalance))
}

// appendHosts writes the topics as a dictionary, numbered in the order in which they appear, and then the hosts.
func (a *Assignment) appendHosts(b []byte) []byte {
	number := make(map[string]uint32)
	var topics []string
	both := []map[Endpoint][]TopicPartition{a.Hosts, a.Replicas}
	for _, hosts := range both {
		for _, e := range sortedEndpoints(hosts) {
			for _, p := range hosts[e] {
				if _, ok := number[p.Topic]; !ok {
					number[p.Topic] = uint32(len(topics))
					topics = append(topics, p.Topic)
				}
			}
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for i, t := range topics {
		b = binary.BigEndian.AppendUint32(b, uint32(i))
		b = appendString16(b, t)
	}
	for _, hosts := range both {
		b = binary.BigEndian.AppendUint32(b, uint32(len(hosts)))
		for _, e := range sortedEndpoints(hosts) {
			b = appendString16(b, e.Host)
			b = binary.BigEndian.AppendUint32(b, uint32(e.Port))
			b = binary.BigEndian.AppendUint32(b, uint32(len(hosts[e])))
			for _, p := range hosts[e] {
				b = binary.BigEndian.AppendUint32(b, number[p.Topic])
				b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
			}
		}
	}
	return b
}

// ParseAssignment decodes what the leader sent.
func ParseAssignment(b []byte) (*Assignment, error) {
	d := decoder{b: b}
	version, common := d.int32(), d.int32()
	if d.err == nil && version != Version {
		return nil, fmt.Errorf("assign: the leader speaks version %d of the assignment (the group knows %d), only %d is known here",
			version, common, Version)
	}
	a := &Assignment{Standby: make(map[topology.TaskID][]TopicPartition)}
	for range d.count(12) {
		a.Active = append(a.Active, d.longTask())
	}
	for range d.count(16) {
		id := d.longTask()
		for range d.count(6) {
			topic := d.string16()
			a.Standby[id] = append(a.Standby[id], TopicPartition{topic, d.int32()})
		}
	}
	topics := make(map[int32]string)
	for range d.count(6) {
		n := d.int32()
		topics[n] = d.string16()
	}
	a.Hosts, a.Replicas = d.hosts(topics), d.hosts(topics)
	a.Err = d.int32()
	a.Rebalance = d.int64()
	return a, d.end("assignment")
}

func sortedEndpoints(m map[Endpoint][]TopicPartition) []Endpoint {
	return slices.SortedFunc(maps.Keys(m), Endpoint.Compare)
}

func appendString32(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendString16(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendTask(b []byte, id topology.TaskID) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(id.Subtopology))
	b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
	return binary.BigEndian.AppendUint32(b, 0) // no named topology
}

// A decoder reads big-endian values; after the first error it reads zeros.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("it ends too early")

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		if d.err == nil {
			d.err = errShort
		}
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) int16() int16 {
	if v := d.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if v := d.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if v := d.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// count reads the number of elements of at least size bytes each; more than could follow is an error.
func (d *decoder) count(size int) int {
	n := int(d.int32())
	if d.err == nil && (n < 0 || n > len(d.b)/size) {
		d.err = errShort
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *decoder) string16() string { return string(d.take(int(d.int16()))) }

func (d *decoder) task() topology.TaskID {
	sub := d.int32()
	return topology.TaskID{Subtopology: int(sub), Partition: d.int32()}
}

// longTask is a task of an assignment; a named topology, in UTF-16, is skipped.
func (d *decoder) longTask() topology.TaskID {
	id := d.task()
	if n := d.int32(); n > 0 {
		d.take(2 * int(n))
	}
	return id
}

func (d *decoder) hosts(topics map[int32]string) map[Endpoint][]TopicPartition {
	n := d.count(10)
	m := make(map[Endpoint][]TopicPartition, n)
	for range n {
		host := d.string16()
		e := Endpoint{host, d.int32()}
		m[e] = nil
		for range d.count(8) {
			topic := topics[d.int32()]
			m[e] = append(m[e], TopicPartition{topic, d.int32()})
		}
	}
	return m
}

func (d *decoder) end(what string) error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes are left over", len(d.b))
	}
	if d.err != nil {
		return fmt.Errorf("assign: the %s cannot be decoded: %w", what, d.err)
	}
	return nil
}
