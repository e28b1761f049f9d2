package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections may wait for Accept, as Linux' somaxconn.
const backlog = 4096

// Dial connects to addr ("10.0.0.12:8001", "[fd00::2]:80"; network "tcp") through the mesh and waits until the connection
// stands, ctx ends or the node is closed. The address must belong to a peer, or be this node's own. The result is a *Conn.
func (n *Node) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := parseAddr(network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	c, err := n.DialNonblocking(to)
	if err != nil {
		return nil, err
	}
	for {
		done, err := c.Connected()
		if done && err == nil {
			return c, nil
		}
		if !done {
			select {
			case <-c.writable:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			case <-n.done:
				err = net.ErrClosed
			}
		}
		c.Close()
		return nil, c.opError("dial", err)
	}
}

// DialNonblocking begins to connect and returns at once. Notify the Conn to learn when it stands (Connected) or has failed;
// close it in either case. Writing before that gives ErrWouldBlock.
func (n *Node) DialNonblocking(addr netip.AddrPort) (*Conn, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	remote := net.TCPAddrFromAddrPort(addr)
	refuse := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: err}
	}
	own := n.address
	switch {
	case !addr.Addr().IsValid() || addr.Port() == 0:
		return refuse(errors.New("no address and port to dial"))
	case !n.Owns(addr.Addr()):
		return refuse(fmt.Errorf("%s is in no peer's allowed ips", addr.Addr()))
	case addr.Addr().Is4() != own.Is4():
		return refuse(fmt.Errorf("%s cannot be reached from this node's address %s: one is IPv4, the other IPv6", addr.Addr(), own))
	}

	n.mu.RLock() // keeps Close out until the stack knows of the endpoint and can end it
	defer n.mu.RUnlock()
	if n.closed {
		return refuse(net.ErrClosed)
	}
	to, protocol := fullAddress(addr)
	queue := new(waiter.Queue)
	ep, err := n.stack.NewEndpoint(tcp.ProtocolNumber, protocol, queue)
	if err != nil {
		return refuse(errnoOf(err))
	}
	c := newConn(ep, queue)
	c.remote = remote
	if err := tuneConn(ep); err != nil {
		c.Close()
		return refuse(err)
	}
	if err := ep.Connect(to); err != nil {
		if _, started := err.(*tcpip.ErrConnectStarted); !started {
			c.Close()
			return refuse(errnoOf(err))
		}
	}
	c.local = addrOf(ep.GetLocalAddress())
	return c, nil
}

// Listener accepts TCP connections from the mesh.
type Listener struct {
	ep        tcpip.Endpoint
	queue     *waiter.Queue
	entry     waiter.Entry
	addr      *net.TCPAddr
	turn      sync.Mutex // one Accept waits at a time
	incoming  chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
}

// Listen opens a TCP port on this node's mesh address. The host in addr is that address or empty; port 0 takes a free one.
// It may be called before Run. Closing the node closes the listener.
func (n *Node) Listen(network, addr string) (net.Listener, error) {
	refuse := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: fmt.Errorf("%s: %w", addr, err)}
	}
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		addr = net.JoinHostPort(n.address.String(), port)
	}
	at, err := parseAddr(network, addr)
	if err != nil {
		return refuse(err)
	}
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(n.address, at.Port())
	}
	if at.Addr() != n.address {
		return refuse(fmt.Errorf("this node's mesh address is %s: %w", n.address, syscall.EADDRNOTAVAIL))
	}

	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed {
		return refuse(net.ErrClosed)
	}
	full, protocol := fullAddress(at)
	queue := new(waiter.Queue)
	ep, terr := n.stack.NewEndpoint(tcp.ProtocolNumber, protocol, queue)
	if terr != nil {
		return refuse(errnoOf(terr))
	}
	if terr = ep.Bind(full); terr == nil {
		terr = ep.Listen(backlog)
	}
	if terr != nil {
		ep.Close()
		return refuse(errnoOf(terr))
	}
	l := &Listener{
		ep:       ep,
		queue:    queue,
		addr:     addrOf(ep.GetLocalAddress()),
		incoming: make(chan struct{}, 1),
		closed:   make(chan struct{}),
	}
	l.entry = waiter.NewFunctionEntry(waiter.AllEvents, func(waiter.EventMask) {
		select {
		case l.incoming <- struct{}{}:
		default:
		}
	})
	queue.EventRegister(&l.entry)
	return l, nil
}

// Accept waits for the next connection, a *Conn. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	for {
		if isDone(l.closed) {
			return nil, l.opError(net.ErrClosed)
		}
		var remote tcpip.FullAddress
		ep, queue, err := l.ep.Accept(&remote)
		switch err.(type) {
		case nil:
			c := newConn(ep, queue)
			c.established.Store(true)
			c.local, c.remote = addrOf(ep.GetLocalAddress()), addrOf(remote, nil)
			if err := tuneConn(ep); err != nil {
				c.Close()
				return nil, l.opError(err)
			}
			return c, nil
		case *tcpip.ErrWouldBlock:
			select {
			case <-l.incoming:
			case <-l.closed:
			}
		case *tcpip.ErrInvalidEndpointState: // the node was closed, and every endpoint with it
			return nil, l.opError(net.ErrClosed)
		default:
			return nil, l.opError(errnoOf(err))
		}
	}
}

// Close stops listening. Connections that nobody has accepted are reset, accepted ones live on.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() {
		close(l.closed)
		l.queue.EventUnregister(&l.entry)
		l.ep.Close()
	})
	return nil
}

// Addr is the mesh address and the port.
func (l *Listener) Addr() net.Addr { return l.addr }

func (l *Listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
}

// parseAddr reads ip:port. Names are not looked up: the mesh has none.
func parseAddr(network, addr string) (netip.AddrPort, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%q: an IP address is wanted in the mesh", host)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: not a number from 0 to 65535", portText)
	}
	ip = ip.Unmap()
	if network == "tcp4" && !ip.Is4() || network == "tcp6" && !ip.Is6() {
		return netip.AddrPort{}, fmt.Errorf("%s is no address for %s", ip, network)
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

func addrOf(a tcpip.FullAddress, err tcpip.Error) *net.TCPAddr {
	if err != nil {
		return &net.TCPAddr{}
	}
	return &net.TCPAddr{IP: net.IP(a.Addr.AsSlice()), Port: int(a.Port)}
}
