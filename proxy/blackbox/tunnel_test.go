package blackbox

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
)

const handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// switches answers a handshake, and then gives the connection to do.
func switches(do func(s *session)) func(s *session) {
	return func(s *session) {
		h, ok := s.request()
		if !ok {
			return
		}
		if !h.lists("Connection", "upgrade") || h.get("Upgrade") != "websocket" || h.get("Sec-WebSocket-Key") == "" {
			s.t.Errorf("the handshake arrived as %v", h.fields)
		}
		s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		do(s)
	}
}

func (c *client) switched() {
	c.t.Helper()
	a := c.answer(false)
	if a.status != 101 || !a.lists("Connection", "upgrade") || a.get("Upgrade") != "websocket" || a.get("Sec-WebSocket-Accept") == "" {
		c.t.Fatalf("got %d %v", a.status, a.fields)
	}
}

// expect reads these bytes and no others.
func (c *client) expect(want string) {
	c.t.Helper()
	for len(c.got) < len(want) {
		if !c.more(deadline()) {
			c.t.Fatalf("got %.100q, want %.100q", c.got, want)
		}
	}
	if string(c.got) != want {
		c.t.Fatalf("got %.100q, want %.100q", c.got, want)
	}
	c.got = nil
}

func TestATunnelCarriesBothDirections(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, switches(func(s *session) { _, _ = io.Copy(s, s.r) }))
	c := dial(t, proxy)
	c.send(handshake)
	c.switched()
	for n := range 20 {
		text := fmt.Sprintf("message %d \x00\xff GET /smuggled HTTP/1.1\r\n\r\n", n)
		c.send(text)
		c.expect(text)
	}
	// Much at once, both ways at the same time.
	big := make([]byte, 8<<20)
	_, _ = rand.Read(big)
	go func() { _, _ = c.Write(big) }()
	got := make([]byte, len(big))
	_ = c.SetReadDeadline(deadline())
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, big) {
		t.Errorf("8 MiB did not come back whole: %v", err)
	}
}

func TestATunnelKeepsWhatIsSaidEarly(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, switches(func(s *session) {
		// The server speaks in the same breath as its 101; then it says what came.
		s.say("welcome ")
		_, _ = io.Copy(s, s.r)
	}))
	c := dial(t, proxy)
	c.send(handshake + "early ") // the client does not wait for the 101
	c.switched()
	c.expect("welcome early ")
}

func TestATunnelCanBeHalfClosed(t *testing.T) {
	t.Parallel()
	t.Run("by the client", func(t *testing.T) {
		t.Parallel()
		proxy, _ := proxied(t, switches(func(s *session) {
			b, err := io.ReadAll(s.r) // to the client's end
			s.say("after your end: %s %v", b, err)
		}))
		c := dial(t, proxy)
		c.send(handshake)
		c.switched()
		c.send("all")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := c.end(); got != "after your end: all <nil>" || c.reset {
			t.Errorf("got %q, reset %v", got, c.reset)
		}
	})
	t.Run("by the server", func(t *testing.T) {
		t.Parallel()
		heard := make(chan string, 1)
		proxy, _ := proxied(t, switches(func(s *session) {
			s.say("that is all")
			_ = s.CloseWrite()
			b, _ := io.ReadAll(s.r)
			heard <- string(b)
		}))
		c := dial(t, proxy)
		c.send(handshake)
		c.switched()
		if got := c.end(); got != "that is all" || c.reset {
			t.Errorf("got %q, reset %v", got, c.reset)
		}
		c.send("but I have more")
		_ = c.CloseWrite()
		if got := await(t, heard); got != "but I have more" {
			t.Errorf("the server heard %q", got)
		}
	})
}

func TestATunnelEndsWhenASideBreaksOff(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	proxy, _ := proxied(t, switches(func(s *session) { ended <- s.ended() }))
	c := dial(t, proxy)
	c.send(handshake)
	c.switched()
	_ = c.SetLinger(0)
	c.Close()
	await(t, ended)

	proxy, _ = proxied(t, switches(func(s *session) { _ = s.SetLinger(0) }))
	c = dial(t, proxy)
	c.send(handshake)
	c.switched()
	c.end()
}

func TestATunnelThatIsSilentTooLongEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	server := serve(t, switches(func(s *session) { ended <- s.ended() }))
	proxy := start(t, setup{servers: []string{server.addr}, tunnel: "300ms"})
	c := dial(t, proxy)
	c.send(handshake)
	c.switched()
	if got := c.end(); got != "" {
		t.Errorf("got %q", got)
	}
	await(t, ended)
}

// The client's and the server's timeouts are for requests: a tunnel outlasts them.
func TestATunnelIsNotHeldToTheTimeoutsOfRequests(t *testing.T) {
	t.Parallel()
	server := serve(t, switches(func(s *session) { _, _ = io.Copy(s, s.r) }))
	proxy := start(t, setup{servers: []string{server.addr}, client: "200ms", server: "200ms", request: "200ms"})
	c := dial(t, proxy)
	c.send(handshake)
	c.switched()
	// Another connection measures the time: once it has been ended for its silence, the tunnel would have been.
	silent := dial(t, proxy)
	silent.send("GET / HT")
	if a := silent.answer(false); a.status != 408 {
		t.Errorf("a silent client got %d", a.status)
	}
	silent.end()
	c.send("still there")
	c.expect("still there")
}

func TestWithoutA101ThereIsNoTunnel(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			s.answer(h.line)
		}
	})
	// What follows a handshake that was not accepted is a request like any other: it bears our stamp and meets the rules.
	c := dial(t, proxy)
	c.send(handshake + get("/next") + get("/admin"))
	expect(t, c.answer(false), 200, "GET /ws HTTP/1.1")
	expect(t, c.answer(false), 200, "GET /next HTTP/1.1")
	if a := c.answer(false); a.status != 403 {
		t.Errorf("behind a refused handshake the rule gave %d", a.status)
	}
}

func TestOtherUpgradesAreNotOffered(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			s.answer(h.get("Upgrade"))
		}
	})
	for _, u := range []string{"Upgrade: h2c", "Upgrade: foo, h2c", "Upgrade: foo\r\nUpgrade: h2c", "Upgrade: H2C\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"} {
		a := ask(t, proxy, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"+u+"\r\n\r\n")
		if strings.Contains(strings.ToLower(string(a.body)), "h2c") {
			t.Errorf("%q: the server was offered %q", u, a.body)
		}
	}
}
