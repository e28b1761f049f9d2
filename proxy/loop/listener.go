package loop

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Listener is a listening TCP socket served by all loops of a group.
type Listener struct {
	Addr netip.AddrPort // with the port the kernel chose, where it was asked to

	group    *Group
	fd       int
	net      net.Listener // portable implementation
	accepted func(Conn)
	paused   atomic.Bool
	closed   atomic.Bool
	refused  atomic.Uint64

	// Portable implementation: who accepts waits here while paused.
	mu   sync.Mutex
	gate sync.Cond
}

// Refused counts connections closed unserved because no descriptor was left.
func (ln *Listener) Refused() uint64 { return ln.refused.Load() }

// Discard closes a listener that never accepted.
func (ln *Listener) Discard() {
	ln.closed.Store(true)
	if ln.net != nil {
		ln.net.Close()
	} else {
		closeFD(ln.fd)
	}
}
