package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/assign"
)

// What each error means for the work since the last commit (KIP-890, KIP-1050): it is done again, or that is the end.
func TestMeaning(t *testing.T) {
	again := []error{
		// of a broker or a coordinator that is away for a moment
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.NotCoordinator,
		kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NetworkException, kerr.KafkaStorageError, kerr.ConcurrentTransactions,
		// by which a transaction is lost, or the producer fenced: it introduces itself anew
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID,
		kerr.OutOfOrderSequenceNumber, kerr.TransactionAbortable, kerr.OperationNotAttempted, kerr.DuplicateSequenceNumber,
		kerr.UnknownServerError,
		// of the network, and of time
		&net.OpError{Op: "dial", Err: errors.New("refused")}, context.DeadlineExceeded, errors.New("what nobody has heard of"),
	}
	for _, err := range again {
		var setback *Setback
		if got := meaning(fmt.Errorf("writing: %w", err)); !errors.As(got, &setback) || !errors.Is(got, err) {
			t.Errorf("%v: %v, want a setback", err, got)
		}
	}
	for _, f := range final {
		got := meaning(fmt.Errorf("writing: %w", f.err))
		var setback *Setback
		if errors.As(got, &setback) || !errors.Is(got, f.err) || !strings.Contains(got.Error(), f.remedy) {
			t.Errorf("%v: %v, want it to be final and to say %q", f.err, got, f.remedy)
		}
	}
	lost := fmt.Errorf("committing: %w", &NotMember{kerr.UnknownMemberID})
	if got := meaning(lost); startsOver(got) || !errors.Is(got, kerr.UnknownMemberID) {
		t.Errorf("a lost membership is %v", got)
	}
	if meaning(nil) != nil {
		t.Error("no error has a meaning")
	}
}

func startsOver(err error) bool {
	var s *Setback
	return errors.As(err, &s)
}

func TestTransactionalIDs(t *testing.T) {
	process := assign.ProcessID{0xab, 15: 1}
	g := NewGroup(nil, GroupConfig{Group: "my-app", Process: process})
	id := g.TransactionalID(12)
	if want := "my-app-ab000000-0000-0000-0000-000000000001-12"; id != want {
		t.Errorf("the id is %q, want %q", id, want)
	}
	p, worker, ours := parseTransactionalID("my-app", id)
	if p != process || worker != 12 || !ours {
		t.Errorf("%q is read as %v, %d, %v", id, p, worker, ours)
	}
	for _, other := range []string{
		"", "my-app", "my-app-", "my-app-1", "other-ab000000-0000-0000-0000-000000000001-12", "my-app-2-ab000000-0000-0000-0000-000000000001-1",
		"my-app-ab000000-0000-0000-0000-00000000000x-1", "my-app-ab000000-0000-0000-0000-000000000001-x", "my-app-ab000000-0000-0000-0000-000000000001",
	} {
		if _, _, ours := parseTransactionalID("my-app", other); ours {
			t.Errorf("%q is none of the application's", other)
		}
	}
}
