package loop

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const havePoller = true

// poller is the loop's view of the kernel: an edge-triggered epoll set, the sockets in it by descriptor, and an event descriptor
// by which others wake it.
type poller = *epoll

type epoll struct {
	fd, wakeup int
	files      []file // by descriptor
	events     [256]unix.EpollEvent
	pipes      []*pipe
	stopping   bool
	stopBy     int64
	spare      int  // a descriptor in reserve, so that a connection can be refused when there are no more
	eager      bool // the last look without waiting found something
}

// file is what an event is for.
type file interface{ event(bits uint32) }

func newPoller(l *Loop) (*epoll, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	ev, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(ep)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &epoll{fd: ep, wakeup: ev}
	p.spare, _ = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err := p.add(ev, unix.EPOLLIN, (*wakeFile)(p)); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoll) close() {
	unix.Close(p.fd)
	unix.Close(p.wakeup)
	for _, q := range p.pipes {
		q.close()
	}
	if p.spare >= 0 {
		unix.Close(p.spare)
	}
}

func (p *epoll) add(fd int, bits uint32, f file) error {
	for len(p.files) <= fd {
		p.files = append(p.files, make([]file, max(64, len(p.files)))...)
	}
	ev := unix.EpollEvent{Events: bits, Fd: int32(fd)}
	if _, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0); e != 0 {
		return os.NewSyscallError("epoll_ctl", e)
	}
	p.files[fd] = f
	return nil
}

func (p *epoll) modify(fd int, bits uint32) {
	ev := unix.EpollEvent{Events: bits, Fd: int32(fd)}
	syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_MOD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

func (p *epoll) remove(fd int) {
	p.files[fd] = nil
	syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_DEL, uintptr(fd), 0, 0, 0)
}

// wakeFile is the wake-up descriptor's file: its event only ends the wait.
type wakeFile epoll

func (w *wakeFile) event(uint32) {
	var b [8]byte
	syscall.RawSyscall(unix.SYS_READ, uintptr(w.wakeup), uintptr(unsafe.Pointer(&b[0])), 8)
}

// interrupt wakes the loop from another thread.
func (l *Loop) interrupt() {
	if l.poll == nil {
		l.nudge()
		return
	}
	b := [8]byte{1}
	unix.Write(l.poll.wakeup, b[:])
}

// run is the loop. System calls that do not wait are made raw, without telling Go's scheduler; see pollOnce for those that do. The loop stays on
// its thread: the scheduler interrupts it every 10 ms, and free to move it would then be taken up by another thread, which shows in the slowest answers.
func (l *Loop) run() {
	if l.poll == nil {
		l.runTurns()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := l.poll
	l.now = nanotime()
	l.After(time.Second, l.trimEverySecond)
	for {
		n := l.pollOnce()
		l.Counters.Wakeups++
		l.now = nanotime()
		l.since.Store(l.now)
		for i := range n {
			ev := &p.events[i]
			if f := p.files[ev.Fd]; f != nil {
				f.event(ev.Events)
			}
		}
		l.runPosted()
		l.timers.expire(l.now)
		l.runReady()
		if p.stopping && (len(l.free) == l.Counters.Coroutines || l.now > p.stopBy) {
			break
		}
		l.checkAway()
	}
	for _, s := range l.free {
		s.stop()
		l.Counters.Coroutines--
	}
	l.free = nil
}

// pollOnce waits for events. While there is traffic it waits for up to a millisecond without telling Go's scheduler, which spares the scheduler's
// part of the call; to stop the world takes that much longer then. Only when nothing came does it wait in the way that costs more and holds up nobody.
func (l *Loop) pollOnce() int {
	p := l.poll
	timeout := -1
	if next := l.timers.next(); next != 0 {
		timeout = int(max(0, (next-l.now+int64(time.Millisecond)-1)/int64(time.Millisecond)))
	}
	if l.signalled.Load() || len(l.ready) > 0 {
		timeout = 0
	}
	l.since.Store(0)
	if p.eager {
		short := uintptr(1)
		if timeout == 0 {
			short = 0
		}
		n, _, _ := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), short, 0, 0)
		if int(n) > 0 {
			return int(n)
		}
		p.eager = false
		if timeout >= 0 && timeout <= 1 {
			return 0
		}
	}
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(timeout), 0, 0)
	if e != 0 {
		n = 0
	}
	p.eager = n > 0
	return int(n)
}

func (l *Loop) trimEverySecond() {
	l.trim()
	l.After(time.Second, l.trimEverySecond)
}

// stop closes what is open; run ends when what waited has ended.
func (l *Loop) stop() {
	if l.poll == nil {
		l.stopTurns()
		return
	}
	l.poll.stopping, l.poll.stopBy = true, l.now+int64(2*time.Second)
	for _, f := range l.poll.files {
		switch f := f.(type) {
		case *acceptor:
			f.close()
		case Conn:
			f.Close()
		}
	}
	for c := range l.adopted {
		c.Close()
	}
	l.endSignals()
}

// sockaddr is a raw socket address with its two readings.
type sockaddr struct {
	raw unix.RawSockaddrAny
	len uint32
}

func (s *sockaddr) addrPort() netip.AddrPort {
	switch s.raw.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), ntohs(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), ntohs(a.Port))
	}
	return netip.AddrPort{}
}

func (s *sockaddr) set(a netip.AddrPort) {
	s.raw = unix.RawSockaddrAny{}
	if a.Addr().Is4() || a.Addr().Is4In6() {
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		p.Family, p.Port, p.Addr = unix.AF_INET, ntohs(a.Port()), a.Addr().Unmap().As4()
		s.len = unix.SizeofSockaddrInet4
		return
	}
	p := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
	p.Family, p.Port, p.Addr = unix.AF_INET6, ntohs(a.Port()), a.Addr().As16()
	s.len = unix.SizeofSockaddrInet6
}

// ntohs turns a port between the order of the machine and that of the network.
func ntohs(p uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// Dial connects to addr without waiting for longer than until the instant at (0 = for ever), parked meanwhile.
func (l *Loop) Dial(addr netip.AddrPort, at int64) (Conn, error) {
	if l.poll == nil {
		return l.dialTurn(addr, at)
	}
	if l.poll.stopping {
		return nil, ErrClosed
	}
	var sa sockaddr
	sa.set(addr)
	fd, _, e := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(sa.raw.Addr.Family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return nil, os.NewSyscallError("socket", e)
	}
	one := 1
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), 4, 0)
	_, _, e = syscall.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
	if e != 0 && e != unix.EINPROGRESS {
		unix.Close(int(fd))
		return nil, os.NewSyscallError("connect", e)
	}
	c := &sock{fd: int32(fd), remote: addr, outArmed: e != 0}
	c.writable = e == 0
	if err := l.register(c); err != nil {
		unix.Close(int(fd))
		return nil, err
	}
	if e == 0 {
		return c, nil
	}
	c.Deadline(at)
	for !c.writable {
		if err := c.wait(&c.ww); err != nil {
			c.Close()
			return nil, err
		}
	}
	if soerr, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || soerr != 0 {
		c.Close()
		return nil, os.NewSyscallError("connect", unix.Errno(soerr))
	}
	c.Deadline(0)
	return c, nil
}

// register puts a socket under the loop's care.
func (l *Loop) register(c *sock) error {
	bits := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff)
	if c.outArmed {
		bits |= unix.EPOLLOUT
	}
	if err := l.poll.add(int(c.fd), bits, c); err != nil {
		return fmt.Errorf("watch connection: %w", err)
	}
	c.l, c.self = l, c
	c.opened()
	return nil
}
