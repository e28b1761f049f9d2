package loop

import (
	"errors"
	"io"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sock is a Conn over a non-blocking socket. Idle, it is all that the process keeps of a connection besides its owner's state.
type sock struct {
	waits
	remote   netip.AddrPort
	fd       int32
	hup      bool // the peer has ended its side: reads go on until the end is seen
	outArmed bool // epoll tells of writability
}

func (c *sock) event(bits uint32) {
	if bits&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hup, c.readable = true, true
	}
	if bits&unix.EPOLLIN != 0 {
		c.readable = true
	}
	if bits&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.writable = true
	}
	if bits&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.broken()
	}
	c.dispatch()
}

func (c *sock) Read(p []byte) (int, error) {
	for {
		if !c.readable || c.closed {
			if err := c.WaitReadable(); err != nil {
				return 0, err
			}
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
		switch {
		case e == unix.EAGAIN:
			c.readable = false
		case e == unix.EINTR:
		case e != 0:
			return 0, e
		case n == 0:
			return 0, io.EOF
		default:
			if int(n) < len(p) && !c.hup {
				c.readable = false // all that was there; the next bytes bring an event
			}
			return int(n), nil
		}
	}
}

func (c *sock) Write(p []byte) (int, error) {
	t := 0
	for t < len(p) {
		if c.closed {
			return t, ErrClosed
		}
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&p[t])), uintptr(len(p)-t), unix.MSG_NOSIGNAL, 0, 0)
		if e == 0 {
			t += int(n)
			continue
		}
		if err := c.unwritable(e); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (c *sock) Writev(a, b []byte) (int, error) {
	if len(b) == 0 {
		return c.Write(a)
	}
	if len(a) == 0 {
		return c.Write(b)
	}
	for {
		if c.closed {
			return 0, ErrClosed
		}
		iov := [2]unix.Iovec{{Base: &a[0], Len: uint64(len(a))}, {Base: &b[0], Len: uint64(len(b))}}
		msg := unix.Msghdr{Iov: &iov[0], Iovlen: 2}
		n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL)
		if e != 0 {
			if err := c.unwritable(e); err != nil {
				return 0, err
			}
			continue
		}
		t := int(n)
		if t < len(a) {
			m, err := c.Write(a[t:])
			if err != nil {
				return t + m, err
			}
			t = len(a)
		}
		m, err := c.Write(b[t-len(a):])
		return t + m, err
	}
}

// unwritable waits for room if that is what the error says, and otherwise returns it.
func (c *sock) unwritable(e syscall.Errno) error {
	switch e {
	case unix.EINTR:
		return nil
	case unix.EAGAIN:
	default:
		return e
	}
	c.writable = false
	if !c.outArmed {
		c.outArmed = true
		c.l.poll.modify(int(c.fd), unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET&0xffffffff)
	}
	for !c.writable {
		if err := c.wait(&c.ww); err != nil {
			return err
		}
	}
	return nil
}

func (c *sock) CloseWrite() error {
	if c.closed {
		return ErrClosed
	}
	return unix.Shutdown(int(c.fd), unix.SHUT_WR)
}

func (c *sock) Close() error {
	if !c.closed {
		c.l.poll.files[c.fd] = nil
		syscall.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0) // which takes it out of the epoll set, too
		c.shut()
	}
	return nil
}

func (c *sock) Abort() {
	if !c.closed {
		unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		c.Close()
	}
}

func (c *sock) Quiet() bool {
	if c.closed || c.hup {
		return false
	}
	var b [1]byte
	_, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), 1, unix.MSG_PEEK, 0, 0)
	c.readable = e != unix.EAGAIN
	return !c.readable
}

func (c *sock) RemoteAddr() netip.AddrPort { return c.remote }

func (c *sock) LocalAddr() netip.AddrPort {
	var sa sockaddr
	sa.len = unix.SizeofSockaddrAny
	if _, _, e := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(c.fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(unsafe.Pointer(&sa.len))); e != 0 {
		return netip.AddrPort{}
	}
	return sa.addrPort()
}

// Refused says whether a dial failed because nobody listens there.
func Refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
