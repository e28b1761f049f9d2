package proxy

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/approovia/edge/proxy/exchange"
)

const routed = `frontends:
  web:
    bind: [{address: "127.0.0.1:0"}]
    routes:
      - {path: /, backend: root}
      - {path: /a, backend: a}
      - {path: /a/b, backend: ab}
      - {path: /a/b/, host: special.example.com, backend: special}
      - {path: /strip, backend: strip, strip_prefix: true}
      - {path: /strip/deep/, backend: strip, strip_prefix: true}
      - {path: /, host: example.com, backend: exact}
      - {path: /, host: "*.example.com", backend: wild}
      - {path: /, host: "*.b.example.com", backend: wilder}
      - {path: /beta, backend: beta, if: "{ req.hdr(x-beta) -m found }"}
      - {path: /beta, backend: posts, if: METH_POST}
backends:
`

func TestARequestGoesWhereItsHostAndLongestPathLead(t *testing.T) {
	t.Parallel()
	text := routed
	for _, name := range []string{"root", "a", "ab", "special", "strip", "exact", "wild", "wilder", "beta", "posts"} {
		text += fmt.Sprintf("  %s: {servers: {s: %s}}\n", name, origin(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, name+" "+r.RequestURI)
		}))
	}
	e := start(t, text)
	for _, c := range []struct{ host, target, extra, want string }{
		{"x", "/", "", "root /"},
		{"x", "/other?q=/a", "", "root /other?q=/a"},
		{"x", "/a", "", "a /a"},
		{"x", "/a/", "", "a /a/"},
		{"x", "/a/x", "", "a /a/x"},
		{"x", "/ab", "", "root /ab"}, // a segment, not a byte prefix
		{"x", "/a/bc", "", "a /a/bc"},
		{"x", "/a/b", "", "ab /a/b"},
		{"x", "/a/b/c/d/e", "", "ab /a/b/c/d/e"},
		{"x", "/A", "", "root /A"},
		{"x", "/%61/b", "", "ab /a/b"}, // routed as it is sent on
		{"x", "/x/../a/b", "", "ab /a/b"},
		{"special.example.com", "/a/b/c", "", "special /a/b/c"},
		{"special.example.com", "/a/c", "", "a /a/c"}, // the longest path first, then the host
		{"example.com", "/", "", "exact /"},
		{"EXAMPLE.com:8080", "/z", "", "exact /z"},
		{"example.com", "/a", "", "a /a"},
		{"www.example.com", "/", "", "wild /"},
		{"a.b.c.example.com", "/", "", "wild /"},
		{"a.b.example.com", "/", "", "wilder /"},
		{"badexample.com", "/", "", "root /"},
		{"x", "/strip", "", "strip /"},
		{"x", "/strip?q", "", "strip /?q"},
		{"x", "/strip/", "", "strip /"},
		{"x", "/strip/y?q", "", "strip /y?q"},
		{"x", "/strip/deep", "", "strip /"},
		{"x", "/strip/deep/y", "", "strip /y"},
		{"x", "/stripped", "", "root /stripped"},
		{"x", "/beta", "", "root /beta"}, // no condition holds: the next shorter path
		{"x", "/beta/1", "X-Beta: 1\r\n", "beta /beta/1"},
	} {
		_, got := ask(t, e.addr(0), "GET "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\n"+c.extra+"\r\n")
		if got != c.want {
			t.Errorf("%s%s went to %q, want %q", c.host, c.target, got, c.want)
		}
	}
	if _, got := ask(t, e.addr(0), "POST /beta HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); got != "posts /beta" {
		t.Errorf("%q", got)
	}
}

func TestARequestThatNoRouteTakesIs503(t *testing.T) {
	t.Parallel()
	e := start(t, "frontends:\n  web: {bind: [{address: \"127.0.0.1:0\"}], routes: [{path: /a, backend: app}]}\nbackends:\n  app: {servers: {s: "+named(t, "x")+"}}\n")
	if status, _ := getPath(t, e, "/b"); status != 503 {
		t.Errorf("status %d", status)
	}
	if l := e.lines(1)[0]; l.Termination != "SC" || l.Cause != "no route and no default_backend" || l.Backend != "" {
		t.Errorf("%+v", l)
	}
}

// BenchmarkFindingARoute shows that the cost does not depend on how many there are.
func BenchmarkFindingARoute(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := newRoutes()
			for i := range n {
				table.add("", fmt.Sprintf("/service-%d/api", i), &route{})
			}
			var x exchange.Exchange
			x.Req.Hostname = []byte("example.com")
			x.Req.Match = fmt.Appendf(nil, "/service-%d/api/v1/things/7", n/2)
			b.ReportAllocs()
			for b.Loop() {
				if table.find(&x) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}
