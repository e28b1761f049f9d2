package mesh

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// pace is how often endpoints are looked after. Tests hurry it.
type pace struct {
	check   time.Duration // how often handshakes are looked at
	refresh time.Duration // how often a host name is looked up anyway
	retry   time.Duration // how often while its handshake is overdue
	stale   time.Duration // age at which a handshake is overdue
	timeout time.Duration // of one lookup
}

// A session that is used shakes hands every 120 s and 15 s later at the very latest, as in WireGuard's own
// reresolve-dns.sh.
var defaultPace = pace{check: 5 * time.Second, refresh: 30 * time.Second, retry: 10 * time.Second, stale: 135 * time.Second, timeout: 5 * time.Second}

// location is what is known about the whereabouts of a peer with a host name.
type location struct {
	endpoint string         // host:port as configured
	at       netip.AddrPort // what WireGuard was told last; zero before the first answer
	setAt    time.Time
	askedAt  time.Time
	failed   bool // the last lookup failed and was logged
}

// locationOf says where p is, if that is known. Needs peersMu.
func (n *Node) locationOf(p Peer) (netip.AddrPort, bool) {
	if at, ok := literalEndpoint(p.Endpoint); ok {
		return at, true
	}
	if l := n.located[p.PublicKey]; l != nil && l.endpoint == p.Endpoint {
		return l.at, l.at.IsValid()
	}
	return netip.AddrPort{}, false
}

// forgetLocations drops what concerns peers that went or have another endpoint now. Needs peersMu.
func (n *Node) forgetLocations(old []Peer) {
	for _, p := range old {
		i := slices.IndexFunc(n.cfg.Peers, func(q Peer) bool { return q.PublicKey == p.PublicKey })
		if i < 0 || n.cfg.Peers[i].Endpoint != p.Endpoint {
			delete(n.located, p.PublicKey)
		}
	}
}

// lookUpEndpoints asks for the host names whose time has come and tells WireGuard what is new. Peers with an IP address as
// endpoint, or none, are left to WireGuard.
func (n *Node) lookUpEndpoints(ctx context.Context, now time.Time) {
	var wg sync.WaitGroup
	for _, due := range n.dueLookups(now) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, n.pace.timeout)
			defer cancel()
			host, _, _ := splitEndpoint(due.peer.Endpoint)
			addrs, err := n.lookup(ctx, host)
			if n.life.Err() != nil {
				return
			}
			n.locate(due, addrs, err)
		})
	}
	wg.Wait()
}

type dueLookup struct {
	peer  Peer
	stale bool
}

// dueLookups marks as asked and returns the peers to look up now.
func (n *Node) dueLookups(now time.Time) []dueLookup {
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	var due []dueLookup
	var state deviceState
	for _, p := range n.cfg.Peers {
		if _, literal := literalEndpoint(p.Endpoint); literal || p.Endpoint == "" {
			continue
		}
		if state.peers == nil {
			var err error
			if state, err = n.deviceState(); err != nil {
				n.logf("look after endpoints: %v", err)
				return nil
			}
		}
		l := n.located[p.PublicKey]
		if l == nil {
			l = &location{endpoint: p.Endpoint}
			n.located[p.PublicKey] = l
		}
		since := state.peers[p.PublicKey].lastHandshake
		if l.setAt.After(since) {
			since = l.setAt // give a new address its time, too
		}
		stale := now.Sub(since) > n.pace.stale
		wait := n.pace.refresh
		if stale {
			wait = n.pace.retry
		}
		if now.Sub(l.askedAt) >= wait {
			l.askedAt = now
			due = append(due, dueLookup{p, stale})
		}
	}
	return due
}

// locate takes the answer to one lookup.
func (n *Node) locate(asked dueLookup, addrs []netip.Addr, err error) {
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	i := slices.IndexFunc(n.cfg.Peers, func(p Peer) bool { return p.PublicKey == asked.peer.PublicKey })
	l := n.located[asked.peer.PublicKey]
	if i < 0 || l == nil || l.endpoint != asked.peer.Endpoint {
		return // an update came in between
	}
	peer := n.cfg.Peers[i]
	if err != nil || len(addrs) == 0 {
		if !l.failed {
			n.logf("peer %q: look up endpoint %s: no address (%v); trying on", peer.Name, peer.Endpoint, err)
		}
		l.failed = true
		return
	}
	l.failed = false
	_, port, _ := splitEndpoint(peer.Endpoint)
	next := nextAddress(addrs, l.at.Addr(), asked.stale)
	if next == l.at.Addr() && !asked.stale {
		return // WireGuard knows, or has followed the peer elsewhere since
	}
	at := netip.AddrPortFrom(next, port)
	if err := n.dev.IpcSet(endpointChange(peer, at)); err != nil {
		n.logf("peer %q: set endpoint %s: %v", peer.Name, at, err)
		return
	}
	if at != l.at && l.at.IsValid() {
		n.logf("peer %q: endpoint %s is now %s (was %s)", peer.Name, peer.Endpoint, at, l.at)
	}
	l.at, l.setAt = at, time.Now()
}

// nextAddress chooses among the addresses of a name: the current one while it works, else the one after it.
func nextAddress(addrs []netip.Addr, current netip.Addr, stale bool) netip.Addr {
	for i, a := range addrs {
		if a.Unmap() == current {
			if stale {
				return addrs[(i+1)%len(addrs)].Unmap()
			}
			return current
		}
	}
	return addrs[0].Unmap()
}
