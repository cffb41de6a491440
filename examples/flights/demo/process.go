package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is the instance, running as a process of its own.
type process struct {
	cmd    *exec.Cmd
	ended  chan error
	killed sync.Once
	status error // how it ended, once it was killed
}

// start starts the instance and waits until it runs. It says what was restored, or hello where that is not empty.
func (d *demo) start(ctx context.Context, hello string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-instance", "-brokers", strings.Join(d.brokers, ","), "-application", d.application, "-state-dir", d.stateDir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	events := make(chan event)
	go func() { // ends with the process's output
		defer close(events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				events <- e
			}
		}
	}()
	stores, records, ms, full := 0, int64(0), 0.0, false
	for e := range events {
		if !e.Running {
			stores, records, ms, full = stores+1, records+e.Restored, max(ms, e.Ms), full || e.Full
			continue
		}
		go func() { // nothing more is wanted of it
			for range events {
			}
			p.ended <- cmd.Wait()
		}()
		if hello != "" {
			d.table.say("%s", hello)
			return p, nil
		}
		how := "delta restored"
		if full {
			how = "fully restored"
		}
		d.table.say("%s: %d records of %d stores in %.0f ms; running again %d ms after the start", how, records, stores, ms, time.Since(begin).Milliseconds())
		return p, nil
	}
	return nil, errors.Join(fmt.Errorf("the instance ended before it ran"), cmd.Wait(), ctx.Err())
}

// kill kills the instance with SIGKILL and waits until it is gone.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the instance: %w", err)
	}
	p.killed.Do(func() { p.status = <-p.ended })
	return nil
}

// stop asks the instance to end and waits for it.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the instance did not end within 30 s of SIGTERM"), p.kill())
	}
}
