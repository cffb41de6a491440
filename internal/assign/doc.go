// Package assign decides which member of a group runs which tasks, and which keeps a copy of whose state. It is a pure
// function from what the members said of themselves, and from how far the changelogs go, to a plan; and the encoding of
// both in the form that Kafka Streams uses on the wire, so that members written in Java and in Go can share a group
// (StreamsPartitionAssignor, HighAvailabilityTaskAssignor, SubscriptionInfo, AssignmentInfo).
package assign

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/topology"
)

// A TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String prints it as Kafka does: topic-3.
func (p TopicPartition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// Compare orders partitions by topic, then by number.
func (p TopicPartition) Compare(q TopicPartition) int {
	return cmp.Or(strings.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition))
}

// A ProcessID is the UUID of one process. It is kept in the state directory, so that a restarted process is known by
// the state it has.
type ProcessID [16]byte

// String prints the id as UUIDs are printed.
func (id ProcessID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseProcessID reads what String printed.
func ParseProcessID(s string) (ProcessID, error) {
	var id ProcessID
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) || len(s) != 36 {
		return id, fmt.Errorf("assign: %q is no process id (a UUID)", s)
	}
	copy(id[:], b)
	return id, nil
}

// A Task is one task of the application, as far as assignment cares.
type Task struct {
	ID       topology.TaskID
	Stateful bool             // it has stores with changelogs, so it costs time to move
	Inputs   []TopicPartition // what it reads

	// Changelogs are what its stores are restored from. Those that are inputs of the program too (see the topology's
	// optimization) go as far as the input is committed.
	Changelogs []Changelog
}

// A Changelog is a partition from which a store is restored.
type Changelog struct {
	TopicPartition
	Source bool // it is an input of the program
}

// SumRunning is the offset sum of a task that the process runs: its state is as new as state can be
// (Task.LATEST_OFFSET).
const SumRunning int64 = -2

// Ends are the sums of the ends of the changelogs of stateful tasks: what is missing of a state is this less the sum of
// its positions. A task that is left out is one whose ends could not be learned.
type Ends map[topology.TaskID]int64

// Options are what a group may want of its assignment.
type Options struct {
	Standbys      int   // how many copies of a stateful task's state are kept beside the active one (num.standby.replicas)
	AcceptableLag int64 // how many records may be missing of a state that counts as caught up (acceptable.recovery.lag)
	Warmups       int   // how many more copies may be made at a time, where tasks shall go; at least one (max.warmup.replicas)

	// RackTags are the tags in whose values the copies of a task shall differ (rack.aware.assignment.tags, KIP-708).
	RackTags []string
}

// A Process is one process of the group.
type Process struct {
	ID      ProcessID
	Workers int               // its capacity; at least one
	Tags    map[string]string // where it is

	// Draining says that it is about to go: it shall have nothing.
	Draining bool

	// Owned are the tasks that it runs now. Sums are the sums of the changelog positions of the state it has on disk
	// or runs, by task; SumRunning for a task that it runs.
	Owned []topology.TaskID
	Sums  map[topology.TaskID]int64
}

// A Member is one member of the group: the whole process in Go, one stream thread in Java.
type Member struct {
	ID         string
	Process    ProcessID
	Workers    int // its capacity; at least one
	Draining   bool
	Tags       map[string]string
	Generation int32
	Owned      []TopicPartition // as of that generation
	Sums       map[topology.TaskID]int64
}

// A Plan is what the group does next. Probe says that not every task and standby is where it shall be, because state
// has to be built there first: after a while, another rebalance has to look at how far that is (KIP-441).
type Plan struct {
	Shares map[string]Share // of each member
	Probe  bool
}

// A Share is what one member is given. Tasks are for it to run from now on, Standbys for it to keep a copy of the state
// of. Later are tasks that it shall have once their present owner has given them up; they are in nobody's Tasks until
// then, and another rebalance has to follow (KIP-429).
type Share struct {
	Tasks    []topology.TaskID
	Standbys []topology.TaskID
	Later    []topology.TaskID
}

func sortTasks(ids []topology.TaskID) []topology.TaskID {
	slices.SortFunc(ids, topology.TaskID.Compare)
	return ids
}
