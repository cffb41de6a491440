package task

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Committed is a committed offset of an input: the next one to read, with the metadata that goes with it.
type Committed struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// Start begins a task whose stores are restored. committed is what was committed, by topic, where there is anything. The
// nodes are opened, in their order; the error is that of one that cannot be.
func (t *Task) Start(committed map[string]Committed, now time.Time) error {
	t.wall = now.UnixMilli()
	for topic, c := range committed {
		in := t.byName[topic]
		if in == nil {
			continue
		}
		in.position, in.committed, in.epoch = c.Offset, c.Offset, c.LeaderEpoch
		stamp, marks, err := decodeMetadata(c.Metadata)
		if err != nil { // as Java: times start anew, nothing is lost
			t.log.Warn("metadata of a committed offset is not understood", "topic", topic, "metadata", c.Metadata, "error", err)
			continue
		}
		in.time, t.time = stamp, max(stamp, t.time)
		for name, v := range marks {
			t.marks[name] = max(v, t.marks[name])
		}
	}
	return t.openNodes()
}

// CommitRequested says whether a node asked for a commit before its time.
func (t *Task) CommitRequested() bool { return t.hurry }

// CommitNeeded says whether there is anything to commit.
func (t *Task) CommitNeeded() bool { return t.touched }

// Flush makes the caches forward and log what they hold back, in the order in which the stores were added, until
// nothing is left. It ends in calls of Output.Send.
func (t *Task) Flush() (err error) {
	defer t.recovered(&err)
	for dirty := true; dirty; {
		dirty = false
		for _, s := range t.stores {
			if s.Dirty() {
				dirty = true
				if err := s.FlushCache(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Offsets returns what is to be committed: the inputs of which something was processed since the last commit, or all
// of them where marks have changed.
func (t *Task) Offsets() map[string]Committed {
	offsets := map[string]Committed{}
	for _, in := range t.inputs {
		if in.position != in.committed || t.newMarks && in.position > 0 {
			offsets[in.topic] = Committed{in.position, in.epoch, encodeMetadata(in.time, t.marks)}
		}
	}
	return offsets
}

// Positions returns what Offsets would if all of it were new.
func (t *Task) Positions() map[string]Committed {
	offsets := map[string]Committed{}
	for _, in := range t.inputs {
		offsets[in.topic] = Committed{in.position, in.epoch, encodeMetadata(in.time, t.marks)}
	}
	return offsets
}

// Reached returns how far the task is: by input, the offset after the last record that was processed.
func (t *Task) Reached() map[string]int64 {
	reached := make(map[string]int64, len(t.inputs))
	for _, in := range t.inputs {
		reached[in.topic] = in.position
	}
	return reached
}

// Committed tells the task that everything it sent and the Offsets are committed: the stores take over what was held
// back, together with the position of their changelogs, the offset after the last acknowledged record; ok is false
// where nothing was written.
func (t *Task) Committed(position func(changelog string) (next int64, ok bool)) error {
	for _, in := range t.inputs {
		in.committed = in.position
	}
	t.newMarks, t.touched, t.hurry = false, false, false
	var errs []error
	for i, s := range t.part.Stores {
		next := int64(-1)
		switch {
		case s.SourceTopic != "":
			next = t.byName[s.SourceTopic].position
		case s.Logged:
			n, ok := position(s.ChangelogName(t.cfg.Application))
			if !ok {
				continue
			}
			next = n
		}
		errs = append(errs, t.stores[i].Commit(next))
	}
	return errors.Join(errs...)
}

// Persist writes what is committed to disk, as far as it is time to: see [store.Store.Persist].
func (t *Task) Persist() error {
	for _, s := range t.stores {
		if err := s.Persist(); err != nil {
			return fmt.Errorf("task %v: %w", t.cfg.ID, err)
		}
	}
	return nil
}

// metadataVersion is the version of the metadata of committed offsets (Java: TopicPartitionMetadata).
const metadataVersion = 2

// encodeMetadata returns base64 of: version, the greatest timestamp of the partition (8 bytes; -1: none) and, where
// there are any, the marks: their number (4), and for each the length of the name (4), the name and the number (8).
func encodeMetadata(time int64, marks map[string]int64) string {
	b := binary.BigEndian.AppendUint64([]byte{metadataVersion}, uint64(time))
	if len(marks) > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(marks)))
		for _, name := range slices.Sorted(maps.Keys(marks)) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
			b = append(b, name...)
			b = binary.BigEndian.AppendUint64(b, uint64(marks[name]))
		}
	}
	return base64.StdEncoding.EncodeToString(b)
}

var errMetadata = errors.New("not the metadata of a committed offset")

// decodeMetadata reads what encodeMetadata wrote, and version 1, which has the time only. Empty metadata knows nothing.
func decodeMetadata(s string) (time int64, marks map[string]int64, err error) {
	if s == "" {
		return -1, nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return -1, nil, err
	}
	if len(b) < 9 || b[0] < 1 || b[0] > metadataVersion {
		return -1, nil, errMetadata
	}
	time, b = int64(binary.BigEndian.Uint64(b[1:])), b[9:]
	if len(b) == 0 {
		return time, nil, nil
	}
	if len(b) < 4 {
		return -1, nil, errMetadata
	}
	n, b := binary.BigEndian.Uint32(b), b[4:]
	marks = map[string]int64{}
	for range n {
		if len(b) < 4 {
			return -1, nil, errMetadata
		}
		size := int(binary.BigEndian.Uint32(b))
		if size < 0 || len(b) < 4+size+8 {
			return -1, nil, errMetadata
		}
		marks[string(b[4:4+size])] = int64(binary.BigEndian.Uint64(b[4+size:]))
		b = b[4+size+8:]
	}
	return time, marks, nil
}
