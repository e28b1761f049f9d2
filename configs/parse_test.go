package configs

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEachMistakeIsNamedWhereItStands(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("[", 100000)
	for _, c := range []struct{ name, src, want string }{
		{"empty", "", "1:1: the document is empty: frontends and backends are wanted"},
		{"only a comment", "# x\n", "1:1: the document is empty: frontends and backends are wanted"},
		{"a list", "\n- a\n", "2:1: the document is a list; a mapping is wanted: frontends:, backends: and so on"},
		{"a word", "hello\n", "1:1: the document is a single value; a mapping is wanted: frontends:, backends: and so on"},
		{"two documents", site + "---\na: b\n", "4:1: a second YAML document begins here: one file holds one; use include for more files"},
		{"a directive", "%YAML 1.2\n---\n" + site, "1:1: not YAML: directives are not supported: leave the line out"},
		{"a tab", "global:\n\tloops: 1\n", "2:1: not YAML: a tab stands where YAML wants spaces: indent with spaces"},
		{"no UTF-8", "a: \xff\n", "1:4: byte 0xff is not UTF-8"},
		{"a lone carriage return", "a: b\rc: d\n", "1:5: the character U+000D has no place in a configuration"},
		{"a control character", "a:\n  é\x00\n", "2:4: the character U+0000 has no place in a configuration"},
		{"an open bracket", "global: {loops: 1\n", "1:9: not YAML: could not find flow mapping end token '}'"},
		{"deep brackets", long, "1:65: not YAML: nested more than 64 deep"},
		{"deep dashes", strings.Repeat("- ", 100000), "1:129: not YAML: nested more than 64 deep"},
		{"deep keys in brackets", strings.Repeat("{a: ", 100000), "1:255: not YAML: nested more than 64 deep"},
		{"an unknown anchor", site + "global: *globl\n", "3:9: unknown anchor \"globl\" (there is none)"},
		{"an anchor inside itself", "global: &g {log: *g}\n" + site, "1:18: unknown anchor \"g\" (there is none)"},
		{"a tag", site + "global: {loops: !!int 5}\n", "3:17: the tag !!int is not supported: leave it out"},
		{"a key twice", site + "global: {}\nglobal: {}\n", "4:1: key \"global\" is given twice, first at edge.yaml:3:1"},
		{"a name twice", site + "mesh:\n", "3:1: mesh: the key \"private_key_file\" is missing: File with this machine's WireGuard key in base64\nedge.yaml:3:1: mesh: the key \"address\" is missing: This machine's address in the mesh with the network's length, such as 10.0.0.11/24"},
		{"no value", site + "global:\n  loops:\n", "4:3: global: loops: no value is given; a single value is wanted"},
		{"an empty value", site + "global: {loops: ''}\n", "3:17: global: loops: the value is empty"},
		{"a list for a value", site + "global: {loops: [1]}\n", "3:17: global: loops: a single value is wanted here, not a list"},
		{"a mapping for a value", site + "global: {loops: {a: 1}}\n", "3:17: global: loops: a single value is wanted here, not a mapping (a value with a colon in it may need quotes)"},
		{"an unknown section", site + "backend: {}\n", "3:1: unknown key \"backend\" (known: backends, frontends, global, include, mesh, timeouts); did you mean \"backends\"?"},
		{"a fraction", site + "global: {loops: 1.5}\n", "3:17: global: loops: \"1.5\" is not a whole number"},
		{"a huge number", site + "global: {loops: 99999999999999999999}\n", "3:17: global: loops: \"99999999999999999999\" is out of range: 0 to 1024 would do"},
		{"no truth", strings.Replace(site, "default", "redirect_https: yes, default", 1), "1:48: frontend \"web\": redirect_https: \"yes\" is neither true nor false"},
		{"a wrong unit", site + "timeouts: {client: 5ns}\n", "3:20: timeouts: client: \"5ns\" has the wrong unit \"ns\": us, ms, s, m, h or d would do"},
		{"a frontend's connect timeout", strings.Replace(site, "default", "timeouts: {connect: 1s}, default", 1), "1:43: frontend \"web\": timeouts: unknown key \"connect\" (known: client, http_request, keep_alive)"},
		{"a log-format string", site + "global: {log: {access: {format: '%ci %r'}}}\n", "3:33: global: log: access: format: a log-format string is not supported by this version of edge (known: httplog, json)"},
		{"access: on", site + "global: {log: {access: on}}\n", "3:24: global: log: access: \"on\" is neither off nor a mapping: write {format: json, to: stdout}"},
		{"no bind", "frontends: {web: {default_backend: api}}\nbackends: {api: {servers: {s1: '10.0.0.1:80'}}}\n", "1:13: frontend \"web\": no bind: write bind: [{address: \":80\"}]"},
		{"bound twice", strings.Replace(site, "':80'", "[':80', '0.0.0.0:80']", 1), "1:33: frontend \"web\": bind 0.0.0.0:80 is taken by frontend \"web\" at edge.yaml:1:26"},
		{"metrics bound twice", site + "global: {metrics: '*:80'}\n", "1:25: frontend \"web\": bind :80 is taken by global metrics at edge.yaml:3:19"},
		{"a server twice", "frontends: {web: {bind: ':80', default_backend: api}}\nbackends: {api: {servers: {s1: '10.0.0.1:80', s1: '10.0.0.2:80'}}}\n", "2:47: backend \"api\": server \"s1\" is defined twice, first at edge.yaml:2:28"},
		{"a closed brace missing", site + "global: {admin: 'unix:${HOME'}\n", "3:23: global: admin: ${ without }: write ${NAME}, ${NAME:-default} or ${file:/path}; $${ stands for ${ itself"},
		{"a strange variable", site + "global: {admin: 'unix:${A-B}'}\n", "3:23: global: admin: ${A-B}: not a variable's name: write ${NAME}, ${NAME:-default} or ${file:/path}; $${ stands for ${ itself"},
		{"an unreadable file", site + "global: {admin: '${file:x}'}\n", "3:18: global: admin: ${file:x}: /etc/edge/x cannot be read: file does not exist"},
		{"a value of two lines", site + "global: {admin: '${TWO}'}\n", "3:18: global: admin: ${TWO}: the value has a line break or control character, \"\\n\""},
		{"tcp and http", strings.Replace(site, "servers", "health: {tcp: true, http: /}, servers", 1), "2:26: backend \"api\": health: both http and tcp are given: one of them would do"},
		{"tcp expects", strings.Replace(site, "servers", "health: {tcp: true, expect: 200}, servers", 1), "2:26: backend \"api\": health: expect needs http: a tcp check has no status"},
		{"no such log level", site + "global: {log: {level: warning}}\n", "3:23: global: log: unknown log level \"warning\" (known: debug, error, info, warn); did you mean \"warn\"?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("edge.yaml", []byte(c.src), fake(nil, map[string]string{"TWO": "a\nb"}))
			if err == nil {
				t.Fatal("accepted")
			}
			if d := cmp.Diff("edge.yaml:"+c.want, err.Error()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestWhatThisVersionDoesNotDoIsRefusedByName(t *testing.T) {
	t.Parallel()
	in := map[string]string{
		"":                  site + "KEY: {}\n",
		"bind tls":          "frontends: {web: {bind: {address: ':80', tls: {KEY: {}}}}}",
		"frontend":          "frontends: {web: {KEY: {}}}",
		"backend":           "backends: {api: {KEY: {}}}",
		"server":            "backends: {api: {servers: {s1: {KEY: {}}}}}",
		"mode":              "frontends: {web: {mode: KEY}}",
		"log format":        "global: {log: {access: {format: KEY}}}",
		"balance algorithm": "backends: {api: {balance: KEY}}",
		"retry cause":       "backends: {api: {retries: {on: KEY}}}",
	}
	for table, names := range later {
		src, ok := in[table]
		if !ok {
			t.Errorf("%q: the test knows no place for it", table)
		}
		for _, name := range names {
			_, err := Parse("edge.yaml", []byte(strings.Replace(src, "KEY", name, 1)), Options{})
			if want := `"` + name + `" is not supported by this version of edge`; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, want %s", table, name, err, want)
			}
		}
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	c := parse(t, `
timeouts: {client: 1m, check: 3s}
frontends:
  web: {bind: ":80", default_backend: api, timeouts: {keep_alive: 5s}}
backends:
  api: {servers: {s1: "h:80"}, health: {http: /x}, timeouts: {tunnel: 2d}}
  b: {servers: {s1: {address: "h:80"}}, health: {tcp: true, interval: 10s, fast: 1s, timeout: 1s500ms}}
`)
	timeouts := Timeouts{5 * time.Second, time.Minute, 30 * time.Second, 10 * time.Second, time.Minute, 5 * time.Second, time.Hour, 3 * time.Second}
	ofWeb, ofAPI := timeouts, timeouts
	ofWeb.KeepAlive, ofAPI.Tunnel = 5*time.Second, 48*time.Hour
	retries := Retries{Attempts: 3, Redispatch: true, On: []string{"conn-failure", "empty-response"}}
	want := &Config{
		File: "edge.yaml", Files: []string{"/etc/edge/edge.yaml"}, Timeouts: timeouts,
		Global:    Global{Log: Log{AccessLog{Format: "json", To: "stdout"}, "info"}},
		Frontends: []*Frontend{{Name: "web", Mode: "http", Binds: []*Bind{{Address: ":80"}}, DefaultBackend: &Text{S: "api"}, Timeouts: ofWeb}},
		Backends: []*Backend{
			{Name: "api", Balance: "roundrobin", Retries: retries, Servers: []*Server{{Name: "s1", Address: "h:80", Weight: 1}}, Timeouts: ofAPI,
				Health: &Health{HTTP: true, Method: "GET", Path: "/x", Expect: []StatusRange{{200, 399}}, Interval: 2 * time.Second, Fast: 2 * time.Second, Down: 2 * time.Second, Timeout: 3 * time.Second, Rise: 2, Fall: 3}},
			{Name: "b", Balance: "roundrobin", Retries: retries, Servers: []*Server{{Name: "s1", Address: "h:80", Weight: 1}}, Timeouts: timeouts,
				Health: &Health{TCP: true, Interval: 10 * time.Second, Fast: time.Second, Down: 10 * time.Second, Timeout: 1500 * time.Millisecond, Rise: 2, Fall: 3}},
		},
	}
	if d := cmp.Diff(want, c, plain...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	c.Warnings = nil
	if errs := c.Validate(); errs != nil || cmp.Diff(want, c, plain...) != "" {
		t.Errorf("a second Validate changes it: %v", errs)
	}
}

// plain compares what is said, not where.
var plain = []cmp.Option{cmpopts.IgnoreTypes(Pos{}), cmpopts.IgnoreUnexported(Text{}, Config{}),
	cmpopts.IgnoreFields(Config{}, "Digest", "Warnings"), cmpopts.EquateComparable(netip.Prefix{})}

func TestEveryKeyArrivesInItsField(t *testing.T) {
	t.Parallel()
	c := parse(t, `
global: {admin: unix:a.sock, metrics: "*:9901", state_dir: state, loops: 2, maxconn: 9, trusted_proxies: ["::1", 10.0.0.0/8], log: {access: {format: httplog, to: ./a.log}, level: debug}}
mesh:
  private_key_file: mesh.key
  address: 10.0.0.11/24
  listen: 51820
  mtu: 1280
  peers:
    vm2: {public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", preshared_key_file: /psk, endpoint: "[::1]:51820", allowed_ips: ["fd00::/64", 10.0.0.12], keepalive: 25s}
frontends:
  web:
    mode: http
    bind: [{address: "127.0.0.1:443", tls: {cert: c.pem, key: k.pem}}, ":0"]
    redirect_https: true
    acls: {a: src 10.0.0.1, b: [path /x, path /y]}
    allow: a
    deny: [b, a b]
    request: [deny if a]
    response: del-header X
    routes: [{host: "*.Example.COM", path: /x/, backend: api, strip_prefix: true, if: "{ path / }"}]
    default_backend: api
    maxconn: 10000
backends:
  api:
    balance: leastconn
    health: {http: HEAD /h?x=1, host: a.internal, expect: [200, "300-302,404"], down: 1s, rise: 1, fall: 9, port: 8081}
    retries: {attempts: 0, redispatch: false, on: [empty-response]}
    request: [set-header A b]
    response: [set-header C d]
    servers: {s1: {address: "[fd00::1]:080", weight: 0, maxconn: 100, backup: true, disabled: true}}
`)
	want := &Config{
		File: "edge.yaml", Files: []string{"/etc/edge/edge.yaml"}, Timeouts: defaultTimeouts,
		Global: Global{Admin: "unix:/etc/edge/a.sock", Metrics: ":9901", StateDir: "/etc/edge/state", Loops: 2, Maxconn: 9,
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8")},
			Log:            Log{AccessLog{Format: "httplog", To: "/etc/edge/a.log"}, "debug"}},
		Mesh: &Mesh{PrivateKeyFile: Text{S: "/etc/edge/mesh.key"}, Address: netip.MustParsePrefix("10.0.0.11/24"), Listen: 51820, MTU: 1280,
			Peers: []*Peer{{Name: "vm2", PublicKey: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", PresharedKeyFile: Text{S: "/psk"}, Endpoint: "[::1]:51820",
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("10.0.0.12/32")}, Keepalive: 25 * time.Second}}},
		Frontends: []*Frontend{{Name: "web", Mode: "http", RedirectHTTPS: true, Maxconn: 10000, Timeouts: defaultTimeouts,
			Binds:          []*Bind{{Address: "127.0.0.1:443", TLS: &BindTLS{Cert: Text{S: "/etc/edge/c.pem"}, Key: Text{S: "/etc/edge/k.pem"}}}, {Address: ":0"}},
			ACLs:           []*ACL{{Name: "a", Lines: []Text{{S: "src 10.0.0.1"}}}, {Name: "b", Lines: []Text{{S: "path /x"}, {S: "path /y"}}}},
			Allow:          []Text{{S: "a"}},
			Deny:           []Text{{S: "b"}, {S: "a b"}},
			Request:        []Text{{S: "deny if a"}},
			Response:       []Text{{S: "del-header X"}},
			Routes:         []*Route{{Host: "*.example.com", Path: "/x/", Backend: Text{S: "api"}, StripPrefix: true, If: &Text{S: "{ path / }"}}},
			DefaultBackend: &Text{S: "api"}}},
		Backends: []*Backend{{Name: "api", Balance: "leastconn", Retries: Retries{On: []string{"empty-response"}}, Timeouts: defaultTimeouts,
			Health: &Health{HTTP: true, Method: "HEAD", Path: "/h?x=1", Host: "a.internal", Expect: []StatusRange{{200, 200}, {300, 302}, {404, 404}},
				Interval: 2 * time.Second, Fast: 2 * time.Second, Down: time.Second, Timeout: 2 * time.Second, Rise: 1, Fall: 9, Port: 8081},
			Request: []Text{{S: "set-header A b"}}, Response: []Text{{S: "set-header C d"}},
			Servers: []*Server{{Name: "s1", Address: "[fd00::1]:80", Maxconn: 100, Backup: true, Disabled: true}}}},
	}
	if d := cmp.Diff(want, c, plain...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if c := parse(t, site+"global: {log: {access: off}}"); !c.Global.Log.Access.Off {
		t.Error("access: off is on")
	}
}

func TestVariablesExpandInsideValuesOnly(t *testing.T) {
	t.Parallel()
	env := map[string]string{"A": "x y", "EMPTY": "", "YAML": "a: {b: c} # d", "VAR": "${A}"}
	for in, want := range map[string]string{
		"${A}":                 "x y",
		"'${A}'":               "x y",
		`"pre ${A} post"`:      "pre x y post",
		"${A}${A}":             "x yx y",
		"a${EMPTY}b":           "ab",
		"${EMPTY:-none}":       "none",
		"${NOPE:-a:b, {c}":     "", // the brace ends it: YAML refuses the rest
		"${NOPE:-a:b, [c] #d}": "a:b, [c] #d",
		"b${NOPE:-}":           "b",
		"${YAML}":              "a: {b: c} # d",
		"${VAR}":               "${A}",
		"$${A} ${A}":           "${A} x y",
		"$$ $A":                "$$ $A",
		"${file:f}":            "from file",
		"|\n      ${A}\n":      "x y",
	} {
		src := "frontends:\n  web:\n    bind: ':80'\n    default_backend: api\n    deny: " + in + "\nbackends: {api: {servers: {s1: 'h:80'}}}\n"
		flow := "frontends: {web: {bind: ':80', default_backend: api, deny: [" + in + "]}}\nbackends: {api: {servers: {s1: 'h:80'}}}\n"
		if strings.HasPrefix(in, "|") {
			flow = src
		}
		for _, doc := range []string{src, flow} {
			c, err := Parse("edge.yaml", []byte(doc), fake(map[string]string{"f": "from file\n"}, env))
			switch {
			case want == "" && doc == flow && err == nil:
				t.Errorf("%s: accepted as %q", in, c.Frontends[0].Deny[0].S)
			case want == "":
			case err != nil:
				t.Errorf("%s: %v", doc, err)
			case c.Frontends[0].Deny[0].S != want:
				t.Errorf("%s: %q, want %q", in, c.Frontends[0].Deny[0].S, want)
			}
		}
	}
}

func TestPositionsInsideATextAreExact(t *testing.T) {
	t.Parallel()
	c, err := Parse("edge.yaml", []byte(`frontends:
  web:
    bind: ":80"
    default_backend: api
    deny:
      - plain text   
      - "quoted text"
      - 'é text'   # comment
      -   plain ${A} text
      - "esc\"aped"
      - folded
        over lines
      - | 
        block
backends: {api: {servers: {s1: "h:80"}}}
`), fake(nil, map[string]string{"A": "a"}))
	if err != nil {
		t.Fatal(err)
	}
	deny := c.Frontends[0].Deny
	for i, c := range []struct{ find, want string }{
		{"text", "6:15"}, {"text", "7:17"}, {"text", "8:12"}, {"ain", "9:13"},
		{"aped", "10:9"}, {"over", "11:9"}, {"block", "13:9"}, // escaped, folded, block: where it begins
	} {
		if got := deny[i].At(strings.Index(deny[i].S, c.find)).String(); got != "edge.yaml:"+c.want {
			t.Errorf("%q in %q: %s, want %s", c.find, deny[i].S, got, c.want)
		}
	}
	if got := deny[3].At(len(deny[3].S)).String(); got != "edge.yaml:9:11" {
		t.Errorf("beyond a variable: %s, want the beginning", got)
	}
}

func TestAnchorsAndMergeKeysAreFollowed(t *testing.T) {
	t.Parallel()
	c := parse(t, `
frontends: {web: {bind: ":80", default_backend: a}}
backends:
  a: &a
    health: &h {http: GET /healthz, interval: 5s}
    servers: {s1: "h:80"}
  b:
    <<: *a
    health: {<<: *h, interval: 1s}
`)
	b := c.Backends[1]
	if b.Health.Path != "/healthz" || b.Health.Interval != time.Second || b.Servers[0].Address != "h:80" {
		t.Errorf("%+v %+v", b, b.Health)
	}
	if b.Servers[0] == c.Backends[0].Servers[0] {
		t.Error("two backends share one server")
	}
}

func TestAliasesCannotUnfoldWithoutEnd(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	doc.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 30; i++ {
		n := string(rune('a' + i))
		prev := "a0"
		if i > 1 {
			prev = string(rune('a' + i - 1))
		}
		doc.WriteString(n + "k: &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+prev+",", 10), ",") + "]\n")
		if i == 24 {
			break
		}
	}
	_, err := Parse("edge.yaml", []byte(doc.String()), Options{})
	if err == nil || !strings.Contains(err.Error(), "the aliases unfold to more than") {
		t.Errorf("got %.300v", err)
	}
}

func TestTenThousandRoutesAreReadInReasonableTime(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	doc.WriteString("frontends:\n  web:\n    bind: ':80'\n    routes:\n")
	for i := range 10000 {
		doc.WriteString("      - {path: /r" + itoa(i) + ", backend: b" + itoa(i) + "}\n")
	}
	doc.WriteString("backends:\n")
	for i := range 10000 {
		doc.WriteString("  b" + itoa(i) + ": {servers: {s1: '10.0.0.1:80'}}\n")
	}
	begin := time.Now()
	c := parse(t, doc.String())
	if took := time.Since(begin); took > 20*time.Second || len(c.Frontends[0].Routes) != 10000 {
		t.Errorf("%d routes in %s", len(c.Frontends[0].Routes), took)
	} else {
		t.Log(took)
	}
}
