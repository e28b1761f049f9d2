// Package http1 turns bytes into messages and back: HTTP/1.1 and 1.0 as RFC 9112 has them, and nothing that is merely like them. What two
// parsers could read in two ways is refused here, so that the servers behind never see it.
//
// Parsing works on the connection's buffer: names and values are views into it. A parser keeps its place, so a head that arrives in pieces
// is looked at once.
package http1

import (
	"bytes"
	"encoding/binary"

	"github.com/approovia/edge/proxy/message"
)

// Error is why a message is refused, with the status a client is told. For a server's message the status is always 502.
type Error struct {
	Status int
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

func bad(msg string) *Error { return &Error{400, msg} }

// Limits of a message head (RFC 6585 section 5, RFC 9112 section 3). Head + what follows must fit one loop buffer.
const (
	MaxHead    = 16 << 10 // bytes of start line and fields
	MaxTarget  = 8 << 10  // bytes of a request target
	MaxFields  = 128
	maxMethod  = 32
	maxOptions = 32      // members of Connection: each is compared with each field
	maxTrailer = 8 << 10 // bytes of a trailer section
)

var (
	errLF        = bad("line does not end with CRLF")
	errNoColon   = bad("header line without a colon")
	errName      = bad("invalid character in a header name")
	errValue     = bad("control character in a header value")
	errFold      = bad("folded header line")
	errFields    = &Error{431, "too many header fields"}
	errHead      = &Error{431, "header section too large"}
	errCL        = bad("invalid Content-Length")
	errCLs       = bad("more than one Content-Length")
	errTE        = bad("Transfer-Encoding is not exactly one \"chunked\"")
	errCLTE      = bad("both Content-Length and Transfer-Encoding")
	errTE10      = bad("Transfer-Encoding in an HTTP/1.0 message")
	errAliasName = bad("header name that some servers take for a framing field")
	errOptions   = bad("too many connection options")
)

// token marks the characters of RFC 9110 section 5.6.2.
var token = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return
}()

// section reads the lines of a header or trailer section, keeping its place between calls.
type section struct {
	pos  int // where the next line begins
	done bool
}

// line returns the next line without its CRLF; ok is false when it is not complete yet.
func (s *section) line(b []byte) (line []byte, ok bool, err *Error) {
	i := bytes.IndexByte(b[s.pos:], '\n')
	if i < 0 {
		return nil, false, nil
	}
	if i == 0 || b[s.pos+i-1] != '\r' {
		return nil, false, errLF
	}
	line = b[s.pos : s.pos+i-1]
	s.pos += i + 1
	return line, true, nil
}

// fields reads field lines into h until the empty line.
func (s *section) fields(b []byte, h *message.Header) *Error {
	for {
		line, ok, err := s.line(b)
		if !ok {
			return err
		}
		if len(line) == 0 {
			s.done = true
			return nil
		}
		if s.pos > MaxHead {
			return errHead
		}
		if len(h.Fields) >= MaxFields {
			return errFields
		}
		if err := addField(h, line); err != nil {
			return err
		}
	}
}

// addField parses one field line (RFC 9112 section 5).
func addField(h *message.Header, line []byte) *Error {
	i := 0
	alias := false
	for i < len(line) && token[line[i]] {
		if c := line[i]; c == '_' || c == '.' {
			alias = true
		}
		i++
	}
	switch {
	case i == len(line):
		return errNoColon
	case line[i] != ':':
		if i == 0 && (line[0] == ' ' || line[0] == '\t') {
			return errFold
		}
		if bytes.IndexByte(line, ':') < 0 {
			return errNoColon
		}
		return errName
	case i == 0:
		return errName
	}
	name, value := line[:i], line[i+1:]
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value); n > 0 && (value[n-1] == ' ' || value[n-1] == '\t'); n = len(value) {
		value = value[:n-1]
	}
	if !clean(value) {
		return errValue
	}
	if alias {
		switch folded(name) {
		case refuse:
			return errAliasName
		case drop:
			return nil
		}
	}
	h.Append(message.Identify(name), name, value)
	return nil
}

// clean says whether a value holds no control character but tab (RFC 9110 section 5.5). It looks at eight bytes at a time.
func clean(v []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(v) >= 8 {
		x := binary.LittleEndian.Uint64(v)
		low := (x - 0x20*ones) & ^x & high // a byte below 0x20, perhaps one above such a byte
		d := x ^ 0x7f*ones
		del := (d - ones) & ^d & high
		if low|del != 0 && !cleanSlow(v[:8]) {
			return false
		}
		v = v[8:]
	}
	return cleanSlow(v)
}

func cleanSlow(v []byte) bool {
	for _, c := range v {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// What is done with a name that reads like another once "_" and "." are taken for "-", as CGI and its heirs do.
type aliasing uint8

const (
	keep aliasing = iota
	drop
	refuse
)

// folded judges a name with "_" or "." in it: an alias of a framing field is refused, one of a field that this proxy owns or that servers trust
// as an identity is dropped, all others are kept.
func folded(name []byte) aliasing {
	var buf [64]byte // no known name is longer, and of the others the beginning is enough
	f := buf[:0]
	for _, c := range name[:min(len(name), len(buf))] {
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		f = append(f, c)
	}
	switch id := message.Identify(f); id {
	case message.ContentLength, message.TransferEncoding:
		return refuse
	case message.Other, message.UserAgent, message.Referer, message.Location, message.Server, message.Date, message.ContentType, message.SetCookie:
	default:
		return drop
	}
	for _, p := range identities {
		if bytes.HasPrefix(f, p) {
			return drop
		}
	}
	return keep
}

// identities are beginnings of names by which servers learn who asks.
var identities = [][]byte{[]byte("x-auth"), []byte("x-remote"), []byte("remote-"), []byte("x-real-"), []byte("x-client-"), []byte("x-ssl"), []byte("ssl-"),
	[]byte("x-user"), []byte("x-forward"), []byte("x-original-"), []byte("x-authenticated"), []byte("x-webauth"), []byte("x-access-token"), []byte("x-id-token")}

// framing reads Content-Length and Transfer-Encoding (RFC 9112 section 6). body is NoBody where neither is there.
func framing(h *message.Header, minor uint8) (body message.Body, err *Error) {
	if h.Seen&(message.ContentLength.Bit()|message.TransferEncoding.Bit()) == 0 {
		return
	}
	cl, te := 0, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.ID {
		case message.ContentLength:
			cl++
			n, ok := Decimal(f.Value)
			if !ok {
				return body, errCL
			}
			body = message.Body{Kind: message.Sized, Length: n}
		case message.TransferEncoding:
			te++
			if !message.EqualFold(f.Value, "chunked") {
				return body, errTE
			}
		}
	}
	switch {
	case cl > 1:
		return body, errCLs
	case te > 1:
		return body, errTE
	case cl > 0 && te > 0:
		return body, errCLTE
	case te > 0 && minor == 0:
		return body, errTE10
	case te > 0:
		body = message.Body{Kind: message.Chunked}
	}
	return body, nil
}

// Decimal reads a number made of digits only, up to 2^63-1.
func Decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= 1<<63-1
}

// hop are the fields that end here (RFC 9110 section 7.6.1): neither side's are relayed, each connection gets its own.
const hop = 1<<message.Connection | 1<<message.KeepAlive | 1<<message.ProxyConnection | 1<<message.TE | 1<<message.Trailer | 1<<message.Upgrade |
	1<<message.TransferEncoding | 1<<message.ContentLength | 1<<message.HTTP2Settings | 1<<message.ProxyAuthorization | 1<<message.ProxyAuthenticate |
	1<<message.Proxy | 1<<message.Expect

// options reads Connection (RFC 9110 section 7.6.1) and removes the fields it names. Host and framing fields are not its to name.
func options(h *message.Header) (closes, keeps, upgrades bool, err *Error) {
	if !h.Has(message.Connection) {
		return
	}
	nominated, n := false, 0
	for i := range h.Fields {
		if h.Fields[i].ID != message.Connection {
			continue
		}
		for v := h.Fields[i].Value; len(v) > 0; {
			var tok []byte
			tok, v = nextToken(v)
			if n++; n > maxOptions {
				return closes, keeps, upgrades, errOptions
			}
			switch {
			case len(tok) == 0:
			case message.EqualFold(tok, "close"):
				closes = true
			case message.EqualFold(tok, "keep-alive"):
				keeps = true
			case message.EqualFold(tok, "upgrade"):
				upgrades = true
			default:
				nominated = true
			}
		}
	}
	if nominated {
		h.Filter(func(f *message.Field) bool {
			const own = 1<<message.Host | 1<<message.Connection | 1<<message.ContentLength | 1<<message.TransferEncoding | 1<<message.Upgrade
			return (f.ID != message.Other && f.ID != message.XForwardedOther && 1<<f.ID&own != 0) || !Nominated(h, f.Name)
		})
	}
	return
}

// Nominated says whether Connection names a field.
func Nominated(h *message.Header, name []byte) bool {
	for i := range h.Fields {
		if h.Fields[i].ID != message.Connection {
			continue
		}
		for v := h.Fields[i].Value; len(v) > 0; {
			var tok []byte
			if tok, v = nextToken(v); message.EqualFold(tok, name) {
				return true
			}
		}
	}
	return false
}

// nextToken cuts the first member off a comma-separated list.
func nextToken(v []byte) (tok, rest []byte) {
	if i := bytes.IndexByte(v, ','); i >= 0 {
		tok, rest = v[:i], v[i+1:]
	} else {
		tok = v
	}
	return bytes.Trim(tok, " \t"), rest
}
