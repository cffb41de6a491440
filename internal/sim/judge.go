package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/serde"
)

// committed returns the committed offsets of the group.
func (w *world) committed() map[check.Partition]int64 {
	all := make(map[check.Partition]int64)
	if info := w.cluster.GroupInfo(application); info != nil {
		for t, numbers := range info.Commits {
			for n, c := range numbers {
				all[check.Partition{Topic: t, Number: n}] = c.Offset
			}
		}
	}
	return all
}

// straying says whether a commit that was given up may arrive yet, or has just arrived.
func (w *world) straying() bool { return time.Now().UnixNano() < w.strayed.Load()+int64(time.Second) }

// furthestCommitted returns the highest committed offsets that there were. Records before them are done with, even if a
// commit that went astray has set an offset back: they may be deleted.
func (w *world) furthestCommitted() map[check.Partition]int64 {
	w.furthest.Lock()
	defer w.furthest.Unlock()
	if w.furthest.offsets == nil {
		w.furthest.offsets = make(map[check.Partition]int64)
	}
	for p, now := range w.committed() {
		w.furthest.offsets[p] = max(w.furthest.offsets[p], now)
	}
	return maps.Clone(w.furthest.offsets)
}

// lookAtGroup judges the group as it is now.
func (w *world) lookAtGroup() {
	l := look{at: w.journal.stamp(), committed: w.committed(), echo: make(map[check.Partition]int64)}
	if w.straying() {
		w.offsets = check.Offsets{}
	}
	w.journal.violation(w.offsets.See(l.committed))
	for _, p := range w.cluster.PartitionInfos(echoTopic) {
		// Not the end of what is stable: what is committed can lie behind a transaction that is still open.
		l.echo[check.Partition{Topic: inTopic, Number: p.Partition}] = p.HighWatermark
	}
	w.looks = append(w.looks, l)
	furthest := w.furthestCommitted()
	for _, p := range w.cluster.PartitionInfos(repartitionTopic) {
		tp := check.Partition{Topic: repartitionTopic, Number: p.Partition}
		w.journal.violation(check.Purged(tp, p.LogStartOffset, furthest[tp]))
	}
	info := w.cluster.GroupInfo(application)
	if info != nil {
		w.expel(info)
	}
	if info == nil || info.State != "Stable" {
		return
	}
	members := make(map[string][]check.Partition)
	for _, m := range info.Members {
		for t, numbers := range m.Assignment {
			for _, n := range numbers {
				members[m.MemberID] = append(members[m.MemberID], check.Partition{Topic: t, Number: n})
			}
		}
	}
	if w.owners.Partitions == nil {
		w.owners.Bound = bound
		for _, t := range []string{inTopic, rowsTopic, repartitionTopic} {
			for n := range w.plan.partitions {
				w.owners.Partitions = append(w.owners.Partitions, check.Partition{Topic: t, Number: n})
			}
		}
	}
	if !w.calm.Load() {
		w.owners.Excuse()
	}
	w.journal.violation(w.owners.See(time.Now(), members))
}

// sees looks at a request of the application before a broker does.
func (w *world) sees(request []byte) {
	parsed, _ := parseRequest(request)
	switch req := parsed.(type) {
	case *kmsg.DeleteRecordsRequest:
		w.seesPurge(req)
	case *kmsg.JoinGroupRequest:
		w.hears(req.MemberID)
	case *kmsg.SyncGroupRequest:
		w.hears(req.MemberID)
	case *kmsg.HeartbeatRequest:
		w.hears(req.MemberID)
	}
}

func (w *world) seesPurge(req *kmsg.DeleteRecordsRequest) {
	committed := w.furthestCommitted()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := check.Partition{Topic: t.Topic, Number: p.Partition}
			w.journal.violation(check.Purged(tp, p.Offset, committed[tp]))
			if t.Topic != repartitionTopic {
				w.journal.violation(fmt.Errorf("the application deletes records of %v", tp))
			}
		}
	}
}

// hears notes that a member gave a sign of life.
func (w *world) hears(member string) {
	w.heard.Store(member, time.Now())
}

// expel does what a broker does and kfake does not. It forgets members that die while they wait for others to join, and
// counts wrong who has joined; it then waits for one that there is not, and begins to wait anew with each that joins.
func (w *world) expel(info *kfake.GroupInfo) {
	const atMost = rebalanceTimeout + sessionTimeout + time.Second // that any rebalance and session takes
	if info.State != "PreparingRebalance" || info.Epoch != w.waiting.generation {
		w.waiting.generation, w.waiting.since = info.Epoch, time.Now()
	}
	stuck := time.Since(w.waiting.since) > 2*atMost
	for _, m := range info.Members {
		last, _ := w.heard.Load(m.MemberID)
		if at, ok := last.(time.Time); ok && (stuck || time.Since(at) > atMost) {
			w.heard.Delete(m.MemberID)
			go w.expelMember(m.MemberID)
		}
	}
	if stuck {
		w.waiting.since = time.Now()
	}
}

func (w *world) expelMember(id string) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = application
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = id
	req.Members = append(req.Members, member)
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	_, err := req.RequestWith(ctx, w.feed.client)
	w.journal.fault("%s is expelled from the group: %v", id, err)
}

// judge looks at all that was written.
func (w *world) judge() {
	numbers, versions := w.judgeEcho()
	if w.shutOut() {
		return
	}
	w.judgeTallies(numbers)
	w.judgeGroups(numbers)
	w.judgeJoined(numbers, versions)
	w.judgeWindows()
	w.judgeStores()
}

// shutOut says whether a member that the group had given up may have written on for a while. Nothing fences it under
// at-least-once, as in Kafka Streams: what it writes to a changelog late is what the next restore believes, and what it
// writes to the output late stays there. So only the echo is judged then.
func (w *world) shutOut() bool {
	return w.plan.guarantee == check.AtLeastOnce && (w.plan.does(freeze, refuse) || w.plan.weather != weather{})
}

// judgeEcho judges the echo against the input, and what was committed when, and returns what the input has: the last
// number and the last version of each key.
func (w *world) judgeEcho() (numbers, versions map[string]int64) {
	numbers, versions = make(map[string]int64), make(map[string]int64)
	echo := check.Echo{Guarantee: w.plan.guarantee}
	keys := check.Numbers{Guarantee: w.plan.guarantee}
	for n := range w.plan.partitions {
		for _, r := range w.history.of(rowsTopic, n) {
			_, versions[r.Key] = parse(string(r.Value))
		}
		for _, r := range w.history.of(inTopic, n) {
			_, numbers[r.Key] = parse(string(r.Value))
			w.journal.violation(echo.Input(r))
		}
		in := check.Partition{Topic: inTopic, Number: n}
		looks := w.looks
		look := func(upTo int64) {
			for len(looks) > 0 && looks[0].echo[in] <= upTo {
				at := map[check.Partition]int64{in: looks[0].committed[in]}
				if err := check.Processed(at, map[check.Partition]int64{in: echo.Done(n)}); err != nil {
					w.journal.violation(fmt.Errorf("at %s: %w", looks[0].at, err))
				}
				looks = looks[1:]
			}
		}
		for _, r := range w.history.of(echoTopic, n) {
			look(r.Offset)
			w.journal.violation(echo.Output(r))
			key, number := parse(string(r.Value))
			w.journal.violation(keys.See(r, key, number))
		}
		look(1 << 62)
	}
	if n := echo.Missing(); n > 0 {
		w.journal.violation(fmt.Errorf("%d records of the input are not in the echo", n))
	}
	w.journal.violation(check.Same("last number in the echo", keys.Last(), numbers, equal))
	return numbers, versions
}

func equal(a, b int64) bool { return a == b }

// fits says whether a tally is that of all numbers up to one.
func (w *world) fits(t Tally, last int64) error {
	switch {
	case t.Last != last || t.Count != last || t.Gaps != 0:
		return fmt.Errorf("%+v, must be of 1 to %d", t, last)
	case t.Repeats != 0 && w.plan.guarantee == check.ExactlyOnce:
		return fmt.Errorf("%+v, has seen numbers twice", t)
	}
	return nil
}

// judgeTallies: each tally is of all numbers up to its last, whenever it was made, and the last one of all.
func (w *world) judgeTallies(numbers map[string]int64) {
	got := make(map[string]Tally)
	for n := range w.plan.partitions {
		for _, r := range w.history.of(tallyTopic, n) {
			var t Tally
			w.journal.violation(json.Unmarshal(r.Value, &t))
			if err := w.fits(t, t.Last); err != nil {
				w.journal.violation(fmt.Errorf("%v: %w", r, err))
			}
			if w.plan.guarantee == check.ExactlyOnce && t.Last < got[r.Key].Last {
				w.journal.violation(fmt.Errorf("%v: comes after %+v", r, got[r.Key]))
			}
			got[r.Key] = t
		}
	}
	w.journal.violation(check.Same("tally", got, tallies(numbers), func(got, want Tally) bool { return w.fits(got, want.Last) == nil }))
	w.judgeChangelog("tallies", got)
}

func tallies(numbers map[string]int64) map[string]Tally {
	all := make(map[string]Tally)
	for k, n := range numbers {
		all[k] = Tally{Last: n, Count: n}
	}
	return all
}

// judgeChangelog: what is in the changelog is what came out.
func (w *world) judgeChangelog(store string, out map[string]Tally) {
	logged := make(map[string]Tally)
	for n := range w.plan.partitions {
		for k, r := range check.Fold(w.history.of(application+"-"+store+"-changelog", n), 1<<62) {
			var t Tally
			w.journal.violation(json.Unmarshal(r.Value, &t))
			logged[k] = t
		}
	}
	w.journal.violation(check.Same("changelog of "+store, logged, out, func(a, b Tally) bool {
		return a.Last == b.Last && a.Count == b.Count && (a == b || w.plan.guarantee == check.AtLeastOnce)
	}))
}

// judgeGroups: the tallies behind the repartition topic.
func (w *world) judgeGroups(numbers map[string]int64) {
	got := make(map[string]Tally)
	for n := range w.plan.partitions {
		for _, r := range w.history.of(groupsTopic, n) {
			var ts map[string]Tally
			w.journal.violation(json.Unmarshal(r.Value, &ts))
			for k, t := range ts {
				if group(w.plan, k) != r.Key {
					w.journal.violation(fmt.Errorf("%v: key %s is not of this group", r, k))
				}
				if err := w.fits(t, t.Last); err != nil {
					w.journal.violation(fmt.Errorf("%v: key %s: %w", r, k, err))
				}
				got[k] = t
			}
		}
	}
	w.journal.violation(check.Same("tally in a group", got, tallies(numbers), func(got, want Tally) bool { return w.fits(got, want.Last) == nil }))
}

// judgeJoined: each number meets one row, none that is newer than the last or, in the order of the output, older than
// before; the last number was written when the last row was processed, so it meets that.
func (w *world) judgeJoined(numbers, versions map[string]int64) {
	keys := check.Numbers{Guarantee: w.plan.guarantee}
	met := make(map[string]int64)
	for n := range w.plan.partitions {
		for _, r := range w.history.of(joinedTopic, n) {
			v, row, _ := strings.Cut(string(r.Value), " ")
			key, number := parse(v)
			w.journal.violation(keys.See(r, key, number))
			_, version := parse(row)
			if version < met[key] && w.plan.guarantee == check.ExactlyOnce {
				w.journal.violation(fmt.Errorf("%v: the row is older than version %d, which an earlier number met", r, met[key]))
			}
			met[key] = version
		}
	}
	w.journal.violation(check.Same("last number joined", keys.Last(), numbers, equal))
	w.journal.violation(check.Same("row that the last number met", met, versions, equal))
}

// judgeWindows: each window has the numbers of the records whose time lies in it.
func (w *world) judgeWindows() {
	type window = string
	size := windowSize.Milliseconds()
	want, got := make(map[window][]int64), make(map[window][]int64)
	decode := serde.TimeWindowed(serde.String, windowSize)
	for n := range w.plan.partitions {
		for _, r := range w.history.of(inTopic, n) {
			key, number := parse(string(r.Value))
			start := r.Timestamp - r.Timestamp%size
			k := fmt.Sprintf("%s@%d", key, start)
			want[k] = append(want[k], number)
		}
		for _, r := range w.history.of(windowTopic, n) {
			k, err := decode.Decode([]byte(r.Key))
			var seen []int64
			w.journal.violation(errors.Join(err, json.Unmarshal(r.Value, &seen)))
			got[fmt.Sprintf("%s@%d", k.Key, k.Window.Start)] = seen
		}
	}
	w.journal.violation(check.Same("window", got, want, func(got, want []int64) bool {
		slices.Sort(got)
		if w.plan.guarantee == check.AtLeastOnce {
			got = slices.Compact(got)
		}
		slices.Sort(want)
		return slices.Equal(got, want)
	}))
}
