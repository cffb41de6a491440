//go:build unix

package kafkatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keeper is the shell program that stands between this process and a broker. It passes on the signals that it reads,
// one a line. When its input ends without a "leave", this process has died, and it takes the broker and its folder
// ($1) with it. Speaking to a broker through its parent also means that no signal can hit a process that was given
// the same id later on.
const keeper = `
dir=$1; shift
"$@" </dev/null &
broker=$!
exec >/dev/null 2>&1
while read -r order; do
	if [ "$order" = leave ]; then exit; fi
	kill -s "$order" "$broker"
done
kill -s KILL "$broker"
wait "$broker"
rm -rf "$dir"
rmdir "$(dirname "$dir")"
`

// readyLine is in the line that a broker logs when it is registered and serves.
const readyLine = "Kafka Server started"

// errPortTaken says that a broker did not start because something else listens on its port.
var errPortTaken = errors.New("the port is in use")

// node is one broker, running or not.
type node struct {
	id  int
	dir string
	run *run // nil while the broker is down
}

// run is one life of a broker.
type run struct {
	cmd    *exec.Cmd
	orders io.WriteCloser // to the keeper
	ready  chan struct{}  // closed when the broker serves
	gone   chan struct{}  // closed when the broker has ended

	mu   sync.Mutex
	tail []string // the last lines it logged
}

func (n *node) settingsPath() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) logPath() string      { return filepath.Join(n.dir, "log") }

// launch starts the broker without waiting for it. flags are for the JVM.
func (n *node) launch(inst *installation, heapMiB int, flags ...string) error {
	args := append([]string{"-c", keeper, "kafka-keeper", n.dir, inst.java, fmt.Sprintf("-Xmx%dm", heapMiB)}, flags...)
	if len(flags) == 0 {
		args = append(args, inst.archiveFlags()...)
	}
	args = append(args,
		"-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", "-Dlog4j2.disable.jmx=true",
		"-Dlog4j.configurationFile="+inst.logging, "-cp", inst.classPath, "kafka.Kafka", n.settingsPath())
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("kafkatest: broker %d has no log: %w", n.id, err)
	}
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("kafkatest: broker %d: %w", n.id, err), log.Close())
	}
	r := &run{cmd: exec.Command("sh", args...), ready: make(chan struct{}), gone: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = outputEnd, outputEnd
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for us, not for it
	if r.orders, err = r.cmd.StdinPipe(); err == nil {
		err = r.cmd.Start()
	}
	outputEnd.Close()
	if err != nil {
		return errors.Join(fmt.Errorf("kafkatest: broker %d cannot be started: %w", n.id, err), output.Close(), log.Close())
	}
	go r.follow(output, log)
	n.run = r
	return nil
}

// follow reads what the broker logs, into its log file, until it ends.
func (r *run) follow(output, log *os.File) {
	defer close(r.gone)
	defer log.Close()
	defer output.Close()
	const keep = 30
	serves := false
	for lines := bufio.NewReader(output); ; {
		line, err := lines.ReadString('\n')
		_, _ = log.WriteString(line) // a full disk fails the broker first
		r.mu.Lock()
		if line != "" {
			r.tail = append(r.tail, strings.TrimRight(line, "\n"))
			r.tail = r.tail[max(0, len(r.tail)-keep):]
		}
		r.mu.Unlock()
		if !serves && strings.Contains(line, readyLine) {
			serves = true
			close(r.ready)
		}
		if err != nil {
			return
		}
	}
}

// awaitReady returns when the broker serves, or says why it does not.
func (n *node) awaitReady(ctx context.Context) error {
	select {
	case <-n.run.ready:
		return nil
	case <-n.run.gone:
		err := errors.New("it ended")
		if strings.Contains(n.run.lastLines(), "Address already in use") {
			err = errPortTaken
		}
		return n.failed(err)
	case <-ctx.Done():
		return n.failed(context.Cause(ctx))
	}
}

// failed makes the error for a broker that did not start.
func (n *node) failed(cause error) error {
	return fmt.Errorf("kafkatest: broker %d did not start: %w; its last log lines:\n%s", n.id, cause, n.run.lastLines())
}

func (r *run) lastLines() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.tail, "\n")
}

// signal sends the broker a signal by name, such as KILL. A broker that is down is an error.
func (n *node) signal(name string) error {
	if n.run == nil {
		return fmt.Errorf("kafkatest: broker %d is down", n.id)
	}
	if _, err := io.WriteString(n.run.orders, name+"\n"); err != nil {
		return fmt.Errorf("kafkatest: broker %d cannot be sent SIG%s: %w", n.id, name, err)
	}
	return nil
}

// kill ends the broker at once and returns when it is gone.
func (n *node) kill() error {
	if n.run == nil {
		return nil
	}
	if err := n.signal("KILL"); err != nil {
		return err
	}
	return n.collect()
}

// shutdown ends the broker in good order, or kills it where that takes longer than patience.
func (n *node) shutdown(patience time.Duration) error {
	if n.run == nil {
		return nil
	}
	if err := n.signal("TERM"); err != nil {
		return err
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-n.run.gone:
		return n.collect()
	case <-timeout.C:
		return n.kill()
	}
}

// collect waits for the end of the broker and of its keeper.
func (n *node) collect() error {
	r := n.run
	n.run = nil
	<-r.gone
	_, leave := io.WriteString(r.orders, "leave\n")
	if err := errors.Join(leave, r.cmd.Wait()); err != nil {
		return fmt.Errorf("kafkatest: broker %d ended, but not its keeper: %w", n.id, err)
	}
	return nil
}
