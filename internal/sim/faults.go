package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/check"
)

// happen lets an event happen. One that finds nothing to happen to does not.
func (w *world) happen(e event) {
	switch e.kind {
	case broker:
		w.brokerAway(e)
	case leaders:
		w.journal.fault("partitions get new leaders")
		w.cluster.ShufflePartitionLeaders()
	case coordinators:
		w.journal.fault("groups get new coordinators")
		w.cluster.RehashCoordinators()
	case refuse:
		w.refuse(e)
	case compact:
		w.compact()
	case eventTime:
		w.feed.jump = time.Duration(int64(e.which%200)-100) * time.Hour / 2
		w.journal.fault("event time jumps to %v from now", w.feed.jump)
	case add:
		for _, i := range w.instances {
			if !i.wanted {
				i.wanted, i.restart = true, time.Now()
				return
			}
		}
	default:
		if i := w.victim(e); i != nil {
			w.strike(e, i)
		}
	}
}

// victim chooses an instance that runs.
func (w *world) victim(e event) *instance {
	var running []*instance
	for _, i := range w.instances {
		if i.now != nil {
			running = append(running, i)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[e.which%uint64(len(running))]
}

// strike does something to an instance.
func (w *world) strike(e event, i *instance) {
	p := i.now
	switch e.kind {
	case kill:
		w.journal.fault("%s is killed", p.name)
		p.kill()
	case killAt:
		w.killAt(e, p)
	case wipe:
		w.journal.fault("%s is killed, and its directory is gone", p.name)
		p.kill()
		w.ends(i)
		w.wipeDir(i)
	case freeze:
		w.journal.fault("%s is frozen for %v", p.name, e.lasts)
		p.wire.freeze()
		p.frozen.Store(true)
		w.after(e.lasts, func() { w.journal.fault("%s is thawed", p.name); p.wire.thaw(); p.frozen.Store(false) })
	case workers:
		if e.which/300%4 == 0 {
			w.drain(p, e.lasts)
			return
		}
		n := 1 + int(e.which/100%3)
		w.journal.fault("%s gets %d workers", p.name, n)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), e.lasts)
			defer cancel()
			if err := p.app.SetWorkers(ctx, n); err != nil { // it may have ended, or be in trouble
				w.journal.fault("%s does not get %d workers: %v", p.name, n, err)
			}
		}()
	case pause:
		w.journal.fault("%s pauses for %v", p.name, e.lasts)
		p.app.Pause()
		w.after(e.lasts, func() { w.journal.fault("%s resumes", p.name); p.app.Resume() })
	case stuck:
		p.wire.freeze()
	case stop:
		w.journal.fault("%s is stopped", p.name)
		i.wanted = false
		p.stopped.Store(true)
		p.cancel()
		w.after(e.lasts, func() { i.wanted = i.wanted || e.which%2 == 0 })
	case diskFull:
		w.journal.fault("the disk of %s is full for %v", p.name, e.lasts)
		p.disk.full.Store(true)
		p.disk.wasFull = true
		w.after(e.lasts, func() { p.disk.full.Store(false) })
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.later = append(w.later, later{time.Now().Add(d), do})
}

// killAt kills a process at one of its next requests: just before a broker gets it, or just after it has done what it
// says.
// drain lets a process give away what it has, and take its part again after a while.
func (w *world) drain(p *process, lasts time.Duration) {
	w.journal.fault("%s drains for %v", p.name, lasts)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lasts)
		defer cancel()
		if err := p.app.Drain(ctx); err != nil { // it may have ended, or others are not ready in time
			w.journal.fault("%s is not drained: %v", p.name, err)
		}
	}()
	w.after(lasts, func() { w.journal.fault("%s drains no more", p.name); p.app.EndDrain() })
}

func (w *world) killAt(e event, p *process) {
	keys := []kmsg.Key{
		kmsg.Produce, kmsg.OffsetCommit, kmsg.Fetch, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.ListOffsets,
		kmsg.DeleteRecords, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.CreateTopics,
	}
	key := int16(keys[e.which%uint64(len(keys))])
	nth, before := int(e.which/100%5), e.which/1000%2 == 0
	if key == int16(kmsg.Produce) || key == int16(kmsg.OffsetCommit) || key == int16(kmsg.Fetch) {
		nth *= 3
	}
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	p.wire.mu.last = &last{key: key, nth: p.wire.mu.seen[key] + 1 + nth, before: before, do: func() {
		w.journal.fault("%s is killed at its request %s (before %v)", p.name, kmsg.NameForKey(key), before)
		p.kill()
	}}
}

// fate says what becomes of a request.
func (w *world) fate(p *process, key int16, nth int) (f fate) {
	if w.calm.Load() {
		return f
	}
	weather, c := w.plan.weather, func(what string) float64 { return w.plan.chance(what, p.name, key, nth) }
	say := func(format string, args ...any) {
		w.journal.fault("%s: %s %d of %s", fmt.Sprintf(format, args...), kmsg.NameForKey(key), nth, p.name)
	}
	if f.lost = c("lost") < weather.lost; f.lost {
		say("lost")
	}
	if f.answerLost = c("answer lost") < weather.answerLost; f.answerLost {
		say("done, and the answer is lost")
	}
	if w.plan.late != nil {
		f.late = w.plan.late(key, nth)
	} else if c("late") < weather.late {
		f.late = w.delay(c("how late"))
	}
	if f.late > 0 {
		say("late by %v", f.late)
		if kmsg.Key(key) == kmsg.OffsetCommit && f.late >= givenUp {
			w.strayed.Store(max(w.strayed.Load(), time.Now().Add(f.late+latency).UnixNano()))
			f.before = func() { w.furthestCommitted() }
		}
	}
	if c("answer late") < weather.late {
		f.answerLate = w.delay(c("how late the answer"))
		say("answer late by %v", f.answerLate)
	}
	return f
}

// A client may have given up a commit that takes this long, and committed more since. If the first one arrives all the
// same, Kafka takes it: committed offsets go back until the next commit, which at-least-once allows. Java leaves it at that;
// here a commit follows even if nothing is new.
const givenUp = 5 * time.Second

// delay is mostly short, and 30 seconds at most.
func (w *world) delay(c float64) time.Duration {
	return time.Duration(c * c * c * float64(30*time.Second)).Round(time.Millisecond)
}

func (w *world) brokerAway(e event) {
	if w.plan.brokers-len(w.away) < 2 {
		return
	}
	node := int32(e.which % uint64(w.plan.brokers))
	if _, away := w.away[node]; away || w.cluster.RemoveNode(node) != nil {
		return
	}
	w.away[node] = time.Now()
	w.journal.fault("broker %d is away for %v", node, e.lasts)
	for _, wire := range w.wires() {
		wire.hangUp(w.brokers[node])
	}
	w.after(e.lasts, func() {
		delete(w.away, node)
		w.journal.fault("broker %d is back", node)
		if _, _, err := w.cluster.AddNode(node, 9092+int(node)); err != nil {
			w.journal.violation(fmt.Errorf("broker %d cannot come back: %w", node, err))
		}
	})
}

func (w *world) wires() (all []*wire) {
	all = append(all, w.wire)
	for _, p := range w.lives {
		all = append(all, p.wire)
	}
	return all
}

// refusals are errors that brokers answer with when they are busy with something. With some, what was asked is done all
// the same.
var refusals = []struct {
	key  kmsg.Key
	errs []*kerr.Error
}{
	{kmsg.Produce, []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.KafkaStorageError,
	}},
	{kmsg.Fetch, []*kerr.Error{kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.OffsetNotAvailable, kerr.UnknownLeaderEpoch, kerr.FencedLeaderEpoch}},
	{kmsg.ListOffsets, []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable}},
	{kmsg.OffsetCommit, []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut}},
	{kmsg.OffsetFetch, []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnstableOffsetCommit}},
	{kmsg.Heartbeat, []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.UnknownMemberID, kerr.IllegalGeneration}},
	{kmsg.JoinGroup, []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnknownMemberID}},
	{kmsg.SyncGroup, []*kerr.Error{kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.UnknownMemberID}},
	{kmsg.FindCoordinator, []*kerr.Error{kerr.CoordinatorNotAvailable}},
	{kmsg.DeleteRecords, []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut}},
	{kmsg.InitProducerID, []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions}},
	{kmsg.AddPartitionsToTxn, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.ConcurrentTransactions}},
	{kmsg.TxnOffsetCommit, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.UnknownMemberID, kerr.IllegalGeneration}},
	{kmsg.EndTxn, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.ConcurrentTransactions}},
}

func (w *world) refuse(e event) {
	r := refusals[e.which%uint64(len(refusals))]
	err := r.errs[e.which/100%uint64(len(r.errs))]
	count := 1 + int(e.which/10_000%8)
	f := kfake.Fault{Keys: []kmsg.Key{r.key}, Err: err, Count: count}
	if r.key == kmsg.Produce || r.key == kmsg.Fetch {
		topics := w.topics()
		f.Topic = topics[e.which/1_000_000%uint64(len(topics))]
	}
	w.journal.fault("%d of %s %s are answered with %s", count, r.key.Name(), f.Topic, err.Message)
	w.after(e.lasts, w.cluster.Fault(f).Remove)
}

// compact compacts the changelogs, and deletes at the beginning of each what is superseded. What was there is read
// before, for the judges. It waits for a moment without open transactions, as kfake lets what is aborted later supersede
// what is committed, which Kafka does not.
func (w *world) compact() {
	logs := w.changelogs()
	for range 50 {
		if w.history.hasRead(w.cluster, logs...) && w.settled(logs) {
			w.journal.fault("changelogs are compacted")
			w.deleteSuperseded(logs)
			w.cluster.Compact()
			return
		}
		time.Sleep(tick / 10)
	}
}

func (w *world) settled(topics []string) bool {
	for _, t := range topics {
		for _, p := range w.cluster.PartitionInfos(t) {
			if p.LastStableOffset < p.HighWatermark {
				return false
			}
		}
	}
	return true
}

func (w *world) deleteSuperseded(logs []string) {
	for _, t := range logs {
		for _, p := range w.cluster.PartitionInfos(t) {
			records := w.history.of(t, p.Partition)
			if len(records) == 0 {
				continue
			}
			end := records[len(records)-1].Offset
			first := end
			for _, r := range check.Fold(records, end+1) {
				first = min(first, r.Offset)
			}
			if first <= p.LogStartOffset {
				continue
			}
			if err := w.cluster.DeleteRecords(t, p.Partition, first); err != nil {
				w.journal.violation(fmt.Errorf("deleting what is superseded in %s-%d before %d: %w", t, p.Partition, first, err))
			}
		}
	}
}

// topics returns the topics that the application reads and writes.
func (w *world) topics() []string {
	return slices.Concat([]string{inTopic, rowsTopic, repartitionTopic, echoTopic, tallyTopic, joinedTopic, groupsTopic, windowTopic}, w.changelogs())
}

func (w *world) changelogs() (logs []string) {
	for _, sub := range w.topology.Subtopologies() {
		for _, s := range sub.Stores {
			logs = append(logs, s.ChangelogName(application))
		}
	}
	return logs
}
