package mesh

import (
	"fmt"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// ErrWouldBlock is what TryRead and TryWrite return when nothing can move. It is syscall.EAGAIN itself, so that an event
// loop that knows nothing of this package may compare with that.
var ErrWouldBlock error = syscall.EAGAIN

// errnoOf gives the errno a kernel socket would have shown, so that callers handle a mesh connection and a kernel's alike
// (errors.Is with syscall.ECONNREFUSED and so on).
func errnoOf(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrWouldBlock:
		return ErrWouldBlock
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrHostUnreachable:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrHostDown:
		return syscall.EHOSTDOWN
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrNoPortAvailable, *tcpip.ErrBadLocalAddress:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	}
	return fmt.Errorf("TCP stack: %s", err)
}
