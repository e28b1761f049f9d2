package proxy

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/health"
)

// Report implements control.Operator. Each loop is asked in its turn, so what it says of itself is whole.
func (p *Proxy) Report(ctx context.Context) (*control.Report, error) {
	p.mu.Lock()
	snap := p.snap
	r := &control.Report{
		Version: p.opt.Version, PID: os.Getpid(), Started: p.started, Uptime: control.Seconds(time.Since(p.started)),
		Generation: p.gen.Load(), Draining: p.draining.Load(),
		ConfigFile: snap.cfg.File, ConfigDigest: snap.cfg.Digest, Loaded: p.loaded,
		LastReload: p.last, Reloads: p.reloads, Refused: p.refused,
	}
	live := map[string]*liveFrontend{}
	for name, fe := range p.frontends {
		live[name] = fe
	}
	addrs := map[string]string{}
	for a, b := range p.binds {
		addrs[a] = b.ln.Addr.String()
	}
	p.mu.Unlock()
	fcs := map[int]*frontendCount{}
	bcs := map[int]*backendCount{}
	scs := map[int]*serverCount{}
	idle := map[int]int{}
	for _, w := range p.workers {
		w.l.Do(func() {
			c := w.l.Counters
			r.Loops = append(r.Loops, control.Loop{Connections: c.Conns, Exchanges: w.busy, Coroutines: c.Coroutines, Panics: c.Panics, Away: w.l.Away()})
			for id := range w.frontends {
				get(fcs, id).add(&w.frontends[id])
			}
			for id := range w.backends {
				get(bcs, id).add(&w.backends[id])
			}
			for id := range w.servers {
				get(scs, id).add(&w.servers[id])
			}
			for id := range w.idle {
				idle[id] += len(w.idle[id])
			}
		})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for _, f := range snap.cfg.Frontends {
		n := get(fcs, live[f.Name].id)
		out := control.Frontend{Name: f.Name, Connections: n.connections, ConnectionsTotal: n.connectionsTotal, Requests: n.requests,
			Classes: classes(&n.classes), BytesIn: n.bytesIn, BytesOut: n.bytesOut, Denied: n.denied, Errors: n.errors}
		for _, b := range f.Binds {
			out.Binds = append(out.Binds, addrs[b.Address])
		}
		r.Frontends = append(r.Frontends, out)
	}
	for _, b := range snap.cfg.Backends {
		lb := p.registry.Backend(b.Name)
		if lb == nil {
			continue
		}
		n := get(bcs, lb.ID)
		out := control.Backend{Name: b.Name, Balance: lb.Algorithm(), Queue: lb.Waiting(), Inflight: n.inflight, Requests: n.requests,
			Classes: classes(&n.classes), BytesIn: n.bytesIn, BytesOut: n.bytesOut, NoServer: n.noServer}
		for _, s := range lb.Servers() {
			v := s.View()
			c := get(scs, s.ID)
			out.Servers = append(out.Servers, control.Server{
				Name: s.Name, Address: v.Target.Text, Status: v.Status, Operator: v.Operator, Changed: v.Changed, Healthy: v.Healthy, Since: v.Since,
				Check: check(v.Checker), Weight: v.Weight, Maxconn: v.Maxconn, Backup: v.Backup, Inflight: int(s.Inflight.Load()),
				Requests: c.requests, Classes: classes(&c.classes), ConnsOpened: c.opened, ConnsReused: c.reused, ConnsIdle: idle[s.ID],
				Retries: c.retries, Redispatches: c.redispatches, ErrorsConnect: c.errorsConnect, ErrorsResponse: c.errorsResponse,
				BytesIn: c.bytesIn, BytesOut: c.bytesOut,
			})
		}
		r.Backends = append(r.Backends, out)
	}
	if p.sink != nil {
		r.AccessLog = control.AccessLog{Written: p.sink.Written(), Dropped: p.sink.Dropped()}
	}
	r.Mesh = p.Mesh()
	r.Process = process()
	return r, nil
}

func get[T any](m map[int]*T, id int) *T {
	v := m[id]
	if v == nil {
		v = new(T)
		m[id] = v
	}
	return v
}

func check(c *health.Checker) *control.Check {
	if c == nil {
		return nil
	}
	s := c.Status()
	return &control.Check{Status: s.Last.Status, OK: s.Last.OK, Code: s.Last.Code, Took: control.Seconds(s.Last.Took), At: s.Last.At, Why: s.Last.Why,
		Failures: s.Failures, Transitions: s.Transitions}
}

// ChangeServer implements control.Operator.
func (p *Proxy) ChangeServer(ctx context.Context, backend, server string, c control.Change, expect *uint64) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gen := p.gen.Load(); expect != nil && *expect != gen {
		return gen, control.Conflict(*expect, gen)
	}
	s, err := p.registry.Find(backend, server)
	if err != nil {
		return p.gen.Load(), err
	}
	err = p.registry.Change(s, c, func(st *control.State) error {
		if p.stateDir == "" {
			return nil
		}
		return st.Save(p.stateDir)
	})
	if err != nil {
		return p.gen.Load(), fmt.Errorf("change server %s/%s: %w", backend, server, err)
	}
	gen := p.gen.Add(1)
	p.feed.Publish(control.Event{Kind: control.ServerEvent, Backend: backend, Server: server, Status: s.View().Status,
		Text: fmt.Sprintf("server %s/%s changed by an operator, generation %d", backend, server, gen)})
	return gen, nil
}

// Inflight implements control.Operator.
func (p *Proxy) Inflight(ctx context.Context, backend, server string) (control.Inflight, error) {
	s, err := p.registry.Find(backend, server)
	if err != nil {
		return control.Inflight{}, err
	}
	t := int(s.Tunnels.Load())
	return control.Inflight{HTTP: max(0, int(s.Inflight.Load())-t), Tunnels: t}, nil
}

// Config implements control.Operator. The text is the main file as it was when the configuration in force was loaded; secrets are in files or
// variables it names.
func (p *Proxy) Config() (string, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snap.cfg.File, p.snap.text
}

// Mesh implements control.Operator.
func (p *Proxy) Mesh() *control.MeshReport {
	if p.opt.Mesh == nil {
		return nil
	}
	return p.opt.Mesh.Report()
}

// Events implements control.Operator.
func (p *Proxy) Events(ctx context.Context) <-chan control.Event { return p.feed.Subscribe(ctx) }

var _ control.Operator = (*Proxy)(nil)
