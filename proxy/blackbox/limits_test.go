package blackbox

import (
	"fmt"
	"strings"
	"testing"
)

func TestRequestsThatAreTooMuch(t *testing.T) {
	t.Parallel()
	proxy, server := proxied(t, echo)
	for _, row := range []struct {
		name, request string
		status        []int
	}{
		{"malformed", "GET\r\n\r\n", []int{400}},
		{"no host", "GET / HTTP/1.1\r\n\r\n", []int{400}},
		{"target of 9 KiB", get("/" + strings.Repeat("a", 9<<10)), []int{414}},
		{"target of 100 KiB", get("/" + strings.Repeat("a", 100<<10)), []int{414}},
		{"target without end", "GET /" + strings.Repeat("a", 100<<10), []int{414}},
		{"field of 20 KiB", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", []int{431}},
		{"head without end", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 20<<10), []int{431}},
		{"200 fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n", []int{431}},
		{"extensions of 100 KiB", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 100)+"\r\nx\r\n", 1000), []int{413, 400}},
		{"trailer of 100 KiB", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 17<<10), []int{431, 400}},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", []int{405, 501}},
		{"CONNECT", "CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", []int{405, 501, 400}},
		{"HTTP/2.0 by its line", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", []int{505, 400}},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", []int{501, 400}},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			c := dial(t, proxy)
			c.send(row.request)
			a := c.answer(false)
			found := false
			for _, s := range row.status {
				found = found || s == a.status
			}
			if !found || !a.complete {
				t.Errorf("got %d, want %v", a.status, row.status)
			}
			if a.status == 405 && !a.lists("Connection", "close") {
				return
			}
			if rest := c.end(); rest != "" {
				t.Errorf("then came %.100q", rest)
			}
		})
	}
	// What is large but not too large passes.
	c := dial(t, proxy)
	path := "/" + strings.Repeat("a", 4<<10)
	c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 6<<10) + "\r\n" + strings.Repeat("X: y\r\n", 80) + "\r\n")
	expect(t, c.answer(false), 200, "GET "+path)
	if n := server.conns.Load(); n == 0 {
		t.Error("nothing reached the server")
	}
}

func TestAClientThatIsTooSlow(t *testing.T) {
	t.Parallel()
	server := serve(t, echo)
	proxy := start(t, setup{servers: []string{server.addr}, client: "300ms", request: "300ms"})
	for _, part := range []string{"G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"} {
		c := dial(t, proxy)
		c.send(part)
		if a := c.answer(false); a.status != 408 {
			t.Errorf("%q and silence: %d", part, a.status)
		}
		c.end()
	}
	// One that has said nothing is owed nothing.
	c := dial(t, proxy)
	if got := c.end(); got != "" && !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("a client that said nothing got %q", got)
	}
}

// A byte now and then does not buy a request head more time.
func TestAHeadThatComesDripByDripIsCutOff(t *testing.T) {
	t.Parallel()
	server := serve(t, echo)
	proxy := start(t, setup{servers: []string{server.addr}, client: "200ms", request: "600ms"})
	c := dial(t, proxy)
	_ = c.SetNoDelay(true)
	for n := 0; !c.closed && len(c.got) == 0; n++ {
		if _, err := fmt.Fprintf(c, "%.1s", ("GET / HTTP/1.1\r\nX-Drip: " + strings.Repeat("x", 10000))[n:]); err != nil {
			break
		}
		c.more(soon())
		if n > 2000 {
			t.Fatal("the head may take for ever")
		}
	}
	if a := c.answer(false); a.status != 408 {
		t.Errorf("got %d", a.status)
	}
}
