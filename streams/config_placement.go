package streams

import (
	"maps"
	"slices"
	"time"
)

// placement is what the options say of where tasks and their copies are.
type placement struct {
	standbys   int
	lag        int64
	warmups    int
	probing    time.Duration
	clientTags map[string]string
	rackTags   []string
}

func defaultPlacement() placement {
	return placement{lag: 10_000, warmups: 2, probing: 10 * time.Minute}
}

// Standbys sets how many other processes keep a copy of the state of each task that has some, so that one of them can go
// on at once when the task's process is gone. There are fewer where there are fewer processes. Default 0; at least 0.
// The process that leads the group decides for all, so give it to all alike; the same goes for the other options of
// placement. (Java: num.standby.replicas)
func Standbys(n int) AppOption { return func(c *appConfig) { c.placement.standbys = n } }

// AcceptableRecoveryLag sets how many records of its changelogs a process may lack, for each task, to count as caught
// up: only such a process is given a task as long as there is one. Default 10000; at least 0. (Java:
// acceptable.recovery.lag, KIP-441)
func AcceptableRecoveryLag(records int64) AppOption {
	return func(c *appConfig) { c.placement.lag = records }
}

// MaxWarmupReplicas sets how many copies of state are built at a time, in the whole group and beside the standbys,
// where tasks shall move. Default 2; at least 1. (Java: max.warmup.replicas)
func MaxWarmupReplicas(n int) AppOption { return func(c *appConfig) { c.placement.warmups = n } }

// ProbingRebalanceInterval sets how long the group waits, while such copies are built, before it looks which tasks can
// move. Default 10 min; more than 0. (Java: probing.rebalance.interval.ms, at least 1 min)
func ProbingRebalanceInterval(d time.Duration) AppOption {
	return func(c *appConfig) { c.placement.probing = d }
}

// ClientTags says where the process is: its zone and cluster, for example. Default none; at most 5, of at most 20 bytes
// for the key and 30 for the value. (Java: client.tag.*, KIP-708)
func ClientTags(tags map[string]string) AppOption {
	return func(c *appConfig) { c.placement.clientTags = maps.Clone(tags) }
}

// RackAwareTags names the tags of [ClientTags] in which the copies of a task's state, the active one and the standbys,
// shall differ, as far as there are processes with different values. Default none; at most 5. (Java:
// rack.aware.assignment.tags, KIP-708)
func RackAwareTags(keys ...string) AppOption {
	return func(c *appConfig) { c.placement.rackTags = slices.Clone(keys) }
}

// The bounds of Java on tags.
const (
	maxTags     = 5
	maxTagKey   = 20
	maxTagValue = 30
)

func (p *placement) validate(check func(ok bool, format string, args ...any)) {
	check(p.standbys >= 0, "option Standbys: %d; it cannot be negative, 0 means none", p.standbys)
	check(p.lag >= 0, "option AcceptableRecoveryLag: %d; it cannot be negative, 0 means that nothing may be missing", p.lag)
	check(p.warmups >= 1, "option MaxWarmupReplicas: %d; at least 1 is needed, else no task with state could ever move", p.warmups)
	check(p.probing >= time.Millisecond, "option ProbingRebalanceInterval: %v; it must be a millisecond or more", p.probing)
	check(len(p.clientTags) <= maxTags, "option ClientTags: %d tags; at most %d are possible", len(p.clientTags), maxTags)
	for _, key := range slices.Sorted(maps.Keys(p.clientTags)) {
		value := p.clientTags[key]
		check(key != "" && len(key) <= maxTagKey, "option ClientTags: the key %q needs 1 to %d bytes", key, maxTagKey)
		check(value != "" && len(value) <= maxTagValue, "option ClientTags: the value %q of %q needs 1 to %d bytes", value, key, maxTagValue)
	}
	check(len(p.rackTags) <= maxTags, "option RackAwareTags: %d tags; at most %d are possible", len(p.rackTags), maxTags)
	for _, key := range p.rackTags {
		_, has := p.clientTags[key]
		check(has, "option RackAwareTags: %q is not a tag of this process; give its value with ClientTags", key)
	}
}
