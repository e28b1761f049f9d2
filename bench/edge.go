package main

import (
	"fmt"
	"strings"
)

// edgeProgram gives edge its job.
func edgeProgram(j job, b binaries) program {
	access := "off"
	if j.logs {
		access = fmt.Sprintf("{format: httplog, to: %q}", j.logFile())
	}
	var routes strings.Builder
	for i := range j.routes {
		fmt.Fprintf(&routes, "      - {path: %s, backend: app}\n", routeName(i))
	}
	backend := func(name string) string {
		return fmt.Sprintf(`  %s:
    balance: roundrobin
    health: {http: GET %s, interval: 2s}
    servers:
      s1: %s
      s2: %s
`, name, pathHealth, j.servers[0], j.servers[1])
	}
	conf := j.file("edge.yaml")
	files := map[string]string{}
	text := fmt.Sprintf(`global:
  admin: unix:%s
  metrics: %s
  state_dir: %q
  loops: %d
  maxconn: %d
  log: {access: %s, level: info}
timeouts: {connect: 5s, client: 60s, server: 30s, http_request: 10s, keep_alive: 60s, queue: 5s}
`, j.file("admin.sock"), j.stats, j.file("state"), threads, maxconn, access)
	if j.tunnel != nil {
		text += j.tunnel.section(j, files)
	}
	text += fmt.Sprintf(`frontends:
  web:
    bind: [{address: %q}]
    acls:
      office: src 10.0.0.0/8 192.168.0.0/16
      admin: path_beg %s
      bot: hdr_sub(user-agent) -i evilbot
      static: path_end .css .js .png
    request:
      - deny deny_status 403 if admin !office
      - deny deny_status 403 if bot
      - set-header X-Static 1 if static
    routes:
      - {path: /api, backend: app}
%s    default_backend: rest
backends:
%s%s`, j.addr, pathDenied, routes.String(), backend("app"), backend("rest"))
	files[conf] = text
	return program{argv: []string{b.edge, "run", "-c", conf}, files: files}
}
