package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The topics of the application are looked at every watchInterval, as what happens to them is not always seen by who reads
// and writes them. One is gone when brokers have said so for missingFor, without a word to the contrary: a broker that
// starts again may not know its topics for a moment, and requests go to the brokers in turn.
const (
	watchInterval = 2 * time.Second
	missingFor    = 5 * time.Second
)

// A watcher holds what the cluster says of the topics against what they were when the instance began.
type watcher struct {
	i       *Instance
	names   []string // of all that the application reads, and of its changelogs
	ids     map[string][16]byte
	missing map[string]time.Time // since when
}

// watch ends the instance when one of its topics is deleted or made anew, or gets more partitions. Java throws a
// MissingSourceTopicException for the first, where it is an input, and assigns anew for the last, which fails where there
// is state.
func (i *Instance) watch() {
	w := i.newWatcher()
	for again := true; again; again = sleep(i.background.Context, watchInterval) {
		if i.cfg.Topology.HasPatterns() && w.matchOthers() {
			return
		}
		topics, err := w.ask()
		if err != nil {
			continue // whoever works with the cluster has the same trouble, and says so
		}
		if err := w.gone(time.Now(), topics); err != nil {
			i.events.put(failed{err: err})
			i.hope.end()
			return
		}
		if err := w.grown(topics); err != nil {
			i.events.put(failed{err: err})
			return
		}
	}
}

// newTopics: other topics match a pattern than when the instance began.
type newTopics struct{ matching []string }

// resolve looks at which topics match the patterns of the program.
func (i *Instance) resolve(ctx context.Context) error {
	if !i.cfg.Topology.HasPatterns() {
		return nil
	}
	all, err := i.ports.Cluster.AllTopics(ctx)
	if err != nil {
		return err
	}
	i.matching = i.matchingOf(all)
	i.cfg.Topology = i.cfg.Topology.Resolve(i.matching)
	i.log.Info("the patterns of the program match topics", "topics", i.matching)
	return nil
}

// matchingOf returns the topics that a pattern matches, but for those of the application itself.
func (i *Instance) matchingOf(all []string) []string {
	_, own := TopicNames(i.cfg.Application, i.cfg.Topology)
	return slices.DeleteFunc(i.cfg.Topology.Matching(all), func(t string) bool { return slices.Contains(own, t) })
}

// matchOthers says whether other topics match, and has the instance end for that. One that is gone is another matter.
func (w *watcher) matchOthers() bool {
	ctx, cancel := context.WithTimeout(w.i.background.Context, missingFor)
	defer cancel()
	all, err := w.i.ports.Cluster.AllTopics(ctx)
	if err != nil {
		return false
	}
	matching := w.i.matchingOf(all)
	if !slices.ContainsFunc(matching, func(t string) bool { return !slices.Contains(w.i.matching, t) }) {
		return false
	}
	w.i.events.put(newTopics{matching})
	return true
}

func (i *Instance) newWatcher() *watcher {
	return &watcher{
		i: i, names: slices.Sorted(maps.Keys(i.layout.Partitions)),
		ids: make(map[string][16]byte), missing: make(map[string]time.Time),
	}
}

func (w *watcher) ask() (map[string]Topic, error) {
	ctx, cancel := context.WithTimeout(w.i.background.Context, missingFor)
	defer cancel()
	return w.i.ports.Cluster.Topics(ctx, w.names)
}

// gone looks for a topic that is not there, or is not the one that it was.
func (w *watcher) gone(now time.Time, topics map[string]Topic) error {
	for _, name := range w.names {
		t, there := topics[name]
		if !there {
			if w.missing[name].IsZero() {
				w.missing[name] = now
			}
			if since := now.Sub(w.missing[name]); since >= missingFor {
				return w.lost(name, fmt.Sprintf("does not exist (any more), as brokers have said for %v", since.Round(time.Second)))
			}
			continue
		}
		delete(w.missing, name)
		if id, known := w.ids[name]; known && id != t.ID {
			return w.lost(name, "was deleted and made anew while the application ran")
		}
		w.ids[name] = t.ID
	}
	return nil
}

// lost says what is lost with a topic, and what can be done.
func (w *watcher) lost(name, what string) error {
	kind, remedy := "input topic", "create it if it is not there, and reset the application, as its offsets and its state are of the topic "+
		"that was, or give it another application id"
	for _, t := range w.i.layout.Internal {
		switch {
		case t.Name != name:
		case t.Changelog:
			kind, remedy = "changelog topic", "reset the application to build the state again from its input; started without that, it goes on "+
				"with what the topic has now"
		default:
			kind, remedy = "repartition topic", "reset the application to process its input again; started without that, it goes on "+
				"without the records that were in the topic"
		}
	}
	return fmt.Errorf("runtime: the %s %q %s; %s", kind, name, what, remedy)
}

// grown looks for topics with more partitions than the tasks were made for. Fewer is what a broker says that is behind.
func (w *watcher) grown(topics map[string]Topic) error {
	counts := make(map[string]int32)
	var more []string
	for _, name := range w.names {
		had := w.i.layout.Partitions[name]
		if counts[name] = topics[name].Partitions; counts[name] > had {
			more = append(more, fmt.Sprintf("%q has %d partitions, and had %d when the application started", name, counts[name], had))
		}
	}
	if len(more) == 0 {
		return nil
	}
	then := errors.New("start all instances anew to read them")
	if layout, err := Lay(w.i.cfg.Application, w.i.cfg.Topology, counts); err != nil {
		then = err
	} else if err := checkCounts(layout.Internal, counts); err != nil {
		then = err
	}
	return fmt.Errorf("runtime: %s; nothing reads what is new: %w", strings.Join(more, ", "), then)
}
