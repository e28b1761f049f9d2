package proxy

import (
	"bytes"
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// tellers are the fields by which proxies tell servers of the client. Only listed proxies are believed.
const tellers = 1<<message.XForwardedFor | 1<<message.XForwardedProto | 1<<message.XForwardedHost | 1<<message.XForwardedPort |
	1<<message.XForwardedPrefix | 1<<message.XForwardedServer | 1<<message.XForwardedOther | 1<<message.XRealIP | 1<<message.Forwarded

// believe settles who the client is. From a peer that is no trusted proxy all its claims are removed; from one that is, X-Forwarded-For is read
// from its end, through further trusted proxies, and the peer is added to it.
func believe(x *exchange.Exchange, trusted []netip.Prefix) {
	h := &x.Req.Header
	if h.Seen&tellers == 0 {
		return
	}
	if !within(x.Peer.Addr(), trusted) {
		h.Filter(func(f *message.Field) bool { return 1<<f.ID&tellers == 0 })
		h.Seen &^= tellers
		return
	}
	if !h.Has(message.XForwardedFor) {
		if v, ok := h.Get(message.Forwarded); ok {
			believeForwarded(x, v, trusted)
		}
		return
	}
	size := 64 // of our own addition
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.XForwardedFor {
			size += len(f.Value) + 2
		}
	}
	joined := x.Arena.Alloc(size)[:0]
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.XForwardedFor {
			if len(joined) > 0 {
				joined = append(joined, ", "...)
			}
			joined = append(joined, f.Value...)
		}
	}
	walk(x, joined, trusted, hopAddr)
	joined = append(joined, ", "...)
	h.Set(forField, x.Peer.Addr().AppendTo(joined))
}

// walk goes through a list of hops from its end, as long as they are trusted, and takes the last one it reaches for the client.
func walk(x *exchange.Exchange, list []byte, trusted []netip.Prefix, read func([]byte) (netip.Addr, bool)) {
	for rest := list; len(rest) > 0; {
		hop := rest
		if i := bytes.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		addr, ok := read(hop)
		if !ok {
			return
		}
		x.Src = netip.AddrPortFrom(addr, 0)
		if !within(addr, trusted) {
			return
		}
	}
}

// believeForwarded reads the one Forwarded line (RFC 7239) of a trusted proxy that sends no X-Forwarded-For.
func believeForwarded(x *exchange.Exchange, v []byte, trusted []netip.Prefix) {
	walk(x, v, trusted, func(hop []byte) (netip.Addr, bool) {
		for _, pair := range bytes.Split(hop, []byte(";")) {
			name, node, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
			if message.EqualFold(name, "for") {
				node = bytes.Trim(node, `"`)
				if n := len(node); n > 2 && node[0] == '[' && node[n-1] == ']' {
					node = node[1 : n-1]
				}
				return hopAddr(node)
			}
		}
		return netip.Addr{}, false
	})
}

// saidHTTPS says whether a trusted proxy told us that the client came by TLS.
func saidHTTPS(x *exchange.Exchange) bool {
	v, _ := x.Req.Header.Get(message.XForwardedProto)
	return message.EqualFold(v, "https")
}

var forField = message.NewName("X-Forwarded-For")

// hopAddr reads one member of X-Forwarded-For; some proxies add the port.
func hopAddr(b []byte) (netip.Addr, bool) {
	b = bytes.TrimSpace(b)
	s := unsafe.String(unsafe.SliceData(b), len(b)) // netip keeps nothing of it but in errors, which are dropped here
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// appendForwarded adds what we tell the server of the client, unless a rule or a trusted proxy has said it.
func appendForwarded(dst []byte, x *exchange.Exchange, port uint16) []byte {
	h := &x.Req.Header
	if !h.Has(message.XForwardedFor) {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = x.Peer.Addr().AppendTo(dst)
		dst = append(dst, '\r', '\n')
	}
	if !h.Has(message.XForwardedProto) {
		if x.TLS {
			dst = append(dst, "X-Forwarded-Proto: https\r\n"...)
		} else {
			dst = append(dst, "X-Forwarded-Proto: http\r\n"...)
		}
	}
	if !h.Has(message.XForwardedHost) && len(x.Req.Authority) > 0 {
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(dst, x.Req.Authority...)
		dst = append(dst, '\r', '\n')
	}
	if !h.Has(message.XForwardedPort) {
		dst = append(dst, "X-Forwarded-Port: "...)
		dst = strconv.AppendUint(dst, uint64(port), 10)
		dst = append(dst, '\r', '\n')
	}
	return dst
}
