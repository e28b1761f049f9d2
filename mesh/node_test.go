package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestHTTPWorksBetweenThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, "10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24")
	for _, server := range nodes {
		l := server.listen(t)
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s was asked by %s", server.name, r.RemoteAddr)
		})}
		go web.Serve(l)
		t.Cleanup(func() { web.Close() })
		for _, client := range nodes { // the node itself too
			c := &http.Client{Transport: &http.Transport{DialContext: client.Dial}, Timeout: patience}
			answer, err := c.Get("http://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			c.CloseIdleConnections()
			if want := server.name + " was asked by " + client.ip() + ":"; err != nil || !strings.HasPrefix(string(body), want) {
				t.Errorf("%s asked %s: %q, %v; want %q", client.name, server.name, body, err, want)
			}
		}
	}
}

func TestIPv6AddressesWorkInside(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, "fd00::1/64", "fd00::2/64")
	near, far := connect(t, nodes[0], nodes[1])
	sameBytes(t, 1<<20, send(near, 1<<20), receive(far))
	if got := far.RemoteAddr().(*net.TCPAddr).IP.String(); got != "fd00::1" {
		t.Errorf("the server sees %s", got)
	}
	if err := nodes[0].noWay(t, "10.0.0.2:80", time.Second); !strings.Contains(err.Error(), "10.0.0.2 is in no peer's allowed ips") {
		t.Error(err)
	}
}

func TestSixtyFourMebibytesArriveBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	const size = 64 << 20
	began := time.Now()
	there, back := send(near, size), send(far, size)
	thereEnd, backEnd := receive(far), receive(near)
	sameBytes(t, size, there, thereEnd)
	sameBytes(t, size, back, backEnd)
	t.Logf("2 x 64 MiB in %v", time.Since(began))
}

func TestDialSaysWhatIsNotInTheMesh(t *testing.T) {
	t.Parallel()
	a, _ := twoNodes(t)
	for addr, want := range map[string]string{
		"10.0.0.9:80":            "10.0.0.9 is in no peer's allowed ips",
		"[::ffff:10.0.0.9]:80":   "10.0.0.9 is in no peer's allowed ips",
		"127.0.0.1:80":           "127.0.0.1 is in no peer's allowed ips",
		"169.254.169.254:80":     "169.254.169.254 is in no peer's allowed ips",
		"[fd00::2]:80":           "fd00::2 is in no peer's allowed ips",
		"10.0.0.2:0":             "no address and port",
		"10.0.0.2":               "missing port",
		"vm2:80":                 "an IP address is wanted",
		"10.0.0.2:http":          `port "http"`,
		"[fe80::1%eth0]:80":      "an IP address is wanted",
		"10.0.0.2:65536":         `port "65536"`,
		"[::ffff:10.0.0.2]:9":    syscall.ECONNREFUSED.Error(), // the same as 10.0.0.2
		"10.0.0.1:9":             syscall.ECONNREFUSED.Error(), // ourselves
		"[::ffff:127.0.0.1]:80":  "127.0.0.1 is in no peer's allowed ips",
		"[::ffff:a00:2]:1000000": `port "1000000"`,
	} {
		if err := a.noWay(t, addr, patience); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q lacks %q", addr, err, want)
		}
	}
	if _, err := a.Dial(context.Background(), "udp", "10.0.0.2:80"); err == nil {
		t.Error("UDP was dialled")
	}
}

func TestOwnsAndPeerForGoByAllowedIPs(t *testing.T) {
	t.Parallel()
	a, _ := twoNodes(t)
	for text, want := range map[string]struct {
		peer string
		owns bool
	}{
		"10.0.0.2": {"b", true}, "::ffff:10.0.0.2": {"b", true}, "10.0.0.1": {"", true},
		"10.0.0.3": {"", false}, "127.0.0.1": {"", false}, "fd00::1": {"", false},
	} {
		ip := netip.MustParseAddr(text)
		name, ok := a.PeerFor(ip)
		if name != want.peer || ok != (want.peer != "") || a.Owns(ip) != want.owns {
			t.Errorf("%s: peer %q (%v), owns %v; want %q, %v", text, name, ok, a.Owns(ip), want.peer, want.owns)
		}
	}
	if a.Owns(netip.Addr{}) {
		t.Error("owns no address at all")
	}
}

func TestNothingAnswersButWhatListens(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	l := b.listen(t)
	open := l.Addr().(*net.TCPAddr).Port
	kernel, err := net.Listen("tcp", "127.0.0.1:0") // a port of this machine, not of the mesh
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	ports := []int{open, kernel.Addr().(*net.TCPAddr).Port, b.Status().ListenPort}
	for p := 1; p < 1024; p++ {
		ports = append(ports, p)
	}
	var mu sync.Mutex
	var answered []int
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for ; i < len(ports); i += 16 {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				c, err := a.Dial(ctx, "tcp", fmt.Sprintf("10.0.0.2:%d", ports[i]))
				cancel()
				mu.Lock()
				if err == nil {
					c.Close()
					answered = append(answered, ports[i])
				} else if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("port %d: %v", ports[i], err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(answered) != 1 || answered[0] != open {
		t.Errorf("ports %v answered, want only %d", answered, open)
	}
}

func TestPeersDoNotReachEachOtherThroughANode(t *testing.T) {
	t.Parallel()
	hub, b, c := startNode(t, "hub", "10.0.0.1/24"), startNode(t, "b", "10.0.0.2/24"), startNode(t, "c", "10.0.0.3/24")
	hub.update(t, b.asPeer(), c.asPeer())
	viaHub := hub.asPeer()
	viaHub.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	b.update(t, viaHub)
	c.update(t, viaHub)
	for _, n := range []*testNode{hub, b, c} {
		n.run()
	}
	connect(t, b, hub)
	connect(t, c, hub)
	if name, ok := b.PeerFor(netip.MustParseAddr("10.0.0.2")); ok || name != "" || !b.Owns(netip.MustParseAddr("10.0.0.2")) {
		t.Errorf("b's own address belongs to %q", name)
	}
	l := c.listen(t)
	if err := b.noWay(t, l.Addr().String(), time.Second); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Error(err)
	}
}

func TestAPortInUseIsToldByNew(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	_, err = New(Config{PrivateKey: newKey(t), Address: netip.MustParsePrefix("10.0.0.1/24"), ListenPort: port})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Fatalf("%v, want EADDRINUSE with port %d", err, port)
	}
}

func TestListenOnlyOnTheMeshAddress(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", "10.0.0.1/24")
	l := a.listen(t)
	for addr, want := range map[string]error{
		l.Addr().String(): syscall.EADDRINUSE,
		"10.0.0.2:80":     syscall.EADDRNOTAVAIL,
		"127.0.0.1:80":    syscall.EADDRNOTAVAIL,
	} {
		if _, err := a.Listen("tcp", addr); !errors.Is(err, want) {
			t.Errorf("listen on %s: %v, want %v", addr, err, want)
		}
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	again, err := a.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("listen again: %v", err)
	}
	again.Close()
	for _, addr := range []string{"0.0.0.0:0", "10.0.0.1:0", ":0"} {
		l, err := a.Listen("tcp", addr)
		if err != nil {
			t.Errorf("listen on %s: %v", addr, err)
			continue
		}
		if ip := l.Addr().(*net.TCPAddr).IP.String(); ip != "10.0.0.1" {
			t.Errorf("listen on %s got %s", addr, ip)
		}
		l.Close()
	}
}

func TestAWrongKeyGetsNoHandshake(t *testing.T) {
	t.Parallel()
	psk := newKey(t)
	for what, spoil := range map[string]func(a, b *Peer){
		"public key":    func(a, b *Peer) { b.PublicKey = newKey(t).Public() },
		"preshared key": func(a, b *Peer) { a.PresharedKey, b.PresharedKey = psk, newKey(t) },
		"missing psk":   func(a, b *Peer) { a.PresharedKey = psk },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b := startNode(t, "a", "10.0.0.1/24"), startNode(t, "b", "10.0.0.2/24")
			aPeer, bPeer := a.asPeer(), b.asPeer()
			spoil(&aPeer, &bPeer)
			a.update(t, bPeer)
			b.update(t, aPeer)
			a.run()
			b.run()
			l := b.listen(t)
			if err := a.noWay(t, l.Addr().String(), 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if s := a.peer(t, "b"); s.SentBytes == 0 || !s.LatestHandshake.IsZero() {
				t.Errorf("sent %d bytes, latest handshake %v", s.SentBytes, s.LatestHandshake)
			}
		})
	}
}

func TestAPresharedKeyOfBothSidesWorks(t *testing.T) {
	t.Parallel()
	a, b := startNode(t, "a", "10.0.0.1/24"), startNode(t, "b", "10.0.0.2/24")
	aPeer, bPeer := a.asPeer(), b.asPeer()
	aPeer.PresharedKey = newKey(t)
	bPeer.PresharedKey = aPeer.PresharedKey
	a.update(t, bPeer)
	b.update(t, aPeer)
	a.run()
	b.run()
	near, far := connect(t, a, b)
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
	if !a.peer(t, "b").Preshared {
		t.Error("the status does not tell of the preshared key")
	}
}

func TestANodeFollowsAPeerThatMoved(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	connect(t, a, b)
	before := a.peer(t, "b").Endpoint
	held, err := net.ListenUDP("udp4", nil) // so that b comes back on another port
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	b.stop()
	if err := <-b.ran; err != nil {
		t.Fatalf("run ended with %v", err)
	}
	oldPort, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(before)))
	if err != nil {
		t.Fatalf("the closed node still holds its port: %v", err)
	}
	defer oldPort.Close()

	b.open(t)
	b.run()
	near, far := connect(t, b, a) // b speaks first, from its new port
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
	if after := a.peer(t, "b").Endpoint; after == before {
		t.Errorf("a still looks for b at %s", after)
	}
	near, far = connect(t, a, b)
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
}

func TestStatusIsWhatWgShowWouldPrint(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	sameBytes(t, 1<<20, send(near, 1<<20), receive(far))
	s := a.Status()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"public_key":"` + a.config.PrivateKey.Public().String(), `"address":"10.0.0.1/24"`, fmt.Sprintf(`"listen_port":%d`, s.ListenPort),
		`"name":"b"`, `"endpoint":"127.0.0.1:`, `"allowed_ips":["10.0.0.2/32"]`, `"latest_handshake":"2`, `"transfer_rx":`, `"persistent_keepalive":0`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if strings.Contains(string(text), a.config.PrivateKey.String()) {
		t.Error("the private key shows")
	}
	if p := s.Peers[0]; s.ListenPort == 0 || p.SentBytes < 1<<20 || time.Since(p.LatestHandshake) > patience {
		t.Errorf("%+v", s)
	}
}

func TestASecondRunIsRefusedAndHarmless(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, far := connect(t, a, b)
	eventually(t, "the first run", func() bool { a.peersMu.Lock(); defer a.peersMu.Unlock(); return a.running })
	if err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("second run: %v", err)
	}
	sameBytes(t, 1<<16, send(near, 1<<16), receive(far))
}

func TestAClosedNodeRefusesEverything(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	near, _ := connect(t, a, b)
	l := a.listen(t)
	results := make(chan error, 2)
	go func() { _, err := l.Accept(); results <- err }()
	go func() { _, err := near.Read(make([]byte, 1)); results <- err }()
	a.Close()
	a.Close()
	for range 2 {
		if err := <-results; !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("a waiting call got %v", err)
		}
	}
	if err := <-a.ran; err != nil {
		t.Errorf("run ended with %v", err)
	}
	_, dialErr := a.Dial(context.Background(), "tcp", "10.0.0.2:80")
	_, listenErr := a.Listen("tcp", ":0")
	for what, err := range map[string]error{
		"dial": dialErr, "listen": listenErr, "update": a.Update(a.config), "run": a.Run(context.Background()),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s := a.Status(); len(s.Peers) != 1 || s.Peers[0].Endpoint != "" {
		t.Errorf("status %+v", s)
	}
}

// Not parallel: it counts goroutines.
func TestClosingWithTrafficInFlightLeaksNothing(t *testing.T) {
	cycle := func() {
		a, b := twoNodes(t)
		near, far := connect(t, a, b)
		there, back := send(near, 1<<30), send(far, 1<<30)
		thereEnd, backEnd := receive(far), receive(near)
		eventually(t, "traffic", func() bool { return a.peer(t, "b").ReceivedBytes > 1<<20 })
		a.Close()
		near.Close()
		b.stop() // and far is left to the node
		<-a.ran
		<-b.ran
		for _, ended := range []<-chan transferred{there, thereEnd, back, backEnd} {
			if r := <-ended; r.err == nil && r.bytes == 1<<30 {
				t.Error("a cut transfer looks complete")
			}
		}
	}
	cycle() // what the libraries keep for good
	runtime.GC()
	files := openFiles(t)
	before := runtime.NumGoroutine()
	for range 50 {
		cycle()
	}
	eventually(t, "goroutines back to where they were", func() bool { return runtime.NumGoroutine() <= before })
	if now := openFiles(t); now > files {
		t.Errorf("%d open files, %d before", now, files)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0 // not Linux
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
