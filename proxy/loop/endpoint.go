package loop

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// Endpoint is a non-blocking byte stream that is not a socket of this system (a connection of the mesh): it says EAGAIN instead of waiting,
// and calls a function when it may have become ready.
type Endpoint interface {
	net.Conn
	CloseWrite() error
	// TryRead and TryWrite never wait: they return syscall.EAGAIN when nothing can move.
	TryRead(p []byte) (int, error)
	TryWrite(p []byte) (int, error)
	// Readable says whether bytes, the end or an error wait to be read.
	Readable() bool
	// Notify has f called, from any goroutine, whenever the stream may have become readable, writable, connected or failed.
	Notify(f func())
	// Connected says whether a connection begun without waiting stands, or why it never will.
	Connected() (bool, error)
}

// endpoint is the Conn over an Endpoint.
type endpoint struct {
	waits
	e     Endpoint
	asked atomic.Bool // a notification is on its way to the loop
}

// Adopt makes an Endpoint a connection of this loop, waiting for it to be connected until the instant at (0 = for ever). If that
// fails, the Endpoint is closed.
func (l *Loop) Adopt(e Endpoint, at int64) (Conn, error) {
	if l.poll == nil {
		return l.adoptTurn(e, at)
	}
	c := &endpoint{e: e}
	c.l, c.self = l, c
	c.writable = true // unknown: trying tells
	c.opened()
	if l.adopted == nil {
		l.adopted = map[*endpoint]struct{}{}
	}
	l.adopted[c] = struct{}{}
	e.Notify(c.notified)
	c.Deadline(at)
	for {
		done, err := e.Connected()
		if err == nil && done {
			c.Deadline(0)
			c.readable = e.Readable()
			return c, nil
		}
		if err == nil {
			err = c.wait(&c.ww)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
}

func (c *endpoint) notified() {
	if c.asked.CompareAndSwap(false, true) {
		c.l.Post(c.event)
	}
}

func (c *endpoint) event() {
	c.asked.Store(false)
	if !c.closed {
		c.readable, c.writable = c.e.Readable(), true
		c.dispatch()
	}
}

func (c *endpoint) Read(p []byte) (int, error) {
	for {
		if !c.readable || c.closed {
			if err := c.WaitReadable(); err != nil {
				return 0, err
			}
		}
		n, err := c.e.TryRead(p)
		if err != syscall.EAGAIN {
			return n, err
		}
		c.readable = false
	}
}

func (c *endpoint) Write(p []byte) (int, error) {
	t := 0
	for t < len(p) {
		if c.closed {
			return t, ErrClosed
		}
		n, err := c.e.TryWrite(p[t:])
		t += n
		if err == nil {
			continue
		}
		if err != syscall.EAGAIN {
			return t, err
		}
		c.writable = false
		for !c.writable {
			if err := c.wait(&c.ww); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (c *endpoint) Writev(a, b []byte) (int, error) {
	n, err := c.Write(a)
	if err != nil {
		return n, err
	}
	m, err := c.Write(b)
	return n + m, err
}

func (c *endpoint) CloseWrite() error {
	if c.closed {
		return ErrClosed
	}
	return c.e.CloseWrite()
}

func (c *endpoint) Close() error {
	if c.shut() {
		c.e.Notify(nil)
		delete(c.l.adopted, c)
		return c.e.Close()
	}
	return nil
}

func (c *endpoint) Abort() {
	if a, ok := c.e.(interface{ Abort() }); ok && !c.closed {
		a.Abort()
	}
	c.Close()
}

func (c *endpoint) Quiet() bool { return !c.closed && !c.e.Readable() }

func (c *endpoint) RemoteAddr() netip.AddrPort { return addrPort(c.e.RemoteAddr()) }
func (c *endpoint) LocalAddr() netip.AddrPort  { return addrPort(c.e.LocalAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
