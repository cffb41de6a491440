package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// slow is how long something is waited for before the log says so; then it says so again after twice as long, and so on.
const slow = 5 * time.Second

// A wait says in the log what is waited for, if that takes long, and what came of it until then: without it, a cluster
// that does not answer, or that puts off, makes an application silent.
type wait struct {
	log   *slog.Logger
	what  string
	began time.Time
	timer *time.Timer

	mu   sync.Mutex
	over bool
	said bool
	last error
}

// wait begins to wait for something; end has to be called.
func (c *Client) wait(what string) *wait {
	w := &wait{log: c.log, what: what, began: time.Now()}
	w.mu.Lock() // the timer is not there yet
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(slow, w.say)
	return w
}

func (w *wait) say() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	since := time.Since(w.began)
	args := []any{"what", w.what, "since", since.Round(time.Millisecond)}
	if w.last != nil {
		args = append(args, "last", w.last)
	}
	w.log.Warn("still waiting for the cluster", args...)
	w.said = true
	w.timer.Reset(since)
}

// tried notes how a try ended.
func (w *wait) tried(err error) {
	w.mu.Lock()
	w.last = err
	w.mu.Unlock()
}

func (w *wait) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.over = true
	if w.said {
		w.log.Info("the wait for the cluster is over", "what", w.what, "after", time.Since(w.began).Round(time.Millisecond))
	}
}

// retry calls f until it returns no error or one for which again is false, with growing pauses, until ctx ends; then it
// returns the last error. What it waits for is said in the log where that takes long.
func (c *Client) retry(ctx context.Context, what string, again func(error) bool, f func() error) error {
	w := c.wait(what)
	defer w.end()
	pause := 10 * time.Millisecond
	for {
		err := f()
		if err == nil || !again(err) {
			return err
		}
		w.tried(err)
		select {
		case <-ctx.Done():
			if errors.Is(err, ctx.Err()) {
				return err
			}
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}
