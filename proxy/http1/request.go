package http1

import (
	"bytes"

	"github.com/approovia/edge/proxy/message"
)

var (
	errEmptyLines = bad("too many empty lines before a request")
	errMethod     = bad("invalid method")
	errTarget     = bad("invalid request target")
	errTooLong    = &Error{414, "request target too long"}
	errVersion    = bad("invalid protocol version")
	errMajor      = &Error{505, "unsupported protocol version"}
	errHost       = bad("invalid Host")
	errNoHost     = bad("HTTP/1.1 request without Host")
	errHosts      = bad("more than one Host")
	errHostDiffer = bad("Host differs from the request target")
	errConnect    = &Error{405, "CONNECT is not served"}
	errTrace      = &Error{405, "TRACE is not served"}
	errExpect     = &Error{417, "unknown expectation"}
)

// RequestParser reads one request head. The zero value begins one.
type RequestParser struct {
	s     section
	begun bool
	empty int
}

// Parse looks at the bytes received so far (b always begins at the same byte) and fills r. It returns the length of the head once that is
// complete, 0 while it is not. Path and match may be made in the arena.
func (p *RequestParser) Parse(b []byte, r *message.Request, a *message.Arena) (int, *Error) {
	for !p.begun {
		line, ok, err := p.s.line(b)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, p.early(b[p.s.pos:])
		}
		if len(line) == 0 { // RFC 9112 section 2.2
			if p.empty++; p.empty > 2 {
				return 0, errEmptyLines
			}
			continue
		}
		if err := requestLine(line, r); err != nil {
			return 0, err
		}
		p.begun = true
	}
	if err := p.s.fields(b, &r.Header); err != nil {
		return 0, err
	}
	if p.s.pos > MaxHead || !p.s.done && len(b) >= MaxHead {
		return 0, errHead
	}
	if !p.s.done {
		return 0, nil
	}
	return p.s.pos, finishRequest(r, a)
}

// early refuses what can never become a request line, before its end has come.
func (p *RequestParser) early(b []byte) *Error {
	for i, c := range b {
		if c == ' ' && i > 0 {
			if len(b)-i > MaxTarget+16 {
				return errTooLong
			}
			return nil
		}
		if c == '\r' && i == 0 && len(b) == 1 {
			return nil
		}
		if !token[c] || i >= maxMethod {
			return errMethod
		}
	}
	return nil
}

// requestLine parses "METHOD target HTTP/1.x" (RFC 9112 section 3).
func requestLine(line []byte, r *message.Request) *Error {
	sp := bytes.IndexByte(line, ' ')
	if sp <= 0 || sp > maxMethod {
		return errMethod
	}
	for _, c := range line[:sp] {
		if !token[c] {
			return errMethod
		}
	}
	r.MethodToken = line[:sp]
	r.Method = message.IdentifyMethod(r.MethodToken)
	rest := line[sp+1:]
	sp = bytes.IndexByte(rest, ' ')
	if sp < 0 {
		return errVersion
	}
	target, version := rest[:sp], rest[sp+1:]
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9' {
		return errVersion
	}
	switch {
	case version[5] == '1':
		r.Minor = min(version[7]-'0', 1) // a higher minor version is understood as 1.1 (RFC 9110 section 2.5)
	case version[5] > '1':
		return errMajor
	default:
		return errVersion
	}
	switch r.Method {
	case message.CONNECT:
		return errConnect
	case message.TRACE:
		return errTrace
	}
	if len(target) > MaxTarget {
		return errTooLong
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return errTarget
		}
	}
	return splitTarget(target, r)
}

// splitTarget takes the target apart (RFC 9112 section 3.2). Path is left raw; finishRequest makes it canonical.
func splitTarget(t []byte, r *message.Request) *Error {
	switch {
	case len(t) == 0:
		return errTarget
	case t[0] == '/':
	case len(t) == 1 && t[0] == '*' && r.Method == message.OPTIONS:
		r.Path, r.Match = t, t
		return nil
	default:
		n := 0
		if len(t) > 7 && message.EqualFold(t[:7], "http://") {
			n = 7
		} else if len(t) > 8 && message.EqualFold(t[:8], "https://") {
			n = 8
		} else {
			return errTarget
		}
		t = t[n:]
		end := bytes.IndexAny(t, "/?")
		if end < 0 {
			end = len(t)
		}
		r.Authority = t[:end]
		if end == 0 {
			return errHost
		}
		t = t[end:]
		if len(t) == 0 {
			t = slash
		}
	}
	if q := bytes.IndexByte(t, '?'); q >= 0 {
		r.Query, r.HasQuery = t[q+1:], true
		t = t[:q]
		if len(t) == 0 {
			t = slash
		}
	}
	r.Path = t
	return nil
}

var slash = []byte("/")

// finishRequest judges a complete head as a whole.
func finishRequest(r *message.Request, a *message.Arena) *Error {
	var err *Error
	if r.Body, err = framing(&r.Header, r.Minor); err != nil {
		return err
	}
	if err := host(r, a); err != nil {
		return err
	}
	if r.Path[0] == '/' {
		if r.Path, r.Match, err = CanonicalPath(r.Path, a); err != nil {
			return err
		}
	}
	if r.Header.Has(message.Expect) {
		if err := expect(r); err != nil {
			return err
		}
	}
	closes, keeps, upgrades, err := options(&r.Header)
	r.Close = closes || r.Minor == 0 && !keeps
	if upgrades && r.Minor > 0 && r.Body.Kind == message.NoBody {
		r.Upgrade = upgrade(&r.Header)
	}
	return err
}

func expect(r *message.Request) *Error {
	n := 0
	for i := range r.Header.Fields {
		if f := &r.Header.Fields[i]; f.ID == message.Expect {
			if n++; n > 1 || !message.EqualFold(f.Value, "100-continue") {
				return errExpect
			}
		}
	}
	r.Expect100 = r.Minor > 0 // RFC 9110 section 10.1.1
	return nil
}

// upgrade returns the one protocol asked for. A list, more than one line and h2c are not relayed (RFC 9110 section 7.8, RFC 9113 section 3.1).
func upgrade(h *message.Header) []byte {
	var proto []byte
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.Upgrade {
			if proto != nil || len(f.Value) == 0 {
				return nil
			}
			proto = f.Value
		}
	}
	for _, c := range proto {
		if !token[c] && c != '/' {
			return nil
		}
	}
	if len(proto) >= 2 && message.EqualFold(proto[:2], "h2") {
		return nil
	}
	return proto
}

// host settles which host is asked for (RFC 9112 section 3.2): there is one, it is well formed, and the target in absolute form agrees with it.
func host(r *message.Request, a *message.Arena) *Error {
	var field []byte
	n := 0
	if r.Header.Has(message.Host) {
		for i := range r.Header.Fields {
			if f := &r.Header.Fields[i]; f.ID == message.Host {
				field = f.Value
				n++
			}
		}
	}
	switch {
	case n > 1:
		return errHosts
	case n == 0 && r.Minor > 0:
		return errNoHost
	case n == 0:
		if r.Authority == nil {
			return nil
		}
	case r.Authority == nil:
		r.Authority = field
	case !message.EqualFold(field, r.Authority):
		return errHostDiffer
	}
	name, ok := Hostname(r.Authority, a)
	if !ok {
		return errHost
	}
	r.Hostname = name
	return nil
}

// Hostname checks "host[:port]", whose labels are not empty, and returns the host in lower case without a trailing dot; brackets of an IPv6 address are kept.
func Hostname(authority []byte, a *message.Arena) ([]byte, bool) {
	h := authority
	if len(h) > 0 && h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		if end < 3 {
			return nil, false
		}
		for _, c := range h[1:end] {
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.') {
				return nil, false
			}
		}
		if !port(h[end+1:]) {
			return nil, false
		}
		return lowerCase(h[:end+1], a), true
	}
	if i := bytes.IndexByte(h, ':'); i >= 0 {
		if !port(h[i:]) {
			return nil, false
		}
		h = h[:i]
	}
	prev := byte('.')
	for _, c := range h {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '.' || c == '_' || c == '~') || c == '.' && prev == '.' {
			return nil, false
		}
		prev = c
	}
	if n := len(h); n > 0 && h[n-1] == '.' {
		h = h[:n-1]
	}
	if len(h) == 0 || len(h) > 255 {
		return nil, false
	}
	return lowerCase(h, a), true
}

// port checks "" or ":" and up to five digits of a port number.
func port(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	n, ok := Decimal(b[1:])
	return b[0] == ':' && (len(b) == 1 || ok && n <= 65535 && len(b) <= 6)
}

func lowerCase(b []byte, a *message.Arena) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			l := a.Copy(b)
			for ; i < len(l); i++ {
				if 'A' <= l[i] && l[i] <= 'Z' {
					l[i] += 'a' - 'A'
				}
			}
			return l
		}
	}
	return b
}
