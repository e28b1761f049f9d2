//go:build !linux

package loop

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

const havePoller = false

// poller does not exist on this system: every loop is of the portable kind.
type poller = *noPoller

type noPoller struct{}

func newPoller(*Loop) (poller, error) { return nil, errors.ErrUnsupported }
func (*noPoller) close()              {}

func (l *Loop) run()       { l.runTurns() }
func (l *Loop) stop()      { l.stopTurns() }
func (l *Loop) interrupt() { l.nudge() }

// Dial connects to addr without waiting for longer than until the instant at (0 = for ever), parked meanwhile.
func (l *Loop) Dial(addr netip.AddrPort, at int64) (Conn, error) { return l.dialTurn(addr, at) }

// Listen opens a listening socket on "host:port" (":port" for every address). It accepts nothing before Accept.
func (g *Group) Listen(addr string) (*Listener, error) {
	n, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	ln := &Listener{group: g, net: n, Addr: n.Addr().(*net.TCPAddr).AddrPort()}
	ln.gate.L = &ln.mu
	return ln, nil
}

// Accept begins to accept; each connection is handed to f on the loop it belongs to from then on. f must not wait.
func (ln *Listener) Accept(f func(Conn)) error {
	ln.accepted = f
	ln.acceptTurns()
	return nil
}

// Pause leaves new connections in the kernel's queue until Resume.
func (ln *Listener) Pause() { ln.pauseTurns() }

// Resume ends a Pause.
func (ln *Listener) Resume() { ln.resumeTurns() }

// Close closes the socket.
func (ln *Listener) Close() {
	if !ln.closed.Swap(true) {
		ln.closeTurns()
	}
}

// CanSplice says whether Splice can move bytes from src to dst.
func CanSplice(dst, src Conn) bool { return false }

// Splice is not available on this system.
func Splice(dst, src Conn, n int64, moved func(n int)) (int64, bool, error) {
	return 0, false, errors.ErrUnsupported
}

// Refused says whether a dial failed because nobody listens there.
func Refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func closeFD(int) {}
