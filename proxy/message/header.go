// Package message answers what an HTTP request or response says: its start line, its ordered header fields, how its body
// is framed. It knows no wire (http1 and http2 read and write these values) and no policy (rules change them).
//
// Everything here belongs to one exchange and is used by one flow of control at a time. Byte slices are views into the
// buffer the message was read into, or into the exchange's Arena; they are valid until the exchange has ended.
package message

// ID names a header field this program has an opinion about, so that the hot path compares a byte instead of a string.
// Other is every other field.
type ID uint8

// The known fields. Their order is of no meaning; there must be fewer than 64 (Header.Seen is a bit set of them).
const (
	Other ID = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	TE
	Trailer
	Upgrade
	Expect
	HTTP2Settings
	ProxyAuthorization
	ProxyAuthenticate
	Proxy
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XForwardedPort
	XForwardedPrefix
	XForwardedServer
	XForwardedOther // any other X-Forwarded-...
	XRealIP
	Forwarded
	Cookie
	SetCookie
	UserAgent
	Referer
	Authorization
	Location
	Server
	Date
	ContentType
	ids
)

// known is the one list of names behind the IDs, in canonical spelling.
var known = [ids]string{
	Host: "Host", ContentLength: "Content-Length", TransferEncoding: "Transfer-Encoding", Connection: "Connection",
	KeepAlive: "Keep-Alive", ProxyConnection: "Proxy-Connection", TE: "TE", Trailer: "Trailer", Upgrade: "Upgrade",
	Expect: "Expect", HTTP2Settings: "HTTP2-Settings", ProxyAuthorization: "Proxy-Authorization",
	ProxyAuthenticate: "Proxy-Authenticate", Proxy: "Proxy", XForwardedFor: "X-Forwarded-For",
	XForwardedProto: "X-Forwarded-Proto", XForwardedHost: "X-Forwarded-Host", XForwardedPort: "X-Forwarded-Port",
	XForwardedPrefix: "X-Forwarded-Prefix", XForwardedServer: "X-Forwarded-Server", XRealIP: "X-Real-IP",
	Forwarded: "Forwarded", Cookie: "Cookie", SetCookie: "Set-Cookie", UserAgent: "User-Agent", Referer: "Referer",
	Authorization: "Authorization", Location: "Location", Server: "Server", Date: "Date", ContentType: "Content-Type",
}

// byLength holds the known names by their length: a lookup compares with two or three names at most.
var byLength = func() (t [24][]ID) {
	for id := Other + 1; id < ids; id++ {
		if n := len(known[id]); n > 0 {
			t[n] = append(t[n], id)
		}
	}
	return
}()

// Identify returns the ID of a field name in any letter case.
func Identify(name []byte) ID {
	n := len(name)
	if n < len(byLength) {
		for _, id := range byLength[n] {
			// The last letter sorts out nearly all of the others before a full comparison.
			if k := known[id]; name[n-1]|0x20 == k[n-1]|0x20 && EqualFold(name, k) {
				return id
			}
		}
	}
	if n > len("x-forwarded-") && name[0]|0x20 == 'x' && EqualFold(name[:len("x-forwarded-")], "x-forwarded-") {
		return XForwardedOther
	}
	return Other
}

// String is the canonical spelling, "" for Other and XForwardedOther.
func (id ID) String() string { return known[id] }

// Bit is the ID's place in Header.Seen.
func (id ID) Bit() uint64 { return 1 << id }

// EqualFold compares ASCII text without regard to letter case (RFC 9110 section 5.1). Only ASCII letters fold.
func EqualFold[A, B ~[]byte | ~string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return
}()

// Field is one header field line. Value carries no surrounding white space.
type Field struct {
	Name  []byte
	Value []byte
	ID    ID
}

// Header is the ordered list of field lines. The zero value is empty and ready.
type Header struct {
	Fields []Field
	Seen   uint64 // bit set of the IDs that occur, or did before a Del; a clear bit is a sure "no"
}

// Reset empties the header, keeping its memory.
func (h *Header) Reset() { h.Fields, h.Seen = h.Fields[:0], 0 }

// Has says whether a known field may occur.
func (h *Header) Has(id ID) bool { return h.Seen&id.Bit() != 0 }

// Append adds a line whose bytes stay valid for the exchange.
func (h *Header) Append(id ID, name, value []byte) {
	h.Fields = append(h.Fields, Field{name, value, id})
	h.Seen |= id.Bit()
}

// Get returns the first value of a known field.
func (h *Header) Get(id ID) ([]byte, bool) {
	if h.Seen&id.Bit() == 0 {
		return nil, false
	}
	for i := range h.Fields {
		if h.Fields[i].ID == id {
			return h.Fields[i].Value, true
		}
	}
	return nil, false
}

// Name is a field name made ready for lookups: rules make one when they are compiled.
type Name struct {
	ID    ID
	Bytes []byte
}

// NewName prepares a field name for Find, Set and Del.
func NewName(s string) Name { return Name{Identify([]byte(s)), []byte(s)} }

// Match says whether a field bears this name.
func (n Name) Match(f *Field) bool {
	return n.ID == f.ID && (n.ID != Other && n.ID != XForwardedOther || EqualFold(n.Bytes, f.Name))
}

// Next returns the index of the first line with that name at or after index i, or -1.
func (h *Header) Next(n Name, i int) int {
	if h.Seen&n.ID.Bit() == 0 {
		return -1
	}
	for ; i < len(h.Fields); i++ {
		if n.Match(&h.Fields[i]) {
			return i
		}
	}
	return -1
}

// Del removes every line with that name and says whether there was one.
func (h *Header) Del(n Name) bool {
	if h.Next(n, 0) < 0 {
		return false
	}
	h.Filter(func(f *Field) bool { return !n.Match(f) })
	return true
}

// Filter keeps the lines for which keep is true, in order.
func (h *Header) Filter(keep func(*Field) bool) {
	w := 0
	for i := range h.Fields {
		if keep(&h.Fields[i]) {
			if w != i {
				h.Fields[w] = h.Fields[i]
			}
			w++
		}
	}
	h.Fields = h.Fields[:w]
}

// Set replaces every line with that name by one at the end.
func (h *Header) Set(n Name, value []byte) {
	h.Del(n)
	h.Append(n.ID, n.Bytes, value)
}

// Arena holds bytes made during an exchange (values computed by rules, a rewritten path). A slice handed out stays valid
// until Reset, however much is added after it.
type Arena struct{ buf []byte }

// Reset gives all bytes back; memory beyond 4 KiB is let go so that one large exchange does not stay for ever.
func (a *Arena) Reset() {
	if cap(a.buf) > 4096 {
		a.buf = nil
	}
	a.buf = a.buf[:0]
}

// Alloc returns n bytes of unspecified content.
func (a *Arena) Alloc(n int) []byte {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(512, 2*cap(a.buf), n))
	}
	s := len(a.buf)
	a.buf = a.buf[:s+n]
	return a.buf[s : s+n : s+n]
}

// Copy returns a copy of b that lives as long as the exchange.
func (a *Arena) Copy(b []byte) []byte {
	c := a.Alloc(len(b))
	copy(c, b)
	return c
}
