package blackbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// refusing is an address that refuses connections, and that nobody else can be given: our own end of a connection.
func refusing(t testing.TB) string {
	t.Helper()
	l := listen(t)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

func TestTheStatusNamesWhatFailed(t *testing.T) {
	t.Parallel()
	// The server does as the path says.
	server := serve(t, func(s *session) {
		for {
			h, ok := s.request()
			switch {
			case !ok:
				return
			case strings.Contains(h.line, "/silent"):
				_ = s.ended()
				return
			case strings.Contains(h.line, "/close"):
				return
			case strings.Contains(h.line, "/garbage"):
				s.say("what?\r\n\r\n")
				return
			}
			s.answer("fine")
		}
	})
	up := start(t, setup{servers: []string{server.addr}, server: "300ms"})
	down := start(t, setup{servers: []string{refusing(t)}, attempts: "0"})
	for _, row := range []struct {
		proxy, request string
		status         int
	}{
		{up, get("/"), 200},
		{up, get("/silent"), 504},
		{up, get("/close"), 502},
		{up, get("/garbage"), 502},
		{up, get("/admin"), 403},
		{down, get("/"), 503},
		{down, get("/admin"), 403},
		{down, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 503},
	} {
		c := dial(t, row.proxy)
		c.send(row.request)
		a := c.answer(false)
		if a.status != row.status || !a.complete {
			t.Errorf("%.20q: %d, want %d", row.request, a.status, row.status)
		}
		// An error is no reason to send a client away that has said all it had to.
		if !a.lists("Connection", "close") {
			c.send(get("/admin"))
			if a := c.answer(false); a.status != 403 {
				t.Errorf("after %.20q on the same connection: %d", row.request, a.status)
			}
		}
	}
}

func TestAnotherServerTakesWhatOneRefuses(t *testing.T) {
	t.Parallel()
	server := serve(t, echo)
	proxy := start(t, setup{servers: []string{refusing(t), server.addr, refusing(t)}})
	for n := range 6 {
		expect(t, ask(t, proxy, get(fmt.Sprintf("/%d", n))), 200, fmt.Sprintf("GET /%d", n))
		// Nothing of the body was sent yet: a request that may not be repeated may still be moved.
		expect(t, ask(t, proxy, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", n)), 200, fmt.Sprintf("POST /%d hello", n))
	}
}

// A server may close an idle connection at any time, so also while the next request is on its way. That is no failure of the request
// if it can be repeated; one that cannot must not be sent twice.
func TestAReusedConnectionThatDiesUnanswered(t *testing.T) {
	t.Parallel()
	var posts, deaths atomic.Int64
	proxy, _ := proxied(t, func(s *session) {
		for n := 0; ; n++ {
			h, ok := s.request()
			if !ok {
				return
			}
			_, _, _ = s.body(h)
			if strings.HasPrefix(h.line, "POST /counted") {
				posts.Add(1)
			}
			if n > 0 { // the second request of a connection kills it
				deaths.Add(1)
				return
			}
			s.answer(h.line)
		}
	})
	c := dial(t, proxy)
	for n := range 10 {
		c.send(get(fmt.Sprintf("/%d", n)))
		expect(t, c.answer(false), 200, fmt.Sprintf("GET /%d HTTP/1.1", n))
	}
	if deaths.Load() == 0 {
		t.Error("no connection was reused: nothing was tested")
	}
	c.send("POST /counted HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	if a := c.answer(false); a.status != 200 && a.status != 502 {
		t.Errorf("%d", a.status)
	}
	if n := posts.Load(); n != 1 {
		t.Errorf("the server got %d times what was sent once", n)
	}
}

// Whether the client leaves while it sends, waits or takes: the server learns of it, and holds no connection for nobody.
func TestAClientThatLeavesTakesItsServersConnectionAlong(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "reset"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			leave := func(c *client) {
				if how == "reset" {
					_ = c.SetLinger(0)
				}
				c.Close()
			}
			t.Run("while it sends", func(t *testing.T) {
				t.Parallel()
				for _, framing := range []string{"Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
					begun, ended := make(chan bool, 1), make(chan error, 1)
					proxy, _ := proxied(t, func(s *session) {
						h, ok := s.request()
						if !ok {
							return
						}
						begun <- true
						_, _, err := s.body(h)
						ended <- err
					})
					c := dial(t, proxy)
					c.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
					await(t, begun)
					leave(c)
					if err := await(t, ended); err == nil {
						t.Errorf("%.20q: the server takes the broken body for a whole one", framing)
					}
				}
			})
			t.Run("while it takes", func(t *testing.T) {
				t.Parallel()
				ended := make(chan error, 1)
				proxy, _ := proxied(t, func(s *session) {
					if _, ok := s.request(); !ok {
						return
					}
					s.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", int64(1)<<40)
					_ = s.SetWriteDeadline(deadline())
					_, err := io.Copy(s, flow(3, 1<<40))
					ended <- err
				})
				c := dial(t, proxy)
				c.send(get("/"))
				c.more(deadline())
				leave(c)
				var e net.Error
				if err := await(t, ended); err == nil || errors.As(err, &e) && e.Timeout() {
					t.Errorf("the server still sends: %v", err)
				}
			})
			t.Run("while it waits", func(t *testing.T) {
				t.Parallel()
				if how == "close" {
					t.Skip("not to be told from a client that has said all and waits for its answer")
				}
				if os.Getenv("EDGE_LOOP") == "goroutines" {
					t.Skip("the portable loops learn of a reset only by reading or writing")
				}
				begun, ended := make(chan bool, 1), make(chan error, 1)
				proxy, _ := proxied(t, func(s *session) {
					if _, ok := s.request(); ok {
						begun <- true
						ended <- s.ended()
					}
				})
				c := dial(t, proxy)
				c.send(get("/"))
				await(t, begun)
				leave(c)
				var e net.Error
				if err := await(t, ended); errors.As(err, &e) && e.Timeout() {
					t.Errorf("the server still works for nobody: %v", err)
				}
			})
		})
	}
}

func TestAClientThatTakesNothingIsLeft(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	server := serve(t, func(s *session) {
		if _, ok := s.request(); !ok {
			return
		}
		s.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", int64(1)<<40)
		_ = s.SetWriteDeadline(deadline())
		_, err := io.Copy(s, flow(3, 1<<40))
		ended <- err
	})
	proxy := start(t, setup{servers: []string{server.addr}, client: "500ms"})
	c := dial(t, proxy)
	c.send(get("/"))
	var e net.Error
	if err := await(t, ended); err == nil || errors.As(err, &e) && e.Timeout() {
		t.Errorf("the server still sends: %v", err)
	}
}

// A server that falls silent within its answer: the client must see that it is not whole.
func TestAnAnswerThatStopsIsSeenToStop(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "\r\nhello"} {
		server := serve(t, func(s *session) {
			if _, ok := s.request(); ok {
				s.say("HTTP/1.1 200 OK\r\n%s", framing)
				_ = s.ended()
			}
		})
		proxy := start(t, setup{servers: []string{server.addr}, server: "300ms"})
		if a := ask(t, proxy, get("/")); a.complete {
			t.Errorf("%.20q: the client takes it for whole: %d %q", framing, a.status, a.body)
		}
	}
}
