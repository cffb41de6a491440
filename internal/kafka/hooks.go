package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dials remembers the last failed connection, for messages: a request that retries hides why. And it holds back who
// connects in vain without end: there are retries of the client that do not pause (of AddPartitionsToTxn, to a
// coordinator that is gone), and would take all of a processor for as long as the broker is away.
type dials struct {
	mu struct {
		sync.Mutex
		addr  string
		err   error
		again map[string]time.Time // by address that refused, when it may refuse again
	}
}

// dialPause is the least time between two failures to connect to the same address.
const dialPause = 20 * time.Millisecond

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (d *dials) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	addr := fmt.Sprintf("%s:%d", meta.Host, meta.Port)
	if pause := d.note(addr, err); pause > 0 {
		time.Sleep(pause) // in the goroutine that talks to this broker
	}
}

func (d *dials) note(addr string, err error) (pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.mu.again, addr)
	} else {
		now := time.Now()
		pause = d.mu.again[addr].Sub(now)
		if d.mu.again == nil {
			d.mu.again = make(map[string]time.Time)
		}
		d.mu.again[addr] = now.Add(max(pause, 0) + dialPause)
	}
	if timeout := net.Error(nil); d.mu.err != nil && errors.As(err, &timeout) && timeout.Timeout() {
		return pause // a dial that ended because the wait did says less than the one before
	}
	d.mu.addr, d.mu.err = addr, err
	return pause
}

func (d *dials) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.mu.addr == "":
		return "no connection was tried"
	case d.mu.err == nil:
		return "the last connection, to " + d.mu.addr + ", was accepted"
	}
	return fmt.Sprintf("the last connection, to %s, failed: %v", d.mu.addr, d.mu.err)
}

// logger hands franz-go's log on. What it calls information is our debugging. While a broker is away it would say the same
// many times a second; a warning that comes again within sayAgain is only counted.
type logger struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]*said
}

// said is when a message was said last, and how often it was not since.
type said struct {
	at   time.Time
	left int
}

// sayAgain is the least time between two warnings of the client that say the same.
const sayAgain = 5 * time.Second

func (l *logger) Level() kgo.LogLevel {
	switch {
	case l.log.Enabled(context.Background(), slog.LevelDebug-4):
		return kgo.LogLevelDebug
	case l.log.Enabled(context.Background(), slog.LevelDebug):
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l *logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	switch level {
	case kgo.LogLevelDebug:
		at = slog.LevelDebug - 4
	case kgo.LogLevelWarn, kgo.LogLevelError:
		at = slog.LevelWarn
		left, due := l.due(msg)
		if !due {
			return
		}
		if left > 0 {
			keyvals = append(keyvals, "times", left+1)
		}
	}
	l.log.Log(context.Background(), at, "kafka client: "+msg, keyvals...)
}

// due says whether it is time to say something, and how often it was not.
func (l *logger) due(msg string) (left int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := l.said[msg]
	if s != nil && now.Sub(s.at) < sayAgain {
		s.left++
		return 0, false
	}
	if len(l.said) == 0 || len(l.said) > 1000 { // some have numbers in them
		l.said = make(map[string]*said)
	}
	if s != nil {
		left = s.left
	}
	l.said[msg] = &said{at: now}
	return left, true
}
