package mesh

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link carries IP packets between the TCP stack and WireGuard. It is all that stands between the two, and the only part
// of a Node that another implementation can replace.
//
// Closing device ends both sides: its Read returns os.ErrClosed, packets written to either side are dropped.
type link interface {
	// endpoint is the side of the TCP stack: packets it sends are read by WireGuard from device.
	endpoint() stack.LinkEndpoint
	// device is the side of WireGuard: what it writes there (packets it has decrypted) the stack receives.
	device() tun.Device
}

// queueLen is how many packets the stack may be ahead of WireGuard.
const queueLen = 1024

// queueLink is the plain link: a bounded queue out, direct delivery in.
//
// A full queue makes the sender wait: dropping would look like congestion to TCP and cost it a third of its window. The
// wait is short, since WireGuard's reader never waits for TCP. The queue is never closed, because senders own it: done
// ends them instead.
type queueLink struct {
	mtu        uint32
	queue      chan *stack.PacketBuffer
	done       chan struct{}
	closeOnce  sync.Once
	events     chan tun.Event
	dispatcher atomic.Pointer[stack.NetworkDispatcher] // nil until the stack is attached, and again after
}

func newQueueLink(mtu int) link {
	return &queueLink{
		mtu:    uint32(mtu),
		queue:  make(chan *stack.PacketBuffer, queueLen),
		done:   make(chan struct{}),
		events: make(chan tun.Event),
	}
}

func (l *queueLink) endpoint() stack.LinkEndpoint { return (*queueEndpoint)(l) }
func (l *queueLink) device() tun.Device           { return (*queueDevice)(l) }

// queueEndpoint is the stack's side.
type queueEndpoint queueLink

// WritePackets queues what the stack sends. Safe for concurrent use.
func (e *queueEndpoint) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for i, p := range packets.AsSlice() {
		clone := p.Clone() // the stack goes on using its own
		select {
		case e.queue <- clone:
		case <-e.done:
			clone.DecRef()
			return i, &tcpip.ErrClosedForSend{}
		}
	}
	return packets.Len(), nil
}

func (e *queueEndpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.dispatcher.Store(nil)
		return
	}
	e.dispatcher.Store(&d)
}

func (e *queueEndpoint) IsAttached() bool { return e.dispatcher.Load() != nil }
func (e *queueEndpoint) MTU() uint32      { return e.mtu }

// The rest of stack.LinkEndpoint says that there is nothing below IP: no addresses, no headers, no goroutines.

func (*queueEndpoint) SetMTU(uint32)                                {}
func (*queueEndpoint) MaxHeaderLength() uint16                      { return 0 }
func (*queueEndpoint) LinkAddress() tcpip.LinkAddress               { return "" }
func (*queueEndpoint) SetLinkAddress(tcpip.LinkAddress)             {}
func (*queueEndpoint) Capabilities() stack.LinkEndpointCapabilities { return 0 }
func (*queueEndpoint) Wait()                                        {}
func (*queueEndpoint) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (*queueEndpoint) AddHeader(*stack.PacketBuffer)                {}
func (*queueEndpoint) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (*queueEndpoint) Close()                                       {}
func (*queueEndpoint) SetOnCloseAction(func())                      {}

// queueDevice is WireGuard's side.
type queueDevice queueLink

// Read waits for one packet and takes along all that are queued already, so that WireGuard can seal and send them
// together. Called by one goroutine only.
func (d *queueDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	var p *stack.PacketBuffer
	select {
	case p = <-d.queue:
	case <-d.done:
		return 0, os.ErrClosed
	}
	for n := 0; ; {
		size := 0
		for _, part := range p.AsSlices() {
			size += copy(bufs[n][offset+size:], part)
		}
		p.DecRef()
		sizes[n] = size
		if n++; n == len(bufs) {
			return n, nil
		}
		select {
		case p = <-d.queue:
		default:
			return n, nil
		}
	}
}

// Write hands decrypted packets to the stack. WireGuard has checked already that each comes from an address its peer
// owns. What is not IP is dropped.
func (d *queueDevice) Write(bufs [][]byte, offset int) (int, error) {
	to := d.dispatcher.Load()
	if to == nil {
		return len(bufs), nil
	}
	for _, buf := range bufs {
		packet := buf[offset:]
		if len(packet) == 0 {
			continue
		}
		var protocol tcpip.NetworkProtocolNumber
		switch packet[0] >> 4 {
		case 4:
			protocol = header.IPv4ProtocolNumber
		case 6:
			protocol = header.IPv6ProtocolNumber
		default:
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		(*to).DeliverNetworkPacket(protocol, p)
		p.DecRef()
	}
	return len(bufs), nil
}

// Close may be called more than once. What is still queued is left to the garbage collector.
func (d *queueDevice) Close() error {
	d.closeOnce.Do(func() {
		close(d.done)
		close(d.events) // nobody ever sends on it
	})
	return nil
}

func (d *queueDevice) File() *os.File           { return nil }
func (d *queueDevice) MTU() (int, error)        { return int(d.mtu), nil }
func (d *queueDevice) Name() (string, error)    { return "mesh", nil }
func (d *queueDevice) Events() <-chan tun.Event { return d.events }
func (d *queueDevice) BatchSize() int           { return conn.IdealBatchSize }
