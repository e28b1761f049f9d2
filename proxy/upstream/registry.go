package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/approovia/edge/proxy/balance"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/health"
)

// Plan is what a configuration says of a backend.
type Plan struct {
	Name      string
	Algorithm string
	Servers   []ServerPlan
	Check     *CheckPlan // nil = servers count as up
}

// ServerPlan is what a configuration says of a server.
type ServerPlan struct {
	Name string
	Settings
}

// CheckPlan is how the servers of a backend are checked. Two equal plans mean that the checks go on as they are.
type CheckPlan struct {
	Key      string // says everything that New closes over
	Schedule health.Schedule
	New      func(addr func() string) health.Check
}

// Registry keeps the live backends and servers.
type Registry struct {
	// Changed is told of every change of a server's status, by whatever goroutine caused it. Set before Run.
	Changed func(s *Server, v View)

	mu       sync.Mutex
	ctx      context.Context // of Run; nil before
	wg       sync.WaitGroup
	backends map[string]*Backend
	servers  map[string]map[string]*Server
	checks   map[*Server]*check
	plans    map[*Server]*CheckPlan // how each server is to be checked, while it is not in maintenance
	nextB    int
	nextS    int
	freeS    []int
	state    *control.State
	resolve  chan struct{}
}

type check struct {
	plan CheckPlan
	stop context.CancelFunc
}

// NewRegistry begins with what operators changed in earlier runs.
func NewRegistry(state *control.State) *Registry {
	return &Registry{backends: map[string]*Backend{}, servers: map[string]map[string]*Server{}, checks: map[*Server]*check{}, plans: map[*Server]*CheckPlan{}, state: state,
		resolve: make(chan struct{}, 1), Changed: func(*Server, View) {}}
}

// Staged is a configuration's backends, made ready: nothing in force has changed yet.
type Staged struct {
	r        *Registry
	plans    []Plan
	backends map[string]*Backend
	sets     []*set
}

// Stage finds or makes the live things a configuration names.
func (r *Registry) Stage(plans []Plan) (*Staged, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &Staged{r: r, plans: plans, backends: map[string]*Backend{}}
	for _, p := range plans {
		a, ok := balance.Find(p.Algorithm)
		if !ok {
			return nil, fmt.Errorf("backend %q: unknown balance algorithm %q", p.Name, p.Algorithm)
		}
		b := r.backends[p.Name]
		if b == nil {
			b = &Backend{Name: p.Name, ID: -1}
		}
		var servers []*Server
		for _, sp := range p.Servers {
			s := r.servers[p.Name][sp.Name]
			if s == nil {
				s = &Server{Backend: p.Name, Name: sp.Name, ID: -1, change: r.state.Server(p.Name, sp.Name)}
			}
			if _, err := newTarget(sp.Address); err != nil {
				return nil, fmt.Errorf("backend %q: server %q: %w", p.Name, sp.Name, err)
			}
			servers = append(servers, s)
		}
		st.backends[p.Name] = b
		live := b.set.Load() // the same servers keep their turns
		if live == nil || live.algorithm != a.Name || !slices.Equal(live.servers, servers) {
			live = newSet(a, servers)
		}
		st.sets = append(st.sets, live)
	}
	return st, nil
}

// Backend is the live backend of that name, nil if the configuration has none.
func (st *Staged) Backend(name string) *Backend { return st.backends[name] }

// Commit puts the staged configuration in force. It cannot fail. gone are the servers that no configuration names any more.
func (st *Staged) Commit() (gone []*Server) {
	r := st.r
	r.mu.Lock()
	var changed []*Server
	keep := map[*Server]bool{}
	servers := map[string]map[string]*Server{}
	for i, p := range st.plans {
		b := st.backends[p.Name]
		if b.ID < 0 {
			b.ID = r.nextB
			r.nextB++
		}
		servers[p.Name] = map[string]*Server{}
		for j, s := range st.sets[i].servers {
			keep[s] = true
			servers[p.Name][s.Name] = s
			if s.ID < 0 {
				if n := len(r.freeS); n > 0 {
					s.ID, r.freeS = r.freeS[n-1], r.freeS[:n-1]
				} else {
					s.ID = r.nextS
					r.nextS++
				}
			}
			s.mu.Lock()
			s.set = p.Servers[j].Settings
			if err := s.apply(); err != nil { // a runtime address that no longer parses gives way
				s.change.Address = nil
				_ = s.apply()
			}
			s.mu.Unlock()
			r.plans[s] = p.Check
			r.watch(s)
		}
		changed = append(changed, b.use(st.sets[i])...)
	}
	for _, old := range r.servers {
		for _, s := range old {
			if !keep[s] {
				delete(r.plans, s)
				r.watch(s)
				gone = append(gone, s)
			}
		}
	}
	r.servers = servers
	r.backends = st.backends
	r.mu.Unlock()
	select {
	case r.resolve <- struct{}{}:
	default:
	}
	r.tell(changed)
	return gone
}

// Forget gives the index of a server that is gone back, once no loop keeps anything under it.
func (r *Registry) Forget(s *Server) {
	r.mu.Lock()
	r.freeS = append(r.freeS, s.ID)
	r.mu.Unlock()
}

// watch starts, changes or ends the checks of a server, as its plan and its operator say. r.mu is held.
func (r *Registry) watch(s *Server) {
	plan := r.plans[s]
	s.mu.Lock()
	if s.operator() == control.Maint {
		plan = nil
	}
	s.mu.Unlock()
	old := r.checks[s]
	if old != nil && plan != nil && old.plan.Key == plan.Key && old.plan.Schedule == plan.Schedule {
		return
	}
	if old != nil {
		old.stop()
		delete(r.checks, s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.checker
	s.checker = nil
	if plan == nil {
		return
	}
	kind := plan.New(func() string {
		t := s.target.Load()
		if t.Addr.IsValid() {
			return t.Addr.String()
		}
		return t.Text
	})
	report := func(st health.Status) {
		if st.Changed {
			r.refresh(s.Backend)
		}
	}
	name := s.Backend + "/" + s.Name
	if before != nil {
		s.checker = health.NewFrom(before, name, kind, plan.Schedule, report)
	} else {
		s.checker = health.New(name, kind, plan.Schedule, report)
	}
	ctx := r.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := context.WithCancel(ctx)
	r.checks[s] = &check{*plan, stop}
	if r.ctx != nil {
		r.run(ctx, s)
	}
}

func (r *Registry) run(ctx context.Context, s *Server) {
	c := s.checker
	r.wg.Go(func() { c.Run(ctx) })
}

// refresh looks at a backend again after one of its servers has changed.
func (r *Registry) refresh(backend string) {
	r.mu.Lock()
	b := r.backends[backend]
	var changed []*Server
	if b != nil {
		changed = b.refresh()
	}
	r.mu.Unlock()
	r.tell(changed)
}

func (r *Registry) tell(changed []*Server) {
	for _, s := range changed {
		r.Changed(s, s.View())
	}
}

// Run runs the checks and keeps names resolved, until the context ends.
func (r *Registry) Run(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	for s, c := range r.checks {
		var cctx context.Context
		cctx, c.stop = context.WithCancel(ctx)
		r.run(cctx, s)
	}
	r.mu.Unlock()
	t := time.NewTicker(resolveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			r.wg.Wait()
			return
		case <-t.C:
		case <-r.resolve:
		}
		r.resolveAll(ctx)
	}
}

// resolveEvery is how often names of servers are looked up again.
const resolveEvery = 30 * time.Second

// resolveAll looks up every server whose address is a name. A failed lookup keeps what was found before.
func (r *Registry) resolveAll(ctx context.Context) {
	r.mu.Lock()
	var named []*Server
	for _, m := range r.servers {
		for _, s := range m {
			if host, _, err := net.SplitHostPort(s.target.Load().Text); err == nil {
				if _, err := netip.ParseAddr(host); err != nil {
					named = append(named, s)
				}
			}
		}
	}
	r.mu.Unlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, s := range named {
		slots <- struct{}{}
		wg.Go(func() {
			r.lookUp(ctx, s)
			<-slots
		})
	}
	wg.Wait()
}

// lookUp finds the address of one server's name. Of several it keeps the one in use.
func (r *Registry) lookUp(ctx context.Context, s *Server) {
	old := s.target.Load()
	host, port, _ := net.SplitHostPort(old.Text)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return
	}
	best := ips[0].Unmap()
	for _, ip := range ips {
		if ip = ip.Unmap(); ip == old.Addr.Addr() {
			best = ip
			break
		}
	}
	t, _ := newTarget(net.JoinHostPort(best.String(), port))
	if t != nil && t.Addr != old.Addr {
		t.Text = old.Text
		if s.target.CompareAndSwap(old, t) {
			r.refresh(s.Backend)
		}
	}
}

// Renew makes every connection to a server count as one to an earlier address: how servers are reached has changed.
func (r *Registry) Renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.servers {
		for _, s := range m {
			for {
				old := s.target.Load()
				again := *old
				if s.target.CompareAndSwap(old, &again) {
					break
				}
			}
		}
	}
}

// Backend returns a live backend, nil if there is none of that name.
func (r *Registry) Backend(name string) *Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backends[name]
}

// Find returns a live server.
func (r *Registry) Find(backend, server string) (*Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.servers[backend]
	if !ok {
		return nil, control.NotFound("backend", backend, keys(r.servers))
	}
	s, ok := m[server]
	if !ok {
		return nil, control.NotFound("server", server, keys(m))
	}
	return s, nil
}

func keys[V any](m map[string]V) (names []string) {
	for k := range m {
		names = append(names, k)
	}
	return
}

// Change lays a runtime change over a server. save is called with the state to be kept before anything takes effect; if it fails, nothing has
// changed.
func (r *Registry) Change(s *Server, c control.Change, save func(*control.State) error) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Address != nil {
		if _, err := newTarget(*c.Address); err != nil {
			return control.Invalid("%v", err)
		}
	}
	r.mu.Lock()
	before := r.state.Server(s.Backend, s.Name)
	r.state.Change(s.Backend, s.Name, c)
	if err := save(r.state); err != nil {
		if before.Empty() {
			delete(r.state.Servers[s.Backend], s.Name)
		} else {
			r.state.Servers[s.Backend][s.Name] = before
		}
		r.mu.Unlock()
		return err
	}
	s.mu.Lock()
	s.change = r.state.Server(s.Backend, s.Name)
	_ = s.apply() // checked above
	s.mu.Unlock()
	r.watch(s)
	var changed []*Server
	if b := r.backends[s.Backend]; b != nil {
		changed = b.refresh()
	}
	r.mu.Unlock()
	select {
	case r.resolve <- struct{}{}:
	default:
	}
	r.tell(changed)
	return nil
}
