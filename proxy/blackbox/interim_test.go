package blackbox

import (
	"slices"
	"strings"
	"testing"
)

const upload = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

// continued waits for an interim answer and says whether it is the invitation to go on.
func (c *client) continued() bool {
	c.t.Helper()
	for !strings.HasSuffix(string(c.got), "\r\n\r\n") {
		if !c.more(deadline()) {
			c.t.Fatalf("no interim answer: %q", c.got)
		}
	}
	return strings.HasPrefix(string(c.got), "HTTP/1.1 100 ")
}

func TestAServerThatWantsTheBodyAsksForIt(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo) // which sends 100 if it is asked to
	c := dial(t, proxy)
	for range 2 {
		c.send(upload)
		if !c.continued() {
			t.Fatalf("got %q", c.got)
		}
		c.send("hello")
		a := c.answer(false)
		if expect(t, a, 200, "POST /up hello"); !slices.Equal(a.interim, []int{100}) {
			t.Errorf("interim answers %v", a.interim)
		}
	}
}

// A client need not wait (RFC 9110 section 10.1.1).
func TestAClientThatDoesNotWaitForTheInvitation(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	c := dial(t, proxy)
	c.send(upload + "hello" + get("/next"))
	expect(t, c.answer(false), 200, "POST /up hello")
	expect(t, c.answer(false), 200, "GET /next")
}

func TestAServerThatDoesNotWantTheBody(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"417 Expectation Failed", "403 Forbidden"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			proxy, _ := proxied(t, func(s *session) {
				for {
					h, ok := s.request()
					switch {
					case !ok:
						return
					case h.has("Content-Length"):
						s.say("HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nno", status)
						_ = s.ended() // whatever follows is no request of ours
						return
					}
					s.answer(h.line)
				}
			})
			c := dial(t, proxy)
			c.send(upload)
			a := c.answer(false)
			if !strings.HasPrefix(a.line, "HTTP/1.1 "+status[:3]) || string(a.body) != "no" {
				t.Errorf("got %d %q", a.status, a.body)
			}
			if a.lists("Connection", "close") {
				c.end()
			} else { // then the body is still to come
				c.send("hello" + get("/after"))
				expect(t, c.answer(false), 200, "GET /after HTTP/1.1")
			}
			expect(t, ask(t, proxy, get("/next")), 200, "GET /next HTTP/1.1")
		})
	}
}

func TestAServerThatAnswersWithoutAnInvitationAfterTheBody(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			body, _, err := s.body(h) // no 100
			if err != nil {
				return
			}
			s.answer(string(body))
		}
	})
	c := dial(t, proxy)
	c.send(upload + "hello")
	expect(t, c.answer(false), 200, "hello")
}

func TestInterimAnswersArePassedOn(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			if _, ok := s.request(); !ok {
				return
			}
			s.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
			s.answer("done")
		}
	})
	a := ask(t, proxy, get("/"))
	if expect(t, a, 200, "done"); !slices.Equal(a.interim, []int{103, 102}) {
		t.Errorf("interim answers %v, want 103 and 102", a.interim)
	}
	// HTTP/1.0 has none (RFC 9110 section 15.2).
	a = ask(t, proxy, "GET / HTTP/1.0\r\n\r\n")
	if expect(t, a, 200, "done"); a.interim != nil {
		t.Errorf("a client of HTTP/1.0 got %v", a.interim)
	}
}

func TestNobodyIsInvitedWhoDidNotAsk(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			if h.has("Expect") {
				s.t.Errorf("Expect arrived: %q", h.get("Expect"))
			}
			s.say("HTTP/1.1 100 Continue\r\n\r\n")
			s.answer("done")
		}
	})
	for _, r := range []string{get("/"), "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"} {
		a := ask(t, proxy, r)
		if expect(t, a, 200, "done"); strings.Contains(r, "1.0") && a.interim != nil {
			t.Errorf("%.20q: got %v", r, a.interim)
		}
	}
}

func TestOtherExpectationsAreNotMet(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, echo)
	for _, e := range []string{"y 100-continue", "200-ok", "100-continue, 100-continue"} {
		c := dial(t, proxy)
		c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: " + e + "\r\nContent-Length: 5\r\n\r\nhello")
		if a := c.answer(false); a.status != 417 && a.status != 400 && a.status != 200 {
			t.Errorf("%q: %d", e, a.status)
		} else if a.status != 200 {
			c.end()
		}
	}
}
