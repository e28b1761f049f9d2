package blackbox

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

func TestChunkedBodiesWithTrailers(t *testing.T) {
	t.Parallel()
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			body, trailer, err := s.body(h)
			if err != nil {
				return
			}
			s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n%x\r\n%s\r\n1;ext=\"a\"\r\n!\r\n0\r\nX-Up: %s\r\nX-Down: 1\r\n\r\n", len(body), body, strings.TrimSpace(trailer))
		}
	})
	c := dial(t, proxy)
	for range 3 {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=b;c\r\nhello\r\n006\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n")
		a := c.answer(false)
		if expect(t, a, 200, "hello world!"); a.trailer.get("X-Up") != "X-Sum: 42" || a.trailer.get("X-Down") != "1" {
			t.Errorf("trailer %v", a.trailer.fields)
		}
	}
}

func TestTrailersCannotSayWhatOnlyHeadersMay(t *testing.T) {
	t.Parallel()
	fields := "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Basic x\r\nConnection: close\r\nX-Kept: 1\r\n"
	arrived := make(chan string, 10)
	proxy, _ := proxied(t, func(s *session) {
		for {
			h, ok := s.request()
			if !ok {
				return
			}
			_, trailer, err := s.body(h)
			if err != nil {
				return
			}
			arrived <- trailer
			s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nSet-Cookie: evil\r\nX-Kept: 1\r\n\r\n")
		}
	})
	c := dial(t, proxy)
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + fields + "\r\n")
	a := c.answer(false)
	if a.status == 200 {
		for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
			if a.trailer.has(name) {
				t.Errorf("the client got %s in the trailer", name)
			}
		}
		got := await(t, arrived)
		for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host", "X-Forwarded-For", "Authorization", "Connection"} {
			if strings.Contains(got, name+":") {
				t.Errorf("the server got %s in the trailer", name)
			}
		}
	} else if a.status != 400 {
		t.Errorf("%d", a.status)
	}
}

// flow is n bytes that are the same for the same seed.
func flow(seed uint64, n int64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), n)
}

func sum(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x", n, h.Sum(nil)[:8]), err
}

// Large bodies in both directions, sized and chunked, are what they were.
func TestLargeBodiesComeWhole(t *testing.T) {
	t.Parallel()
	const size = 48 << 20
	l := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := sum(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Got", got)
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.Copy(w, flow(2, size))
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	proxy := start(t, setup{servers: []string{l.Addr().String()}})
	up, _ := sum(flow(1, size))
	down, _ := sum(flow(2, size))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	for _, path := range []string{"/sized", "/chunked", "/sized"} {
		q, err := http.NewRequest("POST", "http://"+proxy+path, flow(1, size))
		if err != nil {
			t.Fatal(err)
		}
		if path == "/sized" {
			q.ContentLength = size
		}
		res, err := transport.RoundTrip(q)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		got, err := sum(res.Body)
		res.Body.Close()
		if err != nil || got != down || res.Header.Get("X-Got") != up {
			t.Errorf("%s: the server got %q, want %q; the client %q, want %q; %v", path, res.Header.Get("X-Got"), up, got, down, err)
		}
	}
}

// A server may answer before it has read the body: the client gets the answer, and nobody takes the body for a request.
func TestAnEarlyAnswerToALargeUpload(t *testing.T) {
	t.Parallel()
	for _, closes := range []bool{true, false} {
		t.Run(fmt.Sprintf("server closes %v", closes), func(t *testing.T) {
			t.Parallel()
			proxy, _ := proxied(t, func(s *session) {
				for {
					h, ok := s.request()
					switch {
					case !ok:
						return
					case !h.has("Content-Length"):
						s.answer(h.line)
						continue
					}
					s.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
					if !closes {
						_, _, _ = s.body(h)
						continue
					}
					return
				}
			})
			c := dial(t, proxy)
			go func() { // sends all of it, or until it cannot
				_ = c.SetWriteDeadline(deadline())
				if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 64<<20); err == nil {
					_, _ = io.Copy(c, strings.NewReader(strings.Repeat(get("/smuggled"), 64<<20/len(get("/smuggled")))))
				}
			}()
			a := c.answer(false)
			if a.status != 413 || string(a.body) != "big" {
				t.Errorf("got %d %q", a.status, a.body)
			}
			c.Close()
			expect(t, ask(t, proxy, get("/next")), 200, "GET /next HTTP/1.1")
		})
	}
}

// An answer that comes bit by bit reaches the client bit by bit.
func TestAnAnswerIsNotHeldBack(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"Transfer-Encoding: chunked\r\n", "Content-Length: 15\r\n", ""} {
		step := make(chan bool, 3)
		proxy, _ := proxied(t, func(s *session) {
			if _, ok := s.request(); !ok {
				return
			}
			s.say("HTTP/1.1 200 OK\r\n%s\r\n", framing)
			for n := range 3 {
				if framing[:min(1, len(framing))] == "T" {
					s.say("5\r\npart%d\r\n", n)
				} else {
					s.say("part%d", n)
				}
				<-step
			}
			if strings.HasPrefix(framing, "T") {
				s.say("0\r\n\r\n")
			}
		})
		c := dial(t, proxy)
		c.send(get("/"))
		for n := range 3 {
			for !strings.Contains(string(c.got), fmt.Sprintf("part%d", n)) {
				if !c.more(deadline()) {
					t.Fatalf("%q: part %d does not come: %q", framing, n, c.got)
				}
			}
			step <- true
		}
		expect(t, c.answer(false), 200, "part0part1part2")
	}
}

// A body that is sent bit by bit reaches the server bit by bit.
func TestARequestIsNotHeldBack(t *testing.T) {
	t.Parallel()
	step := make(chan string, 3)
	proxy, _ := proxied(t, func(s *session) {
		h, ok := s.request()
		if !ok {
			return
		}
		var r io.Reader = s.r
		if h.has("Transfer-Encoding") {
			r = httputil.NewChunkedReader(s.r)
		}
		for range 3 {
			p := make([]byte, 5)
			if _, err := io.ReadFull(r, p); err != nil {
				return
			}
			step <- string(p)
		}
		s.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone")
	})
	for _, chunked := range []bool{false, true} {
		c := dial(t, proxy)
		if chunked {
			c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		} else {
			c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n")
		}
		for n := range 3 {
			part := fmt.Sprintf("part%d", n)
			if chunked {
				c.send("5\r\n" + part + "\r\n")
			} else {
				c.send(part)
			}
			if got := await(t, step); got != part {
				t.Errorf("the server got %q, want %q", got, part)
			}
		}
		if chunked {
			c.send("0\r\n\r\n")
		}
		expect(t, c.answer(false), 200, "done")
	}
}
