// Package health answers whether a server is fit to be used: it looks at the server again and again (a Check), and counts how often
// in a row it must fail to be down, or succeed to be up again (a Checker). It does not know backends, weights or operators.
package health

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"
)

// Check looks at a server once.
type Check interface {
	// Run returns when the server has answered or failed to, at the latest when ctx ends. At and Took are left to the caller.
	Run(ctx context.Context) Result
}

// Dial opens a stream to a server, as net.Dialer.DialContext does; it gives up when ctx ends.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Result is what one check found.
type Result struct {
	OK     bool
	Status string        // one of the constants below
	Code   int           // HTTP status, 0 if the check did not get that far
	At     time.Time     // when the check began
	Took   time.Duration // from there to the verdict
	Why    string        // what was wrong, for people; "" if nothing
}

// The names HAProxy gives to results ("show servers state", the statistics page).
const (
	INI    = "INI"    // no check has ended yet
	L4OK   = "L4OK"   // the connection was accepted
	L4TOUT = "L4TOUT" // no connection in time
	L4CON  = "L4CON"  // the connection failed: refused, no route
	L6RSP  = "L6RSP"  // the TLS handshake failed
	L7OK   = "L7OK"   // the answer is as expected
	L7TOUT = "L7TOUT" // no complete answer in time
	L7RSP  = "L7RSP"  // the answer is not what the protocol says, or was cut short
	L7STS  = "L7STS"  // the answer is an error by its status
)

// Kind is one row of the table of check kinds.
type Kind struct {
	Name string
	Doc  string
	New  func(dial Dial, addr func() string, o HTTPOptions) Check // a kind that is not HTTP ignores the options
}

// Kinds is every kind of check there is.
var Kinds = []Kind{
	{"tcp", "The server accepts a connection.", func(dial Dial, addr func() string, _ HTTPOptions) Check { return NewTCP(dial, addr) }},
	{"http", "The server answers a request with an expected status.", func(dial Dial, addr func() string, o HTTPOptions) Check {
		return NewHTTP(dial, addr, o)
	}},
}

type tcp struct {
	dial Dial
	addr func() string
}

// NewTCP checks that the address accepts a connection, which is then reset rather than closed so that it leaves nothing behind on
// either side. The address is asked for at every check; one that begins with "/" is a Unix socket.
func NewTCP(dial Dial, addr func() string) Check { return &tcp{dial, addr} }

func (c *tcp) Run(ctx context.Context) Result {
	conn, fail := connect(ctx, c.dial, c.addr())
	if conn == nil {
		return fail
	}
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = conn.Close()
	return Result{OK: true, Status: L4OK}
}

// connect opens the connection of a check, or says why there is none.
func connect(ctx context.Context, dial Dial, addr string) (net.Conn, Result) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	conn, err := dial(ctx, network, addr)
	switch {
	case err == nil:
		return conn, Result{}
	case expired(ctx, err):
		return nil, Result{Status: L4TOUT, Why: "no connection in time"}
	case handshake(err):
		return nil, Result{Status: L6RSP, Why: err.Error()}
	}
	return nil, Result{Status: L4CON, Why: err.Error()}
}

// expired says whether an error comes from the end of the time given.
func expired(ctx context.Context, err error) bool {
	var t interface{ Timeout() bool }
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
