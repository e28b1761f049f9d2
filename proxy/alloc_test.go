package proxy

import (
	"bytes"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fixedOrigin answers each request, which must arrive in one piece, with the same bytes and without allocating.
func fixedOrigin(t testing.TB, answer string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				out, in := []byte(answer), make([]byte, 8<<10)
				for {
					if _, err := c.Read(in); err != nil {
						return
					}
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// askFixed asks n times; the answer always ends with the same text.
func askFixed(t testing.TB, c net.Conn, request, end []byte, n int) {
	in := make([]byte, 64<<10)
	for range n {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for have := 0; ; {
			m, err := c.Read(in[have:])
			if err != nil {
				t.Fatal(err)
			}
			have += m
			if bytes.HasSuffix(in[:have], end) {
				break
			}
		}
	}
}

func TestAProxiedExchangeAllocatesNothing(t *testing.T) {
	const get = "GET /service-a/x?y=z HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\n\r\n"
	const rules = "acls: {office: src 10.0.0.0/8, admin: path_beg /service-a/admin, api: hdr(host) -i api.example.com}, " +
		"request: [\"deny if admin !office\", \"set-header X-Api 1 if api\", \"set-header X-Env prod\"], response: [\"set-header X-Frame-Options DENY\"], "
	for _, c := range []struct{ name, frontend, request, answer, end, format string }{
		{"plain", "", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello", "hello", "json"},
		{"without a log", "", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "off"},
		{"httplog", "", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "httplog"},
		{"rules and conditions", rules, get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "json"},
		{"chunked down", "", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "json"},
		{"16 KiB down", "", get, "HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n" + strings.Repeat("x", 16379) + "hello", "hello", "json"},
		{"a body up", "", "POST /service-a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "json"},
		{"denied", strings.ReplaceAll(rules, "/service-a/admin", "/service-a"), get, "", "403 Forbidden\n", "json"},
		{"behind a trusted proxy", "", "GET /service-a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "json"},
		{"not modified", "", get, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "\r\n\r\n", "json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(site("", fixedOrigin(t, c.answer), fixedOrigin(t, c.answer)), "web: {", "web: {"+c.frontend+"routes: [{path: /service-a, backend: app}], ", 1)
			e := start(t, text, setup{format: c.format, global: "  trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n"})
			if e.group.Goroutines() {
				t.Skip("package net allocates")
			}
			conn, err := net.Dial("tcp", e.addr(0))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(3 * patience))
			request, end := []byte(c.request), []byte(c.end)
			const n = 4000
			askFixed(t, conn, request, end, 1000)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			askFixed(t, conn, request, end, n)
			runtime.ReadMemStats(&after)
			if each := float64(after.Mallocs-before.Mallocs) / n; each >= 0.05 {
				t.Errorf("%.2f allocations an exchange", each)
			}
			if got := e.report().Frontends[0].Requests; got != 1000+n {
				t.Errorf("%d requests counted", got)
			}
		})
	}
}
