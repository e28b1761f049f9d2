// Package mesh answers one question: how do we speak TCP to the other machines of a WireGuard network without root,
// without a TUN device and without touching the routes of this machine?
//
// A [Node] is one member of that network: a UDP socket, the WireGuard protocol (golang.zx2c4.com/wireguard) and a TCP
// stack in this process (gvisor.dev/gvisor). [Node.Dial] and [Node.Listen] look like those of package net. To the other
// side a Node is an ordinary peer: kernel WireGuard with wg-quick cannot tell the difference.
//
// From the application down to the wire:
//
//	Conn, Listener     conn.go, listen.go    blocking (net.Conn) and non-blocking (TryRead, TryWrite, Notify) use
//	TCP stack          stack.go              gVisor, and every setting we give it
//	link               link.go               carries packets between the two; the one part that can be exchanged
//	WireGuard          node.go, uapi.go      keys, peers, which address belongs to which peer
//	endpoints          resolve.go            host names of peers, looked up again when a tunnel goes quiet
//
// Nothing is reachable on the mesh address but what [Node.Listen] opened: there is no UDP, no forwarding between peers,
// and no way from the mesh to this machine's own sockets. As on a kernel, a closed TCP port answers with a reset and an
// echo request (ping) of a peer is answered.
//
// The package does not know what travels over its connections, and it never logs a key.
package mesh
