package mesh

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func TestConnKeepsTheContractOfNetConn(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		near, far := connect(t, a, b)
		return near, far, func() { near.Close(); far.Close() }, nil
	})
}

func TestHalfACloseLeavesTheOtherDirectionOpen(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	sameBytes(t, 1<<20, send(near, 1<<20), receive(far)) // near has closed its direction now
	if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	sameBytes(t, 1<<20, send(far, 1<<20), receive(near))
	if n, err := near.TryRead(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d, %v", n, err)
	}
}

func TestAResetIsNeverTakenForARegularEnd(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	if _, err := far.Write([]byte("half an answer")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(near, make([]byte, 14)); err != nil {
		t.Fatal(err)
	}
	far.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true}) // close by RST
	far.Close()
	eventually(t, "the reset", func() bool { return tcp.EndpointState(near.ep.State()) == tcp.StateError })
	if _, err := near.TryWrite([]byte("x")); err != syscall.ECONNRESET { // the stack tells it to whoever asks first
		t.Errorf("write: %v", err)
	}
	for range 2 {
		if _, err := near.TryRead(make([]byte, 1)); err != syscall.ECONNRESET {
			t.Errorf("read: %v, want ECONNRESET every time", err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("blocking read: %v", err)
		}
	}
}

// The one goroutine plays event loop.
func TestOneGoroutineMovesManyConnectionsWithoutBlocking(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	const conns, size = 8, 4 << 20
	type pair struct {
		near, far *Conn
		source    *stream
		buf       []byte
		pending   []byte // of buf, not written yet
		sent      bool
		got       int
		sum       hash.Hash
		finished  bool
		blocked   int
	}
	events := newLatch()
	l := b.listen(t)
	byPort := make(map[int]*pair)
	var pairs []*pair
	for range conns {
		near, err := a.DialNonblocking(netip.MustParseAddrPort(l.Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close() })
		near.Notify(events.set)
		if _, err := near.TryRead(make([]byte, 1)); err != ErrWouldBlock {
			t.Errorf("read before the connection stands: %v", err)
		}
		if done, err := near.Connected(); !done {
			if _, werr := near.TryWrite([]byte("x")); err != nil || werr != ErrWouldBlock {
				if again, _ := near.Connected(); !again {
					t.Errorf("connecting: %v, write: %v", err, werr)
				}
			}
		}
		p := &pair{near: near, source: newStream(size), buf: make([]byte, 64<<10), sum: sha256.New()}
		pairs = append(pairs, p)
		byPort[near.LocalAddr().(*net.TCPAddr).Port] = p
	}
	for range conns {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		byPort[c.RemoteAddr().(*net.TCPAddr).Port].far = c.(*Conn)
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	in := make([]byte, 64<<10)
	for _, p := range pairs {
		p.far.Notify(events.set)
	}
	events.set()
	for left := conns; left > 0; {
		select {
		case <-events.c:
			deadline.Reset(patience) // slow is no fault, standing still is
		case <-deadline.C:
			for i, p := range pairs {
				t.Logf("connection %d: received %d of %d, blocked %d times", i, p.got, size, p.blocked)
			}
			t.Fatal("the transfer stands still")
		}
		for _, p := range pairs {
			if done, err := p.near.Connected(); err != nil {
				t.Fatal(err)
			} else if !done {
				continue
			}
			for !p.sent {
				if len(p.pending) == 0 {
					n, err := p.source.Read(p.buf)
					if err == io.EOF {
						p.sent = true
						if err := p.near.CloseWrite(); err != nil {
							t.Fatal(err)
						}
						break
					}
					p.pending = p.buf[:n]
				}
				n, err := p.near.TryWrite(p.pending)
				p.pending = p.pending[n:]
				if err == ErrWouldBlock {
					p.blocked++
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			for !p.finished {
				n, err := p.far.TryRead(in)
				p.got += n
				p.sum.Write(in[:n])
				if err == io.EOF {
					p.finished = true
					left--
				} else if err == ErrWouldBlock {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for i, p := range pairs {
		if p.got != size || string(p.sum.Sum(nil)) != string(p.source.sum.Sum(nil)) {
			t.Errorf("connection %d: %d of %d bytes, or others", i, p.got, size)
		}
	}
}

func TestANonblockingDialToAClosedPortIsRefused(t *testing.T) {
	t.Parallel()
	a, _ := twoNodes(t)
	c, err := a.DialNonblocking(netip.MustParseAddrPort("10.0.0.2:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events := newLatch()
	c.Notify(events.set)
	limit := time.After(patience)
	for {
		done, err := c.Connected()
		if done {
			if err != syscall.ECONNREFUSED {
				t.Fatalf("connected: %v", err)
			}
			break
		}
		select {
		case <-events.c:
		case <-limit:
			t.Fatal("no word of the refusal")
		}
	}
	_, readErr := c.TryRead(make([]byte, 1))
	_, writeErr := c.TryWrite([]byte("x"))
	if _, again := c.Connected(); again != syscall.ECONNREFUSED || readErr != syscall.ECONNREFUSED || writeErr != syscall.ECONNREFUSED {
		t.Errorf("afterwards: connected %v, read %v, write %v", again, readErr, writeErr)
	}
}

func TestDialEndsWithItsContextAndWithTheNode(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", "10.0.0.1/24")
	silent := Peer{Name: "silent", PublicKey: newKey(t).Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}
	a.update(t, silent)
	a.run()
	err := a.noWay(t, "10.0.0.2:80", 10*time.Millisecond)
	var netErr net.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Errorf("timeout: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := a.Dial(context.Background(), "tcp", "10.0.0.2:80")
		ended <- err
	}()
	eventually(t, "the dial to begin", func() bool { return len(a.stack.RegisteredEndpoints()) > 0 })
	a.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("node closed: %v", err)
	}
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	read, write := make(chan error), make(chan error)
	go func() { _, err := near.Read(make([]byte, 1)); read <- err }()
	go func() { _, err := far.Write(make([]byte, 64<<20)); write <- err }() // more than all buffers hold
	if err := <-read; err != nil {                                          // the write is under way
		t.Errorf("read: %v", err)
	}
	far.Close()
	if err := <-write; !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	back, _ := connect(t, a, b)
	go func() { _, err := back.Read(make([]byte, 1)); read <- err }()
	back.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	near.Close()
	for what, call := range map[string]func() error{
		"read":        func() error { _, err := near.Read(make([]byte, 1)); return err },
		"try read":    func() error { _, err := near.TryRead(make([]byte, 1)); return err },
		"write":       func() error { _, err := near.Write(make([]byte, 1)); return err },
		"try write":   func() error { _, err := near.TryWrite(make([]byte, 1)); return err },
		"close write": near.CloseWrite,
		"deadline":    func() error { return near.SetDeadline(time.Now()) },
	} {
		if err := call(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
	if near.RemoteAddr().String() == "" || near.LocalAddr().String() == "" {
		t.Error("a closed connection has forgotten its addresses")
	}
}

func TestADeadlineMayBeMovedWhileACallWaits(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	if err := near.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() { _, err := near.Read(make([]byte, 1)); read <- err }()
	if err := near.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	if err := near.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("read after the deadline was lifted: %d, %v", n, err)
	}
}

func TestTryReadOfNothingAllocatesNothing(t *testing.T) {
	a, b := twoNodes(t)
	near, _ := connect(t, a, b)
	buf := make([]byte, 1)
	if n := testing.AllocsPerRun(1000, func() { near.TryRead(buf) }); n > 0 {
		t.Errorf("%v allocations when there is nothing to read", n)
	}
}
