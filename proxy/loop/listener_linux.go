package loop

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acceptsPerRound bounds how many connections one loop takes from a listener before it serves those it has.
const acceptsPerRound = 32

// acceptor is one loop's registration of a listening socket. All loops share the socket (EPOLLEXCLUSIVE), so nothing is lost from its queue
// when a loop or a configuration goes.
type acceptor struct {
	l  *Loop
	ln *Listener
}

func (a *acceptor) event(uint32) {
	if !a.ln.paused.Load() {
		a.accept(acceptsPerRound)
	}
}

// accept takes up to n connections from the queue; n < 0 takes all.
func (a *acceptor) accept(n int) {
	for ; n != 0; n-- {
		if n > 0 && a.ln.paused.Load() {
			return
		}
		var sa sockaddr
		sa.len = unix.SizeofSockaddrAny
		fd, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(a.ln.fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(unsafe.Pointer(&sa.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch e {
		case 0:
		case unix.ECONNABORTED, unix.EINTR, unix.EPROTO:
			continue
		case unix.EMFILE, unix.ENFILE:
			a.refuse()
			continue
		default:
			return
		}
		c := &sock{fd: int32(fd), remote: sa.addrPort()}
		c.writable = true
		to := a.l.group.lightest(a.l)
		if to == a.l {
			a.ln.admit(a.l, c)
		} else {
			to.conns.Add(1) // until it counts for itself
			to.Post(func() { to.conns.Add(-1); a.ln.admit(to, c) })
		}
	}
}

// admit makes the connection the loop's own.
func (ln *Listener) admit(l *Loop, c *sock) {
	if l.poll.stopping || l.register(c) != nil {
		unix.Close(int(c.fd))
		return
	}
	l.Counters.Accepted++
	ln.accepted(c)
}

// refuse closes the next waiting connection when no descriptor is left, so that it does not keep every loop awake.
func (a *acceptor) refuse() {
	p := a.l.poll
	a.ln.refused.Add(1)
	if p.spare < 0 {
		return
	}
	unix.Close(p.spare)
	if fd, _, err := unix.Accept4(a.ln.fd, unix.SOCK_CLOEXEC); err == nil {
		unix.Close(fd)
	}
	p.spare, _ = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func (a *acceptor) close() { a.l.poll.remove(a.ln.fd) }

// lightest is the loop a new connection goes to: the accepting one, unless another has clearly less to do.
func (g *Group) lightest(self *Loop) *Loop {
	best, least := self, int64(self.Counters.Conns)*15/16-4
	for _, l := range g.Loops {
		if n := l.conns.Load(); n < least {
			best, least = l, n
		}
	}
	return best
}

// Listen opens a listening socket on "host:port" (":port" for every address). It accepts nothing before Accept.
func (g *Group) Listen(addr string) (*Listener, error) {
	n, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	ln := &Listener{group: g, fd: -1, Addr: n.Addr().(*net.TCPAddr).AddrPort()}
	if g.opt.Goroutines {
		ln.net, ln.gate.L = n, &ln.mu
		return ln, nil
	}
	defer n.Close()
	raw, err := n.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	err2 := raw.Control(func(fd uintptr) { ln.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = err2
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	unix.SetsockoptInt(ln.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted connections inherit it
	return ln, nil
}

// Accept begins to accept; each connection is handed to f on the loop it belongs to from then on. f must not wait.
func (ln *Listener) Accept(f func(Conn)) error {
	ln.accepted = f
	if ln.net != nil {
		ln.acceptTurns()
		return nil
	}
	return ln.watch()
}

func (ln *Listener) watch() (err error) {
	for _, l := range ln.group.Loops {
		l.Post(func() {
			if ln.closed.Load() || l.poll.stopping {
				return
			}
			_ = l.poll.add(ln.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, &acceptor{l, ln})
		})
	}
	return nil
}

// Pause leaves new connections in the kernel's queue until Resume.
func (ln *Listener) Pause() {
	if ln.net != nil {
		ln.pauseTurns()
	} else if !ln.paused.Swap(true) {
		for _, l := range ln.group.Loops {
			l.Post(func() {
				if ln.paused.Load() && !ln.closed.Load() { // a closed one has left already, and its number may be another's
					l.poll.remove(ln.fd)
				}
			})
		}
	}
}

// Resume ends a Pause.
func (ln *Listener) Resume() {
	if ln.net != nil {
		ln.resumeTurns()
	} else if ln.paused.Swap(false) {
		_ = ln.watch()
	}
}

// Close accepts what already waits in the queue and then closes the socket. It returns when that is done; never call it on a loop.
func (ln *Listener) Close() {
	if ln.closed.Swap(true) {
		return
	}
	if ln.net != nil {
		ln.closeTurns()
		return
	}
	var wg sync.WaitGroup
	for _, l := range ln.group.Loops {
		wg.Go(func() {
			l.Do(func() {
				if ln.fd < len(l.poll.files) {
					if a, ok := l.poll.files[ln.fd].(*acceptor); ok {
						a.close()
					}
				}
			})
		})
	}
	wg.Wait()
	l := ln.group.Loops[0]
	closed := l.Do(func() {
		if ln.accepted != nil && !l.poll.stopping {
			(&acceptor{l, ln}).accept(-1)
		}
		unix.Close(ln.fd) // with nothing in between: what came now would be reset
	})
	if !closed {
		unix.Close(ln.fd)
	}
}

func closeFD(fd int) { unix.Close(fd) }
