package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says who this node is and whom it talks to.
type Config struct {
	// PrivateKey is this node's identity. Two running nodes must never share one.
	PrivateKey Key `json:"-"`
	// Address is this node's address in the mesh, IPv4 or IPv6. The prefix length is for humans: what is reachable is
	// said by the peers' AllowedIPs.
	Address netip.Prefix
	// ListenPort is the UDP port on all addresses of this machine, 0 to 65535; 0 takes a free one.
	ListenPort int
	// MTU is the largest IP packet inside the tunnel, in bytes; 0 means 1280, which fits through every path. At least
	// 576 (1280 with an IPv6 Address), at most 65455. Both ends of a tunnel may differ.
	MTU int
	// Peers are the other members. Their order is kept in Status.
	Peers []Peer
	// Logf receives what an operator should know, one line a call; nil discards it. Called from any goroutine.
	Logf func(format string, args ...any)
	// Lookup finds the addresses of a peer's host name; nil asks the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Peer is another member of the mesh.
type Peer struct {
	// Name is how errors, logs and Status call the peer. Unique.
	Name string
	// PublicKey identifies the peer. Unique, not this node's own.
	PublicKey Key
	// PresharedKey is mixed into the handshake of both sides; zero means none.
	PresharedKey Key `json:"-"`
	// Endpoint is the host:port where the peer's UDP socket is first looked for. An IP address is taken as it is; a host
	// name is looked up when the node runs, every 30 s, and soon after a handshake is overdue (135 s). Empty means the
	// peer speaks first. In any case the node follows the peer when authenticated packets come from elsewhere.
	Endpoint string
	// AllowedIPs are the mesh addresses that belong to the peer: packets to them go to it, and packets from it must come
	// from them. At least one; no two peers may overlap.
	AllowedIPs []netip.Prefix
	// Keepalive is how often an otherwise silent tunnel is kept open (NAT, firewalls): whole seconds up to 65535, 0 is
	// off. 25 s fits nearly everywhere.
	Keepalive time.Duration
}

const (
	defaultMTU   = 1280
	maxMTU       = 65535 - 80 // what fits into a UDP datagram beside WireGuard's own header and padding
	maxPeers     = 1 << 16    // WireGuard's own limit
	maxKeepalive = 65535 * time.Second
)

// String names the node without its keys, so that a Config may be printed.
func (c Config) String() string {
	return fmt.Sprintf("mesh node %s with %d peers", c.Address, len(c.Peers))
}

// GoString is String: %#v must not print keys either.
func (c Config) GoString() string { return c.String() }

// String names the peer without its preshared key.
func (p Peer) String() string {
	return fmt.Sprintf("peer %q (%s, endpoint %q, allowed ips %v)", p.Name, p.PublicKey, p.Endpoint, p.AllowedIPs)
}

// GoString is String.
func (p Peer) GoString() string { return p.String() }

// Validate reports everything that is wrong with the configuration, joined into one error (errors.Join), or nil.
// It touches neither network nor disk.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.PrivateKey.IsZero() {
		bad("private key: missing")
	}
	own := c.Address.Addr()
	switch {
	case !c.Address.IsValid():
		bad("address: missing or not of the form 10.0.0.1/24")
	case own.Is4In6() || own.Zone() != "":
		bad("address %s: plain IPv4 or IPv6 wanted", c.Address)
	case own.IsUnspecified() || own.IsMulticast() || own.IsLoopback():
		bad("address %s: not the address of one machine", c.Address)
	}
	if c.ListenPort < 0 || c.ListenPort > 65535 {
		bad("listen port %d: outside 0-65535", c.ListenPort)
	}
	lowest := 576
	if own.Is6() {
		lowest = 1280
	}
	if c.MTU != 0 && (c.MTU < lowest || c.MTU > maxMTU) {
		bad("mtu %d: outside %d-%d", c.MTU, lowest, maxMTU)
	}
	if len(c.Peers) > maxPeers {
		bad("%d peers: WireGuard takes %d", len(c.Peers), maxPeers)
	}

	names := make(map[string]bool)
	keys := make(map[Key]string)
	var ownKey Key
	if !c.PrivateKey.IsZero() {
		ownKey = c.PrivateKey.Public()
	}
	for i, p := range c.Peers {
		name := strconv.Quote(p.Name)
		if p.Name == "" {
			name = "number " + strconv.Itoa(i+1)
			bad("peer %s: has no name", name)
		} else if names[p.Name] {
			bad("peer %s: two peers have this name", name)
		}
		names[p.Name] = true

		switch {
		case p.PublicKey.IsZero():
			bad("peer %s: public key missing", name)
		case p.PublicKey == ownKey:
			bad("peer %s: its public key %s is this node's own (address %s)", name, p.PublicKey, c.Address)
		case keys[p.PublicKey] != "":
			bad("peer %s: has the same public key as peer %s", name, keys[p.PublicKey])
		default:
			keys[p.PublicKey] = name
		}
		if p.Endpoint != "" {
			if _, _, err := splitEndpoint(p.Endpoint); err != nil {
				bad("peer %s: endpoint %q: %w", name, p.Endpoint, err)
			}
		}
		if p.Keepalive < 0 || p.Keepalive > maxKeepalive || p.Keepalive%time.Second != 0 {
			bad("peer %s: keepalive %v: whole seconds from 0s to 65535s wanted", name, p.Keepalive)
		}
		if len(p.AllowedIPs) == 0 {
			bad("peer %s: no allowed ips, so nothing could be sent to it", name)
		}
		for _, prefix := range p.AllowedIPs {
			switch {
			case !prefix.IsValid() || prefix.Addr().Is4In6():
				bad("peer %s: allowed ip %s: not a prefix such as 10.0.0.2/32", name, prefix)
			case prefix.Bits() == 0:
				bad("peer %s: allowed ip %s: would give every address to this peer", name, prefix)
			case prefix.IsSingleIP() && prefix.Addr() == own:
				bad("peer %s: allowed ip %s is this node's own address", name, prefix)
			}
		}
	}
	return errors.Join(append(errs, overlaps(c.Peers)...)...)
}

// overlaps names every pair of neighbouring prefixes of which one holds the other. WireGuard itself would give an exact
// duplicate to the peer that came last, silently.
func overlaps(peers []Peer) []error {
	type claim struct {
		prefix netip.Prefix
		peer   string
	}
	var claims []claim
	for _, p := range peers {
		for _, prefix := range p.AllowedIPs {
			if prefix.IsValid() {
				claims = append(claims, claim{prefix.Masked(), p.Name})
			}
		}
	}
	// Sorted by address and then by length, a prefix comes right after those that hold it.
	slices.SortStableFunc(claims, func(a, b claim) int {
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
	var errs []error
	for i, widest := 1, 0; i < len(claims); i++ {
		a, b := claims[widest], claims[i]
		if !a.prefix.Overlaps(b.prefix) {
			widest = i
			continue
		}
		if a.peer == b.peer {
			errs = append(errs, fmt.Errorf("peer %q: allowed ips %s and %s overlap", a.peer, a.prefix, b.prefix))
		} else {
			errs = append(errs, fmt.Errorf("allowed ips overlap: %s of peer %q and %s of peer %q", a.prefix, a.peer, b.prefix, b.peer))
		}
	}
	return errs
}

// splitEndpoint takes host:port apart. The host is an IP address or something a resolver may be asked for.
func splitEndpoint(s string) (host string, port uint16, err error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("not of the form host:port")
	}
	number, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("port %q: not a number from 1 to 65535", portText)
	}
	if host == "" {
		return "", 0, errors.New("no host before the colon")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' }) {
		return "", 0, fmt.Errorf("%q is no host name", host)
	}
	return host, uint16(number), nil
}

// literalEndpoint gives the address of an endpoint that needs no resolver.
func literalEndpoint(s string) (netip.AddrPort, bool) {
	host, port, err := splitEndpoint(s)
	if err != nil {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), port), true
}

// settled is a copy that shares nothing with the caller's and has its defaults and masks applied.
func (c Config) settled() Config {
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Lookup == nil {
		c.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c.Peers = slices.Clone(c.Peers)
	for i := range c.Peers {
		p := &c.Peers[i]
		p.AllowedIPs = slices.Clone(p.AllowedIPs)
		for j, prefix := range p.AllowedIPs {
			p.AllowedIPs[j] = prefix.Masked()
		}
	}
	return c
}
