package state_test

import (
	"maps"
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

func TestKindsHaveNames(t *testing.T) {
	for kind, want := range map[state.Kind]string{state.KeyValue: "key-value", state.Window: "window", 9: "kind 9"} {
		if kind.String() != want {
			t.Errorf("%v, want %v", kind, want)
		}
	}
}
