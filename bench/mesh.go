package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"github.com/approovia/edge/mesh"
)

// tunnel leads from edge to a peer in front of the origin: WireGuard over loopback UDP, both ends in user
// space. The peer is meshpeer, a process of its own, so that edge's side is counted alone.
type tunnel struct {
	private    mesh.Key // edge's
	peerPublic mesh.Key
	endpoint   string // where the peer listens, HOST:PORT
	listen     string // where edge listens, the port alone
}

// Addresses inside the tunnel, and the ports behind which the peer has the origin's two servers.
const (
	meshEdge = "10.99.0.1"
	meshPeer = "10.99.0.2"
	meshS1   = meshPeer + ":8001"
	meshS2   = meshPeer + ":8002"
)

func (t *tunnel) servers() [2]string { return [2]string{meshS1, meshS2} }

// section is the mesh section of edge.yaml; the key goes into a file of its own.
func (t *tunnel) section(j job, files map[string]string) string {
	key := j.file("mesh.key")
	files[key] = t.private.String() + "\n"
	return fmt.Sprintf(`mesh:
  private_key_file: %q
  address: %s/24
  listen: %s
  peers:
    origin: {public_key: %q, endpoint: %q, allowed_ips: [%s/32], keepalive: 25s}
`, key, meshEdge, t.listen, t.peerPublic, t.endpoint, meshPeer)
}

// dig starts the peer and returns the tunnel to it.
func dig(ctx context.Context, meshpeer, dir string, origin [2]string) (*tunnel, *process, error) {
	t := &tunnel{}
	var err error
	if t.private, err = mesh.NewPrivateKey(); err != nil {
		return nil, nil, err
	}
	peer, err := mesh.NewPrivateKey()
	if err != nil {
		return nil, nil, err
	}
	t.peerPublic = peer.Public()
	key := filepath.Join(dir, "peer.key")
	p, err := withPorts(1, func(ready []string) (*process, error) {
		ports, err := freeUDPPorts(2)
		if err != nil {
			return nil, err
		}
		t.listen, t.endpoint = ports[0], net.JoinHostPort("127.0.0.1", ports[1])
		return launch(ctx, dir, program{
			argv: []string{meshpeer,
				"-key", key, "-address", meshPeer, "-port", ports[1], "-ready", ready[0],
				"-peer", t.private.Public().String(), "-peer-address", meshEdge,
				meshS1 + "=" + origin[0], meshS2 + "=" + origin[1]},
			files: map[string]string{key: peer.String() + "\n"},
		}, ready[0])
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start the mesh's peer: %w", err)
	}
	return t, p, nil
}

// freeUDPPorts returns n different ports that nobody has bound.
func freeUDPPorts(n int) ([]string, error) {
	var ports []string
	for range n {
		c, err := net.ListenPacket("udp", ":0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer c.Close() // held until all are chosen, so that they differ
		_, port, err := net.SplitHostPort(c.LocalAddr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
