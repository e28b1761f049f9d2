package sample

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// Phase is when an expression is evaluated.
type Phase uint8

// The phases. An exchange keeps its request, so whatever can be read in request rules can be read in response rules (there HAProxy
// refuses part of it); the reverse is not so.
const (
	Request Phase = iota
	Response
)

func (p Phase) String() string { return [...]string{"request", "response"}[p] }

// Fetch is one row of the table of sample fetches.
type Fetch struct {
	Name    string
	Aliases []string
	Family  string // ACL criteria Family, Family_beg, Family_end ... test this sample; "" = none
	Args    []Param
	Type    Type
	From    Phase  // the earliest phase in which it has a value
	Doc     string // what it is, for the manual
	Example string

	eval func(x *exchange.Exchange, a []Arg) (Value, bool)
	// each steps through several values where the sample has them: an ACL tries them all. The zero Cursor is before the first.
	each func(x *exchange.Exchange, a []Arg, at Cursor) (Value, Cursor, bool)
}

// Fetches is the table of sample fetches. It is not to be changed.
func Fetches() []Fetch { return fetches }

var (
	headerArgs = []Param{{"name", HeaderName, true}, {"occurrence", Occurrence, false}}
	countArgs  = []Param{{"name", HeaderName, true}}
)

var fetches = []Fetch{
	{Name: "always_true", Type: Bool, Doc: "Always true.", Example: "always_true",
		eval: func(*exchange.Exchange, []Arg) (Value, bool) { return boolean(true), true }},
	{Name: "always_false", Type: Bool, Doc: "Always false.", Example: "always_false",
		eval: func(*exchange.Exchange, []Arg) (Value, bool) { return boolean(false), true }},
	{Name: "bool", Type: Bool, Args: []Param{{"value", Boolean, true}}, Doc: "The constant true or false (also 1, 0, yes, no, on, off).", Example: "bool(true)",
		eval: func(_ *exchange.Exchange, a []Arg) (Value, bool) { return boolean(a[0].Int != 0), true }},
	{Name: "int", Type: Int, Args: []Param{{"value", Integer, true}}, Doc: "A constant integer of 64 bits.", Example: "int(42)",
		eval: func(_ *exchange.Exchange, a []Arg) (Value, bool) { return integer(a[0].Int), true }},
	{Name: "str", Type: Str, Args: []Param{{"value", Text, true}}, Doc: "A constant string.", Example: "str(abc)",
		eval: func(_ *exchange.Exchange, a []Arg) (Value, bool) { return text(a[0].Bytes), true }},
	{Name: "rand", Type: Int, Args: []Param{{"range", Positive, false}}, Doc: "A random integer from 0 to range-1; the range is 2^32 if not given.", Example: "rand(100)",
		eval: func(_ *exchange.Exchange, a []Arg) (Value, bool) {
			if len(a) == 0 {
				return integer(int64(rand.Uint32())), true
			}
			return integer(rand.Int64N(a[0].Int)), true
		}},
	{Name: "uuid", Type: Str, Args: []Param{{"version", UUIDVersion, false}}, Doc: "A new UUID (RFC 9562), of version 4 or, if asked for, 7.", Example: "uuid", eval: newUUID},

	{Name: "src", Type: Addr, Doc: "The client's address: of the connection, or what a trusted proxy said it is.", Example: "src",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return addr(x.Src.Addr()), x.Src.Addr().IsValid() }},
	{Name: "src_port", Type: Int, Doc: "The client's port, 0 where a trusted proxy named the client.", Example: "src_port",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) {
			return integer(int64(x.Src.Port())), x.Src.Addr().IsValid()
		}},
	{Name: "dst", Type: Addr, Doc: "The local address the client connected to.", Example: "dst",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return addr(x.Dst.Addr()), x.Dst.Addr().IsValid() }},
	{Name: "dst_port", Type: Int, Doc: "The local port the client connected to.", Example: "dst_port",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) {
			return integer(int64(x.Dst.Port())), x.Dst.Addr().IsValid()
		}},
	{Name: "ssl_fc", Type: Bool, Doc: "True if the client's connection is TLS.", Example: "ssl_fc",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return boolean(x.TLS), true }},
	{Name: "ssl_fc_sni", Type: Str, Doc: "The server name the client sent in its TLS handshake; none without one.", Example: "ssl_fc_sni",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return name(x.SNI) }},
	{Name: "fe_name", Type: Str, Doc: "The frontend's name.", Example: "fe_name",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return name(x.Frontend) }},
	{Name: "be_name", Type: Str, Doc: "The backend's name, none before one is chosen.", Example: "be_name",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return name(x.Backend) }},
	{Name: "srv_name", Type: Str, From: Response, Doc: "The server's name, none if no server was reached.", Example: "srv_name",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return name(x.Server) }},

	{Name: "method", Type: Str, Doc: "The request method as sent.", Example: "method",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return text(x.Req.MethodToken), true }},
	{Name: "path", Family: "path", Type: Str, Doc: "The canonical path without path parameters and without the query: what routes compare as well.", Example: "path",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return text(x.Req.Match), len(x.Req.Match) > 0 }},
	{Name: "url", Aliases: []string{"pathq"}, Family: "url", Type: Str, Doc: "The canonical path with its parameters and the query. Never with scheme and host, also where the client sent them.", Example: "url",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return text(Target(x)), true }},
	{Name: "query", Type: Str, Doc: "The query, without its question mark; none if the URL has no question mark.", Example: "query",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) { return text(x.Req.Query), x.Req.HasQuery }},
	{Name: "base", Family: "base", Type: Str, Doc: "Host and path, joined.", Example: "base", eval: base},
	{Name: "req.ver", Aliases: []string{"req_ver"}, Type: Str, Doc: "The HTTP version of the request: 1.0, 1.1 or 2.0.", Example: "req.ver", eval: version},
	{Name: "req.proto_http", Aliases: []string{"req_proto_http"}, Type: Bool, Doc: "True: what reaches a rule is HTTP.", Example: "req.proto_http",
		eval: func(*exchange.Exchange, []Arg) (Value, bool) { return boolean(true), true }},

	{Name: "req.hdr", Family: "hdr", Type: Str, Args: headerArgs, Doc: "A value of a request header field, split at commas: the last one, or the one whose number is given (negative: from the end). An ACL tries all. req.hdr(host) is the host the client asked for, with its port if it sent one.", Example: "req.hdr(host)",
		eval: header(requestHeader, false), each: headerEach(requestHeader, false)},
	{Name: "req.fhdr", Type: Str, Args: headerArgs, Doc: "As req.hdr, but whole lines: commas do not split.", Example: "req.fhdr(user-agent)",
		eval: header(requestHeader, true), each: headerEach(requestHeader, true)},
	{Name: "req.hdr_cnt", Aliases: []string{"hdr_cnt"}, Type: Int, Args: countArgs, Doc: "How many values a request header field has, split at commas.", Example: "req.hdr_cnt(cookie)", eval: headerCount(requestHeader)},
	{Name: "req.hdr_val", Aliases: []string{"hdr_val"}, Type: Int, Args: headerArgs, Doc: "A value of a request header field as an integer.", Example: "req.hdr_val(content-length)",
		eval: headerInt(requestHeader), each: headerIntEach(requestHeader)},

	{Name: "status", From: Response, Type: Int, Doc: "The response's status code.", Example: "status",
		eval: func(x *exchange.Exchange, _ []Arg) (Value, bool) {
			return integer(int64(x.Res.Status)), x.Res.Status != 0
		}},
	{Name: "res.hdr", Family: "shdr", Aliases: []string{"shdr"}, From: Response, Type: Str, Args: headerArgs, Doc: "As req.hdr, of the response.", Example: "res.hdr(server)",
		eval: header(responseHeader, false), each: headerEach(responseHeader, false)},
	{Name: "res.fhdr", From: Response, Type: Str, Args: headerArgs, Doc: "As req.fhdr, of the response.", Example: "res.fhdr(set-cookie)",
		eval: header(responseHeader, true), each: headerEach(responseHeader, true)},
	{Name: "res.hdr_cnt", Aliases: []string{"shdr_cnt"}, From: Response, Type: Int, Args: countArgs, Doc: "As req.hdr_cnt, of the response.", Example: "res.hdr_cnt(set-cookie)", eval: headerCount(responseHeader)},
	{Name: "res.hdr_val", Aliases: []string{"shdr_val"}, From: Response, Type: Int, Args: headerArgs, Doc: "As req.hdr_val, of the response.", Example: "res.hdr_val(age)",
		eval: headerInt(responseHeader), each: headerIntEach(responseHeader)},
}

// FindFetch looks a fetch up by name or alias; nil if there is none. As in HAProxy "hdr" is the header of the message at hand:
// req.hdr in request rules, res.hdr in response rules (the ACL criterion hdr is always the request's).
func FindFetch(name string, p Phase) *Fetch {
	if name == "hdr" {
		name = [...]string{"req.hdr", "res.hdr"}[p]
	}
	for i := range fetches {
		if fetches[i].Name == name {
			return &fetches[i]
		}
		for _, a := range fetches[i].Aliases {
			if a == name {
				return &fetches[i]
			}
		}
	}
	return nil
}

func fetchNames() []string {
	n := []string{"hdr"}
	for i := range fetches {
		n = append(append(n, fetches[i].Name), fetches[i].Aliases...)
	}
	return n
}

// Target is the request's path and query as they go to a server: the canonical path, its parameters included.
func Target(x *exchange.Exchange) []byte {
	r := &x.Req
	if !r.HasQuery {
		return r.Path
	}
	return concat(&x.Arena, r.Path, view("?"), r.Query)
}

func concat(a *message.Arena, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := a.Alloc(n)
	n = 0
	for _, p := range parts {
		n += copy(out[n:], p)
	}
	return out
}

func base(x *exchange.Exchange, _ []Arg) (Value, bool) {
	host, path := x.Req.Authority, x.Req.Match
	if len(host) == 0 {
		return text(path), len(path) > 0
	}
	if len(path) == 0 || path[0] != '/' {
		return text(host), true
	}
	return text(concat(&x.Arena, host, path)), true
}

func version(x *exchange.Exchange, _ []Arg) (Value, bool) {
	switch {
	case x.Req.Major2:
		return text(view("2.0")), true
	case x.Req.Minor == 0:
		return text(view("1.0")), true
	}
	return text(view("1.1")), true
}

func newUUID(x *exchange.Exchange, a []Arg) (Value, bool) {
	var u [16]byte
	binary.BigEndian.PutUint64(u[0:], rand.Uint64())
	binary.BigEndian.PutUint64(u[8:], rand.Uint64())
	version := byte(4)
	if len(a) > 0 && a[0].Int == 7 {
		version = 7
		ms := uint64(time.Now().UnixMilli())
		binary.BigEndian.PutUint16(u[0:], uint16(ms>>32))
		binary.BigEndian.PutUint32(u[2:], uint32(ms))
	}
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	out := x.Arena.Alloc(36)
	hex.Encode(out[0:8], u[0:4])
	hex.Encode(out[9:13], u[4:6])
	hex.Encode(out[14:18], u[6:8])
	hex.Encode(out[19:23], u[8:10])
	hex.Encode(out[24:36], u[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return text(out), true
}
