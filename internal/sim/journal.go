package sim

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// A journal holds what happened, with the time since the beginning. Faults are always kept; what the processes log is
// written out where someone listens.
type journal struct {
	began time.Time
	out   io.Writer // nil: nobody listens

	mu struct {
		sync.Mutex
		faults []string
		errs   []error
	}
}

func (j *journal) stamp() string {
	return fmt.Sprintf("%10.4f", time.Since(j.began).Seconds())
}

// fault notes what was done to the application.
func (j *journal) fault(format string, args ...any) {
	line := j.stamp() + " " + fmt.Sprintf(format, args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.faults = append(j.mu.faults, line)
	if j.out != nil {
		fmt.Fprintln(j.out, line)
	}
}

// violation notes that something that must hold does not.
func (j *journal) violation(err error) {
	if err == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.errs) < 20 {
		j.mu.errs = append(j.mu.errs, fmt.Errorf("%s %w", j.stamp(), err))
	}
	if j.out != nil {
		fmt.Fprintln(j.out, j.stamp(), "VIOLATION", err)
	}
}

func (j *journal) violations() []error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.errs
}

func (j *journal) faults() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.mu.faults, "\n")
}

// logger returns a logger for a process.
func (j *journal) logger(process string) *slog.Logger {
	if j.out == nil {
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewTextHandler(logLine{j}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "application") {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h).With("process", process)
}

type logLine struct{ j *journal }

func (l logLine) Write(b []byte) (int, error) {
	l.j.mu.Lock()
	defer l.j.mu.Unlock()
	fmt.Fprintf(l.j.out, "%s %s\n", l.j.stamp(), bytes.TrimSpace(b))
	return len(b), nil
}
