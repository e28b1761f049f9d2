package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// This file is the portable implementation: each strand is a goroutine, and of a loop's strands only the one that holds the baton runs. Waiting
// on a connection means giving the baton away around an ordinary call of package net. What runs on a loop thus still runs in turn,
// and the race detector sees who hands over to whom.

// pass gives a strand its turn when the baton is free.
func (l *Loop) pass(s *strand) {
	if !s.started {
		s.started = true
		go s.turns()
	}
	s.turn <- struct{}{}
}

// turns is a strand's goroutine.
func (s *strand) turns() {
	l := s.l
	for range s.turn {
		l.baton.Lock()
		l.cur = s
		s.do()
		l.cur = nil
		l.free = append(l.free, s)
		l.baton.Unlock()
		l.nudge()
	}
}

// yieldTurn parks the running strand.
func (l *Loop) yieldTurn() {
	s := l.release()
	<-s.turn
	l.acquire(s)
}

// release gives the baton away before a call that waits.
func (l *Loop) release() *strand {
	s := l.cur
	l.cur = nil
	l.baton.Unlock()
	l.nudge()
	return s
}

func (l *Loop) acquire(s *strand) {
	l.baton.Lock()
	l.cur = s
}

// nudge makes the loop's own goroutine look at its timers and posted functions again.
func (l *Loop) nudge() {
	if l.kick != nil {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// runTurns is the loop's own goroutine: timers and posted functions.
func (l *Loop) runTurns() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	l.baton.Lock()
	l.After(time.Second, l.trimTurns)
	for {
		l.Counters.Wakeups++
		l.runPosted()
		l.timers.expire(nanotime())
		wait := time.Hour
		if next := l.timers.next(); next != 0 {
			wait = max(0, time.Duration(next-nanotime()))
		}
		if l.turns.stopping && (len(l.free) == l.Counters.Coroutines || nanotime() > l.turns.stopBy) {
			break
		}
		l.baton.Unlock()
		t.Reset(wait)
		select {
		case <-l.kick:
		case <-t.C:
		}
		l.baton.Lock()
	}
	for _, s := range l.free {
		l.Counters.Coroutines--
		s.end()
	}
	l.free = nil
	l.baton.Unlock()
}

func (l *Loop) trimTurns() {
	l.trim()
	l.After(time.Second, l.trimTurns)
}

// turns is the state of a portable loop.
type turns struct {
	conns     map[*netConn]struct{}
	listeners map[*Listener]struct{}
	stopping  bool
	stopBy    int64
}

func (l *Loop) stopTurns() {
	l.turns.stopping, l.turns.stopBy = true, nanotime()+int64(2*time.Second)
	for ln := range l.turns.listeners {
		if !ln.closed.Swap(true) {
			ln.net.Close()
		}
	}
	for c := range l.turns.conns {
		c.Close()
	}
	l.endSignals()
	l.After(2*time.Second, func() {})
}

// netConn is the portable Conn over any net.Conn.
type netConn struct {
	l  *Loop
	n  net.Conn
	at int64 // the deadline

	h      Handler
	watch  chan struct{} // closed when the goroutine that watches a resting connection has ended
	store  [4 << 10]byte // for what is read before somebody asks for it
	held   []byte        // the part of store that is still to be read
	failed error         // what the watch met instead

	resting, interrupted, closed bool
	waiting                      int
}

func (l *Loop) newNetConn(n net.Conn) *netConn {
	c := &netConn{l: l, n: n}
	if l.turns.conns == nil {
		l.turns.conns = map[*netConn]struct{}{}
	}
	l.turns.conns[c] = struct{}{}
	l.Counters.Conns++
	l.conns.Store(int64(l.Counters.Conns))
	return c
}

func (l *Loop) dialTurn(addr netip.AddrPort, at int64) (Conn, error) {
	d := net.Dialer{}
	if at != 0 {
		d.Deadline = time.Now().Add(time.Duration(at - nanotime()))
	}
	s := l.release()
	n, err := d.Dial("tcp", addr.String())
	l.acquire(s)
	if err != nil {
		return nil, plain(err)
	}
	if l.turns.stopping {
		n.Close()
		return nil, ErrClosed
	}
	return l.newNetConn(n), nil
}

func (l *Loop) adoptTurn(e Endpoint, at int64) (Conn, error) {
	c := l.newNetConn(e)
	ready := l.NewSignal()
	e.Notify(func() { l.Post(ready.Set) })
	defer e.Notify(nil)
	for {
		done, err := e.Connected()
		if err == nil && done {
			return c, nil
		}
		if err == nil && !ready.Wait(at) {
			err = ErrTimeout
		}
		ready.set = false
		if err != nil {
			c.Close()
			return nil, err
		}
	}
}

// plain turns what package net reports into this package's errors and bare errnos.
func plain(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, net.ErrClosed):
		return ErrClosed
	case errors.As(err, &errno):
		return errno
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return ErrTimeout
	}
	return err
}

func (c *netConn) barred() error {
	switch {
	case c.closed:
		return ErrClosed
	case c.interrupted:
		return ErrInterrupted
	case c.at != 0 && nanotime() >= c.at:
		return ErrTimeout
	}
	return nil
}

// outside runs a call of package net with the baton given away.
func (c *netConn) outside(call func() (int, error)) (int, error) {
	if err := c.barred(); err != nil {
		return 0, err
	}
	c.waiting++
	s := c.l.release()
	n, err := call()
	c.l.acquire(s)
	c.waiting--
	if n > 0 && err != nil && err != io.EOF {
		if barred := c.barred(); barred == nil {
			err = plain(err)
		} else {
			err = barred
		}
		return n, err
	}
	if n == 0 && err != nil {
		if barred := c.barred(); barred != nil {
			return 0, barred
		}
	}
	return n, plain(err)
}

func (c *netConn) Read(p []byte) (int, error) {
	if c.closed {
		return 0, ErrClosed
	}
	if len(c.held) > 0 {
		n := copy(p, c.held)
		c.held = c.held[n:]
		return n, nil
	}
	if err := c.failed; err != nil {
		if err == io.EOF {
			return 0, err
		}
		c.failed = nil
		return 0, err
	}
	return c.outside(func() (int, error) {
		n, err := c.n.Read(p)
		if n > 0 {
			err = nil
		}
		return n, err
	})
}

func (c *netConn) WaitReadable() error {
	if c.closed {
		return ErrClosed
	}
	if c.Readable() {
		return nil
	}
	n, err := c.outside(func() (int, error) { return c.n.Read(c.store[:]) })
	if n > 0 {
		c.held = c.store[:n]
	} else if err == io.EOF {
		c.failed = err
	} else {
		return err
	}
	return nil
}

func (c *netConn) Write(p []byte) (int, error) {
	if c.closed {
		return 0, ErrClosed
	}
	return c.outside(func() (int, error) { return c.n.Write(p) })
}

func (c *netConn) Writev(a, b []byte) (int, error) {
	if c.closed {
		return 0, ErrClosed
	}
	return c.outside(func() (int, error) {
		v := net.Buffers{a, b}
		n, err := v.WriteTo(c.n)
		return int(n), err
	})
}

func (c *netConn) CloseWrite() error {
	if c.closed {
		return ErrClosed
	}
	return plain(c.n.(interface{ CloseWrite() error }).CloseWrite())
}

func (c *netConn) Close() error {
	if c.closed {
		return nil
	}
	c.closed, c.resting = true, false
	delete(c.l.turns.conns, c)
	c.l.Counters.Conns--
	c.l.conns.Store(int64(c.l.Counters.Conns))
	c.n.Close()
	return nil
}

func (c *netConn) Abort() {
	if t, ok := c.n.(*net.TCPConn); ok && !c.closed {
		t.SetLinger(0)
	}
	c.Close()
}

func (c *netConn) Deadline(at int64) {
	c.at = at
	c.setDeadline()
}

func (c *netConn) setDeadline() {
	switch {
	case c.closed:
	case c.interrupted:
		c.n.SetDeadline(time.Unix(1, 0))
	case c.at == 0:
		c.n.SetDeadline(time.Time{})
	default:
		c.n.SetDeadline(epoch.Add(time.Duration(c.at)))
	}
}

// Rest implements Conn: a goroutine of its own waits for the next byte.
func (c *netConn) Rest(h Handler) {
	if c.closed {
		return
	}
	c.h, c.resting = h, true
	done := make(chan struct{})
	c.watch = done
	go c.rest(done)
}

func (c *netConn) rest(done chan struct{}) {
	var n int
	var err error
	c.l.baton.Lock()
	have := len(c.held) > 0 || c.failed != nil || c.closed
	c.l.baton.Unlock()
	if !have {
		n, err = c.n.Read(c.store[:])
	}
	c.l.baton.Lock()
	defer c.l.baton.Unlock()
	close(done)
	if n > 0 {
		c.held = c.store[:n]
	} else if err != nil {
		c.failed = plain(err)
		if barred := c.barred(); barred != nil {
			c.failed = nil // the next Read says it, as long as it holds
		}
	}
	if c.resting && c.watch == done {
		c.resting = false
		s := c.l.lend()
		s.h, s.conn = c.h, c
		c.l.pass(s)
	}
}

// Take implements Conn.
func (c *netConn) Take() bool {
	c.interrupted = false
	if c.closed {
		return false
	}
	if c.resting {
		c.resting = false
		c.n.SetReadDeadline(time.Unix(1, 0))
		s := c.l.release()
		<-c.watch
		c.l.acquire(s)
		if errors.Is(c.failed, ErrTimeout) {
			c.failed = nil
		}
		if len(c.held) == 0 && c.failed == nil && !c.closed {
			c.look()
		}
	}
	if c.closed {
		return false
	}
	c.setDeadline()
	return len(c.held) == 0 && c.failed == nil && (c.at == 0 || nanotime() < c.at)
}

func (c *netConn) Interrupt() {
	c.interrupted = true
	c.setDeadline()
}

// Guard implements Conn: there is nothing to learn it from.
func (c *netConn) Guard(Conn) {}

func (c *netConn) waiter() *waits { return nil }

func (c *netConn) Readable() bool { return len(c.held) > 0 || c.failed != nil }

// look reads what is there already. A read whose deadline has passed does not even look, so this one has a deadline just ahead.
func (c *netConn) look() {
	c.n.SetReadDeadline(time.Now().Add(200 * time.Microsecond))
	s := c.l.release()
	n, err := c.n.Read(c.store[:])
	c.l.acquire(s)
	if n > 0 {
		c.held = c.store[:n]
	} else if err = plain(err); err != ErrTimeout {
		c.failed = err
	}
}

// Quiet implements Conn; the watch of a resting connection has looked already, so there is nothing more to ask.
func (c *netConn) Quiet() bool { return !c.closed && !c.Readable() }

func (c *netConn) RemoteAddr() netip.AddrPort { return addrPort(c.n.RemoteAddr()) }
func (c *netConn) LocalAddr() netip.AddrPort  { return addrPort(c.n.LocalAddr()) }
func (c *netConn) Loop() *Loop                { return c.l }

var _ Conn = (*netConn)(nil)

// acceptTurns accepts on a goroutine and deals the connections out to the loops in turn.
func (ln *Listener) acceptTurns() {
	for _, l := range ln.group.Loops {
		l.Post(func() {
			if l.turns.listeners == nil {
				l.turns.listeners = map[*Listener]struct{}{}
			}
			l.turns.listeners[ln] = struct{}{}
		})
	}
	go func() {
		for i := 0; ; i++ {
			n, err := ln.net.Accept()
			if ln.closed.Load() && err != nil {
				return
			}
			if err != nil {
				ln.refused.Add(1)
				time.Sleep(5 * time.Millisecond) // out of descriptors: the system has nothing to wait on for that
				continue
			}
			ln.mu.Lock()
			for ln.paused.Load() && !ln.closed.Load() {
				ln.gate.Wait()
			}
			ln.mu.Unlock()
			l := ln.group.Loops[i%len(ln.group.Loops)]
			l.Post(func() {
				if l.turns.stopping {
					n.Close()
					return
				}
				l.Counters.Accepted++
				ln.accepted(l.newNetConn(n))
			})
		}
	}()
}

func (ln *Listener) pauseTurns() { ln.paused.Store(true) }

func (ln *Listener) resumeTurns() {
	ln.mu.Lock()
	ln.paused.Store(false)
	ln.mu.Unlock()
	ln.gate.Broadcast()
}

func (ln *Listener) closeTurns() {
	ln.net.Close()
	ln.resumeTurns()
	for _, l := range ln.group.Loops {
		l.Do(func() { delete(l.turns.listeners, ln) })
	}
}
