package http1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

func parseResponse(raw string, toHead bool) (*message.Response, int, *http1.Error) {
	var (
		p http1.ResponseParser
		r message.Response
	)
	n, err := p.Parse([]byte(raw), &r, toHead)
	return &r, n, err
}

func parseResponseBytewise(raw string, toHead bool) (*message.Response, int, *http1.Error) {
	var (
		p http1.ResponseParser
		r message.Response
		b = []byte(raw)
	)
	for i := range b {
		if n, err := p.Parse(b[:i+1], &r, toHead); n > 0 || err != nil {
			return &r, n, err
		}
	}
	return &r, 0, nil
}

func tellResponse(r *message.Response) string {
	s := fmt.Sprintf("%d %s 1.%d", r.Status, r.Reason, r.Minor) + tellBody(r.Body)
	if r.Body.Kind == message.NoBody && r.Body.Length >= 0 {
		s += fmt.Sprintf(" would-be=%d", r.Body.Length)
	}
	if r.Close {
		s += " close"
	}
	return s
}

func TestResponsesAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, want, head string }{ // head: the same as the answer to HEAD
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 OK 1.1 sized=5", "200 OK 1.1 would-be=5"},
		{"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", "200 OK 1.1 sized=0", "200 OK 1.1 would-be=0"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK 1.1 chunked", "200 OK 1.1"},
		{"HTTP/1.1 200 OK\r\n\r\n", "200 OK 1.1 until-close close", "200 OK 1.1"},
		{"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", "200  1.1 sized=1", "200  1.1 would-be=1"},
		{"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", "200  1.1 sized=1", "200  1.1 would-be=1"},
		{"HTTP/1.1 404 Nicht da, \xe4h\t!\r\nContent-Length: 1\r\n\r\n", "404 Nicht da, \xe4h\t! 1.1 sized=1", "404 Nicht da, \xe4h\t! 1.1 would-be=1"},
		{"HTTP/1.1 999 X\r\nContent-Length: 1\r\n\r\n", "999 X 1.1 sized=1", "999 X 1.1 would-be=1"},
		{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", "200 OK 1.0 sized=1 close", "200 OK 1.0 would-be=1 close"},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", "200 OK 1.0 sized=1", "200 OK 1.0 would-be=1"},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "200 OK 1.1 sized=1 close", "200 OK 1.1 would-be=1 close"},
		{"HTTP/1.1 204 No Content\r\n\r\n", "204 No Content 1.1", "204 No Content 1.1"},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 No Content 1.1", "204 No Content 1.1"},
		{"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "204 No Content 1.1", "204 No Content 1.1"},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 Not Modified 1.1 would-be=5", "304 Not Modified 1.1 would-be=5"},
		{"HTTP/1.1 304 Not Modified\r\n\r\n", "304 Not Modified 1.1", "304 Not Modified 1.1"},
		{"HTTP/1.1 100 Continue\r\n\r\n", "100 Continue 1.1", "100 Continue 1.1"},
		{"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", "103 Early Hints 1.1", "103 Early Hints 1.1"},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "101 Switching Protocols 1.1", "101 Switching Protocols 1.1"},
	} {
		for _, toHead := range []bool{false, true} {
			want := c.want
			if toHead {
				want = c.head
			}
			r, n, err := parseResponse(c.raw+"next", toHead)
			if err != nil || n != len(c.raw) || tellResponse(r) != want {
				t.Errorf("%q to HEAD %v: %d bytes, %v, %s; want %s", c.raw, toHead, n, err, tellResponse(r), want)
				continue
			}
			slow, n, err := parseResponseBytewise(c.raw+"next", toHead)
			if err != nil || n != len(c.raw) || tellResponse(slow) != want || tellFields(&slow.Header) != tellFields(&r.Header) {
				t.Errorf("%q byte by byte: %d bytes, %v, %s", c.raw, n, err, tellResponse(slow))
			}
		}
	}
}

func TestAHostileResponseIsRefused(t *testing.T) {
	t.Parallel()
	ok := "HTTP/1.1 200 OK\r\n"
	for _, raw := range []string{
		"\r\n", "\n", "HTTP/1.1 200 OK\n\r\n", ok + "A: b\n\r\n", ok + "A: b\r\n\n", ok + "X: a\nSet-Cookie: b\r\n\r\n", ok + "X: a\rb\r\n\r\n", ok + "X: a\x00\r\n\r\n", ok + "X: a\r\n b\r\n\r\n",
		ok + " X: a\r\n\r\n", ok + ": a\r\n\r\n", ok + "X : a\r\n\r\n", ok + "X\r\n\r\n", ok + "Content_Length: 5\r\n\r\n", ok + "Transfer.Encoding: chunked\r\n\r\n",
		"HTTP/1.1\r\n\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1 99999 X\r\n\r\n", "HTTP/1.1 65736 X\r\n\r\n", "HTTP/1.1 2x0 X\r\n\r\n", "HTTP/1.1 -20 X\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1 200\tOK\r\n\r\n", "HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.10 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
		"200 OK\r\n\r\n", "<html>", "SSH-2.0-x", "\x15\x03\x01", "H\x00", "HTTP/" + strings.Repeat("x", http1.MaxHead),
		ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", ok + "Content-Length: 5, 5\r\n\r\n", ok + "Content-Length: -1\r\n\r\n", ok + "Content-Length:\r\n\r\n",
		ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", ok + "Transfer-Encoding: identity\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ok + strings.Repeat("a: b\r\n", http1.MaxFields+1) + "\r\n", ok + "a: " + strings.Repeat("b", http1.MaxHead),
		ok + "Connection: " + strings.Repeat("a,", 40) + "\r\n\r\n",
	} {
		if r, n, err := parseResponse(raw, false); err == nil {
			t.Errorf("%.60q: %d bytes, %s", raw, n, tellResponse(r))
		}
		if r, n, err := parseResponseBytewise(raw, false); err == nil {
			t.Errorf("%.60q byte by byte: %d bytes, %s", raw, n, tellResponse(r))
		}
	}
	for _, raw := range []string{"H", "HTTP/", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r"} {
		if _, n, err := parseResponse(raw, false); n != 0 || err != nil {
			t.Errorf("%q: %d, %v; want more", raw, n, err)
		}
	}
}
