package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPeersComeAndGoWhileATransferOverAnotherGoesOn(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, "10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24")
	a, b, c := nodes[0], nodes[1], nodes[2]
	near, far := connect(t, a, b)
	const size = 64 << 20
	sent, received := send(near, size), receive(far)
	handshake := a.peer(t, "b").LatestHandshake

	for round := range 5 {
		toC, fromA := connect(t, a, c)
		sameBytes(t, 1<<16, send(toC, 1<<16), receive(fromA))

		// A peer refuses two handshakes of one key that are too close, and the next try comes 5 s later: not what is tested.
		eventually(t, "c ready for another handshake", func() bool { return time.Since(c.peer(t, "a").LatestHandshake) > 100*time.Millisecond })
		a.update(t, b.asPeer())
		if _, err := toC.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("round %d: the connection to a removed peer: %v", round, err)
		}
		if err := a.noWay(t, "10.0.0.3:80", patience); !strings.Contains(err.Error(), "no peer's allowed ips") {
			t.Errorf("round %d: dial to a removed peer: %v", round, err)
		}
		if name, ok := a.PeerFor(netip.MustParseAddr("10.0.0.3")); ok {
			t.Errorf("round %d: 10.0.0.3 still belongs to %s", round, name)
		}
		a.update(t, c.asPeer(), b.asPeer())
	}
	sameBytes(t, size, sent, received)
	if now := a.peer(t, "b").LatestHandshake; now != handshake {
		t.Errorf("the untouched tunnel shook hands anew: %v, before %v", now, handshake)
	}
}

func TestAnAddressCanPassFromOnePeerToAnother(t *testing.T) {
	t.Parallel()
	a, b, c := startNode(t, "a", "10.0.0.1/24"), startNode(t, "b", "10.0.0.2/24"), startNode(t, "c", "10.0.0.2/24")
	b.update(t, a.asPeer())
	c.update(t, a.asPeer())
	a.update(t, b.asPeer())
	for _, n := range []*testNode{a, b, c} {
		n.run()
	}
	old, _ := connect(t, a, b)
	cPeer := c.asPeer()
	a.update(t, cPeer)
	if _, err := old.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("the connection to the former owner: %v", err)
	}
	near, far := connect(t, a, c)
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
	if name, _ := a.PeerFor(netip.MustParseAddr("10.0.0.2")); name != "c" {
		t.Errorf("10.0.0.2 belongs to %q", name)
	}
}

func TestARefusedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	for what, edit := range map[string]func(*Config){
		"listen port: cannot change": func(c *Config) { c.ListenPort = 1; c.Peers = nil },
		"address: cannot change":     func(c *Config) { c.Address = netip.MustParsePrefix("10.0.0.7/24"); c.Peers = nil },
		"mtu: cannot change":         func(c *Config) { c.MTU = 1400; c.Peers = nil },
		"own address":                func(c *Config) { c.Peers[0].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")} },
		"private key: missing":       func(c *Config) { c.PrivateKey = Key{}; c.Peers = nil },
	} {
		cfg := a.config
		cfg.Peers = []Peer{b.asPeer()}
		edit(&cfg)
		if err := a.Update(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	cfg := a.config
	cfg.MTU = 1280 // what 0 meant all along
	if err := a.Update(cfg); err != nil {
		t.Errorf("the default MTU by its value: %v", err)
	}
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
}

func TestANewPrivateKeyIsTakenWhileRunning(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	connect(t, a, b)
	before := b.peer(t, "a").LatestHandshake
	a.config.PrivateKey = newKey(t)
	b.update(t, a.asPeer())
	a.update(t, b.asPeer())
	near, far := connect(t, a, b)
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
	if s := b.peer(t, "a"); s.PublicKey != a.Status().PublicKey || !s.LatestHandshake.After(before) {
		t.Errorf("b sees %+v, handshake before %v", s, before)
	}
}

func TestTheCallersPeersMayBeReusedAfterUpdate(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	peers := []Peer{b.asPeer()}
	a.update(t, peers...)
	peers[0].AllowedIPs[0] = netip.MustParsePrefix("10.9.9.9/32")
	peers[0].Name = "x"
	if got := a.Status().Peers[0]; got.Name != "b" || got.AllowedIPs[0].String() != "10.0.0.2/32" {
		t.Errorf("the node has seen the change: %+v", got)
	}
}

func TestKeepalivesBeginWithRunAndFollowUpdate(t *testing.T) {
	t.Parallel()
	a, b := startNode(t, "a", "10.0.0.1/24"), startNode(t, "b", "10.0.0.2/24")
	b.update(t, a.asPeer())
	b.run()
	peer := b.asPeer()
	peer.Keepalive = 25 * time.Second
	a.update(t, peer)
	if s := a.peer(t, "b"); s.SentBytes != 0 {
		t.Errorf("%d bytes were sent before Run", s.SentBytes)
	}
	a.run()
	eventually(t, "a handshake that no traffic asked for", func() bool { return !a.peer(t, "b").LatestHandshake.IsZero() })
}

func TestADialInProgressFailsWhenItsPeerIsRemoved(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", "10.0.0.1/24")
	a.update(t, Peer{Name: "silent", PublicKey: newKey(t).Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}})
	a.run()
	c, err := a.DialNonblocking(netip.MustParseAddrPort("10.0.0.2:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events := newLatch()
	c.Notify(events.set)
	if done, err := c.Connected(); done {
		t.Fatalf("connected to nobody: %v", err)
	}
	a.update(t)
	select {
	case <-events.c:
	case <-time.After(patience):
		t.Fatal("no word of it")
	}
	if done, err := c.Connected(); !done || err != syscall.ECONNABORTED {
		t.Errorf("%v, %v", done, err)
	}
}

func TestLogLinesNamePeersAndHoldNoKey(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 16)
	key, peerKey := newKey(t), newKey(t).Public()
	n, err := New(Config{
		PrivateKey: key, Address: netip.MustParsePrefix("10.0.0.1/24"),
		Peers: []Peer{{Name: "lost", PublicKey: peerKey, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}},
		Logf: func(format string, args ...any) {
			select {
			case lines <- fmt.Sprintf(format, args...):
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, err := n.DialNonblocking(netip.MustParseAddrPort("10.0.0.2:80")) // a peer nobody knows where to find
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case line := <-lines:
		if !strings.Contains(line, `peer "lost"`) || !strings.Contains(line, "no known endpoint") ||
			strings.Contains(line, peerKey.String()[:4]) || strings.Contains(line, key.String()[:4]) {
			t.Errorf("logged %q", line)
		}
	case <-time.After(patience):
		t.Error("not a word of a peer that cannot be found")
	}
}
