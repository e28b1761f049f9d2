package mesh

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The other side of this test is stock: wg-quick up, with wireguard-go where the kernel has no WireGuard. It lives in a
// network namespace of its own, our node's UDP socket in another, with a virtual cable between. Needs root and the packages
// wireguard-tools, wireguard-go and iproute2; without them it fails.

const (
	ourWire, theirWire = "198.18.77.1", "198.18.77.2"
	ourIP, theirIP     = "10.77.0.1", "10.77.0.2"
)

func TestStockWgQuickTalksToOurNodeBothWays(t *testing.T) {
	t.Parallel()
	ours, theirs, device := wire(t)

	theirKey := strings.TrimSpace(run(t, "", "wg", "genkey"))
	theirPublic, err := ParseKey(strings.TrimSpace(run(t, theirKey, "wg", "pubkey")))
	if err != nil {
		t.Fatal(err)
	}
	if k, err := ParseKey(theirKey); err != nil || k.Public() != theirPublic {
		t.Fatalf("wg pubkey gives %s for its own key, we %s (%v)", theirPublic, k.Public(), err)
	}
	psk, err := ParseKey(strings.TrimSpace(run(t, "", "wg", "genpsk")))
	if err != nil {
		t.Fatal(err)
	}

	key := newKey(t)
	var node *Node
	within(t, ours, func() error { // the UDP socket belongs to the namespace it was made in
		node, err = New(Config{
			PrivateKey: key,
			Address:    netip.MustParsePrefix(ourIP + "/24"),
			Peers: []Peer{{
				Name: "stock", PublicKey: theirPublic, PresharedKey: psk, Endpoint: theirWire + ":51820",
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix(theirIP + "/32")}, Keepalive: 25 * time.Second,
			}},
		})
		return err
	})
	t.Cleanup(func() { node.Close() })

	conf := filepath.Join(t.TempDir(), device+".conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(`[Interface]
PrivateKey = %s
Address = %s/24
ListenPort = 51820
[Peer]
PublicKey = %s
PresharedKey = %s
Endpoint = %s:%d
AllowedIPs = %s/32
`, theirKey, theirIP, key.Public(), psk, ourWire, node.Status().ListenPort, ourIP)), 0o600); err != nil {
		t.Fatal(err)
	}
	quick := []string{"ip", "netns", "exec", theirs, "env", "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go", "wg-quick"}
	run(t, "", append(quick, "up", conf)...)
	t.Cleanup(func() { run(t, "", append(quick, "down", conf)...) })

	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})

	// From us to a server that knows nothing of us.
	var stock net.Listener
	within(t, theirs, func() error {
		stock, err = net.Listen("tcp4", theirIP+":0")
		return err
	})
	serve(t, stock, "stock")
	ask(t, node.Dial, stock.Addr(), "stock was asked by "+ourIP)

	// From a stock client to us.
	mine, err := node.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, mine, "edge")
	ask(t, func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = enter(theirs, func() error {
			c, err = new(net.Dialer).DialContext(ctx, "tcp4", addr)
			return err
		})
		return c, err
	}, mine.Addr(), "edge was asked by "+theirIP)

	if s := node.Status().Peers[0]; s.LatestHandshake.IsZero() || s.ReceivedBytes < 1<<20 || s.Endpoint != theirWire+":51820" {
		t.Errorf("our status: %+v", s)
	}
	shown := strings.Fields(run(t, "", "ip", "netns", "exec", theirs, "wg", "show", device, "latest-handshakes"))
	if len(shown) != 2 || shown[0] != key.Public().String() || shown[1] == "0" {
		t.Errorf("wg show latest-handshakes: %q", shown)
	}
}

// wire makes two network namespaces with a cable between and gives their names, and a free name for a WireGuard interface.
func wire(t *testing.T) (ours, theirs, device string) {
	t.Helper()
	id := strconv.Itoa(os.Getpid())
	ours, theirs, device = "mesh-ours-"+id, "mesh-theirs-"+id, "wgt"+id
	for _, ns := range []string{ours, theirs} {
		run(t, "", "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "", "ip", "netns", "del", ns) })
	}
	run(t, "", "ip", "-n", ours, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", theirs)
	for ns, ip := range map[string]string{ours: ourWire, theirs: theirWire} {
		run(t, "", "ip", "-n", ns, "addr", "add", ip+"/30", "dev", "wire")
		run(t, "", "ip", "-n", ns, "link", "set", "wire", "up")
		run(t, "", "ip", "-n", ns, "link", "set", "lo", "up")
	}
	return ours, theirs, device
}

// run is a command that must succeed; it returns what it printed.
func run(t *testing.T, input string, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errOut strings.Builder
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &errOut
	c.WaitDelay = time.Second // wireguard-go goes on in the background with our pipes
	if err := c.Run(); err != nil && err != exec.ErrWaitDelay {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, &out, &errOut)
	}
	return out.String()
}

// within is enter for a call that must succeed.
func within(t *testing.T, ns string, call func() error) {
	t.Helper()
	if err := enter(ns, call); err != nil {
		t.Fatal(err)
	}
}

// enter makes call in a network namespace. What call does on other goroutines is done outside.
func enter(ns string, call func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			f, err := os.Open("/run/netns/" + ns)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network namespace %s: %w", ns, err)
			}
			return call()
		}()
	}()
	return <-done
}

func serve(t *testing.T, l net.Listener, name string) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("X-Who", name+" was asked by "+host)
		body, err := io.ReadAll(r.Body) // the server stops reading once we write
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		w.Write(body)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// ask sends one mebibyte and wants it back.
func ask(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), addr net.Addr, who string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: patience}
	defer client.CloseIdleConnections()
	const size = 1 << 20
	body := newStream(size)
	answer, err := client.Post("http://"+addr.String(), "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	back := newStream(0)
	n, err := io.Copy(back.sum, answer.Body)
	if err != nil || n != size || string(back.sum.Sum(nil)) != string(body.sum.Sum(nil)) {
		t.Errorf("%d of %d bytes came back: %v", n, size, err)
	}
	if got := answer.Header.Get("X-Who"); answer.StatusCode != http.StatusOK || got != who {
		t.Errorf("status %d, %q, want %q", answer.StatusCode, got, who)
	}
}
