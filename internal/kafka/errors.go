package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A Setback is an error after which everything since the last commit is void and has to be done again: the cluster or
// the connection is in trouble, or a transaction was ended by the broker.
type Setback struct{ Err error }

func (e *Setback) Error() string { return e.Err.Error() }
func (e *Setback) Unwrap() error { return e.Err }

// StartOver lets others recognise the error without importing this package.
func (e *Setback) StartOver() {}

// final are the errors that come again however often something is tried, with what to do about them. All others are
// setbacks: those that Kafka calls retriable and abortable (KIP-890, KIP-1050), those by which it fences a producer, for
// it then begins anew, and those of the network.
var final = []struct {
	err    error
	remedy string
}{
	{kerr.TopicAuthorizationFailed, "the principal needs READ on what the application reads, WRITE on what it writes, and both on its internal topics"},
	{kerr.GroupAuthorizationFailed, "the principal needs READ on the group, which is named as the application"},
	{kerr.TransactionalIDAuthorizationFailed, "the principal needs WRITE and DESCRIBE on transactional ids that begin with the application's id (prefixed)"},
	{kerr.ClusterAuthorizationFailed, "the principal needs IDEMPOTENT_WRITE on the cluster"},
	{kerr.SaslAuthenticationFailed, "the user name or the password is wrong (option ClientOptions)"},
	{kerr.UnsupportedSaslMechanism, "the broker does not offer this SASL mechanism (option ClientOptions)"},
	{kerr.SecurityDisabled, "the broker has no authorizer"},
	{kerr.UnsupportedVersion, "the broker is too old for what is asked; exactly-once needs 2.5, the rest 2.4"},
	{kerr.InvalidTransactionTimeout, "the broker does not allow so long a transaction: see its transaction.max.timeout.ms (option TransactionTimeout)"},
	{kerr.MessageTooLarge, "the record is larger than the producer or the topic allows: see the topic's max.message.bytes and kgo.ProducerBatchMaxBytes (option ClientOptions)"},
	{kerr.RecordListTooLarge, "the batch is larger than the topic allows: see its segment.bytes"},
	{kerr.UnknownTopicOrPartition, "the topic does not exist (any more); create it, or, if it is one of the application's own, whose records went with it, reset the application"},
	{kerr.InvalidTopicException, "the topic's name is not allowed, or it is internal to Kafka"},
	{kerr.InvalidTimestamp, "the topic refuses the timestamp: see its message.timestamp.before.max.ms and message.timestamp.after.max.ms"},
	{kerr.InvalidRecord, "the broker refuses the record: a compacted topic takes none without a key"},
	{kerr.UnsupportedForMessageFormat, "the topic has a message format from before Kafka 0.11"},
	{kerr.InvalidRequiredAcks, ""},
	{kerr.OffsetMetadataTooLarge, "the broker's offset.metadata.max.bytes is too small"},
	{kerr.FencedInstanceID, "another process uses the same instance id (option InstanceID)"},
	{kerr.InvalidGroupID, "the application id is not a valid group id"},
	{kerr.PolicyViolation, "a policy of the broker refuses it"},
}

// meaning returns an error with what it means: a *Setback, or itself with the remedy.
func meaning(err error) error {
	var known *Setback
	var lost *NotMember
	if err == nil || errors.As(err, &known) || errors.As(err, &lost) {
		return err
	}
	if ok, told := withRemedy(err); ok {
		return told
	}
	return &Setback{err}
}

// withRemedy adds to a final error what to do about it; ok is false for all others.
func withRemedy(err error) (ok bool, told error) {
	for _, f := range final {
		if !errors.Is(err, f.err) {
			continue
		}
		if f.remedy == "" {
			return true, err
		}
		return true, fmt.Errorf("%w; %s", err, f.remedy)
	}
	return false, err
}
