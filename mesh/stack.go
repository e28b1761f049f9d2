package mesh

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// nic is the stack's only interface. There is no loopback: HandleLocal keeps what the node says to itself inside.
	nic tcpip.NICID = 1

	receiveBufferMax = 8 << 20 // enough for 640 Mbit/s at 100 ms
	sendBufferMax    = 6 << 20
	timeWait         = 10 * time.Second // 60 s by default: costs ports and buffers, protects nothing inside a tunnel

	// A peer that vanished without a word is noticed after keepaliveIdle + keepaliveCount*keepaliveEvery = 75 s.
	keepaliveIdle  = 15 * time.Second
	keepaliveEvery = 15 * time.Second
	keepaliveCount = 4
)

// muteStack keeps gVisor from writing to standard error: single odd packets of a peer, which it calls warnings.
var muteStack = sync.OnceFunc(func() { log.SetTarget(silence{}) })

type silence struct{}

func (silence) Emit(int, log.Level, time.Time, string, ...any) {}

// newStack builds the TCP stack that owns address and sends everything over l. No UDP, no forwarding.
func newStack(address netip.Addr, l link) (*stack.Stack, error) {
	muteStack()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		HandleLocal:        true,
	})
	if err := configureStack(s, address, l); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func configureStack(s *stack.Stack, address netip.Addr, l link) error {
	sack := tcpip.TCPSACKEnabled(true)
	// RACK takes the reordering that parallel encryption causes for loss and then sends at a fraction of the rate.
	recovery := tcpip.TCPRecovery(0)
	congestion := tcpip.CongestionControlOption("cubic")
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcp.DefaultReceiveBufferSize, Max: receiveBufferMax}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcp.DefaultSendBufferSize, Max: sendBufferMax}
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for name, option := range map[string]tcpip.SettableTransportProtocolOption{
		"SACK": &sack, "loss recovery": &recovery, "congestion control": &congestion, "receive buffer": &receive,
		"send buffer": &send, "receive buffer growth": &moderate, "TIME_WAIT": &wait,
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set TCP %s: %s", name, err)
		}
	}

	if err := s.CreateNIC(nic, l.endpoint()); err != nil {
		return fmt.Errorf("create interface: %s", err)
	}
	everything, protocol := header.IPv4EmptySubnet, header.IPv4ProtocolNumber
	if address.Is6() {
		everything, protocol = header.IPv6EmptySubnet, header.IPv6ProtocolNumber
	}
	own := tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: tcpip.AddrFromSlice(address.AsSlice()).WithPrefix()}
	if err := s.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("add address %s: %s", address, err)
	}
	// WireGuard does the routing: it drops what belongs to no peer.
	s.SetRouteTable([]tcpip.Route{{Destination: everything, NIC: nic}})
	return nil
}

// tuneConn gives one connection its settings. Nagle's algorithm is off by default.
func tuneConn(ep tcpip.Endpoint) error {
	idle, every := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveEvery)
	for _, option := range []tcpip.SettableSocketOption{&idle, &every} {
		if err := ep.SetSockOpt(option); err != nil {
			return fmt.Errorf("set keepalive: %w", errnoOf(err))
		}
	}
	if err := ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepaliveCount); err != nil {
		return fmt.Errorf("set keepalive: %w", errnoOf(err))
	}
	ep.SocketOptions().SetKeepAlive(true)
	return nil
}

// fullAddress is the stack's form of an address.
func fullAddress(a netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	protocol := header.IPv4ProtocolNumber
	if a.Addr().Is6() {
		protocol = header.IPv6ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}, protocol
}
