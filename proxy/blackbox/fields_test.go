package blackbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// show answers with the head that came.
func show(s *session) {
	for {
		h, ok := s.request()
		if !ok {
			return
		}
		if _, _, err := s.body(h); err != nil {
			return
		}
		text := h.line + "\r\n"
		for _, f := range h.fields {
			text += f.name + ": " + f.value + "\r\n"
		}
		s.answer(text)
	}
}

// arriving sends a request and returns the head that came to the server.
func arriving(t testing.TB, proxy, request string) head {
	t.Helper()
	a := ask(t, proxy, request)
	if a.status != 200 {
		t.Fatalf("%.100q: %d", request, a.status)
	}
	h, err := parseRequestHead([]byte(strings.TrimSuffix(string(a.body), "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestFieldsThatDoNotReachTheServer(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, show)
	for _, row := range []struct {
		sent string
		gone []string // must not arrive in any form
		kept string   // must arrive
	}{
		{"Keep-Alive: timeout=5\r\nX-A: 1\r\n", []string{"Keep-Alive"}, "X-A"},
		{"Proxy-Connection: keep-alive\r\n", []string{"Proxy-Connection"}, ""},
		{"Proxy-Authorization: Basic x\r\nAuthorization: Basic y\r\n", []string{"Proxy-Authorization"}, "Authorization"},
		{"Proxy: http://evil\r\n", []string{"Proxy"}, ""},
		{"TE: gzip\r\n", []string{"TE"}, ""},
		{"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", []string{"HTTP2-Settings", "Upgrade", "Connection"}, ""},
		{"Upgrade: websocket\r\n", []string{"Upgrade"}, ""},
		// Fields that Connection names, however it is written.
		{"Connection: X-Secret\r\nX-Secret: 1\r\nX-A: 1\r\n", []string{"X-Secret", "Connection"}, "X-A"},
		{"X-Secret: 1\r\nconnection: close , x-SECRET,, x-other\r\nX-Other: 2\r\nx-secret: 3\r\n", []string{"X-Secret", "X-Other"}, ""},
		{"Connection: keep-alive\r\nConnection: X-Secret\r\nX-Secret: 1\r\n", []string{"X-Secret"}, ""},
		{"Connection: Cookie\r\nCookie: a=b\r\n", []string{"Cookie"}, ""},
		// But not the ones that a message is nothing without.
		{"Connection: Host\r\n", nil, "Host"},
		{"Connection: Content-Length\r\nContent-Length: 0\r\n", nil, ""},
		// What the proxy says cannot be taken away.
		{"Connection: X-Forwarded-For, X-Forwarded-Proto\r\n", nil, "X-Forwarded-For"},
		// Aliases, for servers that take _ and . for -.
		{"X_Forwarded_For: 1.2.3.4\r\nX-A_B: 1\r\n", []string{"X_Forwarded_For"}, "X-A_B"},
		{"X-Forwarded_For: 1.2.3.4\r\nX.Real.IP: 1.2.3.4\r\n", []string{"X-Forwarded_For", "X.Real.IP"}, ""},
		{"X_FORWARDED.HOST: evil\r\n", []string{"X_FORWARDED.HOST"}, ""},
	} {
		h := arriving(t, proxy, "GET / HTTP/1.1\r\nHost: example.com\r\n"+row.sent+"\r\n")
		for _, name := range row.gone {
			if v := h.all(name); v != nil && !slices.Equal(v, []string{"close"}) && !slices.Equal(v, []string{"keep-alive"}) {
				t.Errorf("%q: %s: %q arrived", row.sent, name, v)
			}
		}
		if row.kept != "" && !h.has(row.kept) {
			t.Errorf("%q: %s did not arrive: %v", row.sent, row.kept, h.fields)
		}
		if v := h.all("X-Forwarded-For"); !slices.Equal(v, []string{"127.0.0.1"}) {
			t.Errorf("%q: X-Forwarded-For %q", row.sent, v)
		}
	}
}

func TestFieldsThatDoNotReachTheClient(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			if _, ok := s.request(); !ok {
				return
			}
			s.say("HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n" +
				"X-A: 1\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	a := ask(t, proxy, get("/"))
	expect(t, a, 200, "ok")
	for _, name := range []string{"X-Secret", "Keep-Alive", "Proxy-Connection"} {
		if a.has(name) {
			t.Errorf("%s reached the client", name)
		}
	}
	if v := a.all("Set-Cookie"); !slices.Equal(v, []string{"a=1", "b=2"}) || !a.has("X-A") {
		t.Errorf("the client got %v", a.fields)
	}
}

func TestWhoTheClientIs(t *testing.T) {
	t.Parallel()
	server := serve(t, show)
	forged := "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 443\r\n" +
		"X-Forwarded-Prefix: /x\r\nX-Forwarded-Server: evil\r\nX-Forwarded-Anything: evil\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4;proto=https\r\n"
	request := "GET / HTTP/1.1\r\nHost: example.com\r\n" + forged + "\r\n"

	t.Run("an untrusted peer is not believed", func(t *testing.T) {
		t.Parallel()
		h := arriving(t, start(t, setup{servers: []string{server.addr}}), request)
		for _, f := range h.fields {
			for _, lie := range []string{"1.2.3.4", "5.6.7.8", "evil", "https", "443", "/x"} {
				if strings.Contains(f.value, lie) && !strings.HasSuffix(f.name, "Port") {
					t.Errorf("%s: %s", f.name, f.value)
				}
			}
		}
		if v := h.all("X-Forwarded-For"); !slices.Equal(v, []string{"127.0.0.1"}) {
			t.Errorf("X-Forwarded-For %q", v)
		}
	})
	t.Run("a trusted proxy is", func(t *testing.T) {
		t.Parallel()
		proxy := start(t, setup{servers: []string{server.addr}, trusted: "127.0.0.1/32"})
		h := arriving(t, proxy, request)
		if v := strings.ReplaceAll(h.get("X-Forwarded-For"), " ", ""); v != "1.2.3.4,5.6.7.8,127.0.0.1" {
			t.Errorf("X-Forwarded-For %q: not the chain with the peer at its end", h.all("X-Forwarded-For"))
		}
		if h.get("X-Forwarded-Proto") != "https" || h.get("X-Forwarded-Host") != "evil.test" {
			t.Errorf("what the trusted proxy said is lost: %v", h.fields)
		}
		if h := arriving(t, proxy, get("/")); h.get("X-Forwarded-For") != "127.0.0.1" || h.get("X-Forwarded-Proto") != "http" {
			t.Errorf("of a trusted proxy that says nothing: %v", h.fields)
		}
	})
	t.Run("trust is a matter of addresses", func(t *testing.T) {
		t.Parallel()
		proxy := start(t, setup{servers: []string{server.addr}, trusted: "127.0.0.9/32"})
		if h := arriving(t, proxy, request); h.get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("X-Forwarded-For %q", h.all("X-Forwarded-For"))
		}
		c := dialFrom(t, "127.0.0.9", proxy)
		c.send(request)
		if a := c.answer(false); !strings.Contains(string(a.body), "1.2.3.4") {
			t.Errorf("the listed one is not believed: %s", a.body)
		}
	})
}

// One record, one line, whatever a client puts into what is logged.
func TestTheAccessLogCannotBeForged(t *testing.T) {
	t.Parallel()
	server := serve(t, show)
	log := filepath.Join(t.TempDir(), "access.log")
	proxy := start(t, setup{servers: []string{server.addr}, log: log})
	requests := []string{
		"GET /ok%0aFAKE%20LOG%20LINE?%0d%0a{\"status\":200} HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET /%1b[2J HTTP/1.1\r\nHost: example.com\r\nUser-Agent: \"},{\"x\":\"\\\r\nReferer: <script>\xff\xfe\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: \"><script>\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: \x1b[2J\r\n\r\n", // refused, and logged
		"BAD\r\nLINE\r\n\r\n",
	}
	for _, r := range requests {
		c := dial(t, proxy)
		c.send(r)
		c.answer(false)
	}
	eventually(t, "a line for each request", func() bool {
		b, _ := os.ReadFile(log)
		return strings.Count(string(b), "\n") >= len(requests)
	})
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var record map[string]any
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Errorf("%v: %q", err, lines.Text())
		}
		if strings.ContainsFunc(lines.Text(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("control characters in %q", lines.Text())
		}
		if s := fmt.Sprint(record["src"], record["client"], record["client_ip"]); strings.Contains(s, "script") {
			t.Errorf("a forged client: %q", lines.Text())
		}
	}
	if n != len(requests) {
		t.Errorf("%d lines for %d requests", n, len(requests))
	}
}
