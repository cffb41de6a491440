// Package runtime is an instance of an application: it joins the group, restores and runs the tasks that it is given,
// commits, and gives tasks up again.
//
// The goroutines, and who owns what:
//
//   - Run, the main loop, owns the plan: which task is where. It alone starts and stops the others.
//   - The membership calls into it when the group rebalances; each call is handed to the main loop and waits for it.
//   - A task that is assigned is opened and restored by a goroutine of its own, which then hands it over.
//   - A worker owns the tasks that run on it and one producer. What its tasks read is put into its inbox by the source.
package runtime

import (
	"context"
	"errors"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/restore"
	"github.com/millrace/millrace/topology"
)

// Cluster is what the instance asks of a cluster.
type Cluster interface {
	// Connect waits, within bounds, until the cluster answers.
	Connect(ctx context.Context) error
	// Partitions returns the partition counts of topics; one that does not exist is left out.
	Partitions(ctx context.Context, topics []string) (map[string]int32, error)
	// AllTopics returns the names of all topics, but for the cluster's own.
	AllTopics(ctx context.Context) ([]string, error)
	// Topics describes topics; one that does not exist is left out.
	Topics(ctx context.Context, names []string) (map[string]Topic, error)
	// CreateTopic makes a topic, if it does not exist.
	CreateTopic(ctx context.Context, topic string, partitions int32, replication int16, config map[string]string) error
	// TopicConfig returns the value of one config for each of the topics.
	TopicConfig(ctx context.Context, topics []string, name string) (map[string]string, error)
	// Offsets returns the first (-2) or the next (-1) offset of each partition; it waits for leaders.
	Offsets(ctx context.Context, partitions []assign.TopicPartition, at int64) (map[assign.TopicPartition]int64, error)
	// DeleteRecords deletes what lies before the offsets.
	DeleteRecords(ctx context.Context, before map[assign.TopicPartition]int64) error
}

// Topic is what a cluster says of a topic. The id is all zeros where the cluster has none.
type Topic = struct {
	ID         [16]byte
	Partitions int32
}

// Committed is a committed offset and what is kept with it.
type Committed = struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// Membership is the instance's place in its group.
type Membership interface {
	// Run joins and stays until ctx ends. It calls the events one at a time: Revoked returns when the tasks are given
	// up, Assigned gets all tasks that the instance runs and keeps a standby of from then on, Lost says that others may
	// run them.
	Run(ctx context.Context, events MemberEvents) error
	// SetWorkers tells the group that the instance has another number of workers.
	SetWorkers(n int)
	// SetDraining tells the group that the instance shall have no tasks and standbys, or that it shall have its part again.
	SetDraining(on bool)
	// ShutDownAll asks all members to shut down; Run returns an error then.
	ShutDownAll()
	// Hosts returns what each process runs and keeps a copy of, by the partitions of its inputs and the endpoint that it
	// gave; those without one are left out.
	Hosts() (active, standby map[assign.Endpoint][]assign.TopicPartition)
	// Leave tells the group that the instance is gone. A static member leaves only if static says so.
	Leave(ctx context.Context, static bool) error
	// Remove tells the group that a static member is gone for good; one that is not there is no error.
	Remove(ctx context.Context, instance string) error
	// FenceAbsent ends transactions that processes left open which are not in the group any more: nobody reads past
	// them until they end.
	FenceAbsent(ctx context.Context) error
	// Committed returns what was stored; a partition without is left out.
	Committed(ctx context.Context, partitions []assign.TopicPartition) (map[assign.TopicPartition]Committed, error)
}

// MemberEvents is what a membership tells its instance.
type MemberEvents = struct {
	Revoked  func(active []topology.TaskID)
	Assigned func(active, standby []topology.TaskID)
	Lost     func()
}

// MemberInfo is what a membership is made with.
type MemberInfo struct {
	Process assign.ProcessID
	Workers int
	Topics  []string
	Tasks   []assign.Task
	Sums    func() map[topology.TaskID]int64 // of the state that is here

	// Former is the name that the group gave this process before it ended without leaving, or empty; Remember keeps that
	// of now, for the next time.
	Former   string
	Remember func(member string)
}

// Source reads partitions; see restore.Source.
type Source = restore.Source

// Producer writes records and commits them.
type Producer interface {
	// Open waits until the producer can write; under exactly-once it ends what was left open under its name.
	Open(ctx context.Context) error
	Send(r *topology.Record) error
	// InTransaction says that something was sent that has to be committed together with offsets.
	InTransaction() bool
	// Commit waits until everything is acknowledged and stores the offsets. An error with the method LostMembership
	// says that the tasks may be another's; one with the method StartOver that what was done since the last commit is
	// void: after Reset it is to be done again.
	Commit(ctx context.Context, offsets map[assign.TopicPartition]Committed) error
	// Reset drops what is not committed and begins anew.
	Reset() error
	// Written returns the offset after the last acknowledged record of this producer, since Forget and Reset.
	Written(topic string, partition int32) (next int64, ok bool)
	Forget(topic string, partition int32)
	Close()
}

// startOver says whether an error leaves nothing to do but to begin again from the last commit.
func startOver(err error) bool {
	var again interface{ StartOver() }
	return errors.As(err, &again)
}

// lostMembership says whether an error means that the tasks may be another's.
func lostMembership(err error) bool {
	var lost interface{ LostMembership() }
	return errors.As(err, &lost)
}
