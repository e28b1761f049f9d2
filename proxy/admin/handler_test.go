package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/approovia/edge/proxy/control"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// socketDir is a directory whose path is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start serves an operator on a unix socket of its own until the test ends.
func start(t *testing.T, op control.Operator) (addr string, log *lines) {
	t.Helper()
	addr, log = "unix:"+filepath.Join(socketDir(t), "run", "admin.sock"), &lines{}
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, op, Options{}, log)
	return addr, log
}

func serve(t *testing.T, l net.Listener, op control.Operator, opt Options, log *lines) {
	t.Helper()
	opt.Log = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(op, opt), opt.Log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func client(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// raw sends the bytes of a request head and a body as they are, and returns the answer.
func raw(t *testing.T, network, addr, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestRequestsAreAnsweredOrRefusedInJSON(t *testing.T) {
	t.Parallel()
	const vm2 = "/v1/backends/service-a/servers/vm2"
	jsonType := "Content-Type: application/json"
	for _, c := range []struct {
		name    string
		request string // method, path
		headers []string
		body    string
		status  int
		etag    string
		want    string // part of the body
	}{
		{"status", "GET /v1/status", nil, "", 200, `"5"`, `"servers":3,"servers_usable":2,"unserved":[]`},
		{"report", "GET /v1/report", nil, "", 200, `"5"`, `"took_seconds":0.0015`},
		{"a server", "GET " + vm2, nil, "", 200, `"5"`, `{"generation":5,"server":{"name":"vm2","address":"10.0.0.12:8001","status":"up"`},
		{"a query is nobody's business", "GET " + vm2 + "?x=1", nil, "", 200, `"5"`, `"vm2"`},
		{"names are decoded once", "GET /v1/backends/odd%2Fname/servers/a%20b%25%3F%23", nil, "", 200, `"5"`, `"name":"a b%?#"`},
		{"and only once", "GET /v1/backends/odd%252Fname/servers/x", nil, "", 404, "", `no backend \"odd%2Fname\"; did you mean \"odd/name\"?`},
		{"in-flight", "GET /v1/servers/service-a/vm2/inflight", nil, "", 200, "", `{"http":3,"tunnels":1}`},
		{"configuration", "GET /v1/config", nil, "", 200, "", `{"file":"edge.yaml","text":"frontends: {}\n"}`},
		{"mesh", "GET /v1/mesh", nil, "", 200, "", `"allowed_ips":["10.0.0.12/32"]`},
		{"the description", "GET /v1/openapi.json", nil, "", 200, "", `"openapi": "3.1.0"`},

		{"reload", "POST /v1/reload", nil, "", 200, `"6"`, `"ok":true,"generation":6`},
		{"reload with an empty object", "POST /v1/reload", []string{jsonType}, "{}", 200, `"6"`, `"ok":true`},
		{"drain", "POST " + vm2 + "/drain", nil, "", 200, `"6"`, `"status":"drain","operator_state":"drain"`},
		{"maint", "POST " + vm2 + "/maint", nil, "", 200, `"6"`, `"status":"maint"`},
		{"ready", "POST " + vm2 + "/ready", nil, "", 200, `"6"`, `"status":"up"`},
		{"change", "PUT " + vm2, []string{jsonType + "; charset=utf-8"}, `{"weight":7,"address":"10.0.0.99:1","maxconn":3,"state":"drain"}`, 200, `"6"`, `"weight":7,"maxconn":3`},

		{"the expected generation in a header", "POST " + vm2 + "/drain", []string{`If-Match: "5"`}, "", 200, `"6"`, `"drain"`},
		{"in the body", "POST " + vm2 + "/drain", []string{jsonType}, `{"generation":5}`, 200, `"6"`, `"drain"`},
		{"in both", "PUT " + vm2, []string{jsonType, `If-Match: "5"`}, `{"weight":2,"generation":5}`, 200, `"6"`, `"weight":2`},
		{"any", "POST " + vm2 + "/drain", []string{"If-Match: *"}, "", 200, `"6"`, `"drain"`},
		{"another generation in a header", "POST " + vm2 + "/drain", []string{`If-Match: "4"`}, "", 412, `"5"`, `{"error":"expected generation 4, but the current one is 5","generation":5}`},
		{"another in the body", "PUT " + vm2, []string{jsonType}, `{"weight":2,"generation":6}`, 412, `"5"`, `"generation":5`},
		{"two that differ", "PUT " + vm2, []string{jsonType, `If-Match: "5"`}, `{"weight":2,"generation":6}`, 400, "", `If-Match says generation 5, the body 6`},
		{"a weak tag", "POST " + vm2 + "/drain", []string{`If-Match: W/"5"`}, "", 400, "", `not one generation in quotes`},
		{"a bare number", "POST " + vm2 + "/drain", []string{`If-Match: 5`}, "", 400, "", `not one generation in quotes`},
		{"two tags", "POST " + vm2 + "/drain", []string{`If-Match: "5"`, `If-Match: "6"`}, "", 400, "", `not one generation in quotes`},
		{"an odd number", "POST " + vm2 + "/drain", []string{`If-Match: "05"`}, "", 400, "", `not one generation in quotes`},

		{"no such backend", "GET /v1/backends/service-x/servers/vm2", nil, "", 404, "", `no backend \"service-x\"; did you mean \"service-a\"?`},
		{"no such server", "POST /v1/backends/service-a/servers/vm4/drain", nil, "", 404, "", `no server \"service-a/vm4\"; did you mean`},
		{"no such server to count", "GET /v1/servers/service-a/x/inflight", nil, "", 404, "", `no server`},
		{"no such path", "GET /v1/nothing", nil, "", 404, "", `{"error":"no such path"}`},
		{"a later version's path", "GET /v1/certificates", nil, "", 404, "", `{"error":"no such path"}`},
		{"a slash at the end", "GET /v1/status/", nil, "", 404, "", `no such path`},
		{"two slashes", "POST //v1/reload", nil, "", 404, "", `no such path`},
		{"dots", "POST /v1/x/../reload", nil, "", 404, "", `no such path`},
		{"encoded dots", "POST /v1/x/%2e%2e/reload", nil, "", 404, "", `no such path`},
		{"an encoded slash", "POST /v1%2Freload", nil, "", 404, "", `no such path`},
		{"another case", "GET /V1/status", nil, "", 404, "", `no such path`},
		{"a prefix", "GET /v1/statusx", nil, "", 404, "", `no such path`},
		{"GET changes nothing", "GET /v1/reload", nil, "", 405, "", `GET is not allowed here: use POST`},
		{"nor on a verb", "GET " + vm2 + "/drain", nil, "", 405, "", `use POST`},
		{"DELETE is not there", "DELETE " + vm2, nil, "", 405, "", `use GET or PUT`},
		{"a method cannot be overridden", "GET /v1/reload", []string{"X-HTTP-Method-Override: POST"}, "", 405, "", `not allowed`},

		{"nothing to change", "PUT " + vm2, nil, "", 400, "", `nothing to change`},
		{"only a generation", "PUT " + vm2, []string{jsonType}, `{"generation":5}`, 400, "", `nothing to change`},
		{"a form", "PUT " + vm2, []string{"Content-Type: application/x-www-form-urlencoded"}, "weight=1", 415, "", `must be application/json`},
		{"plain text", "PUT " + vm2, []string{"Content-Type: text/plain"}, `{"weight":1}`, 415, "", `must be application/json`},
		{"no type", "POST /v1/reload", nil, `{}`, 415, "", `must be application/json`},
		{"half an object", "PUT " + vm2, []string{jsonType}, `{"weight":1`, 400, "", `the body is not what was expected: unexpected EOF`},
		{"two objects", "PUT " + vm2, []string{jsonType}, `{"weight":1}{"weight":2}`, 400, "", `something follows the object`},
		{"a brace too many", "PUT " + vm2, []string{jsonType}, `{"weight":1}}`, 400, "", `something follows the object`},
		{"an unknown field", "PUT " + vm2, []string{jsonType}, `{"wieght":1}`, 400, "", `unknown field \"wieght\"`},
		{"a field of another request", "POST " + vm2 + "/drain", []string{jsonType}, `{"weight":1}`, 400, "", `unknown field`},
		{"a wrong type", "PUT " + vm2, []string{jsonType}, `{"weight":"1"}`, 400, "", `cannot unmarshal`},
		{"a wrong value", "PUT " + vm2, []string{jsonType}, `{"weight":257}`, 400, "", `weight 257 is out of range`},
		{"a wrong state", "PUT " + vm2, []string{jsonType}, `{"state":"drian"}`, 400, "", `did you mean \"drain\"?`},
		{"the largest body", "PUT " + vm2, []string{jsonType}, strings.Repeat(" ", maxBody-12) + `{"weight":1}`, 200, `"6"`, `"weight":1`},
		{"a larger one", "PUT " + vm2, []string{jsonType}, strings.Repeat(" ", maxBody-11) + `{"weight":1}`, 413, "", `larger than 65536 bytes`},

		{"a web page", "POST /v1/reload", []string{"Origin: http://evil"}, "", 403, "", `requests from web pages are refused`},
		{"a page without origin", "POST /v1/reload", []string{"Origin: null"}, "", 403, "", `refused`},
		{"an empty origin", "POST /v1/reload", []string{"Origin:"}, "", 403, "", `refused`},
		{"another site", "POST /v1/reload", []string{"Sec-Fetch-Site: cross-site"}, "", 403, "", `refused`},
		{"a sibling site, reading", "GET /v1/status", []string{"Sec-Fetch-Site: same-site"}, "", 403, "", `refused`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			op := newOperator()
			addr, _ := start(t, op)
			request := c.request + " HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n"
			for _, h := range c.headers {
				request += h + "\r\n"
			}
			if c.body != "" {
				request += fmt.Sprintf("Content-Length: %d\r\n", len(c.body))
			}
			res, body := raw(t, "unix", addr[len("unix:"):], request+"\r\n"+c.body)
			if res.StatusCode != c.status || !strings.Contains(body, c.want) || res.Header.Get("ETag") != c.etag {
				t.Errorf("got %d, ETag %s: %s\nwant %d, ETag %s: %s", res.StatusCode, res.Header.Get("ETag"), body, c.status, c.etag, c.want)
			}
			if res.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(body)) {
				t.Errorf("not JSON: %s", body)
			}
			if res.StatusCode == 405 && res.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if now := op.generation(); res.StatusCode != 200 && now != 5 {
				t.Errorf("refused, but the generation is %d", now)
			}
		})
	}
}

func TestAHeadWithoutEndIsCutOff(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, newOperator())
	c, err := net.Dial("unix", addr[len("unix:"):])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n, field := 0, "X: "+strings.Repeat("x", 1000)+"\r\n"
	if _, err := io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: a\r\n"); err != nil {
		t.Fatal(err)
	}
	for err == nil && n < 10<<20 {
		_, err = io.WriteString(c, field)
		n += len(field)
	}
	if err == nil {
		t.Errorf("%d bytes of head were accepted", n)
	}
}

func TestOnTCPOnlyTheListedHostsAreServed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	serve(t, l, newOperator(), Options{Hosts: []string{host}}, &lines{})
	for _, c := range []struct {
		host   string
		status int
	}{{host, 200}, {"evil.test", 421}, {"127.0.0.1", 421}, {host + ".evil.test", 421}, {"", 421}, {strings.Replace(host, "127.0.0.1", "0.0.0.0", 1), 421}} {
		res, body := raw(t, "tcp", host, "GET /v1/status HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
		if res.StatusCode != c.status {
			t.Errorf("Host %q: got %d %s, want %d", c.host, res.StatusCode, body, c.status)
		}
	}
}

func TestOnTCPWithoutListedHostsNobodyIsServed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, newOperator(), Options{}, &lines{})
	if res, _ := raw(t, "tcp", l.Addr().String(), "GET /v1/status HTTP/1.1\r\nHost: "+l.Addr().String()+"\r\nConnection: close\r\n\r\n"); res.StatusCode != 421 {
		t.Error(res.Status)
	}
}

func TestAChangeIsLoggedWithWhoMadeIt(t *testing.T) {
	t.Parallel()
	addr, log := start(t, newOperator())
	c := client(t, addr)
	if _, err := c.ChangeServer(t.Context(), "service-a", "vm2", control.Change{Weight: new(7)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ChangeServer(t.Context(), "service-a", "vm2", control.Change{Weight: new(8)}, new(uint64(1))); err == nil {
		t.Fatal("a stale generation was accepted")
	}
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	who := fmt.Sprintf("uid %d pid %d", os.Geteuid(), os.Getpid())
	for _, want := range []string{"admin: changed", "admin: change refused", "PUT /v1/backends/service-a/servers/vm2", "POST /v1/reload", who, "generation=6"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
}

// The description and the handler are two texts about one thing: this keeps them one.
func TestTheDescriptionIsOfThisAPI(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas map[string]struct {
				Properties map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	described, served := map[string]bool{}, map[string]bool{}
	for path, methods := range doc.Paths {
		for m := range methods {
			if m != "parameters" {
				described[strings.ToUpper(m)+" "+path] = true
			}
		}
	}
	for _, r := range routes {
		served[r.method+" "+r.path] = true
	}
	if !reflect.DeepEqual(described, served) {
		t.Errorf("described %v\nserved %v", described, served)
	}
	for name, v := range map[string]any{
		"Status": control.Status{}, "Report": control.Report{}, "Loop": control.Loop{}, "Frontend": control.Frontend{}, "Classes": control.Classes{},
		"Backend": control.Backend{}, "Server": control.Server{}, "Check": control.Check{}, "MeshReport": control.MeshReport{}, "Peer": control.Peer{},
		"AccessLog": control.AccessLog{}, "Process": control.Process{}, "ReloadResult": control.ReloadResult{}, "Change": control.Change{},
		"Inflight": control.Inflight{}, "Event": control.Event{}, "ServerAnswer": Server{}, "Config": Config{}, "Error": problem{},
	} {
		typ := reflect.TypeOf(v)
		if n := len(doc.Components.Schemas[name].Properties); n != typ.NumField() {
			t.Errorf("%s: %d properties described, the type has %d", name, n, typ.NumField())
		}
		for i := range typ.NumField() {
			field, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if _, ok := doc.Components.Schemas[name].Properties[field]; !ok {
				t.Errorf("%s: %q is not described", name, field)
			}
		}
	}
	// Every reference leads somewhere.
	var whole any
	if err := json.Unmarshal(openAPI, &whole); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(openAPI), `"$ref": "#/`)[1:] {
		at := whole
		ref, _, _ := strings.Cut(part, `"`)
		for _, step := range strings.Split(ref, "/") {
			m, _ := at.(map[string]any)
			at = m[step]
		}
		if at == nil {
			t.Errorf("dangling reference %s", ref)
		}
	}
}
