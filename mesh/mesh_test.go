package mesh

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// patience is how long a test waits for something that should come at once. WireGuard itself repeats a lost handshake
// after 5 s.
const patience = 30 * time.Second

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testNode is a Node with what others need to call it a peer.
type testNode struct {
	*Node
	name   string
	config Config
	ran    chan error // Run's result
	stop   context.CancelFunc
}

func (n *testNode) ip() string { return n.config.Address.Addr().String() }

// asPeer is this node as others see it.
func (n *testNode) asPeer() Peer {
	ip := n.config.Address.Addr()
	return Peer{
		Name:       n.name,
		PublicKey:  n.config.PrivateKey.Public(),
		Endpoint:   net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Status().ListenPort)),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())},
	}
}

func (n *testNode) update(t testing.TB, peers ...Peer) {
	t.Helper()
	n.config.Peers = peers
	if err := n.Update(n.config); err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) run() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	go func() { n.ran <- n.Run(ctx) }()
}

func startNode(t testing.TB, name, address string) *testNode {
	t.Helper()
	n := &testNode{name: name, ran: make(chan error, 1), config: Config{
		PrivateKey: newKey(t),
		Address:    netip.MustParsePrefix(address),
		Logf: func(format string, args ...any) {
			if testing.Verbose() {
				fmt.Printf(name+": "+format+"\n", args...)
			}
		},
	}}
	n.open(t)
	return n
}

func (n *testNode) open(t testing.TB) {
	t.Helper()
	var err error
	if n.Node, err = New(n.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
}

// meshOf runs one node per address, each a peer of all others.
func meshOf(t testing.TB, addresses ...string) []*testNode {
	t.Helper()
	var nodes []*testNode
	for i, address := range addresses {
		nodes = append(nodes, startNode(t, string(rune('a'+i)), address))
	}
	for _, n := range nodes {
		var peers []Peer
		for _, other := range nodes {
			if other != n {
				peers = append(peers, other.asPeer())
			}
		}
		n.update(t, peers...)
	}
	for _, n := range nodes {
		n.run()
	}
	return nodes
}

func twoNodes(t testing.TB) (a, b *testNode) {
	t.Helper()
	nodes := meshOf(t, "10.0.0.1/24", "10.0.0.2/24")
	return nodes[0], nodes[1]
}

func (n *testNode) listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := n.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (n *testNode) dial(t testing.TB, addr net.Addr) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := n.Dial(ctx, "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*Conn)
}

// connect gives both ends of a connection from one node to another.
func connect(t testing.TB, from, to *testNode) (near, far *Conn) {
	t.Helper()
	l := to.listen(t)
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	near = from.dial(t, l.Addr())
	c := <-accepted
	if c == nil {
		t.Fatal("nothing was accepted")
	}
	t.Cleanup(func() { c.Close() })
	return near, c.(*Conn)
}

// stream is size pseudo-random bytes that remembers the checksum of what was read from it.
type stream struct {
	random *rand.ChaCha8
	left   int
	sum    hash.Hash
}

func newStream(size int) *stream {
	return &stream{rand.NewChaCha8([32]byte{1}), size, sha256.New()}
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, _ := s.random.Read(p[:min(len(p), s.left)])
	s.left -= n
	s.sum.Write(p[:n])
	return n, nil
}

// send writes size bytes and ends that direction; the checksum comes on the channel.
func send(c *Conn, size int) <-chan transferred {
	return start(func() (int64, hash.Hash, error) {
		s := newStream(size)
		n, err := io.CopyBuffer(struct{ io.Writer }{c}, s, make([]byte, 64<<10))
		return n, s.sum, errors.Join(err, c.CloseWrite())
	})
}

// receive reads until the end.
func receive(c *Conn) <-chan transferred {
	return start(func() (int64, hash.Hash, error) {
		sum := sha256.New()
		n, err := io.CopyBuffer(sum, struct{ io.Reader }{c}, make([]byte, 64<<10))
		return n, sum, err
	})
}

type transferred struct {
	bytes int64
	sum   [32]byte
	err   error
}

func start(move func() (int64, hash.Hash, error)) <-chan transferred {
	done := make(chan transferred, 1)
	go func() {
		n, sum, err := move()
		done <- transferred{n, [32]byte(sum.Sum(nil)), err}
	}()
	return done
}

// sameBytes waits for both ends of a transfer.
func sameBytes(t testing.TB, size int, sent, received <-chan transferred) {
	t.Helper()
	s, r := <-sent, <-received
	if s.err != nil || r.err != nil {
		t.Fatalf("sent %d bytes: %v; received %d bytes: %v", s.bytes, s.err, r.bytes, r.err)
	}
	if s.bytes != int64(size) || r.bytes != int64(size) || s.sum != r.sum {
		t.Fatalf("sent %d, received %d of %d bytes, same checksum: %v", s.bytes, r.bytes, size, s.sum == r.sum)
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// status of one peer as this node sees it.
func (n *testNode) peer(t testing.TB, name string) PeerStatus {
	t.Helper()
	for _, p := range n.Status().Peers {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("node %s has no peer %s", n.name, name)
	return PeerStatus{}
}

// noWay runs a dial that must not succeed.
func (n *testNode) noWay(t testing.TB, addr string, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c, err := n.Dial(ctx, "tcp", addr)
	if err == nil {
		c.Close()
		t.Fatalf("%s reached %s", n.name, addr)
	}
	return err
}

// latch collects wake-ups for a test that plays event loop.
type latch struct {
	c chan struct{}
}

func newLatch() *latch { return &latch{c: make(chan struct{}, 1)} }

func (l *latch) set() {
	select {
	case l.c <- struct{}{}:
	default:
	}
}
