package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// A Layout is a topology laid over the topics of a cluster: how many partitions each topic has, which topics belong to
// the application, and which tasks that makes. Topics are named as in Kafka.
type Layout struct {
	Topics     []string         // what the application reads, sorted
	Partitions map[string]int32 // of what it reads, for global stores too, and of its changelogs
	Internal   []InternalTopic  // repartition topics first, then changelogs
	Tasks      []assign.Task    // in order of their ids
}

// An InternalTopic is a topic that belongs to the application.
type InternalTopic struct {
	Name       string
	Partitions int32
	Config     map[string]string
	Changelog  bool
}

// changelogRetention is what the changelogs of window stores keep beyond the retention of the store
// (windowstore.changelog.additional.retention.ms).
const changelogRetention = 24 * time.Hour

// Lay computes the layout. Existing are the partition counts of the topics that there are. The rules are those of
// RepartitionTopics and CopartitionedTopicsEnforcer:
//
//  1. Every input that is not the application's own must exist.
//  2. A repartition topic has as many partitions as were asked for, or as the largest topic that the sub-topologies
//     that write to it read.
//  3. Topics that are read together must have equally many. Repartition topics among them follow the inputs; if there
//     are none, the one that was asked for; else the largest.
//  4. A sub-topology has as many tasks as its largest input has partitions; its changelogs have one for each.
func Lay(application string, topo *topology.Topology, existing map[string]int32) (*Layout, error) {
	l := &laying{application: application, topo: topo, existing: existing, counts: make(map[string]int32)}
	if err := l.inputs(); err != nil {
		return nil, err
	}
	if err := l.repartition(); err != nil {
		return nil, err
	}
	if err := l.together(); err != nil {
		return nil, err
	}
	return l.layout(), nil
}

// TopicNames returns the topics whose partition counts Lay wants to know: those of the program, and the changelogs.
func TopicNames(application string, topo *topology.Topology) (inputs, internal []string) {
	for _, sub := range topo.Subtopologies() {
		if sub.Global != "" {
			inputs = append(inputs, sub.Global)
		}
		for _, t := range sub.Topics {
			if _, own := topo.Internal(t); own {
				internal = append(internal, topo.TopicName(application, t))
			} else {
				inputs = append(inputs, t)
			}
		}
		for _, s := range sub.Stores {
			if s.Logged && s.SourceTopic == "" && len(sub.Topics) > 0 {
				internal = append(internal, s.ChangelogName(application))
			}
		}
	}
	slices.Sort(inputs)
	slices.Sort(internal)
	return slices.Compact(inputs), slices.Compact(internal)
}

type laying struct {
	application string
	topo        *topology.Topology
	existing    map[string]int32
	counts      map[string]int32 // by the name in the topology
}

func (l *laying) inputs() error {
	names, _ := TopicNames(l.application, l.topo)
	var missing []string
	for _, t := range names {
		if n := l.existing[t]; n > 0 {
			l.counts[t] = n
		} else {
			missing = append(missing, fmt.Sprintf("%q", t))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("runtime: the application reads topics that do not exist: %s; create them, or correct their names in "+
			"the program (a source topic is never created by the application)", strings.Join(missing, ", "))
	}
	return nil
}

// repartition counts repartition topics until nothing changes: one can depend on another.
func (l *laying) repartition() error {
	waiting := make(map[string]bool)
	for _, sub := range l.topo.Subtopologies() {
		for _, t := range slices.Concat(sub.Topics, sub.Sinks) {
			if in, own := l.topo.Internal(t); own && in.Partitions > 0 {
				l.counts[t] = in.Partitions
			} else if own {
				waiting[t] = true
			}
		}
	}
	for len(waiting) > 0 {
		before := len(waiting)
		for _, t := range slices.Sorted(maps.Keys(waiting)) {
			if n, known := l.largestBefore(t); known {
				l.counts[t] = n
				delete(waiting, t)
			}
		}
		if len(waiting) == before {
			if t := l.unfed(waiting); t != "" {
				return fmt.Errorf("runtime: no topic matches the pattern of the source whose records go to the repartition topic %q; create one, "+
					"or give the repartition a number of partitions", t)
			}
			return fmt.Errorf("runtime: the partition counts of the repartition topics %q depend on each other; give one of them a "+
				"number of partitions", slices.Sorted(maps.Keys(waiting)))
		}
	}
	return nil
}

// unfed returns a repartition topic that is fed from a part of the topology that reads no topic; "": there is none.
func (l *laying) unfed(waiting map[string]bool) string {
	for _, sub := range l.topo.Subtopologies() {
		for _, t := range sub.Sinks {
			if len(sub.Topics) == 0 && waiting[t] {
				return t
			}
		}
	}
	return ""
}

// largestBefore returns the largest partition count among what feeds a repartition topic, if all of it is known.
func (l *laying) largestBefore(topic string) (n int32, known bool) {
	known = true
	for _, sub := range l.topo.Subtopologies() {
		if !slices.Contains(sub.Sinks, topic) {
			continue
		}
		for _, t := range sub.Topics {
			c, ok := l.counts[t]
			known = known && ok
			n = max(n, c)
		}
	}
	return n, known && n > 0
}

func (l *laying) together() error {
	var errs []error
	for _, sub := range l.topo.Subtopologies() {
		for _, group := range sub.Groups {
			errs = append(errs, l.align(group))
		}
	}
	return errors.Join(errs...)
}

// align makes the topics of one group equal, or says why they cannot be.
func (l *laying) align(group []string) error {
	var fixed, asked, loose []string // inputs; repartition topics with a number asked for, and without
	for _, t := range group {
		in, own := l.topo.Internal(t)
		switch {
		case !own:
			fixed = append(fixed, t)
		case in.Partitions > 0:
			asked = append(asked, t)
		default:
			loose = append(loose, t)
		}
	}
	leading := slices.Concat(fixed, asked)
	if len(leading) == 0 {
		leading = []string{slices.MaxFunc(loose, func(a, b string) int { return int(l.counts[a] - l.counts[b]) })}
	}
	n := l.counts[leading[0]]
	for _, t := range leading[1:] {
		if l.counts[t] != n {
			return fmt.Errorf("runtime: topics that are joined must have equally many partitions (be co-partitioned), but %s; "+
				"repartition one of them with Repartition and the number of the other, or create the topics alike", l.list(leading))
		}
	}
	for _, t := range loose {
		l.counts[t] = n
	}
	return nil
}

func (l *laying) list(topics []string) string {
	var parts []string
	for _, t := range topics {
		parts = append(parts, fmt.Sprintf("%q has %d", t, l.counts[t]))
	}
	return strings.Join(parts, ", ")
}

func (l *laying) layout() *Layout {
	out := &Layout{Partitions: make(map[string]int32)}
	var changelogs []InternalTopic
	for _, sub := range l.topo.Subtopologies() {
		if sub.Global != "" {
			out.Partitions[sub.Global] = l.counts[sub.Global]
		}
		var tasks int32
		for _, t := range sub.Topics {
			tasks = max(tasks, l.counts[t])
			name := l.topo.TopicName(l.application, t)
			out.Topics = append(out.Topics, name)
			out.Partitions[name] = l.counts[t]
			if _, own := l.topo.Internal(t); own {
				out.Internal = append(out.Internal, InternalTopic{Name: name, Partitions: l.counts[t], Config: repartitionConfig()})
			}
		}
		stateful := false
		for _, s := range sub.Stores {
			stateful = stateful || s.Logged || s.SourceTopic != ""
			if s.Logged && s.SourceTopic == "" && tasks > 0 {
				name := s.ChangelogName(l.application)
				out.Partitions[name] = tasks
				changelogs = append(changelogs, InternalTopic{Name: name, Partitions: tasks, Config: s.ChangelogConfig(changelogRetention), Changelog: true})
			}
		}
		for p := range tasks {
			out.Tasks = append(out.Tasks, l.task(sub, p, stateful))
		}
	}
	slices.Sort(out.Topics)
	out.Topics = slices.Compact(out.Topics)
	out.Internal = append(out.Internal, changelogs...)
	return out
}

func (l *laying) task(sub *topology.Subtopology, partition int32, stateful bool) assign.Task {
	t := assign.Task{ID: topology.TaskID{Subtopology: sub.ID, Partition: partition}, Stateful: stateful}
	for _, topic := range sub.Topics {
		if l.counts[topic] > partition {
			t.Inputs = append(t.Inputs, assign.TopicPartition{Topic: l.topo.TopicName(l.application, topic), Partition: partition})
		}
	}
	for _, s := range sub.Stores {
		if s.Logged || s.SourceTopic != "" {
			log := assign.TopicPartition{Topic: s.ChangelogName(l.application), Partition: partition}
			t.Changelogs = append(t.Changelogs, assign.Changelog{TopicPartition: log, Source: s.SourceTopic != ""})
		}
	}
	return t
}

// repartitionConfig is what repartition topics are created with (RepartitionTopicConfig): nothing is deleted by time,
// for the application purges what it has committed.
func repartitionConfig() map[string]string {
	return map[string]string{
		"cleanup.policy": "delete", "segment.bytes": "52428800", "retention.ms": "-1", "message.timestamp.type": "CreateTime",
	}
}
