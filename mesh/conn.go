package mesh

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Conn is a TCP connection through the mesh. It is a net.Conn whose calls wait, and at the same time offers calls that
// never do (TryRead, TryWrite, Connected, Notify), by which an event loop drives it without a goroutine of its own. The two
// may be mixed. All methods are safe for concurrent use.
//
// Errors carry the errno of a kernel socket: errors.Is(err, syscall.ECONNRESET) and the like.
type Conn struct {
	ep            tcpip.Endpoint
	queue         *waiter.Queue
	entry         waiter.Entry
	local, remote *net.TCPAddr

	notify      atomic.Pointer[func()]
	readable    chan struct{} // holds one token after an event; taken by Read
	writable    chan struct{} // the same for Write and for Dial
	closed      chan struct{}
	closeOnce   sync.Once
	established atomic.Bool
	failure     atomic.Pointer[error] // the first lasting error; the stack tells it only once, we repeat it

	// readTurn lets one Read wait at a time, writeTurn keeps the bytes of one Write together. TryRead and TryWrite do not
	// take them.
	readTurn, writeTurn sync.Mutex

	readMu sync.Mutex // held for the moment of the stack's Read; guards sink
	sink   tcpip.SliceWriter

	writeMu sync.Mutex // held for the moment of the stack's Write; guards source
	source  bytes.Reader

	readDeadline, writeDeadline deadline
}

// newConn wraps an endpoint. Events are watched from here on; whoever connects it does so afterwards.
func newConn(ep tcpip.Endpoint, queue *waiter.Queue) *Conn {
	c := &Conn{
		ep:            ep,
		queue:         queue,
		readable:      make(chan struct{}, 1),
		writable:      make(chan struct{}, 1),
		closed:        make(chan struct{}),
		readDeadline:  newDeadline(),
		writeDeadline: newDeadline(),
	}
	c.entry = waiter.NewFunctionEntry(waiter.AllEvents, func(waiter.EventMask) { c.wake() })
	queue.EventRegister(&c.entry)
	return c
}

// wake is called by the stack, with its locks held, whenever anything has changed.
func (c *Conn) wake() {
	select {
	case c.readable <- struct{}{}:
	default:
	}
	select {
	case c.writable <- struct{}{}:
	default:
	}
	if fn := c.notify.Load(); fn != nil {
		(*fn)()
	}
}

// Notify registers fn to be called whenever the connection may have become readable, writable, connected or failed, in
// place of what was registered before; nil removes it. fn is called from any goroutine and also for nothing. It runs
// under locks of the TCP stack: it must not block and must not call any method of this Conn, only wake whoever will.
//
// What happened before the registration is not reported: register first, then try.
func (c *Conn) Notify(fn func()) {
	if fn == nil {
		c.notify.Store(nil)
		return
	}
	c.notify.Store(&fn)
}

// Connected tells how a connect begun by DialNonblocking stands: not done yet, done, or done with the error it failed
// with. It stays true once it was; later failures are told by reading and writing.
func (c *Conn) Connected() (done bool, err error) {
	if c.established.Load() {
		return true, nil
	}
	if c.isClosed() {
		return true, net.ErrClosed
	}
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return false, nil
	case tcp.StateError, tcp.StateClose, tcp.StateInitial, tcp.StateBound:
		if err := c.ep.LastError(); err != nil {
			return true, c.fail(errnoOf(err))
		}
		return true, c.fail(syscall.ECONNABORTED)
	}
	c.established.Store(true)
	return true, nil
}

// TryRead reads what is there and never waits: ErrWouldBlock when there is nothing yet, io.EOF after the peer's last byte.
func (c *Conn) TryRead(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	c.sink = p
	result, err := c.ep.Read(&c.sink, tcpip.ReadOptions{})
	c.sink = nil
	if err != nil {
		return 0, c.explain(err, io.EOF)
	}
	c.ep.ModerateRecvBuf(result.Count) // lets the receive window grow with the rate
	return result.Count, nil
}

// TryWrite writes as much of p as the send buffer takes and never waits for the peer: ErrWouldBlock when there is no room.
// (What the peer's window allows goes to WireGuard at once. If its queue is full, that takes as long as sealing as many
// packets: well under a millisecond for 64 KiB.)
func (c *Conn) TryWrite(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	c.source.Reset(p)
	n, err := c.ep.Write(&c.source, tcpip.WriteOptions{})
	c.source.Reset(nil)
	if err != nil {
		return int(n), c.explain(err, syscall.EPIPE)
	}
	return int(n), nil
}

// explain turns the stack's error into ours. end is what a regular end is called in this direction.
//
// The stack reports a reset once and then only that the connection is closed. Taken for a regular end, that would make
// a cut-off answer look complete, so the failure is kept and repeated.
func (c *Conn) explain(err tcpip.Error, end error) error {
	switch err.(type) {
	case *tcpip.ErrWouldBlock:
		return ErrWouldBlock
	case *tcpip.ErrNotConnected:
		if done, err := c.Connected(); !done {
			return ErrWouldBlock
		} else if err != nil {
			return err
		}
	case *tcpip.ErrClosedForReceive, *tcpip.ErrClosedForSend:
		if failure := c.failure.Load(); failure != nil {
			return *failure
		}
		if tcp.EndpointState(c.ep.State()) == tcp.StateError {
			return c.fail(syscall.ECONNRESET)
		}
		return end
	}
	return c.fail(errnoOf(err))
}

// fail keeps the first failure and returns it.
func (c *Conn) fail(err error) error {
	c.failure.CompareAndSwap(nil, &err)
	return *c.failure.Load()
}

func (c *Conn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.readTurn.Lock()
	defer c.readTurn.Unlock()
	for {
		expired := c.readDeadline.wait()
		if isDone(expired) {
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		}
		n, err := c.TryRead(p)
		switch err {
		case nil, io.EOF:
			return n, err
		case ErrWouldBlock:
		default:
			return n, c.opError("read", err)
		}
		select {
		case <-c.readable:
		case <-c.closed:
		case <-expired:
		}
	}
}

// Write implements net.Conn. It returns when all of p is in the send buffer.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeTurn.Lock()
	defer c.writeTurn.Unlock()
	for done := 0; ; {
		expired := c.writeDeadline.wait()
		if isDone(expired) {
			return done, c.opError("write", os.ErrDeadlineExceeded)
		}
		n, err := c.TryWrite(p[done:])
		done += n
		switch {
		case err == nil && done == len(p):
			return done, nil
		case err == nil:
			continue
		case err != ErrWouldBlock:
			return done, c.opError("write", err)
		}
		select {
		case <-c.writable:
		case <-c.closed:
		case <-expired:
		}
	}
}

// CloseWrite ends our direction once everything written has been sent; reading goes on.
func (c *Conn) CloseWrite() error {
	if c.isClosed() {
		return c.opError("close", net.ErrClosed)
	}
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return c.opError("close", c.explain(err, syscall.ENOTCONN))
	}
	return nil
}

// Close ends the connection. What was written is still delivered in the background; waiting calls return net.ErrClosed.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.notify.Store(nil)
		c.readDeadline.set(time.Time{})
		c.writeDeadline.set(time.Time{})
		c.queue.EventUnregister(&c.entry)
		// The stack wants no other call while it closes.
		c.readMu.Lock()
		defer c.readMu.Unlock()
		c.writeMu.Lock()
		defer c.writeMu.Unlock()
		c.ep.Close()
	})
	return nil
}

// LocalAddr is this node's mesh address and a port.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's mesh address and a port. The address is proven: WireGuard drops packets whose source is not
// among the AllowedIPs of the peer that sealed them.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn. It does not concern TryRead.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readDeadline, t) }

// SetWriteDeadline implements net.Conn. It does not concern TryWrite.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeDeadline, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	if c.isClosed() {
		return c.opError("set", net.ErrClosed)
	}
	d.set(t)
	return nil
}

// opError dresses an error as package net does.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
