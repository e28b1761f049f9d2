package http1

import (
	"strconv"

	"github.com/approovia/edge/proxy/message"
)

func appendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendHeader writes the fields that go end to end. Hop-by-hop fields and framing are left out: what follows them is the writer's to say.
func AppendHeader(dst []byte, h *message.Header) []byte {
	for i := range h.Fields {
		f := &h.Fields[i]
		if 1<<f.ID&hop == 0 {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	return dst
}

// AppendRequest writes a request head for a server, without the empty line at its end, so that the caller can add fields of its own.
// The target is the canonical path with the query as sent. A request of HTTP/1.0 that came without Host gets one (RFC 9112 section 3.2).
func AppendRequest(dst []byte, r *message.Request) []byte {
	dst = append(dst, r.MethodToken...)
	dst = append(dst, ' ')
	dst = append(dst, r.Path...)
	if r.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, r.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	if !r.Header.Has(message.Host) {
		dst = append(dst, "Host: "...)
		dst = append(dst, r.Authority...)
		dst = append(dst, '\r', '\n')
	}
	dst = AppendHeader(dst, &r.Header)
	switch r.Body.Kind {
	case message.Sized:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Body.Length, 10)
		dst = append(dst, '\r', '\n')
	case message.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.Upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, r.Upgrade...)
		dst = append(dst, '\r', '\n')
	}
	if r.Expect100 {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	return dst
}

// AppendResponse writes a response head for a client, with the empty line. kind is how its body will be framed on that connection; closes says
// that the connection ends after it.
func AppendResponse(dst []byte, r *message.Response, kind message.BodyKind, closes, client10 bool) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Reason...)
	dst = append(dst, '\r', '\n')
	dst = AppendHeader(dst, &r.Header)
	switch {
	case kind == message.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case kind == message.Sized, kind == message.NoBody && r.Body.Length >= 0 && r.Body.Kind == message.NoBody && r.Status >= 200 && r.Status != 204:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Body.Length, 10)
		dst = append(dst, '\r', '\n')
	}
	if closes {
		dst = append(dst, "Connection: close\r\n"...)
	} else if client10 {
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, '\r', '\n')
}
