// Package upstream answers which server takes a request: the servers of a backend with what operators, checks and their own load say
// of them, the slots of those with a limit, and the queue in front of them.
//
// Servers and backends are live things: they outlive configurations, leased by name, so that a reload keeps health, runtime changes and counts. They are
// shared by all loops; what each exchange touches is atomic.
package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/health"
)

// Settings are what the configuration says of a server.
type Settings struct {
	Address  string // host:port
	Weight   int
	Maxconn  int // exchanges at a time, 0 = no limit
	Backup   bool
	Disabled bool
}

// Target is where a server is reached now. A new address is a new Target, so connections tell by the pointer whether theirs is still
// the right one.
type Target struct {
	Text string         // host:port as written
	Addr netip.AddrPort // invalid: the name has not been resolved yet
}

// Server is one server of a backend.
type Server struct {
	Backend, Name string
	ID            int // small and unique: the index of what each loop keeps for this server

	Inflight atomic.Int64 // exchanges and tunnels under way
	Tunnels  atomic.Int64 // those of them that are tunnels
	target   atomic.Pointer[Target]
	maxconn  atomic.Int64

	mu      sync.Mutex
	set     Settings
	change  control.Change // what operators changed
	checker *health.Checker
	status  control.ServerStatus
	since   time.Time
}

// Target is where the server is reached.
func (s *Server) Target() *Target { return s.target.Load() }

// Maxconn is how many exchanges it takes at a time, 0 = any number.
func (s *Server) Maxconn() int { return int(s.maxconn.Load()) }

// Take takes a slot, if one is free. Inflight never counts what has no slot, not even for a moment: one who looked in that moment would wait
// for a Release that never comes.
func (s *Server) Take() bool {
	for {
		n := s.Inflight.Load()
		if m := s.maxconn.Load(); m > 0 && n >= m {
			return false
		}
		if s.Inflight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *Server) full() bool {
	m := s.maxconn.Load()
	return m > 0 && s.Inflight.Load() >= m
}

// View is a server's state at one moment.
type View struct {
	Settings
	Target   *Target
	Operator control.OperatorState
	Status   control.ServerStatus
	Since    time.Time
	Changed  bool
	Healthy  bool
	Checker  *health.Checker // nil = not checked
}

// View returns the server's state; Weight, Maxconn and Address are those in force.
func (s *Server) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := View{Settings: s.set, Target: s.target.Load(), Operator: s.operator(), Status: s.status, Since: s.since, Changed: !s.change.Empty(),
		Healthy: s.healthy(), Checker: s.checker}
	v.Weight, v.Maxconn = s.weight(), int(s.maxconn.Load())
	if v.Target != nil {
		v.Address = v.Target.Text
	}
	return v
}

func (s *Server) operator() control.OperatorState {
	switch {
	case s.change.State != nil:
		return *s.change.State
	case s.set.Disabled:
		return control.Maint
	}
	return control.Ready
}

func (s *Server) weight() int {
	if s.change.Weight != nil {
		return *s.change.Weight
	}
	return s.set.Weight
}

func (s *Server) healthy() bool { return s.checker == nil || s.checker.Up() }

// refresh works out the status anew and says whether it changed.
func (s *Server) refresh(now time.Time) bool {
	status := control.StatusUp
	switch op := s.operator(); {
	case op == control.Maint:
		status = control.StatusMaint
	case !s.healthy() || !s.target.Load().Addr.IsValid():
		status = control.StatusDown
	case op == control.Drain:
		status = control.StatusDrain
	case s.checker == nil:
		status = control.StatusNoChecks
	}
	if status == s.status {
		return false
	}
	s.status, s.since = status, now
	return true
}

// apply puts settings and runtime changes in force.
func (s *Server) apply() error {
	addr := s.set.Address
	if s.change.Address != nil {
		addr = *s.change.Address
	}
	m := s.set.Maxconn
	if s.change.Maxconn != nil {
		m = *s.change.Maxconn
	}
	s.maxconn.Store(int64(m))
	if t := s.target.Load(); t == nil || t.Text != addr {
		t, err := newTarget(addr)
		if err != nil {
			return err
		}
		s.target.Store(t)
	}
	return nil
}

// newTarget reads host:port; a name stays unresolved.
func newTarget(text string) (*Target, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", text, err)
	}
	if host == "" {
		return nil, fmt.Errorf("address %q: no host before the port", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("address %q: port must be 1 to 65535", text)
	}
	t := &Target{Text: text}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.Addr = netip.AddrPortFrom(ip.Unmap(), uint16(n))
	}
	return t, nil
}
