package configs

import (
	"net/netip"
	"time"
)

// The tables: one row per key, with what the manual and the schema say of it,
// what may stand there and where it goes. A key is added here and nowhere else.

var document = table[Config]{fields: []field[Config]{
	once(section("global", "What belongs to the whole process.", globalKeys, func(c *Config) *Global { return &c.Global })),
	once(section("timeouts", "Timeouts of all frontends and backends that set none of their own. Durations are whole numbers with a unit: us, ms, s, m, h, d.",
		timeoutKeys, func(c *Config) *Timeouts { return &c.Timeouts })),
	once(key("mesh", "This machine's place in the WireGuard mesh. Servers whose address a peer owns are reached through its tunnel.",
		halfRight(object(meshKeys, func(at Pos) *Mesh { return &Mesh{Pos: at, MTU: 1420} })), func(c *Config) **Mesh { return &c.Mesh })),
	named("frontends", "Where clients arrive, by name.", "frontend", object(frontendKeys, func(at Pos) *Frontend { return &Frontend{Pos: at, Mode: "http"} }),
		func(f *Frontend, name string, at Pos) { f.Name, f.Pos = name, at }, func(c *Config) *[]*Frontend { return &c.Frontends }),
	named("backends", "Sets of servers that requests are sent to, by name.", "backend", object(backendKeys, newBackend),
		func(b *Backend, name string, at Pos) { b.Name, b.Pos = name, at }, func(c *Config) *[]*Backend { return &c.Backends }),
	includes("include", "More files to read, as patterns relative to this file: conf.d/*.yaml. They may hold any section; a name is defined once over all files."),
}}

var globalKeys = table[Global]{name: "global", fields: []field[Global]{
	key("admin", "Unix socket of the admin API, unix:/run/edge/admin.sock. Left out, there is none.", unixAddress, func(g *Global) *string { return &g.Admin }),
	key("metrics", "Address that serves /metrics, /healthz and /readyz, such as 127.0.0.1:9901. Left out, they are not served.", listenAddress, func(g *Global) *string { return &g.Metrics }),
	key("state_dir", "Directory for what outlives a restart (mode 0700). Left out, nothing does.", directory, func(g *Global) *string { return &g.StateDir }),
	key("loops", "Event loops; 0 is one per core.", integer(0, 1024), func(g *Global) *int { return &g.Loops }),
	key("maxconn", "Client connections at a time; 0 is what the descriptor limit allows.", integer(0, 100_000_000), func(g *Global) *int { return &g.Maxconn }),
	key("trusted_proxies", "Networks whose X-Forwarded-For and Forwarded fields are believed.", listOf(network), func(g *Global) *[]netip.Prefix { return &g.TrustedProxies }),
	section("log", "What is logged where.", logKeys, func(g *Global) *Log { return &g.Log }),
}}

var logKeys = table[Log]{name: "log", fields: []field[Log]{
	accessLog("access", "The line written for each request: its format and target, or off."),
	key("level", "The least that the process's own log on stderr has: debug, info, warn or error. Default info.", oneOf("log level", "debug", "info", "warn", "error"), func(l *Log) *string { return &l.Level }),
}}

var accessLogKeys = table[AccessLog]{name: "access log", fields: []field[AccessLog]{
	key("format", "json (default) or httplog, HAProxy's line.", logFormat, func(a *AccessLog) *string { return &a.Format }),
	key("to", "stdout (default), stderr or a file's path.", logTarget, func(a *AccessLog) *string { return &a.To }),
}}

var timeoutKeys = table[Timeouts]{name: "timeouts", fields: []field[Timeouts]{
	key("connect", "Until a server's connection is established. Default 5s.", positive, func(t *Timeouts) *time.Duration { return &t.Connect }),
	key("client", "Silence of a client that should send or take data. Default 30s.", positive, func(t *Timeouts) *time.Duration { return &t.Client }),
	key("server", "Silence of a server that should answer. Default 30s.", positive, func(t *Timeouts) *time.Duration { return &t.Server }),
	key("http_request", "From a request's first byte to the end of its header. Default 10s.", positive, func(t *Timeouts) *time.Duration { return &t.HTTPRequest }),
	key("keep_alive", "Idle between two requests of a connection. Default 60s.", positive, func(t *Timeouts) *time.Duration { return &t.KeepAlive }),
	key("queue", "Waiting for a free slot of a server. Default 5s.", positive, func(t *Timeouts) *time.Duration { return &t.Queue }),
	key("tunnel", "Silence in both directions after an upgrade. Default 1h.", positive, func(t *Timeouts) *time.Duration { return &t.Tunnel }),
	key("check", "One health check. Default: the check's interval.", positive, func(t *Timeouts) *time.Duration { return &t.Check }),
}}

var meshKeys = table[Mesh]{name: "mesh", fields: []field[Mesh]{
	must(key("private_key_file", "File with this machine's WireGuard key in base64.", filePath, func(m *Mesh) *Text { return &m.PrivateKeyFile })),
	must(key("address", "This machine's address in the mesh with the network's length, such as 10.0.0.11/24.", interfaceAddress, func(m *Mesh) *netip.Prefix { return &m.Address })),
	key("listen", "UDP port for WireGuard; 0 (default) is the kernel's choice.", integer(0, 65535), func(m *Mesh) *int { return &m.Listen }),
	key("mtu", "Largest packet inside the tunnel in bytes. Default 1420.", integer(576, 65535), func(m *Mesh) *int { return &m.MTU }),
	named("peers", "The other machines, by name.", "peer", object(peerKeys, func(at Pos) *Peer { return &Peer{Pos: at} }),
		func(p *Peer, name string, at Pos) { p.Name, p.Pos = name, at }, func(m *Mesh) *[]*Peer { return &m.Peers }),
}}

var peerKeys = table[Peer]{name: "peer", fields: []field[Peer]{
	must(key("public_key", "The peer's WireGuard public key in base64.", publicKey, func(p *Peer) *string { return &p.PublicKey })),
	key("preshared_key_file", "File with a key both sides share besides, in base64.", filePath, func(p *Peer) *Text { return &p.PresharedKeyFile }),
	key("endpoint", "host:port where the peer's WireGuard listens. Left out, the peer has to call first.", remoteAddress, func(p *Peer) *string { return &p.Endpoint }),
	must(key("allowed_ips", "Networks that are reached through this peer. No address belongs to two peers.", listOf(network), func(p *Peer) *[]netip.Prefix { return &p.AllowedIPs })),
	key("keepalive", "Sends a packet this often to keep a NAT open, in whole seconds; 0s (default) is never.", duration(0), func(p *Peer) *time.Duration { return &p.Keepalive }),
}, check: func(d *decoder, at Pos, p *Peer) {
	if p.Keepalive%time.Second != 0 || p.Keepalive > 65535*time.Second {
		d.fail(d.cfg.at(&p.Keepalive, at), "keepalive: WireGuard takes whole seconds up to 65535s")
	}
}}

var frontendKeys = table[Frontend]{name: "frontend", fields: []field[Frontend]{
	key("mode", "What is spoken: http.", oneOf("mode", "http"), func(f *Frontend) *string { return &f.Mode }),
	key("bind", "Where to listen: addresses, or objects with address and tls.", listOf(bind), func(f *Frontend) *[]*Bind { return &f.Binds }),
	key("redirect_https", "Answers plain HTTP with a redirect to https.", boolean, func(f *Frontend) *bool { return &f.RedirectHTTPS }),
	named("acls", "Named conditions in HAProxy's language, such as src 10.0.0.0/8; a list is alternatives.", "acl", aclLines,
		func(a *ACL, name string, at Pos) { a.Name, a.Pos = name, at }, func(f *Frontend) *[]*ACL { return &f.ACLs }),
	key("deny", "Conditions. A request that meets one of them is answered 403. Comes before allow, both before request.", listOf(text), func(f *Frontend) *[]Text { return &f.Deny }),
	key("allow", "Conditions. A request that meets none of them is answered 403.", listOf(text), func(f *Frontend) *[]Text { return &f.Allow }),
	key("request", "HAProxy http-request actions, in order: deny deny_status 403 if admin !office.", listOf(text), func(f *Frontend) *[]Text { return &f.Request }),
	key("response", "HAProxy http-response actions, in order.", listOf(text), func(f *Frontend) *[]Text { return &f.Response }),
	key("routes", "Which requests go to which backend. The longest path wins, then the host; of two alike the first whose condition holds.", listOf(object(routeKeys, func(at Pos) *Route { return &Route{Pos: at, Path: "/"} })), func(f *Frontend) *[]*Route { return &f.Routes }),
	key("default_backend", "Backend of the requests that no route takes.", pointer(text), func(f *Frontend) **Text { return &f.DefaultBackend }),
	key("maxconn", "Client connections at a time; 0 (default) is no limit besides the global one.", integer(0, 100_000_000), func(f *Frontend) *int { return &f.Maxconn }),
	section("timeouts", "Timeouts of this frontend, instead of the document's.", timeoutKeys.pick("client", "http_request", "keep_alive"), func(f *Frontend) *Timeouts { return &f.Timeouts }),
}}

var bind = orText(object(bindKeys, newBind), listenAddress, newBind, func(b *Bind) *string { return &b.Address })

func newBind(at Pos) *Bind { return &Bind{Pos: at} }

var bindKeys = table[Bind]{name: "bind", fields: []field[Bind]{
	must(key("address", "IP address and port, or :port for all addresses.", listenAddress, func(b *Bind) *string { return &b.Address })),
	key("tls", "Speaks TLS with this certificate.", object(bindTLSKeys, func(at Pos) *BindTLS { return &BindTLS{Pos: at} }), func(b *Bind) **BindTLS { return &b.TLS }),
}}

var bindTLSKeys = table[BindTLS]{name: "bind tls", fields: []field[BindTLS]{
	must(key("cert", "PEM file with the certificate and its chain.", filePath, func(t *BindTLS) *Text { return &t.Cert })),
	key("key", "PEM file with the private key. Default: it is in the certificate's file.", filePath, func(t *BindTLS) *Text { return &t.Key }),
}, check: func(_ *decoder, _ Pos, t *BindTLS) {
	if t.Key.S == "" {
		t.Key = t.Cert
	}
}}

var routeKeys = table[Route]{name: "route", fields: []field[Route]{
	key("host", "Host name, or *.example.com for all names below. Left out, every host.", routeHost, func(r *Route) *string { return &r.Host }),
	key("path", "Path and all below it, by whole segments: /a covers /a and /a/b, not /ab. Default /.", urlPath, func(r *Route) *string { return &r.Path }),
	must(key("backend", "Name of the backend.", text, func(r *Route) *Text { return &r.Backend })),
	key("strip_prefix", "The server gets the path without the route's.", boolean, func(r *Route) *bool { return &r.StripPrefix }),
	key("if", "A condition that must hold as well: { req.hdr(x-beta) -m found }.", pointer(text), func(r *Route) **Text { return &r.If }),
}}

func newBackend(at Pos) *Backend {
	return &Backend{Pos: at, Balance: "roundrobin", Retries: Retries{Attempts: 3, Redispatch: true, On: []string{"conn-failure", "empty-response"}}}
}

var backendKeys = table[Backend]{name: "backend", fields: []field[Backend]{
	key("balance", "How a server is picked: roundrobin (default, by weight) or leastconn.", oneOf("balance algorithm", "roundrobin", "leastconn"), func(b *Backend) *string { return &b.Balance }),
	key("health", "How servers are checked. Left out, they count as up.", object(healthKeys, newHealth), func(b *Backend) **Health { return &b.Health }),
	section("retries", "How a failed attempt is repeated.", retriesKeys, func(b *Backend) *Retries { return &b.Retries }),
	key("request", "HAProxy http-request actions, in order, after the frontend's.", listOf(text), func(b *Backend) *[]Text { return &b.Request }),
	key("response", "HAProxy http-response actions, in order, before the frontend's.", listOf(text), func(b *Backend) *[]Text { return &b.Response }),
	named("servers", "The servers, by name: an address, or an object with address.", "server", server,
		func(s *Server, name string, at Pos) { s.Name, s.Pos = name, at }, func(b *Backend) *[]*Server { return &b.Servers }),
	section("timeouts", "Timeouts of this backend, instead of the document's.", timeoutKeys.pick("connect", "server", "queue", "tunnel"), func(b *Backend) *Timeouts { return &b.Timeouts }),
}}

func newHealth(at Pos) *Health {
	return &Health{Pos: at, Interval: 2 * time.Second, Rise: 2, Fall: 3}
}

var healthKeys = table[Health]{name: "health", fields: []field[Health]{
	put("http", "Sends this request: GET /healthz.", httpCheck, func(h *Health, r request) { h.HTTP, h.Method, h.Path = true, r.method, r.target }),
	key("tcp", "Opens a connection and asks nothing.", boolean, func(h *Health) *bool { return &h.TCP }),
	key("host", "Host field of the request. Default: the server's address.", hostField, func(h *Health) *string { return &h.Host }),
	put("expect", "Status codes that count as healthy: 200, 200-399 or a list. Default 200-399.", listOf(statusRange), func(h *Health, r [][]StatusRange) { h.Expect = flat(r) }),
	key("interval", "From one check to the next. Default 2s.", positive, func(h *Health) *time.Duration { return &h.Interval }),
	key("fast", "Interval while a server is on its way up or down. Default: interval.", positive, func(h *Health) *time.Duration { return &h.Fast }),
	key("down", "Interval while a server is down. Default: interval.", positive, func(h *Health) *time.Duration { return &h.Down }),
	key("timeout", "Of one check. Default: the document's check timeout, or else interval.", positive, func(h *Health) *time.Duration { return &h.Timeout }),
	key("rise", "Good checks in a row until a server is up. Default 2.", integer(1, 1000), func(h *Health) *int { return &h.Rise }),
	key("fall", "Bad checks in a row until a server is down. Default 3.", integer(1, 1000), func(h *Health) *int { return &h.Fall }),
	key("port", "Port to check. Default: the server's.", integer(1, 65535), func(h *Health) *int { return &h.Port }),
}, check: func(d *decoder, at Pos, h *Health) {
	switch {
	case h.HTTP && h.TCP:
		d.fail(at, "both http and tcp are given: one of them would do")
	case !h.HTTP && !h.TCP:
		d.fail(at, "nothing says what to check: write http: GET /healthz or tcp: true")
	case h.TCP && h.Expect != nil:
		d.fail(at, "expect needs http: a tcp check has no status")
	case h.TCP && h.Host != "":
		d.fail(at, "host needs http: a tcp check sends no request")
	case h.HTTP && h.Expect == nil:
		h.Expect = []StatusRange{{200, 399}}
	}
}}

var retriesKeys = table[Retries]{name: "retries", fields: []field[Retries]{
	key("attempts", "Further attempts after the first that failed; 0 is none. Default 3.", integer(0, 100), func(r *Retries) *int { return &r.Attempts }),
	key("redispatch", "They may go to another server. Default true.", boolean, func(r *Retries) *bool { return &r.Redispatch }),
	key("on", "What is repeated: conn-failure (the request never left) and empty-response (the connection ended before any answer; only requests that do no harm twice). Default: both.", listOf(oneOf("retry cause", "conn-failure", "empty-response")), func(r *Retries) *[]string { return &r.On }),
}}

var server = orText(object(serverKeys, newServer), remoteAddress, newServer, func(s *Server) *string { return &s.Address })

func newServer(at Pos) *Server { return &Server{Pos: at, Weight: 1} }

var serverKeys = table[Server]{name: "server", fields: []field[Server]{
	must(key("address", "host:port.", remoteAddress, func(s *Server) *string { return &s.Address })),
	key("weight", "Share of the requests, 1 to 256; 0 takes no new ones. Default 1.", integer(0, 256), func(s *Server) *int { return &s.Weight }),
	key("maxconn", "Requests at a time; more wait in the queue. 0 (default) is no limit.", integer(0, 100_000_000), func(s *Server) *int { return &s.Maxconn }),
	key("backup", "Used when no other server is up.", boolean, func(s *Server) *bool { return &s.Backup }),
	key("disabled", "Starts in maintenance.", boolean, func(s *Server) *bool { return &s.Disabled }),
}}

// Rows of a kind of their own.

// once is a section that may be given in one of the files only.
func once(f field[Config]) field[Config] {
	decode := f.decode
	f.decode = func(d *decoder, n *node, c *Config) {
		if first, twice := d.defined[f.key]; twice {
			d.fail(n.pos, "the section is given twice, first at %s", first)
			return
		}
		d.defined[f.key] = n.pos
		decode(d, n, c)
	}
	return f
}

// includes remembers the patterns; load follows them when the file is done.
func includes(name, doc string) field[Config] {
	s := listOf(text)
	return field[Config]{key: name, doc: doc, schema: s.schema, decode: func(d *decoder, n *node, _ *Config) {
		d.include, _ = s.decode(d, n)
	}}
}

// accessLog is a section, or the word off.
func accessLog(name, doc string) field[Log] {
	f := section(name, doc, accessLogKeys, func(l *Log) *AccessLog { return &l.Access })
	decode := f.decode
	f.schema = anyOf(f.schema, schema{"const": "off"})
	f.decode = func(d *decoder, n *node, l *Log) {
		if n.kind != scalar {
			decode(d, n, l)
			return
		}
		if t, ok := text.decode(d, n); ok && t.S != "off" {
			d.fail(n.pos, "%q is neither off nor a mapping: write {format: json, to: stdout}", t.S)
			return
		}
		l.Access.Off = true
	}
	return f
}

// aclLines are one or more texts.
var aclLines = shape[*ACL]{listOf(text).schema, func(d *decoder, n *node) (*ACL, bool) {
	lines, ok := listOf(text).decode(d, n)
	if ok && len(lines) == 0 {
		d.fail(n.pos, "no condition is given: write one, such as src 10.0.0.0/8")
		ok = false
	}
	return &ACL{Lines: lines}, ok
}}

func flat(lists [][]StatusRange) (all []StatusRange) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
