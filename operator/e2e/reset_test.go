//go:build k8s

package e2e

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/serde"
)

// TestReset plans a reset, which touches nothing, and runs it: the application begins again with nothing, and all of its input is counted
// once more.
func TestReset(t *testing.T) {
	s := newScene(t)
	s.application(2)
	s.flow(200).burst(5000)
	s.untilApp("two pods run", 2*time.Minute, running(2))
	s.settle()
	counts := maps.Clone(s.traffic.written)
	again := s.readOn()
	before := uids(s.pods())

	reset := &v1alpha1.StreamsReset{
		ObjectMeta: metav1.ObjectMeta{Name: "again", Namespace: s.namespace},
		Spec:       v1alpha1.StreamsResetSpec{Application: name, DeleteVolumes: true},
	}
	if err := world.client.Create(t.Context(), reset); err != nil {
		t.Fatal(err)
	}
	s.phase(reset, v1alpha1.ResetPlanned)
	for _, word := range []string{s.input, s.namespace + "-counts-changelog"} {
		if !strings.Contains(reset.Status.Plan, word) {
			t.Errorf("the plan says nothing of %s: %s", word, reset.Status.Plan)
		}
	}
	if now := uids(s.pods()); !maps.Equal(now, before) {
		t.Errorf("a plan touched pods: %v, before %v", now, before)
	}

	planned := reset.DeepCopy()
	reset.Spec.Execute = true
	if err := world.client.Patch(t.Context(), reset, client.MergeFrom(planned)); err != nil {
		t.Fatal(err)
	}
	s.phase(reset, v1alpha1.ResetDone)
	s.untilApp("two pods run again", 2*time.Minute, running(2))
	last := make(map[string]int64)
	s.until("all is counted again", time.Minute, func() string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			n, err := serde.Int64.Decode(r.Value)
			if err != nil || n != last[string(r.Key)]+1 {
				t.Fatalf("%s is counted to %d after %d: %v", r.Key, n, last[string(r.Key)], err)
			}
			last[string(r.Key)] = n
		})
		if !maps.Equal(last, counts) {
			return "some counts are to come"
		}
		return ""
	})
}

// readOn reads what comes out from now on.
func (s *scene) readOn() *kgo.Client {
	s.Helper()
	ends, err := world.kafka.Admin().ListEndOffsets(s.Context(), s.output)
	if err != nil {
		s.Fatal(err)
	}
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range ends {
		from[topic] = make(map[int32]kgo.Offset)
		for p, end := range partitions {
			from[topic][p] = kgo.NewOffset().At(end.Offset)
		}
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(world.kafka.Bootstrap(), ",")...), kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(reader.Close)
	return reader
}

// phase waits until a reset is so far.
func (s *scene) phase(reset *v1alpha1.StreamsReset, want v1alpha1.ResetPhase) {
	s.Helper()
	s.until("the reset is "+string(want), 2*time.Minute, func() string {
		if err := world.client.Get(s.Context(), client.ObjectKeyFromObject(reset), reset); err != nil {
			return err.Error()
		}
		switch reset.Status.Phase {
		case want:
			s.Logf("it says %q", reset.Status.Message)
			return ""
		case v1alpha1.ResetFailed:
			s.Fatalf("the reset has failed: %s", reset.Status.Message)
		}
		return "it is " + string(reset.Status.Phase) + ": " + reset.Status.Message
	})
}
