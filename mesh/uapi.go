package mesh

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WireGuard is told and asked by lines of key=value, the "cross-platform userspace" protocol:
// https://www.wireguard.com/xplatform/#configuration-protocol

// peerChanges writes what turns the peers old into the peers next. Peers that stay keep their session: only what differs
// is mentioned. All removals come before all additions, so that an address can pass from one peer to another.
//
// locate says where a peer is; false when that is not known (yet), see lookUpEndpoints.
func peerChanges(old, next []Peer, locate func(Peer) (netip.AddrPort, bool)) string {
	var b strings.Builder
	was := make(map[Key]Peer, len(old))
	for _, p := range old {
		was[p.PublicKey] = p
	}
	stays := make(map[Key]bool, len(next))
	for _, p := range next {
		stays[p.PublicKey] = true
	}

	for _, p := range old {
		if !stays[p.PublicKey] {
			fmt.Fprintf(&b, "public_key=%s\nremove=true\n", p.PublicKey.hex())
		}
	}
	for _, p := range next {
		gone := missing(was[p.PublicKey].AllowedIPs, p.AllowedIPs)
		if len(gone) == 0 {
			continue
		}
		fmt.Fprintf(&b, "public_key=%s\nupdate_only=true\n", p.PublicKey.hex())
		for _, prefix := range gone {
			fmt.Fprintf(&b, "allowed_ip=-%s\n", prefix)
		}
	}
	for _, p := range next {
		before, known := was[p.PublicKey]
		var lines strings.Builder
		if p.PresharedKey != before.PresharedKey {
			fmt.Fprintf(&lines, "preshared_key=%s\n", p.PresharedKey.hex())
		}
		for _, prefix := range missing(p.AllowedIPs, before.AllowedIPs) {
			fmt.Fprintf(&lines, "allowed_ip=%s\n", prefix)
		}
		at, located := locate(p)
		if located && p.Endpoint != before.Endpoint {
			fmt.Fprintf(&lines, "endpoint=%s\n", at)
		}
		// Turning the keepalive on sends a first one at once. Before a host name is known that would only fail and hold
		// back the next attempt for five seconds, so it then comes with the endpoint (see endpointChange).
		if p.Keepalive != before.Keepalive && (located || p.Endpoint == "") {
			fmt.Fprintf(&lines, "persistent_keepalive_interval=%d\n", p.Keepalive/time.Second)
		}
		if !known || lines.Len() > 0 {
			fmt.Fprintf(&b, "public_key=%s\n%s", p.PublicKey.hex(), lines.String())
		}
	}
	return b.String()
}

// endpointChange writes where one peer is now.
func endpointChange(p Peer, at netip.AddrPort) string {
	return fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%s\npersistent_keepalive_interval=%d\n",
		p.PublicKey.hex(), at, p.Keepalive/time.Second)
}

// missing gives the prefixes of a that b does not have.
func missing(a, b []netip.Prefix) []netip.Prefix {
	var only []netip.Prefix
	for _, prefix := range a {
		if !slices.Contains(b, prefix) {
			only = append(only, prefix)
		}
	}
	return only
}

// deviceState is what WireGuard answers when asked for its state, as far as we want it.
type deviceState struct {
	listenPort int
	peers      map[Key]peerState
}

type peerState struct {
	endpoint      netip.AddrPort // zero: not known yet
	lastHandshake time.Time      // zero: never
	rx, tx        uint64         // bytes of UDP payload
}

// parseState reads WireGuard's answer. The private and preshared keys in it are passed over unread.
func parseState(text string) (deviceState, error) {
	state := deviceState{peers: make(map[Key]peerState)}
	var key Key
	var peer peerState
	var sec, nsec int64
	inPeer := false
	finish := func() {
		if !inPeer {
			return
		}
		if sec != 0 || nsec != 0 {
			peer.lastHandshake = time.Unix(sec, nsec)
		}
		state.peers[key] = peer
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			if lines.Text() == "" {
				break // an empty line ends the answer
			}
			return deviceState{}, fmt.Errorf("wireguard state line %d: no \"=\"", number)
		}
		var err error
		switch name {
		case "public_key":
			finish()
			key, peer, sec, nsec, inPeer = Key{}, peerState{}, 0, 0, true
			var raw []byte
			if raw, err = hex.DecodeString(value); err == nil && len(raw) != len(key) {
				err = fmt.Errorf("%d bytes", len(raw))
			}
			copy(key[:], raw)
		case "listen_port":
			var port uint64
			port, err = strconv.ParseUint(value, 10, 16)
			state.listenPort = int(port)
		case "endpoint":
			peer.endpoint, err = netip.ParseAddrPort(value)
		case "last_handshake_time_sec":
			sec, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, err = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			peer.rx, err = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			peer.tx, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return deviceState{}, fmt.Errorf("wireguard state line %d: %s: %w", number, name, err)
		}
	}
	if err := lines.Err(); err != nil {
		return deviceState{}, fmt.Errorf("wireguard state: %w", err)
	}
	finish()
	return state, nil
}
