package state_test

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/millrace/millrace/state"
)

func TestSegmentInterval(t *testing.T) {
	for retention, want := range map[time.Duration]time.Duration{
		time.Second: time.Minute, 2 * time.Minute: time.Minute, 10 * time.Minute: 5 * time.Minute, 24 * time.Hour: 12 * time.Hour,
	} {
		if got := (&state.Spec{Retention: retention}).SegmentInterval(); got != want {
			t.Errorf("segments of a store that keeps %v span %v, want %v", retention, got, want)
		}
	}
}

func TestChangelogConfig(t *testing.T) {
	kv := (&state.Spec{}).ChangelogConfig(24 * time.Hour)
	if want := map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}; !maps.Equal(kv, want) {
		t.Errorf("a key-value store's changelog has %v", kv)
	}
	spec := state.Spec{Kind: state.Window, Retention: time.Hour, LogConfig: map[string]string{"segment.bytes": "1000", "cleanup.policy": "compact"}}
	window := spec.ChangelogConfig(24 * time.Hour)
	if want := map[string]string{
		"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "retention.ms": "90000000", "segment.bytes": "1000",
	}; !maps.Equal(window, want) {
		t.Errorf("a window store's changelog has %v", window)
	}
}

func TestVersionedSegmentInterval(t *testing.T) {
	for retention, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, 6 * time.Second: 2 * time.Second, time.Minute: 20 * time.Second, 2 * time.Minute: 24 * time.Second,
		90 * time.Second: 20 * time.Second, time.Hour: 5 * time.Minute, 10 * time.Minute: time.Minute,
		2 * time.Hour: 5 * time.Minute, 48 * time.Hour: 2 * time.Hour,
	} {
		if got := (&state.Spec{Kind: state.Versioned, Retention: retention}).SegmentInterval(); got != want {
			t.Errorf("segments of a versioned store that keeps %v span %v, want %v", retention, got, want)
		}
	}
}

func TestVersionedChangelogConfig(t *testing.T) {
	spec := state.Spec{Kind: state.Versioned, Retention: time.Hour}
	want := map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "min.compaction.lag.ms": "90000000"}
	if got := spec.ChangelogConfig(time.Minute); !maps.Equal(got, want) {
		t.Errorf("a versioned store's changelog has %v", got)
	}
	spec.LogConfig = map[string]string{"min.compaction.lag.ms": "1"}
	want["min.compaction.lag.ms"] = "1"
	if got := spec.ChangelogConfig(time.Minute); !maps.Equal(got, want) {
		t.Errorf("a versioned store's changelog that is given its lag has %v", got)
	}
	spec = state.Spec{Kind: state.Versioned, Retention: math.MaxInt64}
	if got := spec.ChangelogConfig(0)["min.compaction.lag.ms"]; got != "9223372036854" {
		t.Errorf("the longest history has a lag of %s ms", got)
	}
}

func TestKindsHaveNames(t *testing.T) {
	for kind, want := range map[state.Kind]string{state.KeyValue: "key-value", state.Window: "window", state.Versioned: "versioned", 9: "kind 9"} {
		if kind.String() != want {
			t.Errorf("%v, want %v", kind, want)
		}
	}
}
