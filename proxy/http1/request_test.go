package http1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

func parseRequest(raw string) (*message.Request, int, *http1.Error) {
	var (
		p http1.RequestParser
		r message.Request
		a message.Arena
	)
	n, err := p.Parse([]byte(raw), &r, &a)
	return &r, n, err
}

// parseRequestBytewise feeds one byte after the other, as a slow client does.
func parseRequestBytewise(raw string) (*message.Request, int, *http1.Error) {
	var (
		p http1.RequestParser
		r message.Request
		a message.Arena
		b = []byte(raw)
	)
	for i := range b {
		if n, err := p.Parse(b[:i+1], &r, &a); n > 0 || err != nil {
			return &r, n, err
		}
	}
	return &r, 0, nil
}

// tell puts into one line what a request says.
func tell(r *message.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.MethodToken, r.Path)
	if r.HasQuery {
		fmt.Fprintf(&b, "?%s", r.Query)
	}
	fmt.Fprintf(&b, " 1.%d", r.Minor)
	if string(r.Match) != string(r.Path) {
		fmt.Fprintf(&b, " match=%s", r.Match)
	}
	fmt.Fprintf(&b, " host=%s", r.Authority)
	if string(r.Hostname) != string(r.Authority) {
		fmt.Fprintf(&b, "/%s", r.Hostname)
	}
	b.WriteString(tellBody(r.Body))
	if r.Expect100 {
		b.WriteString(" expect")
	}
	if r.Upgrade != nil {
		fmt.Fprintf(&b, " upgrade=%s", r.Upgrade)
	}
	if r.Close {
		b.WriteString(" close")
	}
	return b.String()
}

func tellBody(b message.Body) string {
	switch b.Kind {
	case message.Sized:
		return fmt.Sprintf(" sized=%d", b.Length)
	case message.Chunked:
		return " chunked"
	case message.UntilClose:
		return " until-close"
	}
	return ""
}

func tellFields(h *message.Header) string {
	var s []string
	for _, f := range h.Fields {
		s = append(s, string(f.Name)+"="+string(f.Value))
	}
	return strings.Join(s, "|")
}

const h = "Host: h\r\n"

func TestRequestsAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, want string }{
		{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\nhOST:h\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\nHost:\t h \t\r\n\r\n", "GET / 1.1 host=h"},
		{"\r\nGET / HTTP/1.1\r\n" + h + "\r\n", "GET / 1.1 host=h"},
		{"\r\n\r\nGET / HTTP/1.1\r\n" + h + "\r\n", "GET / 1.1 host=h"},
		{"PROPFIND /a HTTP/1.1\r\n" + h + "\r\n", "PROPFIND /a 1.1 host=h"},
		{"get / HTTP/1.1\r\n" + h + "\r\n", "get / 1.1 host=h"},
		{strings.Repeat("M", 32) + " / HTTP/1.1\r\n" + h + "\r\n", strings.Repeat("M", 32) + " / 1.1 host=h"},
		{"!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" + h + "\r\n", "!#$%&'*+-.^_`|~ / 1.1 host=h"},

		// Targets.
		{"GET /a/b?x=1&y=?/ HTTP/1.1\r\n" + h + "\r\n", "GET /a/b?x=1&y=?/ 1.1 host=h"},
		{"GET /? HTTP/1.1\r\n" + h + "\r\n", "GET /? 1.1 host=h"},
		{"GET /a?/../b%2f%00;. HTTP/1.1\r\n" + h + "\r\n", "GET /a?/../b%2f%00;. 1.1 host=h"},
		{"GET //h/a HTTP/1.1\r\n" + h + "\r\n", "GET /h/a 1.1 host=h"},
		{"GET /a;v=1/b;w HTTP/1.1\r\n" + h + "\r\n", "GET /a;v=1/b;w 1.1 match=/a/b host=h"},
		{"OPTIONS * HTTP/1.1\r\n" + h + "\r\n", "OPTIONS * 1.1 host=h"},
		{"GET http://h/a?b HTTP/1.1\r\n" + h + "\r\n", "GET /a?b 1.1 host=h"},
		{"GET HTTP://H:80/ HTTP/1.1\r\nHost: h:80\r\n\r\n", "GET / 1.1 host=H:80/h"},
		{"GET https://h HTTP/1.1\r\n" + h + "\r\n", "GET / 1.1 host=h"},
		{"GET http://h?x HTTP/1.1\r\n" + h + "\r\n", "GET /?x 1.1 host=h"},
		{"GET http://h/%61/../b HTTP/1.1\r\n" + h + "\r\n", "GET /b 1.1 host=h"},
		{"GET http://h/a HTTP/1.0\r\n\r\n", "GET /a 1.0 host=h close"},
		{"GET /" + strings.Repeat("a", http1.MaxTarget-1) + " HTTP/1.1\r\n" + h + "\r\n", "GET /" + strings.Repeat("a", http1.MaxTarget-1) + " 1.1 host=h"},

		// Host.
		{"GET / HTTP/1.1\r\nHost: Example.COM.:8080\r\n\r\n", "GET / 1.1 host=Example.COM.:8080/example.com"},
		{"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:8080\r\n\r\n", "GET / 1.1 host=[2001:DB8::1]:8080/[2001:db8::1]"},
		{"GET / HTTP/1.1\r\nHost: [::]\r\n\r\n", "GET / 1.1 host=[::]"},
		{"GET / HTTP/1.1\r\nHost: a_b-c~d.1:\r\n\r\n", "GET / 1.1 host=a_b-c~d.1:/a_b-c~d.1"},
		{"GET / HTTP/1.1\r\nHost: h:65535\r\n\r\n", "GET / 1.1 host=h:65535/h"},

		// Versions and persistence (RFC 9112 section 9.3).
		{"GET / HTTP/1.0\r\n\r\n", "GET / 1.0 host= close"},
		{"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "GET / 1.0 host="},
		{"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / 1.0 host= close"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: keep-alive\r\nConnection: ,CLOSE,\r\n\r\n", "GET / 1.1 host=h close"},
		{"GET / HTTP/1.9\r\n" + h + "\r\n", "GET / 1.1 host=h"},

		// Framing.
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 5\r\n\r\n", "POST / 1.1 host=h sized=5"},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 0\r\n\r\n", "POST / 1.1 host=h sized=0"},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 0000000000000000007\r\n\r\n", "POST / 1.1 host=h sized=7"},
		{"POST / HTTP/1.1\r\n" + h + "content-length: 9223372036854775807\r\n\r\n", "POST / 1.1 host=h sized=9223372036854775807"},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding:\tChunked \r\n\r\n", "POST / 1.1 host=h chunked"},
		{"GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", "GET / 1.0 host= sized=1 close"},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length0" + strings.Repeat("a", 255) + ":\r\nContent-Length: 4\r\n\r\n", "POST / 1.1 host=h sized=4"},
		{"POST / HTTP/1.1\r\n" + h + "Connection: content-length, host\r\nContent-Length: 4\r\n\r\n", "POST / 1.1 host=h sized=4"},
		{"POST / HTTP/1.1\r\n" + h + "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / 1.1 host=h chunked"},

		// Expect and Upgrade.
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n", "POST / 1.1 host=h sized=5 expect"},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "POST / 1.0 host= sized=5 close"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / 1.1 host=h upgrade=websocket"},
		{"GET / HTTP/1.1\r\n" + h + "Upgrade: websocket\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade\r\nUpgrade:\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade\r\nUpgrade: H2\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.1\r\n" + h + "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", "GET / 1.1 host=h"},
		{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / 1.0 host= close"},
		{"POST / HTTP/1.1\r\n" + h + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n", "POST / 1.1 host=h sized=1"},
	} {
		r, n, err := parseRequest(c.raw + "next")
		if err != nil {
			t.Errorf("%.80q: %d %v", c.raw, err.Status, err)
			continue
		}
		if n != len(c.raw) {
			t.Errorf("%.80q: head of %d bytes, want %d", c.raw, n, len(c.raw))
		}
		if got := tell(r); got != c.want {
			t.Errorf("%.80q\n got %.300s\nwant %.300s", c.raw, got, c.want)
		}
		slow, n2, err := parseRequestBytewise(c.raw + "next")
		if err != nil || n2 != n || tell(slow) != tell(r) || tellFields(&slow.Header) != tellFields(&r.Header) {
			t.Errorf("%.80q byte by byte: %d bytes, %v, %.300s", c.raw, n2, err, tell(slow))
		}
	}
}

func TestWhatTwoParsersCouldReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	post := func(fields string) string { return "POST / HTTP/1.1\r\n" + h + fields + "\r\n" }
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + h + "\r\n" }
	host := func(v string) string { return "GET / HTTP/1.1\r\nHost: " + v + "\r\n\r\n" }
	for _, c := range []struct {
		raw    string
		status int
	}{
		// Lines.
		{"GET / HTTP/1.1\n" + h + "\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
		{"\nGET / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"\r\n\r\n\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"\r\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET / HTTP/1.1\r\r\n" + h + "\r\n", 400},
		{post("A: b\rc\r\n"), 400},
		{post("A: b\r\r\n"), 400},
		{post("A: b\x00c\r\n"), 400},
		{post("A: b\x0bc\r\n"), 400},
		{post("A: b\x7fc\r\n"), 400},
		{post("A: 1234567\x00\r\n"), 400},
		{post("A: b\r\n c\r\n"), 400},
		{post("A: b\r\n\tc: d\r\n"), 400},
		{"GET / HTTP/1.1\r\n " + h + "\r\n", 400},
		{post("\r\r\n"), 400},

		// Names.
		{post(": x\r\n"), 400},
		{post("A\r\n"), 400},
		{post("A : b\r\n"), 400},
		{post("A\t: b\r\n"), 400},
		{post("A b: c\r\n"), 400},
		{post("A\x00: c\r\n"), 400},
		{post("A\xa0: c\r\n"), 400},
		{post("A(b): c\r\n"), 400},
		{post("Transfer-\r\nEncoding: chunked\r\n"), 400},
		{post("Transfer_Encoding: chunked\r\n"), 400},
		{post("transfer.encoding: chunked\r\n"), 400},
		{post("Content_Length: 5\r\n"), 400},
		{post("CONTENT.LENGTH: 5\r\n"), 400},

		// Request lines.
		{"GET /\r\n\r\n", 400},
		{"GET\r\n\r\n", 400},
		{" GET / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET  / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET /  HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET / HTTP/1.1 \r\n" + h + "\r\n", 400},
		{"GET\t/ HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET / a HTTP/1.1\r\n" + h + "\r\n", 400},
		{"G(T / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"G\xc3T / HTTP/1.1\r\n" + h + "\r\n", 400},
		{strings.Repeat("M", 33) + " / HTTP/1.1\r\n" + h + "\r\n", 400},
		{"GET / http/1.1\r\n" + h + "\r\n", 400},
		{"GET / HTTP/1.10\r\n" + h + "\r\n", 400},
		{"GET / HTTP/01.1\r\n" + h + "\r\n", 400},
		{"GET / HTTP/1,1\r\n" + h + "\r\n", 400},
		{"GET / HTTP/1.x\r\n" + h + "\r\n", 400},
		{"GET / HTTP/0.9\r\n" + h + "\r\n", 400},
		{"GET / HTTP/2.0\r\n" + h + "\r\n", 505},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + h + "\r\n", 405},
		{"CONNECT / HTTP/1.1\r\n" + h + "\r\n", 405},
		{"TRACE / HTTP/1.1\r\n" + h + "\r\n", 405},

		// Targets.
		{get("*"), 400},
		{get("a"), 400},
		{get("h:80"), 400},
		{get("/a#b"), 400},
		{get("/a\x00"), 400},
		{get("/\x7f"), 400},
		{get("/\xc3\xa4"), 400},
		{get("/a%"), 400},
		{get("/%zz"), 400},
		{get("/.."), 400},
		{get("/a/../../b"), 400},
		{get("/a%2fb"), 400},
		{get("/a%00"), 400},
		{get(`/a\b`), 400},
		{get("http://"), 400},
		{get("http:///a"), 400},
		{get("http://u@h/"), 400},
		{get("ftp://h/"), 400},
		{get("http:/h/"), 400},
		{get("/" + strings.Repeat("a", http1.MaxTarget)), 414},
		{get("http://evil.test/"), 400},
		{"GET http://h/ HTTP/1.1\r\nHost: h:80\r\n\r\n", 400},
		{"GET http://h/ HTTP/1.1\r\nHost:\r\n\r\n", 400},
		{"GET http://h/ HTTP/1.1\r\n\r\n", 400},

		// Host.
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + h + "\r\n", 400},
		{"GET / HTTP/1.0\r\n" + h + "Host: g\r\n\r\n", 400},
		{host(""), 400}, {host("a b"), 400}, {host("a,b"), 400}, {host("u@h"), 400}, {host("h/p"), 400}, {host("h?x"), 400}, {host("h#x"), 400}, {host("h%41"), 400},
		{host(":80"), 400}, {host("h:65536"), 400}, {host("h:000080"), 400}, {host("h:8o"), 400}, {host("h:-1"), 400}, {host("h:80:80"), 400}, {host("::1"), 400},
		{host("[::1"), 400}, {host("[]"), 400}, {host("[::1]x"), 400}, {host("[::1]80"), 400}, {host("[::g]"), 400}, {host("[fe80::1%25eth0]"), 400},
		{host("."), 400}, {host("a..b"), 400}, {host(".a"), 400}, {host("a.."), 400}, {host("h\xc3"), 400}, {host(strings.Repeat("a", 256)), 400},

		// Framing.
		{post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
		{post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 400},
		{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
		{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
		{post("Content-Length:\r\nContent-Length: 45\r\n"), 400},
	} {
		if _, _, err := parseRequest(c.raw); err == nil || err.Status != c.status {
			t.Errorf("%.80q: %v; want status %d", c.raw, err, c.status)
		}
		if _, _, err := parseRequestBytewise(c.raw); err == nil || err.Status != c.status {
			t.Errorf("%.80q byte by byte: %v; want status %d", c.raw, err, c.status)
		}
	}
}

func TestALengthIsDigitsOnlyAndACodingExactlyChunked(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "+5", "-5", "-0", "5, 5", "5,5", ",5", "5,", "5 5", "0x5", "5.0", "1e1", "\xd9\xa5", "5\x00", "9223372036854775808", "18446744073709551621", strings.Repeat("9", 400), "five"} {
		if r, _, err := parseRequest("POST / HTTP/1.1\r\n" + h + "Content-Length: " + v + "\r\n\r\n"); err == nil || err.Status != 400 {
			t.Errorf("Content-Length: %.30q is read as %s", v, tell(r))
		}
	}
	for _, v := range []string{"", ",chunked", "chunked,", "chunked, chunked", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunkedx", `"chunked"`, "chunked;q=1", "\x0bchunked", "\xa0chunked", "chun ked", "chunked\x00"} {
		if r, _, err := parseRequest("POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: " + v + "\r\n\r\n"); err == nil || err.Status != 400 {
			t.Errorf("Transfer-Encoding: %.30q is read as %s", v, tell(r))
		}
	}
}

func TestOnlyOneKnownExpectationIsTaken(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"Expect: y\r\n", "Expect: y 100-continue\r\n", "Expect: 100-continue, y\r\n", "Expect:\r\n", "Expect: 100-continue\r\nExpect: 100-continue\r\n"} {
		if _, _, err := parseRequest("POST / HTTP/1.1\r\n" + h + "Content-Length: 1\r\n" + v + "\r\n"); err == nil || err.Status != 417 {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestAHeadHasLimits(t *testing.T) {
	t.Parallel()
	line := "GET / HTTP/1.1\r\n" + h
	fields := func(n int) string { return line + strings.Repeat("a: b\r\n", n-1) + "\r\n" }
	long := func(n int) string {
		return line + "a: " + strings.Repeat("b", n-len(line)-len("a: \r\n\r\n")) + "\r\n\r\n"
	}
	for _, c := range []struct {
		name, raw string
		status    int
	}{
		{"as many fields as are allowed", fields(http1.MaxFields), 0},
		{"one field more", fields(http1.MaxFields + 1), 431},
		{"a head as large as is allowed", long(http1.MaxHead), 0},
		{"one byte more", long(http1.MaxHead + 1), 431},
		{"a fault behind the limit", strings.TrimSuffix(long(http1.MaxHead), "\r\n") + "a: b\r\nfault\r\n\r\n", 431},
		{"no end", strings.TrimSuffix(long(http1.MaxHead+4), "\r\n\r\n"), 431},
		{"many small lines without an end", line + strings.Repeat("a_b: c\r\n", http1.MaxHead/8), 431},
		{"a target without an end", "GET /" + strings.Repeat("a", http1.MaxTarget+20), 414},
		{"as many connection options as are allowed", line + "Connection: " + strings.Repeat("a,", 31) + "\r\nConnection: b\r\n\r\n", 0},
		{"one option more", line + "Connection: " + strings.Repeat("a,", 32) + "\r\nConnection: b\r\n\r\n", 400},
	} {
		for how, parse := range map[string]func(string) (*message.Request, int, *http1.Error){"whole": parseRequest, "byte by byte": parseRequestBytewise} {
			_, n, err := parse(c.raw)
			switch {
			case c.status == 0 && (err != nil || n != len(c.raw)):
				t.Errorf("%s, %s: %d of %d bytes, %v", c.name, how, n, len(c.raw), err)
			case c.status != 0 && (err == nil || err.Status != c.status):
				t.Errorf("%s, %s: %v, want status %d", c.name, how, err, c.status)
			}
		}
	}
}

func TestGarbageIsRefusedBeforeItsLineEnds(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"\x16\x03\x01\x02\x00\x01", "\x00", " ", "\x80", "{\"a\":1}", "\r\r", "\rGET", "\r\n\rG", "\n", strings.Repeat("A", 33)} {
		if _, _, err := parseRequest(raw); err == nil || err.Status != 400 {
			t.Errorf("%q: %v", raw, err)
		}
	}
	for _, raw := range []string{"", "G", "GET", "GET ", "GET /", "GET / HTTP/1.1", "GET / HTTP/1.1\r", "\r", "\r\n", "\r\n\r", strings.Repeat("A", 32)} {
		if _, n, err := parseRequest(raw); err != nil || n != 0 {
			t.Errorf("%q: %d, %v; want more", raw, n, err)
		}
	}
}

func TestAControlCharacterIsFoundWhereverItStands(t *testing.T) {
	t.Parallel()
	for size := 1; size <= 25; size++ {
		for at := range size {
			for c := range 256 {
				for _, fill := range []byte{'x', 0xff, 0x80} {
					v := []byte(strings.Repeat(string([]byte{fill}), size))
					v[at] = byte(c)
					if at > 0 && at < size-1 {
						v[at-1], v[at+1] = '\t', ' ' // what stands beside it changes nothing
					}
					_, _, err := parseRequest("GET / HTTP/1.1\r\n" + h + "a: x" + string(v) + "x\r\n\r\n")
					if want := c < 0x20 && c != '\t' || c == 0x7f; want != (err != nil) {
						t.Fatalf("%q: %v", v, err)
					}
				}
			}
		}
	}
}

func TestNamesThatServersTakeForOthersAreDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kept bool
	}{
		{"X_Forwarded_For", false}, {"X.Forwarded.Proto", false}, {"x_forwarded-anything", false}, {"X_Real_IP", false}, {"X-Real.IP", false}, {"Remote.User", false}, {"Remote_User", false},
		{"X_Auth_User", false}, {"X-SSL_Client", false}, {"x_user", false}, {"Proxy_Authorization", false}, {"Keep_Alive", false}, {"X_Original_URL", false},
		{"X_Forwarded_" + strings.Repeat("a", 80), false}, {"Remote_" + strings.Repeat("a", 80), false},
		{"X_Custom", true}, {"a.b", true}, {"User_Agent", true}, {"Content_Type", true}, {strings.Repeat("a_", 40), true},
	} {
		r, _, err := parseRequest("GET / HTTP/1.1\r\n" + h + c.name + ": v\r\nB: w\r\n\r\n")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := "Host=h|B=w"
		if c.kept {
			want = "Host=h|" + c.name + "=v|B=w"
		}
		if got := tellFields(&r.Header); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

func TestWhatConnectionNamesEndsHere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fields, want string }{
		{"A: 1\r\nConnection: a\r\nB: 2\r\n", "B=2"},
		{"connection: x-forwarded-for , X-REAL-IP\r\nX-Forwarded-For: 1\r\nx-real-ip: 2\r\nB: 2\r\n", "B=2"},
		{"A: 1\r\nConnection: close\r\nC: 3\r\nConnection: a,, c\r\nB: 2\r\nA: 4\r\n", "B=2"},
		{"Connection: x-forwarded-a\r\nX-Forwarded-A: 1\r\nX-Forwarded-B: 2\r\n", "X-Forwarded-B=2"},
		{"Connection: host, b\r\nB: 2\r\nCC: 3\r\n", "CC=3"},
		{"Connection: aa\r\nA: 1\r\nAAA: 2\r\n", "A=1|AAA=2"},
	} {
		r, _, err := parseRequest("GET / HTTP/1.1\r\n" + h + c.fields + "\r\n")
		if err != nil {
			t.Errorf("%q: %v", c.fields, err)
			continue
		}
		n := message.NewName("Connection")
		r.Header.Del(n)
		if got := tellFields(&r.Header); got != "Host=h|"+c.want {
			t.Errorf("%q: %s, want Host=h|%s", c.fields, got, c.want)
		}
	}
}
