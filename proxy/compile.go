package proxy

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/accesslog"
	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/health"
	"github.com/approovia/edge/proxy/rules"
	"github.com/approovia/edge/proxy/sample"
	"github.com/approovia/edge/proxy/upstream"
)

// Check compiles a configuration without opening anything: what it would refuse, New and a reload refuse.
func Check(cfg *configs.Config) error {
	_, err := compile(cfg, nil)
	return err
}

// Expressions compiles all conditions and actions of a document, which may be incomplete, and returns what is wrong with them: for configs.Load, so
// that it is told together with everything else.
func Expressions(cfg *configs.Config) configs.Errors {
	c := &compiler{backends: map[string]*backend{}}
	for _, b := range cfg.Backends {
		c.backend(b)
	}
	for _, f := range cfg.Frontends {
		c.frontend(f)
	}
	return c.errs
}

// compiler gathers every error on its way.
type compiler struct {
	errs     configs.Errors
	dial     health.Dial
	backends map[string]*backend
}

func (c *compiler) fail(pos configs.Pos, format string, args ...any) {
	c.errs = append(c.errs, &configs.Error{Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

// failText reports the faults of an expression at their places in the document.
func (c *compiler) failText(t configs.Text, err error) {
	for _, e := range sample.Errors(err) {
		c.fail(t.At(e.Offset), "%s", e.Msg)
	}
}

// compile turns a document into a snapshot. dial is how health checks reach servers.
func compile(cfg *configs.Config, dial health.Dial) (*snapshot, error) {
	c := &compiler{dial: dial, backends: map[string]*backend{}}
	s := &snapshot{cfg: cfg, binds: map[string]*bindPlan{}}
	for _, b := range cfg.Backends {
		c.backends[b.Name] = c.backend(b)
		s.plans = append(s.plans, c.plan(b))
	}
	var format accesslog.Format
	if a := cfg.Global.Log.Access; !a.Off {
		f, ok := accesslog.Lookup(a.Format)
		if !ok {
			c.fail(cfg.Global.Pos, "unknown access log format %q", a.Format)
		}
		format, s.accessTo = f, a.To
	}
	for _, f := range cfg.Frontends {
		fe := c.frontend(f)
		fe.trusted = cfg.Global.TrustedProxies
		fe.log = format
		s.frontends = append(s.frontends, fe)
		for _, b := range f.Binds {
			plan := &bindPlan{at: b, frontend: fe}
			if b.TLS != nil {
				c.fail(b.TLS.Pos, "tls on a bind is not supported by this version of edge")
			}
			s.binds[b.Address] = plan
		}
	}
	if len(c.errs) > 0 {
		slices.SortStableFunc(c.errs, func(a, b *configs.Error) int {
			if n := strings.Compare(a.Pos.File, b.Pos.File); n != 0 {
				return n
			}
			if a.Pos.Line != b.Pos.Line {
				return a.Pos.Line - b.Pos.Line
			}
			return a.Pos.Col - b.Pos.Col
		})
		return nil, c.errs
	}
	return s, nil
}

func (c *compiler) backend(b *configs.Backend) *backend {
	out := &backend{name: b.Name, timeouts: b.Timeouts, attempts: b.Retries.Attempts, redispatch: b.Retries.Redispatch,
		connFailure:   slices.Contains(b.Retries.On, "conn-failure"),
		emptyResponse: slices.Contains(b.Retries.On, "empty-response")}
	env := &acl.Env{}
	out.request = c.rules(b.Request, env, rules.CompileRequest)
	out.response = c.rules(b.Response, env, rules.CompileResponse)
	return out
}

func (c *compiler) rules(texts []configs.Text, env *acl.Env, compile func(string, *acl.Env) (*rules.Rule, error)) (list rules.List) {
	for _, t := range texts {
		r, err := compile(t.S, env)
		if err != nil {
			c.failText(t, err)
			continue
		}
		list = append(list, r)
	}
	return list
}

func (c *compiler) frontend(f *configs.Frontend) *frontend {
	fe := &frontend{name: f.Name, maxconn: int64(f.Maxconn), timeouts: f.Timeouts, redirectHTTPS: f.RedirectHTTPS, routes: newRoutes()}
	env := &acl.Env{}
	for _, a := range f.ACLs {
		for _, line := range a.Lines {
			if err := env.Define(a.Name, []string{line.S}); err != nil {
				c.failText(line, err)
			}
		}
	}
	conditions := func(texts []configs.Text) (out []*acl.Condition) {
		for _, t := range texts {
			cond, err := acl.Compile(t.S, env)
			if err != nil {
				c.failText(t, err)
			}
			out = append(out, cond)
		}
		return
	}
	fe.deny, fe.allow = conditions(f.Deny), conditions(f.Allow)
	fe.request = c.rules(f.Request, env, rules.CompileRequest)
	fe.response = c.rules(f.Response, env, rules.CompileResponse)
	for _, r := range f.Routes {
		rt := &route{backend: c.backends[r.Backend.S]}
		if r.If != nil {
			rt.cond = conditions([]configs.Text{*r.If})[0]
		}
		if r.StripPrefix {
			rt.strip = strings.Count(strings.TrimRight(r.Path, "/"), "/")
		}
		fe.routes.add(r.Host, r.Path, rt)
	}
	if f.DefaultBackend != nil {
		fe.def = c.backends[f.DefaultBackend.S]
	}
	fe.needDst = usesDst(f)
	return fe
}

// usesDst says whether anything in a frontend may look at our side's address, which costs a system call to know.
func usesDst(f *configs.Frontend) bool {
	has := func(ts []configs.Text) bool {
		return slices.ContainsFunc(ts, func(t configs.Text) bool { return strings.Contains(t.S, "dst") })
	}
	for _, a := range f.ACLs {
		if has(a.Lines) {
			return true
		}
	}
	for _, r := range f.Routes {
		if r.If != nil && has([]configs.Text{*r.If}) {
			return true
		}
	}
	return has(f.Request) || has(f.Response) || has(f.Allow) || has(f.Deny)
}

func (c *compiler) plan(b *configs.Backend) upstream.Plan {
	p := upstream.Plan{Name: b.Name, Algorithm: b.Balance}
	for _, s := range b.Servers {
		p.Servers = append(p.Servers, upstream.ServerPlan{Name: s.Name, Settings: upstream.Settings{
			Address: s.Address, Weight: s.Weight, Maxconn: s.Maxconn, Backup: s.Backup, Disabled: s.Disabled}})
	}
	h := b.Health
	if h == nil {
		return p
	}
	addr := func(of func() string) func() string {
		if h.Port == 0 {
			return of
		}
		return func() string {
			host, _, err := net.SplitHostPort(of())
			if err != nil {
				return of()
			}
			return net.JoinHostPort(host, fmt.Sprint(h.Port))
		}
	}
	p.Check = &upstream.CheckPlan{
		Key:      fmt.Sprintf("%v %v %q %q %q %v %d", h.HTTP, h.TCP, h.Method, h.Path, h.Host, h.Expect, h.Port),
		Schedule: health.Schedule{Interval: h.Interval, Fast: h.Fast, Down: h.Down, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall},
		New: func(of func() string) health.Check {
			if h.TCP {
				return health.NewTCP(c.dial, addr(of))
			}
			return health.NewHTTP(c.dial, addr(of), health.HTTPOptions{Method: h.Method, Path: h.Path, Host: h.Host, Expect: func(code int) bool {
				return slices.ContainsFunc(h.Expect, func(r configs.StatusRange) bool { return r.From <= code && code <= r.To })
			}})
		},
	}
	return p
}

// messages lists the parts of an error, one line each.
func messages(err error) []string {
	var es configs.Errors
	if errors.As(err, &es) {
		var out []string
		for _, e := range es {
			out = append(out, e.Error())
		}
		return out
	}
	return []string{err.Error()}
}
