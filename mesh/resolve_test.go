package mesh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// nameserver answers for one name and can be changed while nodes ask.
type nameserver struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	asked map[string]int
}

func (s *nameserver) set(err error, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs, s.err = nil, err
	for _, a := range addrs {
		s.addrs = append(s.addrs, netip.MustParseAddr(a))
	}
}

func (s *nameserver) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = make(map[string]int)
	}
	s.asked[host]++
	return s.addrs, s.err
}

func (s *nameserver) count(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[host]
}

var hurried = pace{check: time.Millisecond, refresh: 5 * time.Millisecond, retry: 2 * time.Millisecond, stale: time.Hour, timeout: time.Second}

// named makes node a reach b by a host name.
func named(t *testing.T, p pace) (a, b *testNode, names *nameserver) {
	names = new(nameserver)
	b = startNode(t, "b", "10.0.0.2/24")
	a = &testNode{name: "a", ran: make(chan error, 1), config: Config{
		PrivateKey: newKey(t), Address: netip.MustParsePrefix("10.0.0.1/24"), Lookup: names.lookup,
	}}
	a.open(t)
	a.pace = p
	b.update(t, a.asPeer())
	b.run()
	return a, b, names
}

func (n *testNode) asNamedPeer(host string) Peer {
	p := n.asPeer()
	_, port, _ := net.SplitHostPort(p.Endpoint)
	p.Endpoint = net.JoinHostPort(host, port)
	return p
}

func TestAHostNameIsLookedUpUntilItIsKnown(t *testing.T) {
	t.Parallel()
	a, b, names := named(t, hurried)
	names.set(errors.New("no such host"))
	peer := b.asNamedPeer("b.example")
	peer.Keepalive = 25 * time.Second
	a.update(t, peer)
	a.run()
	eventually(t, "some failing lookups", func() bool { return names.count("b.example") > 3 })
	if at := a.peer(t, "b").Endpoint; at != "" {
		t.Errorf("endpoint %s without an answer", at)
	}
	names.set(nil, "127.0.0.1")
	began := time.Now()
	eventually(t, "a handshake that nobody asked for", func() bool { return !a.peer(t, "b").LatestHandshake.IsZero() })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the handshake took %v after the name was known", took)
	}
}

func TestANameThatMovesIsFollowedAndOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	a, b, names := named(t, hurried)
	c := startNode(t, "c", "10.0.0.3/24")
	c.update(t, a.asPeer())
	c.run()
	names.set(nil, "::ffff:127.0.0.1")
	a.update(t, b.asNamedPeer("b.example"), c.asPeer())
	a.run()
	near, far := connect(t, a, c)
	sent, received := send(near, 16<<20), receive(far)
	connect(t, a, b)
	if at := a.peer(t, "b").Endpoint; !strings.HasPrefix(at, "127.0.0.1:") {
		t.Fatalf("endpoint %s", at)
	}
	others := a.peer(t, "c")

	names.set(nil, "127.0.0.77")
	eventually(t, "the new address", func() bool { return strings.HasPrefix(a.peer(t, "b").Endpoint, "127.0.0.77:") })
	sameBytes(t, 16<<20, sent, received)
	if now := a.peer(t, "c"); now.Endpoint != others.Endpoint || now.LatestHandshake != others.LatestHandshake {
		t.Errorf("c was disturbed: %+v, before %+v", now, others)
	}
	// b's socket is open on that address as well, so the tunnel works on.
	near, far = connect(t, a, b)
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
}

func TestAnOverdueHandshakeTriesTheNextAddress(t *testing.T) {
	t.Parallel()
	p := hurried
	p.stale = 20 * time.Millisecond
	a, b, names := named(t, p)
	dead, err := net.ListenPacket("udp4", "127.0.0.9:0") // takes packets and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	names.set(nil, "127.0.0.9", "127.0.0.1")
	a.update(t, b.asNamedPeer("b.example"))
	a.run()
	seen := make(map[string]bool)
	eventually(t, "both addresses", func() bool {
		host, _, _ := net.SplitHostPort(a.peer(t, "b").Endpoint)
		seen[host] = true
		return seen["127.0.0.9"] && seen["127.0.0.1"]
	})
}

func TestNextAddressStaysUntilOverdue(t *testing.T) {
	t.Parallel()
	x, y, z := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")
	for _, c := range []struct {
		addrs   []netip.Addr
		current netip.Addr
		stale   bool
		want    netip.Addr
	}{
		{[]netip.Addr{x, y}, netip.Addr{}, false, x},
		{[]netip.Addr{x, y}, netip.Addr{}, true, x},
		{[]netip.Addr{x, y}, y, false, y},
		{[]netip.Addr{x, y}, x, true, y},
		{[]netip.Addr{x, y}, y, true, x},
		{[]netip.Addr{x}, x, true, x},
		{[]netip.Addr{y, z}, x, false, y},
	} {
		if got := nextAddress(c.addrs, c.current, c.stale); got != c.want {
			t.Errorf("%v at %v, stale %v: %v, want %v", c.addrs, c.current, c.stale, got, c.want)
		}
	}
}

func TestCloseDoesNotWaitForASlowNameserver(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	a := &testNode{name: "a", ran: make(chan error, 1), config: Config{
		PrivateKey: newKey(t), Address: netip.MustParsePrefix("10.0.0.1/24"),
		Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Peers: []Peer{{Name: "b", PublicKey: newKey(t).Public(), Endpoint: "b.example:1", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}},
	}}
	a.open(t)
	a.pace.timeout = time.Hour
	a.run()
	<-asked
	a.Close()
	if err := <-a.ran; err != nil {
		t.Error(err)
	}
}
