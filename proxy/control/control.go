// Package control answers two questions: what is the state of this edge, and what may an operator do to it. It is the vocabulary
// only: the proxy fills a Report and implements Operator; the admin API, the metrics, the dashboard and the command line
// read and call them. Nothing here knows HTTP, the configuration document or the data path.
package control

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Operator is a running proxy as its operator sees it. Every method may be called from any goroutine, at any time, and never
// holds up an event loop.
//
// Errors wrap ErrNotFound, ErrConflict, ErrInvalid or ErrBusy where one of them is the reason; anything else is a failure of the
// proxy itself.
type Operator interface {
	// Report takes the state of everything at about one moment.
	Report(ctx context.Context) (*Report, error)

	// Reload reads the configuration again and swaps it in. A configuration that is refused is a result that is not OK,
	// and not an error: nothing has changed then.
	Reload(ctx context.Context) (ReloadResult, error)

	// ChangeServer changes one server at runtime and returns the new generation. With expect it does so only if the generation
	// is that one still, and fails with ErrConflict otherwise. The change is kept across reload and restart.
	ChangeServer(ctx context.Context, backend, server string, c Change, expect *uint64) (generation uint64, err error)

	// Inflight counts what a server is working on; zero and zero after a drain means that it may be stopped.
	Inflight(ctx context.Context, backend, server string) (Inflight, error)

	// Config is the configuration in force: the main file's name and its text, fit to be shown (without secrets).
	Config() (file string, text []byte)

	// Mesh is the state of the tunnels, nil if no mesh is configured.
	Mesh() *MeshReport

	// Events tells of what happens from now on. The channel is closed when ctx is done, and also if the reader has fallen behind:
	// it then takes a Report and asks again. Feed does this.
	Events(ctx context.Context) <-chan Event
}

// OperatorState is what an operator wants of a server, independent of its health.
type OperatorState string

// The operator states, as in HAProxy's "set server ... state".
const (
	Ready OperatorState = "ready" // takes traffic while it is healthy
	Drain OperatorState = "drain" // takes no new request, except those bound to it; checks go on
	Maint OperatorState = "maint" // takes nothing at all; checks stop
)

// OperatorStates lists them all.
var OperatorStates = []OperatorState{Ready, Drain, Maint}

// Change is a wish to change a server at runtime; nil fields stay as they are.
type Change struct {
	State   *OperatorState `json:"state,omitempty"`
	Weight  *int           `json:"weight,omitempty"`  // 0 to 256; 0 takes no new traffic
	Address *string        `json:"address,omitempty"` // host:port
	Maxconn *int           `json:"maxconn,omitempty"` // concurrent requests, 0 = no limit
}

// Empty says whether the change changes nothing.
func (c Change) Empty() bool {
	return c.State == nil && c.Weight == nil && c.Address == nil && c.Maxconn == nil
}

// String lists what is to change: "state=drain weight=10".
func (c Change) String() string {
	var parts []string
	if c.State != nil {
		parts = append(parts, "state="+string(*c.State))
	}
	if c.Weight != nil {
		parts = append(parts, fmt.Sprintf("weight=%d", *c.Weight))
	}
	if c.Address != nil {
		parts = append(parts, fmt.Sprintf("address=%q", *c.Address))
	}
	if c.Maxconn != nil {
		parts = append(parts, fmt.Sprintf("maxconn=%d", *c.Maxconn))
	}
	return strings.Join(parts, " ")
}

// Validate checks what can be checked without knowing the server. The error wraps ErrInvalid.
func (c Change) Validate() error {
	if c.State != nil && !slices.Contains(OperatorStates, *c.State) {
		var known []string
		for _, s := range OperatorStates {
			known = append(known, string(s))
		}
		return Invalid("unknown server state %q (known: %s)%s", string(*c.State), strings.Join(known, ", "), hint(string(*c.State), known))
	}
	if c.Weight != nil && (*c.Weight < 0 || *c.Weight > 256) {
		return Invalid("weight %d is out of range: write 0 to 256", *c.Weight)
	}
	if c.Maxconn != nil && *c.Maxconn < 0 {
		return Invalid("maxconn %d is out of range: write 0 (no limit) or more", *c.Maxconn)
	}
	if c.Address != nil {
		host, port, err := net.SplitHostPort(*c.Address)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
			return Invalid("address %q is not host:port with a port from 1 to 65535", *c.Address)
		}
	}
	return nil
}

// Inflight is what a server is working on at this moment, over all loops.
type Inflight struct {
	HTTP    int `json:"http"`    // requests not yet answered to their end
	Tunnels int `json:"tunnels"` // upgraded connections (WebSocket) and TCP sessions
}

// ReloadResult is the verdict on one attempt to load the configuration.
type ReloadResult struct {
	At         time.Time `json:"at"`
	OK         bool      `json:"ok"`
	Generation uint64    `json:"generation"`         // in force after the attempt
	Errors     []string  `json:"errors,omitempty"`   // why it was refused, each with file:line:col
	Warnings   []string  `json:"warnings,omitempty"` // each with file:line:col
	Took       Seconds   `json:"took_seconds"`
}

// Seconds is a duration that JSON shows as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes seconds with a resolution of a microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(s).Microseconds())/1e6, 'f', -1, 64), nil
}

// UnmarshalJSON reads a number of seconds.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return err
	}
	*s = Seconds(f * float64(time.Second))
	return nil
}

// Float is the number of seconds.
func (s Seconds) Float() float64 { return time.Duration(s).Seconds() }
