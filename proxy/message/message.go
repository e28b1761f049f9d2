package message

// Body says how the content of a message is delimited.
type Body struct {
	Kind   BodyKind
	Length int64 // of the content in bytes, for Sized
}

// BodyKind is the framing of RFC 9112 section 6.3.
type BodyKind uint8

// The framings.
const (
	NoBody     BodyKind = iota // there is none
	Sized                      // Content-Length, which may be 0
	Chunked                    // chunked transfer coding
	UntilClose                 // a response that ends with its connection
)

// Method is a request method this program treats specially, or OtherMethod.
type Method uint8

// The methods.
const (
	OtherMethod Method = iota
	GET
	HEAD
	POST
	PUT
	DELETE
	OPTIONS
	PATCH
	TRACE
	CONNECT
)

var methods = [...]string{"", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}

// IdentifyMethod names a method token; methods are case-sensitive (RFC 9110 section 9.1).
func IdentifyMethod(b []byte) Method {
	for m := GET; m <= CONNECT; m++ {
		if string(b) == methods[m] {
			return m
		}
	}
	return OtherMethod
}

// Idempotent says whether a request may be sent twice without harm (RFC 9110 section 9.2.2).
func (m Method) Idempotent() bool {
	return m == GET || m == HEAD || m == PUT || m == DELETE || m == OPTIONS || m == TRACE
}

// Request is what a client asks.
type Request struct {
	MethodToken []byte // as sent
	Method      Method
	Minor       uint8 // HTTP/1.Minor; 2 stands for HTTP/2 (see Major2)
	Major2      bool

	// Path is the canonical path (package http1 CanonicalPath): the one that routes, conditions, rewrites, the log and the server
	// all see. It begins with "/", or is "*" for OPTIONS *.
	Path []byte
	// Match is Path without path parameters (";..." at the end of a segment): what routes and conditions compare. It shares Path's bytes
	// where there are none.
	Match    []byte
	Query    []byte // after "?", without it
	HasQuery bool   // tells "/x?" from "/x"

	// Authority is the host the client asked for, from the target in absolute form or from Host, as sent.
	Authority []byte
	// Hostname is Authority without port and without a trailing dot, in lower case.
	Hostname []byte

	Header  Header
	Trailer Header
	Body    Body

	Expect100 bool   // Expect: 100-continue was sent and not yet answered
	Upgrade   []byte // the protocol asked for by Upgrade + Connection: upgrade, nil if none
	Close     bool   // the client's connection ends after this exchange (Connection: close, HTTP/1.0 without keep-alive)
}

// Reset empties the request, keeping its memory.
func (r *Request) Reset() {
	h, t := r.Header, r.Trailer
	*r = Request{}
	h.Reset()
	t.Reset()
	r.Header, r.Trailer = h, t
}

// Response is what a server, or this program, answers.
type Response struct {
	Status int // 100 to 999
	Reason []byte
	Minor  uint8

	Header  Header
	Trailer Header
	Body    Body

	Close bool // the server's connection ends after this response
}

// Reset empties the response, keeping its memory.
func (r *Response) Reset() {
	h, t := r.Header, r.Trailer
	*r = Response{}
	h.Reset()
	t.Reset()
	r.Header, r.Trailer = h, t
}
