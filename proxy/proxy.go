// Package proxy answers every request: it compiles the configuration, keeps what outlives configurations (sockets, servers, counts), and
// carries exchanges through on the event loops. It is the only room under proxy/ that reads configs.
//
// Three kinds of object: the document (configs.Config) is what the operator wrote; a snapshot (snapshot.go) is what it means, compiled and never
// edited; live things (binds, frontends' counts, upstream's servers) are leased by name and outlive snapshots. A reload makes a new snapshot and swaps
// it in (reload.go).
//
// A request's way: session.go (a client's connection) -> forward.go (read, decide, choose) -> answer.go, body.go, tunnel.go (relay) -> finish.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/accesslog"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/upstream"
)

// Mesh is what the proxy needs of a mesh: servers whose address it owns are reached through it.
type Mesh interface {
	// Stage checks a mesh section (nil = none) and makes ready for it; nothing in force changes. commit puts it in force and cannot fail,
	// discard drops it.
	Stage(m *configs.Mesh) (commit func(), discard func(), err error)
	// Owns says whether an address lies behind the mesh. It is called on loops and must not wait.
	Owns(ip netip.Addr) bool
	// Begin starts a connection without waiting for it.
	Begin(addr netip.AddrPort) (loop.Endpoint, error)
	// Dial waits for the connection.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	// Report is the state of the tunnels, nil without a mesh.
	Report() *control.MeshReport
}

// Options are a Proxy's surroundings.
type Options struct {
	Version string
	// Load reads the configuration again, for Reload.
	Load func() (*configs.Config, error)
	// Mesh may be nil.
	Mesh Mesh
	// Log is the process log; nil discards it.
	Log *slog.Logger
	// Goroutines selects the portable loops.
	Goroutines bool
	// Drain is how long Run lets exchanges finish after its context has ended; 0 = 30 s.
	Drain time.Duration
	// Adopt, if set, is told of the configuration after each attempt to load one; after a refused one only Files, Includes and Digest of
	// it can be relied on.
	Adopt func(cfg *configs.Config)
}

// Proxy is a running reverse proxy. Its methods may be called from any goroutine, but for Run once.
type Proxy struct {
	opt     Options
	log     *slog.Logger
	group   *loop.Group
	workers []*worker
	started time.Time

	registry *upstream.Registry
	feed     control.Feed
	sink     *accesslog.Sink
	sinkTo   *accesslog.File // nil: a standard stream, or no log
	logging  string          // where the access log goes

	conns    atomic.Int64 // client connections
	maxconn  int64        // 0 = none known
	draining atomic.Bool
	serving  atomic.Bool
	pausing  atomic.Bool
	gen      atomic.Uint64

	mu        sync.Mutex // held by reload and runtime changes, one at a time; guards what follows
	snap      *snapshot
	binds     map[string]*bind
	frontends map[string]*liveFrontend
	nextFE    int
	loaded    time.Time
	last      control.ReloadResult
	reloads   uint64
	refused   uint64
	stateDir  string
}

// New compiles the configuration and opens the sockets: all that can fail. Errors are configs.Errors where they have a place in the document.
func New(cfg *configs.Config, opt Options) (*Proxy, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Drain == 0 {
		opt.Drain = 30 * time.Second
	}
	p := &Proxy{opt: opt, log: opt.Log, started: time.Now(), binds: map[string]*bind{}, frontends: map[string]*liveFrontend{},
		stateDir: cfg.Global.StateDir, maxconn: int64(cfg.Global.Maxconn)}
	if p.maxconn == 0 {
		p.maxconn = connectionLimit()
	}
	state := &control.State{}
	if p.stateDir != "" {
		var err error
		if state, err = control.LoadState(p.stateDir); err != nil {
			p.log.Warn("runtime changes of earlier runs", "err", err)
		}
	}
	p.registry = upstream.NewRegistry(state)
	p.registry.Changed = p.serverChanged
	group, err := loop.New(loop.Options{Loops: cfg.Global.Loops, Goroutines: opt.Goroutines, Logf: func(f string, a ...any) { p.log.Error(fmt.Sprintf(f, a...)) }})
	if err != nil {
		return nil, fmt.Errorf("make event loops: %w", err)
	}
	p.group = group
	for _, l := range group.Loops {
		w := newWorker(p, l)
		l.Local = w
		p.workers = append(p.workers, w)
	}
	st, err := p.stage(cfg)
	if err != nil {
		group.Discard()
		return nil, err
	}
	if err := p.openLog(st.snap.accessTo); err != nil {
		st.discard()
		group.Discard()
		return nil, &configs.Error{Pos: cfg.Global.Pos, Msg: fmt.Sprintf("open access log: %v", err), Err: err}
	}
	p.commit(st)
	p.last = control.ReloadResult{At: p.loaded, OK: true, Generation: p.gen.Load(), Warnings: warnings(cfg)}
	return p, nil
}

// connectionLimit is how many client connections the descriptor limit allows, with one to a server for each and some for the rest of the process.
// 0: the system does not tell.
func connectionLimit() int64 {
	if n := process().MaxFDs; n > 0 {
		return int64(max(16, (n-128)/2))
	}
	return 0
}

// openLog opens the access log, which stays the same until the process ends.
func (p *Proxy) openLog(to string) error {
	p.logging = to
	var w io.Writer
	switch to {
	case "":
		return nil
	case "stdout":
		w = os.Stdout
	case "stderr":
		w = os.Stderr
	default:
		f, err := accesslog.OpenFile(to)
		if err != nil {
			return err
		}
		p.sinkTo, w = f, f
	}
	p.sink = accesslog.NewSink(w, 64)
	for _, wk := range p.workers {
		wk.log = p.sink.NewBuffer()
	}
	return nil
}

// Run serves until the context ends, then drains: no new connections, what runs may finish for Options.Drain, then it is cut.
func (p *Proxy) Run(ctx context.Context) error {
	loops, stopLoops := context.WithCancel(context.Background())
	work, stopWork := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { p.registry.Run(work) })
	var logErr error
	if p.sink != nil {
		background.Go(func() { logErr = p.sink.Run(work) })
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.group.Run(loops) }()
	p.mu.Lock()
	for _, b := range p.binds {
		p.accept(b)
	}
	p.serving.Store(true)
	p.mu.Unlock()

	<-ctx.Done()
	p.drain()
	for _, w := range p.workers {
		w.l.Do(func() {
			if w.log != nil {
				w.log.Flush()
			}
		})
	}
	stopLoops()
	<-stopped
	for _, w := range p.workers {
		if w.log != nil {
			w.log.Flush()
		}
	}
	stopWork()
	background.Wait()
	if p.sinkTo != nil {
		logErr = errors.Join(logErr, p.sinkTo.Close())
	}
	return logErr
}

// restGrace is how long connections at rest are left open when they are to end: a request that is on its way meanwhile is answered, and told that
// the connection closes.
const restGrace = 250 * time.Millisecond

// drain ends what can be ended without loss, and waits for the rest until its time is up.
func (p *Proxy) drain() {
	p.draining.Store(true)
	p.feed.Publish(control.Event{Kind: control.DrainEvent, Text: "draining"})
	p.mu.Lock()
	binds := p.binds
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range binds {
		wg.Go(b.ln.Close)
	}
	wg.Wait()
	begin := time.Now()
	for {
		left := 0
		rest := time.Since(begin) < min(restGrace, p.opt.Drain/2)
		for _, w := range p.workers {
			w.l.Do(func() {
				for s := range w.sessions {
					left++
					if !s.active && !rest {
						s.c.Interrupt()
					}
				}
			})
		}
		if left == 0 || time.Since(begin) > p.opt.Drain {
			if left > 0 {
				p.log.Warn("cut at the end of the drain time", "connections", left)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Ready says whether requests are served: not before Run, and not while draining.
func (p *Proxy) Ready() bool { return p.serving.Load() && !p.draining.Load() }

// Addrs lists the binds as "frontend=host:port", with the ports the kernel chose.
func (p *Proxy) Addrs() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fe := range p.snap.cfg.Frontends {
		for _, b := range fe.Binds {
			if b := p.binds[b.Address]; b != nil {
				out = append(out, fe.Name+"="+b.ln.Addr.String())
			}
		}
	}
	return
}

// ReopenLogs opens the access log's file anew, after a rotation.
func (p *Proxy) ReopenLogs() error {
	if p.sinkTo == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return p.sink.Reopen(ctx)
}

// Alive says whether every loop answers within the duration.
func (p *Proxy) Alive(within time.Duration) bool {
	done := make(chan struct{}, len(p.workers))
	for _, w := range p.workers {
		w.l.Post(func() { done <- struct{}{} })
	}
	t := time.NewTimer(within)
	defer t.Stop()
	for range p.workers {
		select {
		case <-done:
		case <-t.C:
			return false
		}
	}
	return true
}

// dial connects to a server, through the mesh where its address lies there.
func (p *Proxy) dial(l *loop.Loop, addr netip.AddrPort, at int64) (loop.Conn, error) {
	if m := p.opt.Mesh; m != nil && m.Owns(addr.Addr()) {
		e, err := m.Begin(addr)
		if err != nil {
			return nil, err
		}
		return l.Adopt(e, at)
	}
	return l.Dial(addr, at)
}

// dialChecks is the same for health checks, which run on goroutines.
func (p *Proxy) dialChecks(ctx context.Context, network, addr string) (net.Conn, error) {
	if m := p.opt.Mesh; m != nil {
		if ap, err := netip.ParseAddrPort(addr); err == nil && m.Owns(ap.Addr()) {
			return m.Dial(ctx, network, addr)
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// opened and closed count client connections against the process's limit.
func (p *Proxy) opened(b *bind) {
	if n := p.conns.Add(1); p.maxconn > 0 && n >= p.maxconn {
		b.ln.Pause()
		p.pauseSoon()
	}
}

func (p *Proxy) closed() {
	if n := p.conns.Add(-1); p.maxconn > 0 && n == p.maxconn-1 {
		p.pauseSoon()
	}
}

// pauseSoon has the binds looked at: those of a full frontend leave new connections in the kernel's queue.
func (p *Proxy) pauseSoon() {
	if p.pausing.CompareAndSwap(false, true) {
		go func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.pausing.Store(false)
			all := p.maxconn > 0 && p.conns.Load() >= p.maxconn
			for _, b := range p.binds {
				if fe := b.frontend.Load(); fe != nil && (all || fe.live.full()) {
					b.ln.Pause()
				} else {
					b.ln.Resume()
				}
			}
		}()
	}
}

func (p *Proxy) serverChanged(s *upstream.Server, v upstream.View) {
	text := fmt.Sprintf("server %s/%s is %s", s.Backend, s.Name, v.Status)
	if v.Checker != nil && v.Status == control.StatusDown {
		if why := v.Checker.Status().Last.Why; why != "" {
			text += ": " + why
		}
	}
	p.log.Info(text)
	p.feed.Publish(control.Event{Kind: control.ServerEvent, Backend: s.Backend, Server: s.Name, Status: v.Status, Text: text})
}
