package blackbox

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestConnectionsAreKeptOnBothSides(t *testing.T) {
	t.Parallel()
	proxy, server := proxied(t, echo)
	c := dial(t, proxy)
	for n := range 10 {
		c.send(get(fmt.Sprintf("/%d", n)))
		expect(t, c.answer(false), 200, fmt.Sprintf("GET /%d", n))
	}
	if n := server.conns.Load(); n != 1 {
		t.Errorf("%d connections to the server for 10 requests in a row", n)
	}
	c.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	a := c.answer(false)
	expect(t, a, 200, "GET /last")
	if !a.lists("Connection", "close") {
		t.Error("closes without saying so")
	}
	if rest := c.end(); rest != "" {
		t.Errorf("after the last answer came %q", rest)
	}
}

func TestAServersWishToCloseIsNotTheClients(t *testing.T) {
	t.Parallel()
	proxy, server := proxied(t, func(s *session) {
		h, ok := s.request()
		if ok {
			s.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n%s", h.line[5:7])
		}
	})
	c := dial(t, proxy)
	for _, p := range []string{"a1", "b2", "c3"} {
		c.send(get("/" + p))
		expect(t, c.answer(false), 200, p)
	}
	if n := server.conns.Load(); n != 3 {
		t.Errorf("%d connections to a server that closes each", n)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	c := dial(t, proxy)
	const n = 50
	var all strings.Builder
	for i := range n {
		if i%3 == 0 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", i)
		} else if i%3 == 1 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", i)
		} else {
			all.WriteString(get(fmt.Sprintf("/%d", i)))
		}
	}
	c.send(all.String())
	for i := range n {
		want := fmt.Sprintf("POST /%d body", i)
		if i%3 == 2 {
			want = fmt.Sprintf("GET /%d", i)
		}
		expect(t, c.answer(false), 200, want)
	}
}

// Requests that come a byte at a time, over two that come at once.
func TestARequestMayComeInAnyPieces(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	c := dial(t, proxy)
	_ = c.SetNoDelay(true)
	for _, b := range []byte("POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n") {
		c.send(string(b))
	}
	expect(t, c.answer(false), 200, "POST /slow abcde X-T: 1\r\n")
}

func TestHTTP10(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			if strings.Contains(h.line, "/chunked") {
				s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n")
			} else {
				s.answer("hello")
			}
		}
	})
	t.Run("closes unless asked not to", func(t *testing.T) {
		c := dial(t, proxy)
		c.send("GET / HTTP/1.0\r\n\r\n")
		expect(t, c.answer(false), 200, "hello")
		c.end()
	})
	t.Run("is kept if it asks for that", func(t *testing.T) {
		c := dial(t, proxy)
		for range 3 {
			c.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
			a := c.answer(false)
			if expect(t, a, 200, "hello"); !a.lists("Connection", "keep-alive") {
				t.Errorf("not told that the connection stays: %v", a.fields)
			}
		}
	})
	t.Run("gets no chunks", func(t *testing.T) {
		c := dial(t, proxy)
		c.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		a := c.answer(false)
		if expect(t, a, 200, "hello"); a.has("Transfer-Encoding") || a.has("Trailer") {
			t.Errorf("fields %v", a.fields)
		}
	})
}

func TestAnswersWithoutABody(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/head":    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: x\r\n\r\n",
		"/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"/204":     "HTTP/1.1 204 No Content\r\n\r\n",
		"/304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n",
		"/empty":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	}
	proxy, server := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			s.say("%s", answers[strings.Split(h.line, " ")[1]])
		}
	})
	c := dial(t, proxy)
	for range 3 {
		for _, row := range []struct {
			method, path string
			status       int
			length       string
		}{
			{"HEAD", "/head", 200, "1000"}, {"HEAD", "/chunked", 200, ""}, {"GET", "/204", 204, ""}, {"GET", "/304", 304, "1000"}, {"HEAD", "/304", 304, "1000"},
			{"GET", "/empty", 200, "0"}, {"HEAD", "/204", 204, ""},
		} {
			c.send(row.method + " " + row.path + " HTTP/1.1\r\nHost: a\r\n\r\n")
			a := c.answer(row.method == "HEAD")
			if a.status != row.status || len(a.body) != 0 {
				t.Errorf("%s %s: %d %q", row.method, row.path, a.status, a.body)
			}
			if l := a.get("Content-Length"); l != row.length && l != "" || row.status == 204 && (l != "" || a.has("Transfer-Encoding")) {
				t.Errorf("%s %s: Content-Length %q, want %q; %v", row.method, row.path, l, row.length, a.fields)
			}
			if a.status != 204 && row.path != "/chunked" && row.path != "/empty" && a.get("ETag") != "x" {
				t.Errorf("%s %s: %v", row.method, row.path, a.fields)
			}
		}
	}
	if n := server.conns.Load(); n != 1 {
		t.Errorf("%d connections to the server", n)
	}
}

// A refused request's body is no request.
func TestARefusedRequestsBodyIsNotTakenForARequest(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	hidden := get("/smuggled")
	for _, framing := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hidden), hidden),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"Content-Length: 1000000\r\n\r\n" + strings.Repeat(hidden, 1000000/len(hidden)),
	} {
		c := dial(t, proxy)
		c.send("POST /admin HTTP/1.1\r\nHost: a\r\n" + framing)
		a := c.answer(false)
		if a.status != 403 {
			t.Errorf("%.40q: %d", framing, a.status)
		}
		if a.lists("Connection", "close") {
			if rest := c.end(); rest != "" {
				t.Errorf("%.40q: after the refusal came %.100q", framing, rest)
			}
			continue
		}
		c.send(get("/next"))
		expect(t, c.answer(false), 200, "GET /next")
	}
}

func TestAClientThatHasSaidAllStillGetsItsAnswer(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	c := dial(t, proxy)
	c.send("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, c.answer(false), 200, "POST /half hello")
	if rest := c.end(); rest != "" {
		t.Errorf("then came %q", rest)
	}
}

func TestAnAnswerThatEndsWithItsConnectionEndsTheClients(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		if _, ok := s.request(); ok {
			s.say("HTTP/1.1 200 OK\r\n\r\n")
			for range 100 {
				_, _ = io.WriteString(s, strings.Repeat("x", 1000))
			}
		}
	})
	c := dial(t, proxy)
	c.send(get("/"))
	a := c.answer(false)
	expect(t, a, 200, strings.Repeat("x", 100_000))
}
