// Package exchange is one request and its answer: what is known of it while rules look at it and servers work on it, how it ended
// and what the log says of it. It knows neither wires nor policy.
package exchange

import (
	"net/netip"

	"github.com/approovia/edge/proxy/message"
)

// Exchange belongs to one flow of control from the first byte of the request to the log line; nothing in it may be kept after
// that. Times are nanoseconds on the loop's monotonic clock, 0 = not reached.
type Exchange struct {
	Req message.Request
	Res message.Response

	Peer netip.AddrPort // who is connected to us
	Src  netip.AddrPort // the client: Peer, or what a trusted proxy said (then with port 0)
	Dst  netip.AddrPort // our side of the connection
	TLS  bool
	SNI  string

	Frontend, Backend, Server string // names; "" = none yet

	Begin   int64 // first byte of the request (or the end of the previous exchange for the idle time)
	Accept  int64 // the connection was accepted, for its first exchange; otherwise Begin
	Head    int64 // the request head was complete
	Queued  int64 // a server slot was granted
	Connect int64 // the connection to the server stood
	Answer  int64 // the response head was complete
	Done    int64
	Wall    int64 // wall clock at Accept, nanoseconds since 1970

	BytesIn      int64 // received from the client: head and body
	BytesOut     int64 // sent to the client: head and body
	Retries      int
	Redispatched bool
	Reused       bool // an idle server connection was used
	Local        bool // this program answered itself

	// Load as HAProxy's httplog prints it, taken when the line is written.
	ActConn, FeConn, BeConn, SrvConn, SrvQueue, BackendQueue int

	End   End
	Arena message.Arena
}

// Reset makes the exchange ready for the next request, keeping its memory.
func (x *Exchange) Reset() {
	req, res, a := x.Req, x.Res, x.Arena
	*x = Exchange{}
	req.Reset()
	res.Reset()
	a.Reset()
	x.Req, x.Res, x.Arena = req, res, a
}

// End says who ended an exchange, when, and why: HAProxy's termination state (configuration manual, section 8.5) and a cause in words.
// The zero End is a normal end, "--".
type End struct {
	Who   byte   // C client, S server, P proxy, L answered here, R resource, I internal, D server marked down, K admin; c, s timeouts; 0 normal
	When  byte   // R request, Q queue, C connect, H headers, D data, L last bytes, T tarpit; 0 normal
	Cause string // what happened, for the log: "connection refused", "no server is up"
}

// Letters is the two-letter termination state, "--" for a normal end.
func (e End) Letters() string {
	b := [2]byte{'-', '-'}
	if e.Who != 0 {
		b[0] = e.Who
	}
	if e.When != 0 {
		b[1] = e.When
	}
	return string(b[:])
}

// Normal says whether nothing went wrong.
func (e End) Normal() bool { return e.Who == 0 }
