package restore

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/assign"
	"github.com/millrace/millrace/topology"
)

// follow applies what was fetched of a changelog of a standby. Of an input that serves as changelog it applies what is
// committed; the rest is held, which in turn holds the fetching, until more is.
func (j *job) follow(s *restoring, f fetched) error {
	s.end = f.end
	if s.Limit != NoLimit && (len(s.held) > 0 || f.next > s.Limit) {
		s.held = append(s.held, f)
		return j.release(s)
	}
	return j.take(s, f.records, f.next, len(f.records))
}

// take applies records; done says of how many that is the last to be heard.
func (j *job) take(s *restoring, records []topology.Record, next int64, done int) error {
	if err := s.Store.Restore(records, next); err != nil {
		return err
	}
	s.now, s.records = next, s.records+int64(len(records))
	s.feed.Done(done)
	j.observe(s, Going)
	return nil
}

// release applies what is held and within the limit by now.
func (j *job) release(s *restoring) error {
	for len(s.held) > 0 {
		f := &s.held[0]
		n := 0
		for n < len(f.records) && f.records[n].Offset < s.Limit {
			n++
		}
		next := min(f.next, s.Limit)
		if n == 0 && next <= s.now {
			return nil
		}
		if err := j.take(s, f.records[:n], next, n); err != nil {
			return err
		}
		if f.records = f.records[n:]; f.next > s.Limit {
			return nil
		}
		s.held = s.held[1:]
	}
	return nil
}

// limited says whether any of the changelogs is an input.
func (j *job) limited() bool {
	for _, s := range j.stores {
		if s.Limit != NoLimit {
			return true
		}
	}
	return false
}

// raise asks how far the inputs are committed by now.
func (j *job) raise(ctx context.Context) error {
	var inputs []assign.TopicPartition
	for _, s := range j.stores {
		if s.Limit != NoLimit {
			inputs = append(inputs, s.TopicPartition)
		}
	}
	limits, err := j.r.cfg.Limits(ctx, inputs)
	if err != nil {
		return err
	}
	for _, s := range j.stores {
		if limit, ok := limits[s.TopicPartition]; ok && s.Limit != NoLimit {
			s.Limit = max(s.Limit, limit)
			if err := j.release(s); err != nil {
				return fmt.Errorf("store %q: %w", s.Name, err)
			}
		}
	}
	return nil
}
