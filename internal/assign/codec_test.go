package assign

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/millrace/millrace/topology"
)

// vectors are bytes that Kafka Streams 4.3.1 wrote.
func vectors(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Name, Hex string }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, v := range list {
		if out[v.Name], err = hex.DecodeString(v.Hex); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func taskID(s string) topology.TaskID {
	id, err := topology.ParseTaskID(s)
	if err != nil {
		panic(err)
	}
	return id
}

var process, _ = ParseProcessID("123e4567-e89b-12d3-a456-426614174000")

func TestSubscriptionIsJavas(t *testing.T) {
	v := vectors(t)
	for name, want := range map[string]*Subscription{
		"subscription-v11": {
			Process: process, Endpoint: "host:9", Unique: 3,
			Sums: map[topology.TaskID]int64{taskID("0_0"): SumRunning, taskID("1_2"): 100},
			Tags: map[string]string{"z": "a"},
		},
		"subscription-v11-min": {Process: process, Sums: map[topology.TaskID]int64{}, Tags: map[string]string{}},
	} {
		got, err := ParseSubscription(v[name])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
		if b := want.AppendTo(nil); hex.EncodeToString(b) != hex.EncodeToString(v[name]) {
			t.Errorf("%s: encoded as\n%x, want\n%x", name, b, v[name])
		}
	}
}

func TestAssignmentIsJavas(t *testing.T) {
	v := vectors(t)
	none := map[Endpoint][]TopicPartition{}
	host := Endpoint{"host", 9}
	for name, want := range map[string]*Assignment{
		"assignment-v11": {
			Active:    []topology.TaskID{taskID("0_0"), taskID("0_1")},
			Standby:   map[topology.TaskID][]TopicPartition{taskID("1_2"): {{"t", 2}}},
			Hosts:     map[Endpoint][]TopicPartition{host: {{"t", 0}}},
			Replicas:  map[Endpoint][]TopicPartition{host: {{"t", 2}}},
			Rebalance: NoRebalance,
		},
		"assignment-v11-err": {
			Standby: map[topology.TaskID][]TopicPartition{}, Hosts: none, Replicas: none,
			Err: ErrMissingSource, Rebalance: NoRebalance,
		},
	} {
		got, err := ParseAssignment(v[name])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
		if b := want.AppendTo(nil); hex.EncodeToString(b) != hex.EncodeToString(v[name]) {
			t.Errorf("%s: encoded as\n%x, want\n%x", name, b, v[name])
		}
	}
}

func TestProcessIDRoundTrip(t *testing.T) {
	if s := process.String(); s != "123e4567-e89b-12d3-a456-426614174000" {
		t.Errorf("printed as %s", s)
	}
	for _, bad := range []string{"", "123e4567", "123e4567-e89b-12d3-a456-42661417400z", "123e4567e89b12d3a456426614174000"} {
		if _, err := ParseProcessID(bad); err == nil {
			t.Errorf("%q was read as a process id", bad)
		}
	}
}

// What cannot be decoded is an error, never a panic or a huge allocation; what can be, encodes to what decodes the same.
func FuzzSubscription(f *testing.F) {
	f.Add([]byte{})
	(&Subscription{Endpoint: "a:1", Tags: map[string]string{"k": "v"}}).fuzz(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSubscription(b)
		if err != nil {
			return
		}
		if again, err := ParseSubscription(s.AppendTo(nil)); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

func (s *Subscription) fuzz(f *testing.F) { f.Add(s.AppendTo(nil)) }

func FuzzAssignment(f *testing.F) {
	f.Add([]byte{})
	f.Add((&Assignment{
		Active: []topology.TaskID{{Subtopology: 1, Partition: 2}},
		Hosts:  map[Endpoint][]TopicPartition{{"h", 1}: {{"t", 0}}},
	}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAssignment(b)
		if err != nil {
			return
		}
		a.AppendTo(nil)
	})
}
