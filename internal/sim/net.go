package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A wire is what connects one process to the brokers. All that passes is taken apart into requests and answers, so that
// one can be lost, late, or the last that a process has sent. A wire that is frozen holds everything back, as a process
// that is paused does, and lets it pass when it is thawed; one that is cut lets nothing pass for ever.
type wire struct {
	net  *kfake.VirtualNetwork
	fate func(key int16, nth int) fate // nil: nothing happens to requests
	see  func(request []byte)          // every request, before a broker gets it
	warm warmUp

	mu struct {
		sync.Mutex
		conns map[*conn]bool
		seen  map[int16]int // requests, by their key
		thaw  chan struct{} // not nil: frozen
		last  *last         // the request at which the process is killed
	}
	done chan struct{} // closed when it is cut
	cut  func()
}

// A fate is what becomes of a request and its answer.
type fate struct {
	late   time.Duration // before it reaches the broker
	lost   bool          // it does not: the connection breaks
	before func()        // called when it arrives at the broker
	after  func()        // called when the broker has answered, and the answer is not passed on

	answerLate time.Duration
	answerLost bool // the broker did what was asked, and the connection breaks
}

// last is the last request of a process.
type last struct {
	key    int16
	nth    int
	before bool // the broker gets it, or after it has done it
	do     func()
}

func newWire(n *kfake.VirtualNetwork) *wire {
	w := &wire{net: n, done: make(chan struct{})}
	w.mu.conns, w.mu.seen = make(map[*conn]bool), make(map[int16]int)
	w.cut = sync.OnceFunc(func() {
		close(w.done)
		w.hangUp("")
	})
	return w
}

// hangUp breaks the connections to an address; empty: all.
func (w *wire) hangUp(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.mu.conns {
		if address == "" || c.address == address {
			c.hangUp()
		}
	}
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.thaw == nil {
		w.mu.thaw = make(chan struct{})
	}
}

func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.thaw != nil {
		close(w.mu.thaw)
		w.mu.thaw = nil
	}
}

// latency is what a request takes at least, and a connection that fails. Without any, who tries again at once for ever
// would stop the time.
const latency = time.Millisecond

// pass waits while the wire is frozen, and then as long as it is told.
func (w *wire) pass(late time.Duration, hungUp <-chan struct{}) error {
	if late > 0 {
		select {
		case <-time.After(late):
		case <-hungUp:
			return net.ErrClosed
		}
	}
	w.mu.Lock()
	thaw := w.mu.thaw
	w.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-hungUp:
			return net.ErrClosed
		}
	}
	return nil
}

// dialTimeout is that of kgo, which it does not apply to the dialers of others.
const dialTimeout = 10 * time.Second

// DialContext connects to a broker.
func (w *wire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := w.pass(0, ctx.Done()); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	if closed(w.done) {
		time.Sleep(latency)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	}
	broker, err := w.net.DialContext(ctx, network, address)
	if err != nil {
		time.Sleep(latency)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.Join(syscall.ECONNREFUSED, err)}
	}
	user, client := net.Pipe()
	c := &conn{of: w, address: address, client: client, broker: broker, broken: make(chan struct{}), fates: make(chan fate, 1<<10)}
	c.hangUp = sync.OnceFunc(func() { close(c.broken); client.Close(); broker.Close() })
	w.mu.Lock()
	w.mu.conns[c] = true
	w.mu.Unlock()
	go c.requests()
	go c.answers()
	return userConn{user}, nil
}

// userConn is the end that a client has. A broken connection is an error of the network, as in TCP.
type userConn struct{ net.Conn }

func (c userConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

// A conn is one connection: two goroutines that pass on what comes.
type conn struct {
	of             *wire
	address        string
	client, broker net.Conn
	fates          chan fate     // of requests that are not answered yet
	broken         chan struct{} // closed by hangUp
	hangUp         func()
}

// requests passes requests on. What has begun to pass reaches the broker even when the client has hung up meanwhile.
func (c *conn) requests() {
	defer func() {
		c.hangUp()
		c.of.mu.Lock()
		delete(c.of.mu.conns, c)
		c.of.mu.Unlock()
	}()
	for {
		frame, err := readFrame(c.client)
		if err != nil {
			return
		}
		c.of.warm.request(frame, c.broken)
		f := c.of.decide(frame)
		if c.of.pass(f.late, c.broken) != nil || f.lost {
			return
		}
		if f.before != nil {
			f.before()
		}
		if c.of.see != nil {
			c.of.see(frame[4:])
		}
		select {
		case c.fates <- f:
		case <-c.broken:
			return
		}
		if _, err := c.broker.Write(frame); err != nil {
			return
		}
	}
}

func (w *wire) decide(frame []byte) fate {
	key := int16(binary.BigEndian.Uint16(frame[4:]))
	base := fate{late: latency}
	switch kmsg.Key(key) {
	case kmsg.InitProducerID, kmsg.FindCoordinator, kmsg.Metadata, kmsg.ApiVersions:
		base.late = 0 // see warmUp
	}
	if w.fate == nil {
		return base
	}
	w.mu.Lock()
	w.mu.seen[key]++
	nth := w.mu.seen[key]
	kill := w.mu.last
	if kill != nil && (kill.key != key || kill.nth != nth) {
		kill = nil
	}
	w.mu.Unlock()
	f := w.fate(key, nth)
	f.late += base.late
	if kill != nil {
		if kill.before {
			f.before = kill.do
		} else {
			f.after = kill.do
		}
	}
	return f
}

// answers passes answers back; a connection answers in order.
func (c *conn) answers() {
	defer c.hangUp()
	for {
		frame, err := readFrame(c.broker)
		if err != nil {
			return
		}
		f := <-c.fates
		if f.after != nil {
			f.after()
			return
		}
		if c.of.pass(f.answerLate, c.broken) != nil || f.answerLost {
			return
		}
		if _, err := c.client.Write(frame); err != nil {
			return
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(r, size); err != nil {
		return nil, err
	}
	frame := append(size, make([]byte, binary.BigEndian.Uint32(size))...)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
