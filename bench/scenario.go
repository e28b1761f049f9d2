package main

import "fmt"

// scenario is one load on every contender. Fields left zero take the default that the comment states.
type scenario struct {
	name   string
	about  string
	conns  int
	path   string   // GET of it; pathSmall by default
	close  bool     // a new connection for each request
	upload int      // POSTs of so many bytes to pathUpload instead of GETs
	idle   bool     // one GET per connection, then silence: memory instead of time
	nolog  bool     // without access log
	routes int      // so many routes, requested at random; none by default
	reuse  string   // HAProxy's http-reuse; safe, its default
	splice bool     // HAProxy's option splice-auto, which is off by default
	who    []string // the contenders, the ratios being to the first; haproxy, edge, nginx, std by default
	quick  bool     // part of -quick
}

var scenarios = []scenario{
	{name: "keepalive-1", about: "13-byte answers over 1 connection", conns: 1},
	{name: "keepalive-64", about: "13-byte answers over 64 connections", conns: 64, quick: true},
	{name: "keepalive-512", about: "13-byte answers over 512 connections", conns: 512},
	{name: "keepalive-2000", about: "13-byte answers over 2000 connections", conns: 2000},
	{name: "nolog-64", about: "13-byte answers over 64 connections, access logs off", conns: 64, nolog: true},
	{name: "nolog-512", about: "13-byte answers over 512 connections, access logs off", conns: 512, nolog: true},
	{name: "nolog-2000", about: "13-byte answers over 2000 connections, access logs off", conns: 2000, nolog: true},
	{name: "close-64", about: "a new connection for each request, 64 at a time", conns: 64, close: true},
	{name: "close-64-always", about: "the same, HAProxy with `http-reuse always`: with `safe` it opens a server connection for each client connection", conns: 64, close: true, reuse: "always"},
	{name: "body-16k", about: "16 KiB answers over 64 connections", conns: 64, path: path16k},
	{name: "body-1m", about: "1 MiB answers over 16 connections", conns: 16, path: path1m},
	{name: "body-1m-splice", about: "the same, HAProxy with `option splice-auto`", conns: 16, path: path1m, splice: true},
	{name: "upload-16k", about: "16 KiB uploads over 64 connections", conns: 64, upload: 16 << 10, quick: true},
	{name: "idle-5000", about: "memory of 5000 idle connections that each have done one request", conns: 5000, idle: true},
	{name: "routes-10", about: "10 routes, all of them requested, 64 connections", conns: 64, routes: 10, who: []string{"haproxy", "edge"}},
	{name: "routes-1000", about: "1000 routes (HAProxy: a map), all of them requested", conns: 64, routes: 1000, who: []string{"haproxy", "edge"}},
	{name: "routes-10000", about: "10000 routes (HAProxy: a map), 1000 of them requested", conns: 64, routes: 10000, who: []string{"haproxy", "edge"}},
	{name: "mesh-64", about: "13-byte answers over 64 connections, edge-mesh reaching its servers through WireGuard; only the proxy's side of the tunnel is counted", conns: 64, who: []string{"haproxy", "edge", "edge-mesh"}},
	{name: "mesh-1m", about: "1 MiB answers over 16 connections, the same", conns: 16, path: path1m, who: []string{"haproxy", "edge", "edge-mesh"}},
}

// defaultContenders take part where a scenario names nobody.
var defaultContenders = []string{"haproxy", "edge", "nginx", "std"}

func (s scenario) contenders() []string {
	if s.who == nil {
		return defaultContenders
	}
	return s.who
}

// paths are the paths requested, each as often as the others.
func (s scenario) paths() []string {
	switch {
	case s.routes > 0:
		const most = 1000
		var paths []string
		for i := range min(s.routes, most) {
			// Spread over all of the routes in an order that is not theirs: 7919 is prime to all counts.
			paths = append(paths, fmt.Sprintf("%s/small", routeName(i*7919%s.routes)))
		}
		return paths
	case s.path != "":
		return []string{s.path}
	}
	return []string{pathSmall}
}
