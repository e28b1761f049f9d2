package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/mesh"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/loop"
)

var _ loop.Endpoint = (*mesh.Conn)(nil)

// errNoMesh is the answer to whoever dials through a mesh that has just been taken out of the configuration.
var errNoMesh = errors.New("no mesh is configured")

// tunnels is the mesh as the proxy sees it: a node that a reload may change, bring or take away.
type tunnels struct {
	log  *slog.Logger
	node atomic.Pointer[member] // nil without a mesh section
	runs sync.WaitGroup         // one for each node that carries packets
}

// member is a node and the section it was made of last.
type member struct {
	*mesh.Node
	section *configs.Mesh
}

// Stage implements proxy.Mesh. Only the first mesh section makes a node; a later one changes the node there is, so that tunnels which
// stay keep their sessions.
func (t *tunnels) Stage(m *configs.Mesh) (commit, discard func(), err error) {
	nothing := func() {}
	if m == nil {
		return func() { t.end(t.node.Swap(nil)) }, nothing, nil
	}
	cfg, errs := meshConfig(m)
	now := t.node.Load()
	if now != nil {
		errs = append(errs, moved(now.section, m)...)
	}
	if len(errs) > 0 {
		return nil, nil, errs
	}
	cfg.Logf = func(format string, args ...any) { t.log.Warn("mesh: " + fmt.Sprintf(format, args...)) }
	if now == nil {
		node, err := mesh.New(cfg)
		if err != nil {
			return nil, nil, configs.Errors{{Pos: m.Pos, Msg: fmt.Sprintf("mesh: listen %d: %v", m.Listen, err), Err: err}}
		}
		fresh := &member{node, m}
		return func() { t.begin(fresh) }, func() { t.end(fresh) }, nil
	}
	return func() {
		if err := now.Update(cfg); err != nil { // what can be wrong with it was looked for above
			t.log.Error("mesh: the peers stay as they were", "error", err)
			return
		}
		t.node.Store(&member{now.Node, m})
	}, nothing, nil
}

// moved tells what a new section wants to change that a node keeps for life.
func moved(was, is *configs.Mesh) (errs configs.Errors) {
	keep := func(key string, before, now any) {
		if before != now {
			errs = append(errs, &configs.Error{Pos: is.Pos, Msg: fmt.Sprintf("mesh: %s %v: it was %v when edge started: restart edge to change it", key, now, before)})
		}
	}
	keep("address", was.Address, is.Address)
	keep("listen", was.Listen, is.Listen)
	keep("mtu", was.MTU, is.MTU)
	return errs
}

// begin puts a node in force.
func (t *tunnels) begin(m *member) {
	t.runs.Go(func() {
		if err := m.Run(context.Background()); err != nil { // until end closes it
			t.log.Error("mesh: nothing is reached through it any more", "error", err)
		}
	})
	t.node.Store(m)
}

func (t *tunnels) end(m *member) {
	if m == nil {
		return
	}
	if err := m.Close(); err != nil {
		t.log.Warn("mesh: close", "error", err)
	}
}

// Close ends all tunnels and returns when nothing of them runs any more.
func (t *tunnels) Close() {
	t.end(t.node.Swap(nil))
	t.runs.Wait()
}

// Owns implements proxy.Mesh.
func (t *tunnels) Owns(ip netip.Addr) bool {
	m := t.node.Load()
	return m != nil && m.Owns(ip)
}

// Begin implements proxy.Mesh.
func (t *tunnels) Begin(addr netip.AddrPort) (loop.Endpoint, error) {
	m := t.node.Load()
	if m == nil {
		return nil, errNoMesh
	}
	c, err := m.DialNonblocking(addr)
	if err != nil {
		return nil, err // not c: a nil *mesh.Conn would be an Endpoint
	}
	return c, nil
}

// Dial implements proxy.Mesh.
func (t *tunnels) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m := t.node.Load()
	if m == nil {
		return nil, errNoMesh
	}
	return m.Node.Dial(ctx, network, addr)
}

// Report implements proxy.Mesh.
func (t *tunnels) Report() *control.MeshReport {
	m := t.node.Load()
	if m == nil {
		return nil
	}
	s := m.Status()
	r := &control.MeshReport{PublicKey: s.PublicKey.String(), Address: s.Address.String(), ListenPort: s.ListenPort, Peers: []control.Peer{}}
	for _, p := range s.Peers {
		peer := control.Peer{
			Name: p.Name, PublicKey: p.PublicKey.String(), Endpoint: p.Endpoint, LastHandshake: p.LatestHandshake,
			RxBytes: p.ReceivedBytes, TxBytes: p.SentBytes, AllowedIPs: []string{},
			Keepalive: control.Seconds(p.KeepaliveSecs) * control.Seconds(time.Second),
		}
		for _, ip := range p.AllowedIPs {
			peer.AllowedIPs = append(peer.AllowedIPs, ip.String())
		}
		r.Peers = append(r.Peers, peer)
	}
	return r
}
