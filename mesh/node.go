package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Node is one member of a WireGuard mesh. All methods are safe for concurrent use.
type Node struct {
	address netip.Addr
	logf    func(format string, args ...any)
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	stack   *stack.Stack
	dev     *device.Device
	owners  atomic.Pointer[owners] // read by every dial, swapped by Update

	life context.Context // ends with Close
	end  context.CancelFunc
	done <-chan struct{} // life's
	kick chan struct{}   // asks Run to look up endpoints now
	pace pace

	closeOnce sync.Once
	mu        sync.RWMutex // guards closed; held for reading while an endpoint of the stack is made
	closed    bool

	peersMu sync.Mutex // guards the fields below; held while WireGuard is told of changes
	cfg     Config
	running bool
	told    []Peer            // what WireGuard knows
	located map[Key]*location // of the peers with a host name as endpoint
}

// owners tells which peer an address belongs to. Never changed once made.
type owners struct {
	peers []Peer
	table bart.Table[Peer]
}

func newOwners(peers []Peer) *owners {
	o := &owners{peers: peers}
	for _, p := range peers {
		for _, prefix := range p.AllowedIPs {
			o.table.Insert(prefix, p)
		}
	}
	return o
}

// New checks cfg, binds the UDP port (so that a port in use is told here) and builds the TCP stack. Listen, Dial and Update
// work from then on, and peers that knock are answered, as a kernel answers for a listening socket before anybody accepts.
// But the node does nothing by itself (no keepalive, no lookup of a host name) until Run. Whoever does not call Run must
// call Close: WireGuard's and the stack's idle workers exist.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.settled()
	l := newQueueLink(cfg.MTU)
	tcpStack, err := newStack(cfg.Address.Addr(), l)
	if err != nil {
		return nil, fmt.Errorf("build TCP stack: %w", err)
	}
	n := &Node{
		address: cfg.Address.Addr(),
		logf:    cfg.Logf,
		lookup:  cfg.Lookup,
		stack:   tcpStack,
		kick:    make(chan struct{}, 1),
		pace:    defaultPace,
		cfg:     cfg,
		located: make(map[Key]*location),
	}
	n.life, n.end = context.WithCancel(context.Background())
	n.done = n.life.Done()
	n.owners.Store(newOwners(cfg.Peers))

	// WireGuard's own words are for its developers, except for what fails while running: what fails here is returned.
	var starting atomic.Bool
	starting.Store(true)
	n.dev = device.NewDevice(l.device(), conn.NewStdNetBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf: func(format string, args ...any) {
			if !starting.Load() && n.life.Err() == nil {
				n.logf("%s", n.named("wireguard: "+fmt.Sprintf(format, args...)))
			}
		},
	})
	// Up binds the port.
	err = n.dev.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\n", cfg.PrivateKey.hex(), cfg.ListenPort))
	if err == nil {
		err = n.dev.Up()
	}
	starting.Store(false)
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("listen on UDP port %d: %w", cfg.ListenPort, err)
	}
	if err := n.tell(cfg.PrivateKey, cfg.Peers); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// named puts names where WireGuard writes peer(abcd…wxyz), the ends of a public key.
func (n *Node) named(line string) string {
	for _, p := range n.owners.Load().peers {
		key := p.PublicKey.String()
		line = strings.ReplaceAll(line, "peer("+key[:4]+"…"+key[39:43]+")", fmt.Sprintf("peer %q", p.Name))
	}
	return line
}

// Run keeps the tunnels up until ctx ends or the node is closed, then closes it and returns nil. It returns an error when
// WireGuard has stopped by itself, and at once when the node is closed or runs already.
func (n *Node) Run(ctx context.Context) error {
	if err := n.begin(); err != nil {
		return err
	}
	defer n.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	for {
		n.lookUpEndpoints(ctx, time.Now())
		tick := time.NewTimer(n.pace.check)
		select {
		case <-tick.C:
		case <-n.kick:
		case <-n.dev.Wait():
		case <-ctx.Done():
		}
		tick.Stop()
		if ctx.Err() != nil || n.life.Err() != nil {
			return nil
		}
		if isDone(n.dev.Wait()) {
			return errors.New("WireGuard has stopped: its log lines tell why")
		}
	}
}

// begin turns the keepalives on.
func (n *Node) begin() error {
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	if n.life.Err() != nil {
		return fmt.Errorf("run mesh node: %w", net.ErrClosed)
	}
	if n.running {
		return errors.New("run mesh node: it runs already")
	}
	n.running = true
	return n.tell(n.cfg.PrivateKey, n.cfg.Peers)
}

// tell makes WireGuard know these peers and no others. Needs peersMu.
func (n *Node) tell(private Key, peers []Peer) error {
	if !n.running {
		peers = slices.Clone(peers)
		for i := range peers {
			peers[i].Keepalive = 0
		}
	}
	changes := peerChanges(n.told, peers, n.locationOf)
	if private != n.cfg.PrivateKey {
		changes = "private_key=" + private.hex() + "\n" + changes
	}
	if changes != "" {
		if err := n.dev.IpcSet(changes); err != nil {
			return fmt.Errorf("configure WireGuard peers: %w", err)
		}
	}
	n.told = peers
	return nil
}

// Update makes the node run with cfg from now on. Peers that stay keep their session and their connections, whatever
// happens to the others; connections to an address that changed hands or lost its owner are reset. A new PrivateKey makes
// all tunnels shake hands anew. Address, ListenPort and MTU cannot change, Logf and Lookup stay those given to New.
//
// All that can be wrong is checked first: after an error from it, nothing has changed.
func (n *Node) Update(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	if n.life.Err() != nil {
		return fmt.Errorf("update mesh node: %w", net.ErrClosed)
	}
	old := n.cfg
	cfg = cfg.settled()
	var errs []error
	for _, fixed := range []struct {
		name     string
		old, new any
	}{
		{"address", old.Address, cfg.Address},
		{"listen port", old.ListenPort, cfg.ListenPort},
		{"mtu", old.MTU, cfg.MTU},
	} {
		if fixed.old != fixed.new {
			errs = append(errs, fmt.Errorf("%s: cannot change from %v to %v while the node runs: restart it", fixed.name, fixed.old, fixed.new))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}

	if err := n.tell(cfg.PrivateKey, cfg.Peers); err != nil {
		return err
	}
	n.cfg = cfg
	n.forgetLocations(old.Peers)
	before := n.owners.Swap(newOwners(cfg.Peers))
	n.resetMoved(before)
	select {
	case n.kick <- struct{}{}: // a new host name may have come
	default:
	}
	return nil
}

// resetMoved ends the connections with addresses that belonged to another peer before: whoever owns them now was never
// party to them.
func (n *Node) resetMoved(before *owners) {
	after := n.owners.Load()
	for _, te := range n.stack.RegisteredEndpoints() {
		ep, ok := te.(*tcp.Endpoint)
		if !ok {
			continue
		}
		remote, ok := netip.AddrFromSlice(ep.Info().(*stack.TransportEndpointInfo).ID.RemoteAddress.AsSlice())
		if !ok || remote == n.address {
			continue // a listener, or ourselves
		}
		was, _ := before.table.Lookup(remote)
		is, _ := after.table.Lookup(remote)
		if was.PublicKey != is.PublicKey {
			ep.Abort()
		}
	}
}

// PeerFor gives the name of the peer that ip belongs to.
func (n *Node) PeerFor(ip netip.Addr) (name string, ok bool) {
	ip = ip.Unmap()
	if ip == n.address { // may lie in a hub's prefix, and is ours nevertheless
		return "", false
	}
	peer, ok := n.owners.Load().table.Lookup(ip)
	return peer.Name, ok
}

// Owns reports whether ip is in the mesh: a peer's, or this node's own. A connection to it is for Dial, not for the kernel.
func (n *Node) Owns(ip netip.Addr) bool {
	if ip.Unmap() == n.address {
		return true
	}
	_, ok := n.PeerFor(ip)
	return ok
}

// Close ends all connections and listeners, frees the UDP port and ends Run. Further calls do nothing.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		n.end()
		n.stack.Close() // while WireGuard still takes what it says
		n.dev.Close()
		n.stack.RemoveNIC(nic)
	})
	return nil
}
