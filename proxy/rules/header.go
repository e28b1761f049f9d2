package rules

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// reserved are the fields no rule may touch, with the reason.
var reserved = map[message.ID]string{
	message.ContentLength:    "it frames the message",
	message.TransferEncoding: "it frames the message",
	message.Trailer:          "it belongs to the framing of the message",
	message.Connection:       "it concerns one connection only",
	message.KeepAlive:        "it concerns one connection only",
	message.ProxyConnection:  "it concerns one connection only",
	message.TE:               "it concerns one connection only",
	message.Upgrade:          "it concerns one connection only",
	message.HTTP2Settings:    "it concerns one connection only",
	message.Expect:           "100-continue is answered by edge itself",
}

// field takes a header field name.
func (p *parser) field() (message.Name, sample.Word, error) {
	w, err := p.word("a header field name")
	if err != nil {
		return message.Name{}, w, err
	}
	if !sample.Token(w.Text) {
		return message.Name{}, w, sample.Errorf(w.Offset, "%q is no header field name: letters, digits and - (RFC 9110 section 5.1)", w.Text)
	}
	n := message.NewName(w.Text)
	if why := reserved[n.ID]; why != "" {
		return n, w, sample.Errorf(w.Offset, "header field %s cannot be changed by a rule: %s", n.ID, why)
	}
	return n, w, nil
}

// side is the header of the phase's message.
func side(x *exchange.Exchange, phase sample.Phase) *message.Header {
	if phase == sample.Request {
		return &x.Req.Header
	}
	return &x.Res.Header
}

// control says whether a byte may not stand in a field value: everything below space but the tab, and DEL (RFC 9110 section 5.5).
func control(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func trim(b []byte) []byte { return bytes.Trim(b, " \t") }

// value evaluates a format for a header field. CR, LF, NUL and other control characters, which could begin a line of their own
// on the wire, are dropped from it, as is white space at its ends.
func value(f *sample.Format, x *exchange.Exchange) []byte {
	b := f.Bytes(x)
	if _, ok := f.Const(); ok {
		return b // looked at when it was compiled
	}
	return clean(b, &x.Arena)
}

func clean(b []byte, a *message.Arena) []byte {
	for i, c := range b {
		if control(c) {
			out := a.Copy(b)
			n := i
			for _, c := range b[i:] {
				if !control(c) {
					out[n] = c
					n++
				}
			}
			return trim(out[:n])
		}
	}
	return trim(b)
}

type setHeader struct {
	name  message.Name
	value *sample.Format
	phase sample.Phase
}

func compileSetHeader(p *parser) (step, error) {
	name, w, err := p.field()
	if err != nil {
		return nil, err
	}
	f, err := p.header("the value")
	if err != nil {
		return nil, err
	}
	if name.ID == message.Host && p.phase == sample.Request {
		if text, ok := f.Const(); ok && !authority(text) {
			return nil, sample.Errorf(w.Offset, "%q is no host that can be asked for: a name or address, with or without a port", text)
		}
		return &setHost{f}, nil
	}
	return &setHeader{name, f, p.phase}, nil
}

// run computes the value first: it may be made of the lines it replaces.
func (s *setHeader) run(x *exchange.Exchange) (*Reply, bool) {
	v := value(s.value, x)
	side(x, s.phase).Set(s.name, v)
	return nil, false
}

// setHost changes the host that is asked for, in Req.Authority and Req.Hostname and in a Host line if there is one. A computed value that is no
// authority (empty, with a comma, a slash, user information ...) changes nothing: what routes compare and what a server sees must
// not differ.
type setHost struct{ value *sample.Format }

func (s *setHost) run(x *exchange.Exchange) (*Reply, bool) {
	v := value(s.value, x)
	if !authority(v) {
		return nil, false
	}
	x.Req.Authority, x.Req.Hostname = v, hostname(v, &x.Arena)
	h := &x.Req.Header
	if h.Has(message.Host) {
		h.Set(hostName, v)
	}
	return nil, false
}

var hostName = message.NewName("Host")

// authority says whether b is uri-host [":" port] (RFC 9110 section 7.2) as far as one byte after the other tells.
func authority(b []byte) bool {
	host, port, rest := b, []byte(nil), 0
	if len(b) > 0 && b[0] == '[' {
		if rest = bytes.IndexByte(b, ']') + 1; rest == 0 {
			return false
		}
	}
	if i := bytes.IndexByte(b[rest:], ':'); i >= 0 {
		host, port = b[:rest+i], b[rest+i+1:]
	}
	if len(host) == 0 || rest > 0 && len(host) != rest {
		return false
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	if rest > 0 {
		host = host[1 : len(host)-1]
	}
	for _, c := range host {
		ok := '0' <= c && c <= '9' || c == '.'
		if rest > 0 {
			ok = ok || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':'
		} else {
			ok = ok || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '_'
		}
		if !ok {
			return false
		}
	}
	return len(port) <= 5 && len(host) <= 255 && len(host) > 0 && string(host) != "."
}

// hostname is an authority without its port and a trailing dot, in lower case.
func hostname(b []byte, a *message.Arena) []byte {
	if i := bytes.LastIndexByte(b, ':'); i > bytes.LastIndexByte(b, ']') {
		b = b[:i]
	}
	b = bytes.TrimSuffix(b, []byte("."))
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			out := a.Copy(b)
			for i, c := range out {
				if 'A' <= c && c <= 'Z' {
					out[i] = c + 'a' - 'A'
				}
			}
			return out
		}
	}
	return b
}

type addHeader setHeader

func compileAddHeader(p *parser) (step, error) {
	name, w, err := p.field()
	if err != nil {
		return nil, err
	}
	if name.ID == message.Host {
		return nil, sample.Errorf(w.Offset, "a request has one Host: use set-header")
	}
	f, err := p.header("the value")
	if err != nil {
		return nil, err
	}
	return &addHeader{name, f, p.phase}, nil
}

func (s *addHeader) run(x *exchange.Exchange) (*Reply, bool) {
	v := value(s.value, x)
	side(x, s.phase).Append(s.name.ID, s.name.Bytes, v)
	return nil, false
}

// delHeader removes fields by name. Reserved fields and a request's Host stay whatever the pattern.
type delHeader struct {
	name  message.Name
	match func(name []byte) bool // nil: exactly name
	phase sample.Phase
}

// nameMatches compares field names, in any letter case as HAProxy does but for regular expressions, which say themselves.
var nameMatches = map[string]func(pattern string) (func(name []byte) bool, error){
	"str": func(string) (func([]byte) bool, error) { return nil, nil },
	"beg": func(s string) (func([]byte) bool, error) {
		return func(n []byte) bool { return len(n) >= len(s) && message.EqualFold(n[:len(s)], s) }, nil
	},
	"end": func(s string) (func([]byte) bool, error) {
		return func(n []byte) bool { return len(n) >= len(s) && message.EqualFold(n[len(n)-len(s):], s) }, nil
	},
	"sub": func(s string) (func([]byte) bool, error) {
		return func(n []byte) bool {
			for i := 0; i+len(s) <= len(n); i++ {
				if message.EqualFold(n[i:i+len(s)], s) {
					return true
				}
			}
			return false
		}, nil
	},
	"reg": func(s string) (func([]byte) bool, error) {
		var re *regexp.Regexp
		re, err := sample.Regexp(s, true)
		return func(n []byte) bool { return re.Match(n) }, err
	},
}

func compileDelHeader(p *parser) (step, error) {
	w, err := p.word("a header field name")
	if err != nil {
		return nil, err
	}
	method := "str"
	if p.keyword("-m") {
		m, err := p.word("a match method (str, beg, end, sub or reg)")
		if err != nil {
			return nil, err
		}
		if nameMatches[m.Text] == nil {
			return nil, sample.Errorf(m.Offset, "unknown match method %q for a header field name (known: str, beg, end, sub, reg)", m.Text)
		}
		method = m.Text
	}
	d := &delHeader{phase: p.phase}
	if method == "str" {
		p.next = 1
		name, w, err := p.field()
		if err != nil {
			return nil, err
		}
		if p.keyword("-m") {
			p.next++
		}
		if name.ID == message.Host && p.phase == sample.Request {
			return nil, sample.Errorf(w.Offset, "Host cannot be removed: HTTP/1.1 requires it (RFC 9112 section 3.2)")
		}
		d.name = name
		return d, nil
	}
	if method != "reg" && !sample.Token(w.Text) {
		return nil, sample.Errorf(w.Offset, "%q is no part of a header field name", w.Text)
	}
	if d.match, err = nameMatches[method](w.Text); err != nil {
		e := sample.Errors(err)[0]
		return nil, sample.Errorf(w.At(e.Offset), "%s", strings.TrimSpace(e.Msg))
	}
	return d, nil
}

func (d *delHeader) run(x *exchange.Exchange) (*Reply, bool) {
	h := side(x, d.phase)
	if d.match == nil {
		h.Del(d.name)
		return nil, false
	}
	w := 0
	for i := range h.Fields {
		f := h.Fields[i]
		if keep := reserved[f.ID] != "" || f.ID == message.Host || !d.match(f.Name); keep {
			h.Fields[w] = f
			w++
		}
	}
	h.Fields = h.Fields[:w]
	return nil, false
}
