package topology

import (
	"fmt"
	"time"
)

// A Reset says where to begin with a partition of which nothing is committed, or what is not there any more
// (auto.offset.reset): one of the constants, or what [Past] returns. The zero Reset says nothing.
type Reset int64

// The policies beside [Past].
const (
	ResetEarliest Reset = -1 // at the beginning
	ResetLatest   Reset = -2 // with what comes from now on
	ResetNone     Reset = -3 // not at all: that is an error
)

// Past begins with the records of so long ago, by their timestamps; at the end where there are none. It is a millisecond at
// least; less is not valid. (KIP-1106)
func Past(d time.Duration) Reset {
	if d < time.Millisecond {
		return ResetNone - 1
	}
	return Reset(d.Milliseconds())
}

// Valid says whether a Reset says where to begin.
func (r Reset) Valid() bool { return r >= ResetNone && r != 0 }

// Before returns how long ago a Reset made by Past begins.
func (r Reset) Before() (d time.Duration, ok bool) { return time.Duration(r) * time.Millisecond, r > 0 }

func (r Reset) String() string {
	switch r {
	case 0:
		return "unset"
	case ResetEarliest:
		return "earliest"
	case ResetLatest:
		return "latest"
	case ResetNone:
		return "none"
	}
	if d, ok := r.Before(); ok {
		return fmt.Sprintf("%v ago", d)
	}
	return fmt.Sprintf("reset %d", int64(r))
}

// SetReset says where to begin with the topics of a source, whatever the application says.
func (b *Builder) SetReset(source string, r Reset) {
	n := b.byName[source]
	if n == nil || n.Kind != SourceNode {
		b.fail("%q is no source; only a source begins anywhere", source)
		return
	}
	n.Reset = r
}

// ResetOf returns where the program says to begin with a topic; 0: it does not.
func (t *Topology) ResetOf(topic string) Reset {
	for _, n := range t.nodes {
		for _, read := range n.Topics {
			if read == topic {
				return n.Reset
			}
		}
	}
	return 0
}
