package http1_test

import (
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

// hopFields are those that may not pass from one connection to the other, each with a value that would do harm.
var hopFields = []string{"Connection: x-secret", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X-A", "Upgrade: h2c", "HTTP2-Settings: AAM",
	"Proxy-Authorization: Basic eDp5", "Proxy-Authenticate: Basic", "Proxy: http://evil.test/", "Transfer-Encoding: chunked", "Content-Length: 7"}

func TestNoHopByHopFieldOfARequestComesOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, raw, want string
	}{
		{"plain", "GET /%61?b HTTP/1.1\r\nHost: h\r\nA: 1\r\nb:2\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: h\r\nA: 1\r\nb: 2\r\n"},
		{"sized", "POST / HTTP/1.1\r\nContent-Length: 007\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n"},
		{"chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"},
		{"expect", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nexpect: 100-Continue\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n"},
		{"websocket", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade, a\r\nA: 1\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"},
		{"nominated", "GET / HTTP/1.1\r\nHost: h\r\nConnection: a, authorization, close\r\nAuthorization: x\r\nA: 1\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n"},
		{"absolute form", "GET http://H/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n"},
		{"absolute form of 1.0", "GET http://h:8/a HTTP/1.0\r\nA: 1\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h:8\r\nA: 1\r\n"},
		{"1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: \r\n"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n"},
		{"empty query", "GET /? HTTP/1.1\r\nHost: h\r\n\r\n", "GET /? HTTP/1.1\r\nHost: h\r\n"},
	} {
		r, _, err := parseRequest(c.raw)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := string(http1.AppendRequest(nil, r)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
	for _, f := range hopFields {
		for _, f := range []string{f, strings.ToLower(f), strings.ToUpper(f)} {
			r, _, err := parseRequest("POST / HTTP/1.1\r\nHost: h\r\nX-Secret: 1\r\n" + f + "\r\nB: 2\r\n\r\n")
			if err != nil {
				if strings.EqualFold(f, "Transfer-Encoding: chunked") {
					t.Errorf("%s: %v", f, err)
				}
				continue
			}
			got := string(http1.AppendHeader(nil, &r.Header))
			if got != "Host: h\r\nX-Secret: 1\r\nB: 2\r\n" && !(strings.HasPrefix(strings.ToLower(f), "connection") && got == "Host: h\r\nB: 2\r\n") {
				t.Errorf("%s: %q", f, got)
			}
		}
	}
}

func TestNoHopByHopFieldOfAResponseComesOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, raw        string
		head             bool // the answer to HEAD
		kind             message.BodyKind
		closes, client10 bool
		want             string
	}{
		{"sized", "HTTP/1.0 200 Fine\r\nA: 1\r\nContent-Length: 5\r\n\r\n", false, message.Sized, false, false, "HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 5\r\n\r\n"},
		{"empty", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, message.Sized, false, false, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
		{"chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n", false, message.Chunked, true, false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"},
		{"chunked for 1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, message.UntilClose, true, true, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n", false, message.UntilClose, true, false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"kept for 1.0", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", false, message.Sized, false, true, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, message.NoBody, false, false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"HEAD of a chunked one", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, message.NoBody, false, false, "HTTP/1.1 200 OK\r\n\r\n"},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, message.NoBody, false, false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
		{"204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, message.NoBody, false, false, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"103", "HTTP/1.1 103 Early Hints\r\nLink: a\r\nConnection: close\r\n\r\n", false, message.NoBody, false, false, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"},
		{"nominated", "HTTP/1.1 200 OK\r\nConnection: a, set-cookie\r\nSet-Cookie: x\r\nA: 1\r\nB: 2\r\nContent-Length: 1\r\n\r\n", false, message.Sized, false, false, "HTTP/1.1 200 OK\r\nB: 2\r\nContent-Length: 1\r\n\r\n"},
	} {
		r, _, err := parseResponse(c.raw, c.head)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := string(http1.AppendResponse(nil, r, c.kind, c.closes, c.client10)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
	for _, f := range hopFields {
		name, value, _ := strings.Cut(f, ": ")
		var r message.Response
		r.Status, r.Reason, r.Body = 200, []byte("OK"), message.Body{Kind: message.Sized, Length: 3}
		n := message.NewName(name)
		r.Header.Append(n.ID, n.Bytes, []byte(value))
		if got := string(http1.AppendResponse(nil, &r, message.Sized, false, false)); got != "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" {
			t.Errorf("%s: %q", f, got)
		}
	}
}

func TestATrailerNeitherFramesNorRoutesNorIdentifies(t *testing.T) {
	t.Parallel()
	var h message.Header
	for _, f := range append(hopFields, "Host: evil.test", "Authorization: x", "Cookie: a=b", "Set-Cookie: a=b", "X-Forwarded-For: 1", "X-Forwarded-Proto: https", "X-Forwarded-Host: x", "X-Forwarded-Port: 1",
		"X-Forwarded-Prefix: /", "X-Forwarded-Server: x", "X-Forwarded-User: root", "X-Real-IP: 1", "Forwarded: for=1", "Expect: 100-continue", "Digest: abc") {
		name, value, _ := strings.Cut(f, ": ")
		n := message.NewName(name)
		h.Append(n.ID, n.Bytes, []byte(value))
	}
	if got := string(http1.AppendLastChunk(nil, &h)); got != "0\r\nDigest: abc\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

const (
	typicalRequest = "GET /service-a/items/12?fields=name,price&page=2 HTTP/1.1\r\nHost: edge.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
	typicalResponse = "HTTP/1.1 200 OK\r\nServer: service-a\r\nDate: Mon, 23 Nov 2026 02:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 13\r\nCache-Control: no-store\r\nConnection: keep-alive\r\n\r\n"
)

// codec is what a worker keeps between exchanges.
type codec struct {
	req message.Request
	res message.Response
	a   message.Arena
	out []byte
}

func (c *codec) request(in []byte) bool {
	var p http1.RequestParser
	c.req.Reset()
	c.a.Reset()
	n, err := p.Parse(in, &c.req, &c.a)
	c.out = http1.AppendRequest(c.out[:0], &c.req)
	return err == nil && n == len(in)
}

func (c *codec) response(in []byte) bool {
	var p http1.ResponseParser
	c.res.Reset()
	n, err := p.Parse(in, &c.res, false)
	c.out = http1.AppendResponse(c.out[:0], &c.res, c.res.Body.Kind, false, false)
	return err == nil && n == len(in)
}

// Not parallel: allocations are counted for the whole process.
func TestAnExchangeAllocatesNothing(t *testing.T) {
	request, response := []byte(typicalRequest), []byte(typicalResponse)
	odd := []byte("POST http://EDGE.example.com/%61//b/../c;v=1?x HTTP/1.1\r\nHost: edge.example.com\r\nConnection: x-a, close\r\nX-A: 1\r\nX_Forwarded_For: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
	const chunked = "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nDigest: x\r\n\r\n"
	body := make([]byte, len(chunked))
	var c codec
	for name, do := range map[string]func() bool{
		"request":     func() bool { return c.request(request) },
		"odd request": func() bool { return c.request(odd) },
		"response":    func() bool { return c.response(response) },
		"chunked body": func() bool {
			var d http1.Chunks
			c.req.Trailer.Reset()
			c.a.Reset()
			copy(body, chunked)
			n, used, err := d.Decode(body, &c.req.Trailer, &c.a)
			c.out = http1.AppendChunk(c.out[:0], body[:n])
			c.out = http1.AppendLastChunk(c.out, &c.req.Trailer)
			return err == nil && d.Done && n == 11 && used == len(body)
		},
	} {
		ok := true
		if n := testing.AllocsPerRun(100, func() { ok = do() && ok }); n != 0 || !ok {
			t.Errorf("%s: %v allocations, ok %v", name, n, ok)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	var c codec
	in := []byte(typicalRequest)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			var p http1.RequestParser
			c.req.Reset()
			c.a.Reset()
			if _, err := p.Parse(in, &c.req, &c.a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.out = http1.AppendRequest(c.out[:0], &c.req)
		}
		b.SetBytes(int64(len(c.out)))
	})
}

func BenchmarkResponse(b *testing.B) {
	var c codec
	in := []byte(typicalResponse)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			var p http1.ResponseParser
			c.res.Reset()
			if _, err := p.Parse(in, &c.res, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.out = http1.AppendResponse(c.out[:0], &c.res, c.res.Body.Kind, false, false)
		}
		b.SetBytes(int64(len(c.out)))
	})
}

func BenchmarkCanonicalPath(b *testing.B) {
	for name, raw := range map[string]string{"plain": "/service-a/items/12", "escaped": "/service-a/%69tems//x/../12;v=1"} {
		b.Run(name, func(b *testing.B) {
			var a message.Arena
			p := []byte(raw)
			b.ReportAllocs()
			for b.Loop() {
				a.Reset()
				if _, _, err := http1.CanonicalPath(p, &a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The most that one head can cost: every option of Connection is looked for among every field.
func BenchmarkConnectionOptions(b *testing.B) {
	in := []byte("GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("ab: c\r\n", 120) + "Connection: " + strings.Repeat("xy,", 31) + "\r\n\r\n")
	var c codec
	for b.Loop() {
		if !c.request(in) {
			b.Fatal("refused")
		}
	}
}
