package blackbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// server is the other side of the proxy where a test says itself what is answered.
type server struct {
	addr  string
	conns atomic.Int64 // connections so far
}

// session is one connection of it.
type session struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

// serve runs a server that gives each connection to do, and closes it when do returns.
func serve(t testing.TB, do func(s *session)) *server {
	l := listen(t)
	s := &server{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go func() {
				defer c.Close()
				do(&session{t, c.(*net.TCPConn), bufio.NewReader(c)})
			}()
		}
	}()
	return s
}

// request reads a head as strictly as parseRequestHead; false if the connection ends instead.
func (s *session) request() (h head, ok bool) {
	var b []byte
	for !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
		line, err := s.r.ReadBytes('\n')
		b = append(b, line...)
		if err != nil {
			return h, false
		}
	}
	h, err := parseRequestHead(b[:len(b)-4])
	if err != nil {
		s.t.Errorf("what came is no strict request: %v: %q", err, b)
	}
	return h, err == nil
}

// body reads the body of a request; an error says that it did not come whole.
func (s *session) body(h head) (body []byte, trailer string, err error) {
	if !h.has("Transfer-Encoding") {
		n, _ := strconv.Atoi(h.get("Content-Length"))
		body = make([]byte, n)
		_, err = io.ReadFull(s.r, body)
		return body, "", err
	}
	if body, err = io.ReadAll(httputil.NewChunkedReader(s.r)); err != nil {
		return body, "", err
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return body, trailer, err
		}
		trailer += line
	}
}

func (s *session) say(format string, args ...any) {
	_ = s.SetWriteDeadline(time.Now().Add(long))
	_, _ = fmt.Fprintf(s, format, args...)
}

// answer answers 200 with a body.
func (s *session) answer(body string) {
	s.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// ended waits until the other side has closed, and says whether it broke off.
func (s *session) ended() (err error) {
	_ = s.SetReadDeadline(time.Now().Add(long))
	_, err = io.Copy(io.Discard, s.r)
	return err
}

// echo answers every request with "METHOD target", and what came of the body behind that.
func echo(s *session) {
	for {
		h, ok := s.request()
		if !ok {
			return
		}
		if h.lists("Expect", "100-continue") {
			s.say("HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, trailer, err := s.body(h)
		if err != nil {
			return
		}
		line := h.line[:len(h.line)-len(" HTTP/1.1")]
		if line[:5] == "HEAD " {
			s.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(line))
			continue
		}
		if len(body) > 0 {
			line += " " + string(body)
		}
		if trailer != "" {
			line += " " + trailer
		}
		s.answer(line)
	}
}

// proxied is a proxy before one server.
func proxied(t testing.TB, do func(s *session)) (addr string, s *server) {
	s = serve(t, do)
	return start(t, setup{servers: []string{s.addr}}), s
}

func expect(t testing.TB, a answer, status int, body string) {
	t.Helper()
	if a.status != status || string(a.body) != body || !a.complete {
		t.Errorf("got %d %.200q (whole: %v), want %d %.200q", a.status, a.body, a.complete, status, body)
	}
}
