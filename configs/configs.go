// Package configs answers what the operator wrote: it reads edge.yaml and
// the files it includes into a Config in which every name, condition and
// action still knows its file, line and column, reports everything wrong
// with it at once, and describes the same document as a JSON Schema.
//
// It knows no behaviour. Conditions and actions stay text (the proxy compiles
// them and reports their errors at Text.At), key files stay paths (their
// readers open them), addresses stay names (nothing is resolved).
//
// The way through: Load reads a file, reader (yaml.go) turns YAML into nodes,
// the tables in keys.go decode nodes into the types below, Validate fills in
// defaults and checks what no single key can tell. A Config is not edited
// after Load and may be read by any number of goroutines.
package configs

import (
	"net/netip"
	"time"
)

// Config is the whole document: the main file and all it includes.
type Config struct {
	File     string   // the main file, as it was named to Load
	Files    []string // every file read or missed, includes and ${file:} too, in reading order: what a reload watches
	Includes []string // the include patterns, absolute after Load: a new file that matches one is a change
	Digest   string   // SHA-256 in hex over the names and bytes of Files

	Global    Global
	Timeouts  Timeouts // the document's own, with defaults filled in
	Mesh      *Mesh    // nil without a mesh section
	Frontends []*Frontend
	Backends  []*Backend

	// Warnings are what is allowed and probably not meant, in file order.
	Warnings Errors

	// places remembers where a field's value stood, by the field's address,
	// until Parse is done.
	places map[any]Pos
}

// Global is what belongs to the process, not to one frontend or backend.
type Global struct {
	Pos            Pos
	Admin          string         // "unix:/path", absolute; "" = no admin API
	Metrics        string         // "host:port"; "" = not served
	StateDir       string         // absolute; "" = nothing is kept across restarts
	Loops          int            // 0 = one per core
	Maxconn        int            // client connections; 0 = from the descriptor limit
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Log            Log
}

// Log says what is written where.
type Log struct {
	Access AccessLog
	Level  string // debug, info, warn or error; of the process log on stderr
}

// AccessLog is the line per exchange.
type AccessLog struct {
	Off    bool
	Format string // json or httplog
	To     string // stdout, stderr or an absolute file path
}

// Timeouts are HAProxy's. After Validate none is zero except Check.
type Timeouts struct {
	Connect     time.Duration // until a server's connection is established
	Client      time.Duration // silence of a client that should send or take data
	Server      time.Duration // silence of a server that should answer
	HTTPRequest time.Duration // from a request's first byte to the end of its head
	KeepAlive   time.Duration // idle between two requests of one connection
	Queue       time.Duration // waiting for a server's slot
	Tunnel      time.Duration // silence both ways after an upgrade
	Check       time.Duration // one health check; 0 = the check's interval
}

// Mesh is this machine's place in the WireGuard mesh.
type Mesh struct {
	Pos            Pos
	PrivateKeyFile Text         // absolute path
	Address        netip.Prefix // own address in the mesh, with its network's length
	Listen         int          // UDP port; 0 = the kernel's choice
	MTU            int          // bytes; default 1420
	Peers          []*Peer
}

// Peer is one other machine of the mesh.
type Peer struct {
	Name             string
	Pos              Pos
	PublicKey        string         // base64 of 32 bytes
	PresharedKeyFile Text           // absolute path; S == "" = none
	Endpoint         string         // "host:port"; "" = learnt from the peer's packets
	AllowedIPs       []netip.Prefix // no address belongs to two peers
	Keepalive        time.Duration  // whole seconds; 0 = off
}

// Frontend is where clients arrive and what is decided about them.
type Frontend struct {
	Name           string
	Pos            Pos
	Mode           string // http
	Binds          []*Bind
	RedirectHTTPS  bool
	ACLs           []*ACL // in file order
	Allow          []Text // conditions: a request that meets none of them is answered 403; empty = all may
	Deny           []Text // conditions: a request that meets one of them is answered 403
	Request        []Text // HAProxy http-request actions, in order
	Response       []Text // HAProxy http-response actions, in order
	Routes         []*Route
	DefaultBackend *Text    // nil = none
	Maxconn        int      // client connections; 0 = no limit of its own
	Timeouts       Timeouts // resolved by Validate
}

// ACL is a named condition; Lines are alternatives.
type ACL struct {
	Name  string
	Pos   Pos
	Lines []Text
}

// Bind is one listening socket.
type Bind struct {
	Pos     Pos
	Address string   // "host:port" with an IP address, or ":port" for all addresses; port 0 = the kernel's choice
	TLS     *BindTLS // nil = plain text
}

// BindTLS names PEM files by absolute path. A file with both certificate and
// key is named twice.
type BindTLS struct {
	Pos       Pos
	Cert, Key Text
}

// Route leads the requests of one host and path to a backend. Of two routes
// with the same host and path the one written first is tried first.
type Route struct {
	Pos         Pos
	Host        string // lower case, "*.example.com" for all names below, "" = any
	Path        string // begins with "/"; covers whole segments, not a byte prefix
	Backend     Text
	StripPrefix bool
	If          *Text // a condition; nil = always
}

// Backend is a set of servers that are as good as each other.
type Backend struct {
	Name     string
	Pos      Pos
	Balance  string  // roundrobin or leastconn
	Health   *Health // nil = servers count as up
	Retries  Retries
	Request  []Text // HAProxy http-request actions, after the frontend's
	Response []Text // HAProxy http-response actions, before the frontend's
	Servers  []*Server
	Timeouts Timeouts // resolved by Validate
}

// Health is how servers are checked: exactly one of HTTP and TCP is true.
type Health struct {
	Pos          Pos
	HTTP         bool
	Method, Path string        // of the request
	Host         string        // its Host field; "" = the server's address
	Expect       []StatusRange // status codes that count as healthy
	TCP          bool
	Interval     time.Duration // between checks of a server that is up and stays so
	Fast         time.Duration // while a server is between up and down
	Down         time.Duration // while it is down
	Timeout      time.Duration // of one check
	Rise, Fall   int           // checks in a row until up, until down
	Port         int           // 0 = the server's own
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct{ From, To int }

// Retries says how a failed attempt is repeated.
type Retries struct {
	Attempts   int      // further attempts after the first, as HAProxy's retries; 0 = none
	Redispatch bool     // they may go to another server
	On         []string // conn-failure, empty-response
}

// Server is one address that answers for its backend.
type Server struct {
	Name     string
	Pos      Pos
	Address  string // "host:port"
	Weight   int    // 0..256; 0 = takes no new request
	Maxconn  int    // exchanges at a time; 0 = no limit
	Backup   bool   // used when no other server is up
	Disabled bool   // starts in maintenance
}
