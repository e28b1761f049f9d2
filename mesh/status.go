package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Status is what "wg show" would print, without any secret.
type Status struct {
	PublicKey  Key          `json:"public_key"`
	Address    netip.Prefix `json:"address"`
	ListenPort int          `json:"listen_port"` // the real one, also when the configuration says 0
	Peers      []PeerStatus `json:"peers"`       // in the order of the configuration
}

// PeerStatus is the state of one tunnel.
type PeerStatus struct {
	Name      string `json:"name"`
	PublicKey Key    `json:"public_key"`
	Preshared bool   `json:"preshared_key"` // whether there is one
	// Endpoint is where packets go now: configured, looked up, or learned from the peer. Empty when not known yet.
	Endpoint   string         `json:"endpoint,omitempty"`
	AllowedIPs []netip.Prefix `json:"allowed_ips"`
	// LatestHandshake is zero before the first.
	LatestHandshake time.Time `json:"latest_handshake,omitzero"`
	ReceivedBytes   uint64    `json:"transfer_rx"` // UDP payload, since the peer was added
	SentBytes       uint64    `json:"transfer_tx"`
	KeepaliveSecs   int       `json:"persistent_keepalive"` // 0 is off
}

// Status asks WireGuard how all tunnels are. A closed node has no endpoints, handshakes and bytes to tell.
func (n *Node) Status() Status {
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	state, err := n.deviceState()
	if err != nil {
		n.logf("mesh status: %v", err)
	}
	s := Status{
		PublicKey:  n.cfg.PrivateKey.Public(),
		Address:    n.cfg.Address,
		ListenPort: state.listenPort,
		Peers:      make([]PeerStatus, 0, len(n.cfg.Peers)),
	}
	for _, p := range n.cfg.Peers {
		live := state.peers[p.PublicKey]
		peer := PeerStatus{
			Name:            p.Name,
			PublicKey:       p.PublicKey,
			Preshared:       !p.PresharedKey.IsZero(),
			AllowedIPs:      slices.Clone(p.AllowedIPs),
			LatestHandshake: live.lastHandshake,
			ReceivedBytes:   live.rx,
			SentBytes:       live.tx,
			KeepaliveSecs:   int(p.Keepalive / time.Second),
		}
		if live.endpoint.IsValid() {
			peer.Endpoint = live.endpoint.String()
		}
		s.Peers = append(s.Peers, peer)
	}
	return s
}

// deviceState asks WireGuard.
func (n *Node) deviceState() (deviceState, error) {
	text, err := n.dev.IpcGet()
	if err != nil {
		return deviceState{}, fmt.Errorf("ask wireguard: %w", err)
	}
	return parseState(text)
}
