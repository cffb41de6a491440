package streamstest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/internal/task"
	"github.com/millrace/millrace/topology"
)

// Send takes what a task produces; it is called by the task.
func (d *Driver) Send(r *topology.Record) error {
	d.pending = append(d.pending, *r)
	return nil
}

// Pipe sends a record of bytes to the partition of an input topic that it names, and processes all that follows from it. Its
// offset is set by the driver. A record that cannot be processed is an error; what follows from it so far stands.
func (d *Driver) Pipe(r topology.Record) error {
	if !d.reads(r.Topic) {
		return fmt.Errorf("streamstest: the topology does not read topic %q; it reads %q", r.Topic, d.inputs())
	}
	if n := d.partitions(r.Topic); r.Partition < 0 || r.Partition >= n {
		return fmt.Errorf("streamstest: topic %q has no partition %d; it has %d (option Partitions)", r.Topic, r.Partition, n)
	}
	if err := d.add(r); err != nil {
		return err
	}
	return d.work()
}

// inputs returns the topics that are read, in order.
func (d *Driver) inputs() (topics []string) {
	for _, t := range d.tasks {
		topics = append(topics, t.Inputs()...)
	}
	for _, g := range d.globals {
		topics = append(topics, g.Topic())
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

func (d *Driver) reads(topic string) bool {
	return d.owners[assign.TopicPartition{Topic: topic}] != nil || d.global(topic) != nil
}

// choose returns the partition of a record for which nobody has chosen one.
func (d *Driver) choose(topic string, key []byte) int32 {
	n := d.partitions(topic)
	if key != nil || n == 1 {
		return topology.Partition(key, n)
	}
	d.turns[topic]++
	return (d.turns[topic] - 1) % n
}

// add gives a record to the task that reads it.
func (d *Driver) add(r topology.Record) error {
	p := assign.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	r.Offset = d.offsets[p]
	d.offsets[p]++
	if g := d.global(r.Topic); g != nil {
		return errors.Join(g.Apply(r.Partition, []topology.Record{r}, r.Offset+1, d.now), g.State().Publish())
	}
	return d.owners[p].Add(r.Topic, []topology.Record{r})
}

// work processes until nothing is left, a record of each task in turn, with a commit after each unless that is by hand.
func (d *Driver) work() error {
	for {
		processed := 0
		for _, t := range d.tasks {
			n, err := t.Process(1, d.now)
			if err != nil {
				return errors.Join(err, d.capture())
			}
			if n == 0 {
				continue
			}
			processed += n
			if err := t.Punctuate(d.now); err != nil {
				return err
			}
			if err := d.commitUnlessByHand(t); err != nil {
				return err
			}
		}
		if processed == 0 {
			return d.commitUnlessByHand(d.tasks...) // records that were dropped
		}
	}
}

func (d *Driver) commitUnlessByHand(tasks ...*task.Task) error {
	if d.options.byHand {
		return d.capture()
	}
	return d.commit(tasks...)
}

// Commit commits all tasks, with [CommitByHand]: the caches are flushed, and what comes of that is processed, but not committed.
func (d *Driver) Commit() error {
	if err := d.commit(d.tasks...); err != nil {
		return err
	}
	return d.work()
}

// commit flushes the caches of tasks, and feeds back what was written to topics that the topology reads.
func (d *Driver) commit(tasks ...*task.Task) error {
	for _, t := range tasks {
		if err := t.Flush(); err != nil {
			return errors.Join(err, d.capture())
		}
		err := t.Committed(func(changelog string) (int64, bool) {
			n, ok := d.offsets[assign.TopicPartition{Topic: changelog, Partition: t.ID().Partition}]
			return n, ok
		})
		if err != nil {
			return err
		}
		if err := d.capture(); err != nil {
			return err
		}
	}
	return nil
}

// capture takes over what was produced.
func (d *Driver) capture() error {
	produced := d.pending
	d.pending = nil
	for _, r := range produced {
		if r.Partition < 0 {
			r.Partition = d.choose(r.Topic, r.Key)
		}
		if d.reads(r.Topic) {
			d.topics[r.Topic] = append(d.topics[r.Topic], r)
			if err := d.add(r); err != nil {
				return err
			}
			continue
		}
		p := assign.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		r.Offset = d.offsets[p]
		d.offsets[p]++
		d.topics[r.Topic] = append(d.topics[r.Topic], r)
	}
	return nil
}

// Advance moves the wall clock, runs what falls due and processes all that follows from it.
func (d *Driver) Advance(by time.Duration) error {
	d.now = d.now.Add(by)
	for _, t := range d.tasks {
		if err := t.Punctuate(d.now); err != nil {
			return err
		}
	}
	if err := d.commitUnlessByHand(d.tasks...); err != nil {
		return err
	}
	return d.work()
}
