//go:build k8s

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestOperatorDies kills the operator in the middle of an update, and then ends the API server: the update goes on as if nothing had
// happened.
func TestOperatorDies(t *testing.T) {
	bounce.needed(t)
	s := newScene(t)
	s.application(3)
	s.untilApp("three pods run", 2*time.Minute, running(3))
	s.flow(300).burst(20000)
	s.untilApp("the tasks are shared", time.Minute, settled)
	s.caughtUp(time.Minute)
	var killed, bounced bool
	s.rollsTo(secondImage, 3, func(updated int32) {
		switch {
		case updated == 1 && !killed:
			killed = true
			s.killOperator()
		case updated == 2 && !bounced:
			bounced = true
			s.do(bounce)
			t.Log("the API server is started again")
		}
	})
	if !killed || !bounced {
		t.Errorf("it was over before: the operator was killed: %v, the API server ended: %v", killed, bounced)
	}
	s.settle()
}

// killOperator ends the operator's pod at once.
func (s *scene) killOperator() {
	s.Helper()
	if err := world.client.DeleteAllOf(s.Context(), &corev1.Pod{}, client.InNamespace(operatorNamespace), client.MatchingLabels{"app.kubernetes.io/name": operatorName}, client.GracePeriodSeconds(0)); err != nil {
		s.Fatal(err)
	}
	s.Log("the operator is killed")
}
