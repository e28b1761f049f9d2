package configs

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

var defaultTimeouts = Timeouts{
	Connect: 5 * time.Second, Client: 30 * time.Second, Server: 30 * time.Second, HTTPRequest: 10 * time.Second,
	KeepAlive: 60 * time.Second, Queue: 5 * time.Second, Tunnel: time.Hour,
}

// or has t's own timeouts, and other's where t has none.
func (t Timeouts) or(other Timeouts) Timeouts {
	return Timeouts{
		Connect: cmp.Or(t.Connect, other.Connect), Client: cmp.Or(t.Client, other.Client), Server: cmp.Or(t.Server, other.Server),
		HTTPRequest: cmp.Or(t.HTTPRequest, other.HTTPRequest), KeepAlive: cmp.Or(t.KeepAlive, other.KeepAlive),
		Queue: cmp.Or(t.Queue, other.Queue), Tunnel: cmp.Or(t.Tunnel, other.Tunnel), Check: cmp.Or(t.Check, other.Check),
	}
}

// Validate fills in the defaults that depend on other keys and checks what
// only the whole document can tell. Parse has called it already; a Config
// built in code is validated by it. It sets Warnings. Calling it again changes
// nothing.
func (c *Config) Validate() Errors {
	v := &validator{cfg: c, backends: map[string]bool{}}
	for _, b := range c.Backends {
		v.backends[b.Name] = false
	}
	c.Warnings = nil
	c.resolve()
	v.mesh()
	v.sockets()
	for _, b := range c.Backends {
		v.backend(b)
	}
	for _, f := range c.Frontends {
		v.frontend(f)
	}
	for _, b := range c.Backends {
		if !v.backends[b.Name] {
			v.warn(b.Pos, "backend %q: no route and no default_backend leads here", b.Name)
		}
	}
	return v.errs
}

// resolve sets what follows from other keys.
func (c *Config) resolve() {
	c.Timeouts = c.Timeouts.or(defaultTimeouts)
	for _, f := range c.Frontends {
		f.Timeouts = f.Timeouts.or(c.Timeouts)
	}
	for _, b := range c.Backends {
		b.Timeouts = b.Timeouts.or(c.Timeouts)
		if h := b.Health; h != nil {
			h.Fast, h.Down = cmp.Or(h.Fast, h.Interval), cmp.Or(h.Down, h.Interval)
			h.Timeout = cmp.Or(h.Timeout, c.Timeouts.Check, h.Interval)
		}
	}
}

// at is where the value stood whose address field is, or else fallback.
func (c *Config) at(field any, fallback Pos) Pos {
	if p, ok := c.places[field]; ok {
		return p
	}
	return fallback
}

// given is whether the key of the field at that address was there, right or
// wrong.
func (c *Config) given(field any) bool {
	_, ok := c.places[field]
	return ok
}

type validator struct {
	cfg      *Config
	backends map[string]bool // all there are; true: a route leads there
	errs     Errors
}

func (v *validator) fail(at Pos, format string, args ...any) {
	v.errs = append(v.errs, &Error{Pos: at, Msg: fmt.Sprintf(format, args...)})
}

func (v *validator) warn(at Pos, format string, args ...any) {
	v.cfg.Warnings = append(v.cfg.Warnings, &Error{Pos: at, Msg: fmt.Sprintf(format, args...)})
}

// mesh: each address has one owner, each key one peer.
func (v *validator) mesh() {
	m := v.cfg.Mesh
	if m == nil {
		return
	}
	type owned struct {
		net  netip.Prefix
		peer *Peer
		at   Pos
	}
	var nets []owned
	keys := map[string]*Peer{}
	for _, p := range m.Peers {
		if first := keys[p.PublicKey]; first != nil && p.PublicKey != "" {
			v.fail(v.cfg.at(&p.PublicKey, p.Pos), "mesh: peer %q: public_key is also that of peer %q at %s", p.Name, first.Name, v.cfg.at(&first.PublicKey, first.Pos))
		} else {
			keys[p.PublicKey] = p
		}
		if p.AllowedIPs != nil && len(p.AllowedIPs) == 0 { // nil: left out or wrong, reported when it was decoded
			v.fail(v.cfg.at(&p.AllowedIPs, p.Pos), "mesh: peer %q: allowed_ips is empty: nothing would be reached through this peer", p.Name)
		}
		for i := range p.AllowedIPs {
			nets = append(nets, owned{p.AllowedIPs[i], p, v.cfg.at(&p.AllowedIPs[i], p.Pos)})
		}
	}
	for i, n := range nets {
		switch {
		case n.net.Bits() == 0:
			v.fail(n.at, "mesh: peer %q: allowed_ips %s would send every server through this peer: name the networks behind it", n.peer.Name, n.net)
			continue
		case n.net.IsSingleIP() && n.net.Addr() == m.Address.Addr():
			v.fail(n.at, "mesh: peer %q: allowed_ips %s is this machine's own mesh address", n.peer.Name, n.net)
		}
		for _, first := range nets[:i] {
			if first.peer != n.peer && first.net.Bits() > 0 && first.net.Overlaps(n.net) {
				v.fail(n.at, "mesh: peer %q: allowed_ips %s overlaps %s of peer %q at %s: an address has one owner", n.peer.Name, n.net, first.net, first.peer.Name, first.at)
			}
		}
	}
}

// sockets: no address is listened on twice.
func (v *validator) sockets() {
	type socket struct {
		host, port, owner string
		at                Pos
	}
	byPort := map[string][]socket{}
	open := func(address, owner, key string, at Pos) {
		host, port, ok := cutLast(address, ":")
		if !ok || port == "0" {
			return
		}
		for _, first := range byPort[port] {
			if sameHost(first.host, host) {
				v.fail(at, "%s: %s %s is taken by %s at %s", owner, key, address, first.owner, first.at)
				return
			}
		}
		byPort[port] = append(byPort[port], socket{host, port, owner, at})
	}
	if m := v.cfg.Global.Metrics; m != "" {
		open(m, "global metrics", "address", v.cfg.at(&v.cfg.Global.Metrics, v.cfg.Global.Pos))
	}
	for _, f := range v.cfg.Frontends {
		for _, b := range f.Binds {
			open(b.Address, fmt.Sprintf("frontend %q", f.Name), "bind", v.cfg.at(&b.Address, b.Pos))
		}
	}
}

// sameHost: nothing before the port is all addresses of both families.
func sameHost(a, b string) bool {
	wild := func(h string) bool { return h == "0.0.0.0" || h == "[::]" }
	return a == b || a == "" && wild(b) || b == "" && wild(a)
}

func (v *validator) backend(b *Backend) {
	if len(b.Servers) == 0 && !v.cfg.given(&b.Servers) {
		v.fail(v.cfg.at(&b.Servers, b.Pos), "backend %q: no servers: write servers: {NAME: HOST:PORT}", b.Name)
	}
	m := v.cfg.Mesh
	if m == nil {
		return
	}
	for _, s := range b.Servers {
		ip, err := netip.ParseAddrPort(s.Address)
		if err != nil || !m.Address.Contains(ip.Addr()) || ip.Addr() == m.Address.Addr() || m.owner(ip.Addr()) != nil {
			continue
		}
		v.warn(v.cfg.at(&s.Address, s.Pos), "backend %q: server %q: %s lies in the mesh's network %s but in no peer's allowed_ips: it is not reached through the mesh", b.Name, s.Name, ip.Addr(), m.Address.Masked())
	}
}

// owner is the peer through which a is reached, or nil.
func (m *Mesh) owner(a netip.Addr) *Peer {
	for _, p := range m.Peers {
		for _, n := range p.AllowedIPs {
			if n.Contains(a) {
				return p
			}
		}
	}
	return nil
}

func (v *validator) frontend(f *Frontend) {
	if len(f.Binds) == 0 && (f.Binds != nil || !v.cfg.given(&f.Binds)) {
		v.fail(f.Pos, "frontend %q: no bind: write bind: [{address: \":80\"}]", f.Name)
	}
	if f.DefaultBackend != nil {
		v.leads(f, "default_backend", *f.DefaultBackend)
	}
	if f.RedirectHTTPS && !v.anyTLS() {
		v.warn(v.cfg.at(&f.RedirectHTTPS, f.Pos), "frontend %q: redirect_https, but no bind has tls: clients are sent where nothing answers", f.Name)
	}
	type place struct{ host, path string }
	earlier := map[place][]*Route{}
	for _, r := range f.Routes {
		v.leads(f, "route "+r.Host+r.Path, r.Backend)
		at := place{strings.ToLower(r.Host), r.Path}
		for _, first := range earlier[at] {
			switch {
			case first.If == nil && r.If == nil:
				v.fail(r.Pos, "frontend %q: the route %s is there already, at %s: a condition (if) would tell them apart", f.Name, r.Host+r.Path, first.Pos)
			case first.If == nil, r.If != nil && first.If.S == r.If.S:
				v.warn(r.Pos, "frontend %q: the route %s is never taken: the one at %s comes first", f.Name, r.Host+r.Path, first.Pos)
			default:
				continue
			}
			break
		}
		earlier[at] = append(earlier[at], r)
	}
}

func (v *validator) anyTLS() bool {
	for _, f := range v.cfg.Frontends {
		for _, b := range f.Binds {
			if b.TLS != nil {
				return true
			}
		}
	}
	return false
}

// leads checks that a backend exists and marks it used.
func (v *validator) leads(f *Frontend, what string, to Text) {
	if to.S == "" {
		return // reported when it was decoded
	}
	if _, known := v.backends[to.S]; known {
		v.backends[to.S] = true
		return
	}
	v.fail(to.Pos, "frontend %q: %s: %s", f.Name, what, unknown("backend", to.S, slices.Collect(maps.Keys(v.backends))))
}
