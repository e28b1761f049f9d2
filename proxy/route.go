package proxy

import (
	"bytes"
	"strings"

	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/exchange"
)

// routes finds the backend of a request: first the longest path that covers it by whole segments, then the most exact host, then the order
// of the configuration. Its cost depends on the depth of the request's path, not on the number of routes.
type routes struct {
	byPath map[string]*hosts
	depth  int // segments of the deepest route
}

// hosts are the routes of one path.
type hosts struct {
	exact    map[string][]*route
	wildcard map[string][]*route // ".example.com" for "*.example.com"
	any      []*route
}

type route struct {
	backend *backend
	strip   int // segments to take off the front of the path
	cond    *acl.Condition
}

func newRoutes() *routes { return &routes{byPath: map[string]*hosts{}} }

// add adds a route. A path "/a/" covers the same as "/a".
func (t *routes) add(host, path string, r *route) {
	path = strings.TrimRight(path, "/")
	t.depth = max(t.depth, strings.Count(path, "/"))
	h := t.byPath[path]
	if h == nil {
		h = &hosts{}
		t.byPath[path] = h
	}
	switch {
	case host == "":
		h.any = append(h.any, r)
	case strings.HasPrefix(host, "*."):
		put(&h.wildcard, host[1:], r)
	default:
		put(&h.exact, host, r)
	}
}

// put adds a route to a map that most paths do not need.
func put(m *map[string][]*route, host string, r *route) {
	if *m == nil {
		*m = map[string][]*route{}
	}
	(*m)[host] = append((*m)[host], r)
}

// find returns the route of an exchange, nil if there is none.
func (t *routes) find(x *exchange.Exchange) *route {
	if len(t.byPath) == 0 {
		return nil
	}
	p := x.Req.Match
	if len(p) == 0 || p[0] != '/' {
		p = nil
	}
	// No route is deeper than depth: cut the path there before trying prefix by prefix.
	end, segments := 0, 0
	for end < len(p) {
		if p[end] == '/' {
			if segments == t.depth {
				break
			}
			segments++
		}
		end++
	}
	for p = bytes.TrimRight(p[:end], "/"); ; {
		if h := t.byPath[string(p)]; h != nil {
			if r := h.find(x); r != nil {
				return r
			}
		}
		if len(p) == 0 {
			return nil
		}
		p = p[:bytes.LastIndexByte(p, '/')]
	}
}

func (h *hosts) find(x *exchange.Exchange) *route {
	name := x.Req.Hostname
	if len(h.exact) > 0 {
		if r := first(h.exact[string(name)], x); r != nil {
			return r
		}
	}
	if len(h.wildcard) > 0 {
		for rest := name; ; {
			dot := bytes.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			if r := first(h.wildcard[string(rest[dot:])], x); r != nil {
				return r
			}
			rest = rest[dot+1:]
		}
	}
	return first(h.any, x)
}

func first(rs []*route, x *exchange.Exchange) *route {
	for _, r := range rs {
		if r.cond.Eval(x) {
			return r
		}
	}
	return nil
}

// each calls f for every route.
func (t *routes) each(f func(*route)) {
	all := func(rs []*route) {
		for _, r := range rs {
			f(r)
		}
	}
	for _, h := range t.byPath {
		all(h.any)
		for _, rs := range h.exact {
			all(rs)
		}
		for _, rs := range h.wildcard {
			all(rs)
		}
	}
}
