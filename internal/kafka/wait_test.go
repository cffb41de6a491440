package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A wait that takes long says what it waits for and what came of it, less and less often, and when it is over.
func TestWaitSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c := &Client{log: slog.New(slog.NewTextHandler(&log, nil))}
		ready := time.Now().Add(21 * time.Second)
		err := c.retry(context.Background(), "the offsets", passing, func() error {
			if time.Now().Before(ready) {
				return kerr.UnstableOffsetCommit
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"since=5s", "since=10s", "since=20s", `what="the offsets"`, "UNSTABLE_OFFSET_COMMIT", "after=21"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
		if n := strings.Count(log.String(), "still waiting"); n != 3 {
			t.Errorf("it was said %d times that it waits, not 3:\n%s", n, log.String())
		}
	})
}

// A wait that is short says nothing, and none says anything after its end.
func TestWaitIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c := &Client{log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		err := c.retry(ctx, "the offsets", passing, func() error { return kerr.UnstableOffsetCommit })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kerr.UnstableOffsetCommit) {
			t.Errorf("error %v", err)
		}
		<-time.After(time.Minute) // virtual
		if log.Len() > 0 {
			t.Errorf("the log says:\n%s", log.String())
		}
	})
}

// What franz-go warns of again and again is said now and then, with how often.
func TestLogCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := &logger{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 100 {
			l.Log(kgo.LogLevelWarn, "no connection", "broker", 1)
			<-time.After(sayAgain / 50)
		}
		l.Log(kgo.LogLevelWarn, "no connection", "broker", 1)
		if n := strings.Count(log.String(), "no connection"); n != 3 || strings.Count(log.String(), "times=50") != 2 {
			t.Errorf("of 101 times the log has %d:\n%s", n, log.String())
		}
	})
}

// A broker that refuses connections is not asked more often than the pause allows.
func TestDialsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := &dials{}, time.Now()
		for range 51 {
			d.OnBrokerConnect(kgo.BrokerMetadata{Host: "a", Port: 1}, 0, nil, errors.New("refused"))
		}
		if took := time.Since(began); took != 50*dialPause {
			t.Errorf("51 failures took %v, not %v", took, 50*dialPause)
		}
		began = time.Now()
		d.OnBrokerConnect(kgo.BrokerMetadata{Host: "b", Port: 1}, 0, nil, errors.New("refused"))
		d.OnBrokerConnect(kgo.BrokerMetadata{Host: "a", Port: 1}, 0, nil, nil)
		d.OnBrokerConnect(kgo.BrokerMetadata{Host: "a", Port: 1}, 0, nil, errors.New("refused"))
		if took := time.Since(began); took > 0 {
			t.Errorf("the first failure of a broker, and one after it was there, waited %v", took)
		}
	})
}
