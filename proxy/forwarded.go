package proxy

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// tellers are the fields by which proxies tell servers of the client. Only listed proxies are believed.
const tellers = 1<<message.XForwardedFor | 1<<message.XForwardedProto | 1<<message.XForwardedHost | 1<<message.XForwardedPort |
	1<<message.XForwardedPrefix | 1<<message.XForwardedServer | 1<<message.XForwardedOther | 1<<message.XRealIP | 1<<message.Forwarded

// believe settles who the client is. From a peer that is no trusted proxy all its claims are removed; from one that is, X-Forwarded-For is read
// from its end, through further trusted proxies, and the peer is added to it.
func believe(x *exchange.Exchange, trusted []netip.Prefix) {
	x.Src = x.Peer
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
		return
	}
	joined := x.Arena.Alloc(0)
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.XForwardedFor {
			if len(joined) > 0 {
				joined = append(joined, ", "...)
			}
			joined = append(joined, f.Value...)
		}
	}
	for rest := joined; len(rest) > 0; {
		hop := rest
		if i := bytes.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		addr, ok := hopAddr(hop)
		if !ok {
			break
		}
		x.Src = netip.AddrPortFrom(addr, 0)
		if !within(addr, trusted) {
			break
		}
	}
	joined = append(joined, ", "...)
	h.Set(forField, x.Peer.Addr().AppendTo(joined))
}

var forField = message.NewName("X-Forwarded-For")

// hopAddr reads one member of X-Forwarded-For; some proxies add the port.
func hopAddr(b []byte) (netip.Addr, bool) {
	s := string(bytes.TrimSpace(b))
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
