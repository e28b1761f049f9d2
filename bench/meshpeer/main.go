// Command meshpeer answers: how does the benchmark's origin get behind a tunnel? It is a mesh node with
// one peer, and carries what arrives on its mesh addresses to addresses of this machine.
//
//	meshpeer -key FILE -address IP -port PORT -ready HOST:PORT -peer KEY -peer-address IP MESH=TARGET...
//
// Once it carries connections, it answers every HTTP request on the -ready address with 200.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/approovia/edge/mesh"
)

func main() {
	key := flag.String("key", "", "file of the private key")
	address := flag.String("address", "", "this node's address in the mesh")
	port := flag.Int("port", 0, "UDP port")
	ready := flag.String("ready", "", "address to answer on when all listens, HOST:PORT")
	peer := flag.String("peer", "", "public key of the peer")
	peerAddress := flag.String("peer-address", "", "the peer's address in the mesh")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	node, err := build(*key, *address, *port, *peer, *peerAddress)
	if err == nil {
		err = run(ctx, node, *ready, flag.Args())
	}
	if err != nil {
		log.Fatal(err)
	}
}

func build(keyFile, address string, port int, peer, peerAddress string) (*mesh.Node, error) {
	private, err := mesh.LoadKey(keyFile)
	if err != nil {
		return nil, err
	}
	public, err := mesh.ParseKey(peer)
	if err != nil {
		return nil, err
	}
	own, err := netip.ParseAddr(address)
	if err != nil {
		return nil, err
	}
	other, err := netip.ParseAddr(peerAddress)
	if err != nil {
		return nil, err
	}
	return mesh.New(mesh.Config{
		PrivateKey: private,
		Address:    netip.PrefixFrom(own, 24),
		ListenPort: port,
		MTU:        1420, // edge's default
		Peers: []mesh.Peer{{
			Name: "edge", PublicKey: public,
			AllowedIPs: []netip.Prefix{netip.PrefixFrom(other, other.BitLen())},
		}},
		Logf: log.Printf,
	})
}

// run carries connections until ctx ends or something fails.
func run(ctx context.Context, node *mesh.Node, ready string, forwards []string) error {
	defer node.Close()
	failed := make(chan error, len(forwards)+2)
	for _, f := range forwards {
		from, to, ok := strings.Cut(f, "=")
		if !ok {
			return fmt.Errorf("%q is not MESH=TARGET", f)
		}
		l, err := node.Listen("tcp", from)
		if err != nil {
			return err
		}
		go func() { failed <- accept(l, to) }()
	}
	go func() { failed <- node.Run(ctx) }()
	go func() {
		failed <- http.ListenAndServe(ready, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}()
	select {
	case err := <-failed:
		if ctx.Err() != nil {
			return nil // everything ends with ctx
		}
		return err
	case <-ctx.Done():
		return nil
	}
}

func accept(l net.Listener, target string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := carry(c, target); err != nil {
				log.Printf("carry a connection to %s: %v", target, err)
			}
		}()
	}
}

// carry joins c and a connection to target until both directions have ended.
func carry(c net.Conn, target string) error {
	defer c.Close()
	t, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer t.Close()
	var wg sync.WaitGroup
	var errs [2]error
	wg.Go(func() { errs[0] = copyHalf(t, c) })
	wg.Go(func() { errs[1] = copyHalf(c, t) })
	wg.Wait()
	return errors.Join(errs[:]...)
}

// copyHalf carries one direction and hands its end on. A failure ends both directions.
func copyHalf(to, from net.Conn) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
	if err == nil {
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
	}
	return errors.Join(err, to.Close(), from.Close())
}
