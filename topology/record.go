package topology

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/millrace/millrace/serde"
)

// A Header is one header of a record.
type Header = serde.Header

// Record is a record as it lies in a topic: bytes, and where they are. A nil Key or Value is null.
type Record struct {
	Topic       string
	Partition   int32
	LeaderEpoch int32
	Offset      int64
	Timestamp   int64 // milliseconds since the epoch
	Key, Value  []byte
	Headers     []Header
}

// Place says where the record is, for messages: topic "t" partition 3 offset 17.
func (r *Record) Place() string {
	return fmt.Sprintf("topic %q partition %d offset %d", r.Topic, r.Partition, r.Offset)
}

// TaskID names a task: the sub-topology it runs and the partition it runs it for.
type TaskID struct {
	Subtopology int
	Partition   int32
}

// String prints the id as Java does and as its directory is named: 0_3.
func (id TaskID) String() string {
	return strconv.Itoa(id.Subtopology) + "_" + strconv.Itoa(int(id.Partition))
}

// LogValue has the id logged as String prints it.
func (id TaskID) LogValue() slog.Value { return slog.StringValue(id.String()) }

// ParseTaskID reads what String printed.
func ParseTaskID(s string) (TaskID, error) {
	sub, part, ok := strings.Cut(s, "_")
	a, err1 := strconv.ParseUint(sub, 10, 31)
	b, err2 := strconv.ParseUint(part, 10, 31)
	if !ok || err1 != nil || err2 != nil {
		return TaskID{}, fmt.Errorf("topology: %q is no task id (wanted SUBTOPOLOGY_PARTITION)", s)
	}
	return TaskID{int(a), int32(b)}, nil
}

// Compare orders ids by sub-topology, then by partition.
func (id TaskID) Compare(other TaskID) int {
	if id.Subtopology != other.Subtopology {
		return id.Subtopology - other.Subtopology
	}
	return int(id.Partition - other.Partition)
}
