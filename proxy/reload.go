package proxy

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/upstream"
)

// staged is a configuration with everything done that can fail.
type staged struct {
	snap       *snapshot
	upstream   *upstream.Staged
	opened     map[string]*loop.Listener // new sockets, by address
	meshCommit func()
	meshDrop   func()
}

func (st *staged) discard() {
	for _, ln := range st.opened {
		ln.Discard()
	}
	if st.meshDrop != nil {
		st.meshDrop()
	}
}

// stage compiles a configuration and opens what it needs. Nothing in force changes. p.mu is held, or nobody else knows p yet.
func (p *Proxy) stage(cfg *configs.Config) (_ *staged, err error) {
	snap, err := compile(cfg, p.dialChecks)
	if err != nil {
		return nil, err
	}
	snap.text, _ = os.ReadFile(cfg.File) // gone or not a file: there is nothing to show
	st := &staged{snap: snap, opened: map[string]*loop.Listener{}}
	defer func() {
		if err != nil {
			st.discard()
		}
	}()
	if p.snap != nil {
		if err := p.unchangeable(cfg, snap); err != nil {
			return nil, err
		}
	}
	if st.upstream, err = p.registry.Stage(snap.plans); err != nil {
		return nil, err
	}
	var errs configs.Errors
	for addr, plan := range snap.binds {
		if p.binds[addr] != nil {
			continue
		}
		ln, err := p.group.Listen(addr)
		if err != nil {
			errs = append(errs, &configs.Error{Pos: plan.at.Pos, Msg: fmt.Sprintf("bind %s: %v", addr, err), Err: err})
			continue
		}
		st.opened[addr] = ln
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if p.opt.Mesh != nil {
		if st.meshCommit, st.meshDrop, err = p.opt.Mesh.Stage(cfg.Mesh); err != nil {
			return nil, err
		}
	} else if cfg.Mesh != nil {
		return nil, &configs.Error{Pos: cfg.Mesh.Pos, Msg: "a mesh section, but this process has no mesh"}
	}
	return st, nil
}

// unchangeable refuses what a reload cannot change, by name.
func (p *Proxy) unchangeable(cfg *configs.Config, snap *snapshot) error {
	var errs configs.Errors
	was, is := p.snap.cfg.Global, cfg.Global
	for _, x := range []struct {
		name    string
		changed bool
	}{
		{"admin", was.Admin != is.Admin}, {"metrics", was.Metrics != is.Metrics}, {"state_dir", was.StateDir != is.StateDir}, {"loops", was.Loops != is.Loops},
		{"maxconn", was.Maxconn != is.Maxconn}, {"log.access", p.logging != snap.accessTo},
	} {
		if x.changed {
			errs = append(errs, &configs.Error{Pos: is.Pos, Msg: fmt.Sprintf("global %s cannot be changed by a reload: restart edge, or put it back", x.name)})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// commit puts a staged configuration in force. It cannot fail. p.mu is held, or nobody else knows p yet.
func (p *Proxy) commit(st *staged) {
	snap := st.snap
	if st.meshCommit != nil {
		st.meshCommit()
	}
	for _, fe := range snap.frontends {
		live := p.frontends[fe.name]
		if live == nil {
			live = &liveFrontend{name: fe.name, id: p.nextFE, p: p}
			p.nextFE++
			p.frontends[fe.name] = live
		}
		live.maxconn.Store(fe.maxconn)
		fe.live = live
	}
	gone := st.upstream.Commit()
	for _, fe := range snap.frontends {
		fe.lease(st.upstream)
	}
	for addr, plan := range snap.binds {
		b := p.binds[addr]
		if b == nil {
			ln := st.opened[addr]
			b = &bind{address: addr, ln: ln, port: ln.Addr.Port()}
			p.binds[addr] = b
		}
		b.last = plan.frontend
		b.frontend.Store(plan.frontend)
		if st.opened[addr] != nil && p.serving.Load() {
			p.accept(b)
		}
	}
	for addr, b := range p.binds {
		if snap.binds[addr] == nil {
			delete(p.binds, addr)
			b.last = b.frontend.Load()
			go func() {
				b.ln.Close() // what waits in its queue is still served
				b.frontend.Store(nil)
				time.AfterFunc(restGrace, func() { p.endIdle(b) })
			}()
		}
	}
	if p.snap != nil && !reflect.DeepEqual(p.snap.cfg.Mesh, snap.cfg.Mesh) {
		p.registry.Renew() // an address may have come to lie in the mesh, or have left it
	}
	p.snap = snap
	p.loaded = time.Now()
	p.gen.Add(1)
	if len(gone) > 0 {
		go p.forget(gone)
	}
	p.pauseSoon()
}

// lease ties a frontend's backends to the live ones.
func (fe *frontend) lease(st *upstream.Staged) {
	tie := func(b *backend) {
		if b != nil {
			b.live = st.Backend(b.name)
		}
	}
	tie(fe.def)
	fe.routes.each(func(r *route) { tie(r.backend) })
}

// accept begins to take connections from a bind.
func (p *Proxy) accept(b *bind) {
	b.ln.Accept(func(c loop.Conn) { c.Loop().Local.(*worker).admit(b, c) })
}

// endIdle ends the connections of a bind that has gone which rest between exchanges; the others end after their exchange, or after their first.
func (p *Proxy) endIdle(b *bind) {
	for _, w := range p.workers {
		w.l.Do(func() {
			for s := range w.sessions {
				if s.b == b && !s.active && s.n > 0 {
					s.c.Interrupt()
				}
			}
		})
	}
}

// forget lets go of what the loops keep for servers that have gone, once nothing runs on them.
func (p *Proxy) forget(gone []*upstream.Server) {
	for len(gone) > 0 {
		gone = slices.DeleteFunc(gone, func(s *upstream.Server) bool {
			for _, w := range p.workers {
				w.l.Do(func() { w.dropIdle(s.ID) })
			}
			if s.Inflight.Load() > 0 {
				return false
			}
			for _, w := range p.workers {
				w.l.Do(func() {
					w.dropIdle(s.ID)
					if s.ID < len(w.servers) {
						w.servers[s.ID] = serverCount{}
					}
				})
			}
			p.registry.Forget(s)
			return true
		})
		if len(gone) > 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// Reload reads the configuration again and swaps it in. One that is refused changes nothing: the result says why.
func (p *Proxy) Reload(ctx context.Context) (control.ReloadResult, error) {
	if p.opt.Load == nil {
		return control.ReloadResult{}, control.Invalid("this process has no configuration file to read again")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining.Load() {
		return control.ReloadResult{}, control.Busy("a stop")
	}
	begin := time.Now()
	cfg, err := p.opt.Load()
	var st *staged
	if err == nil {
		st, err = p.stage(cfg)
	}
	p.reloads++
	if err == nil {
		p.commit(st)
	} else {
		p.refused++
	}
	r := control.ReloadResult{At: begin, OK: err == nil, Generation: p.gen.Load(), Took: control.Seconds(time.Since(begin)), Warnings: warnings(cfg)}
	text := fmt.Sprintf("configuration loaded, generation %d", r.Generation)
	if err != nil {
		r.Errors = messages(err)
		text = fmt.Sprintf("configuration refused, generation %d stays: %s", r.Generation, r.Errors[0])
		p.log.Error("configuration refused", "errors", r.Errors, "generation", r.Generation)
	} else {
		p.log.Info(text)
	}
	p.last = r
	p.feed.Publish(control.Event{Kind: control.ReloadEvent, Reload: &r, Text: text})
	if p.opt.Adopt != nil && cfg != nil {
		p.opt.Adopt(cfg)
	}
	return r, nil
}

func warnings(cfg *configs.Config) (out []string) {
	if cfg != nil {
		for _, w := range cfg.Warnings {
			out = append(out, w.Error())
		}
	}
	return
}
