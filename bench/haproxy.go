package main

import (
	"fmt"
	"strings"
)

// haproxyProgram gives HAProxy its job. Its defaults stay where the job does not say otherwise, with two
// exceptions in its favour. The log goes to standard output, HAProxy's only way straight into a file. And
// the pool's ratios are raised: by default HAProxy keeps no more idle server connections once a fifth of
// its descriptors are in use, so that 2000 clients cost it twice what they need to.
func haproxyProgram(j job, b binaries) program {
	files := map[string]string{}
	var logGlobal, logDefaults, splice, routes string
	if j.logs {
		logGlobal = "\n    log stdout format raw daemon"
		logDefaults = "\n    log global\n    option httplog"
	}
	if j.splice {
		splice = "\n    option splice-auto"
	}
	if j.routes > 0 {
		// A map, HAProxy's way for many routes: a prefix tree, where use_backend lines are tried in turn.
		var m strings.Builder
		for i := range j.routes {
			fmt.Fprintf(&m, "%s app\n", routeName(i))
		}
		files[j.file("routes.map")] = m.String()
		routes = fmt.Sprintf("\n    use_backend %%[path,map_beg(%s,rest)]", j.file("routes.map"))
	}
	backend := func(name string) string {
		return fmt.Sprintf(`
backend %s
    balance roundrobin
    http-reuse %s
    option httpchk GET %s
    server s1 %s check inter 2s
    server s2 %s check inter 2s
`, name, j.reuse, pathHealth, j.servers[0], j.servers[1])
	}
	conf := j.file("haproxy.cfg")
	files[conf] = fmt.Sprintf(`global
    nbthread %d
    maxconn %d
    tune.pool-low-fd-ratio 80
    tune.pool-high-fd-ratio 90
    stats socket %s level admin%s

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 30s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout queue 5s%s%s

frontend web
    bind %s
    option forwardfor
    acl office src 10.0.0.0/8 192.168.0.0/16
    acl admin path_beg %s
    acl bot hdr_sub(user-agent) -i evilbot
    acl static path_end .css .js .png
    http-request deny deny_status 403 if admin !office
    http-request deny deny_status 403 if bot
    http-request set-header X-Static 1 if static
    use_backend app if { path_beg /api/ }%s
    default_backend rest
%s%s
listen stats
    bind %s
    no log
    stats enable
    stats uri /
`, threads, maxconn, j.file("stats.sock"), logGlobal, logDefaults, splice, j.addr, pathDenied, routes,
		backend("app"), backend("rest"), j.stats)
	p := program{argv: []string{b.haproxy, "-db", "-f", conf}, files: files}
	if j.logs {
		p.stdout = j.logFile()
	}
	return p
}
