package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

const ms = 1e6

// whole is an exchange in which everything happened, with HAProxy's example numbers.
func whole() *exchange.Exchange {
	x := &exchange.Exchange{
		Peer: netip.MustParseAddrPort("10.0.1.2:33317"), Src: netip.MustParseAddrPort("10.0.1.2:33317"),
		Frontend: "http-in", Backend: "static", Server: "srv1",
		Accept: 5000 * ms, Begin: 5000 * ms, Head: 5010 * ms, Queued: 5010 * ms, Connect: 5040 * ms, Answer: 5109*ms + 999999, Done: 5109*ms + 999999,
		Wall:    time.Date(2009, 2, 6, 12, 14, 14, 655*ms, time.Local).UnixNano(),
		BytesIn: 80, BytesOut: 2750, Reused: true,
		ActConn: 1, FeConn: 2, BeConn: 3, SrvConn: 4, SrvQueue: 5, BackendQueue: 6,
	}
	x.Req.MethodToken, x.Req.Method = []byte("GET"), message.GET
	x.Req.Path, x.Req.Query, x.Req.HasQuery = []byte("/index.html"), []byte("a=1"), true
	x.Req.Minor, x.Req.Authority = 1, []byte("Example.com:8080")
	x.Req.Header.Append(message.UserAgent, []byte("user-agent"), []byte("curl/8.0"))
	x.Req.Header.Append(message.Referer, []byte("Referer"), []byte("http://r/"))
	x.Res.Status = 200
	return x
}

// unread is an exchange whose request never became one.
func unread() *exchange.Exchange {
	x := &exchange.Exchange{Frontend: "web", Src: netip.MustParseAddrPort("[2001:db8::1]:443"), Accept: 1 * ms, Begin: 1 * ms, Done: 601 * ms}
	x.Wall = time.Date(2026, 11, 23, 1, 13, 37, 0, time.Local).UnixNano()
	x.End = exchange.End{Who: 'c', When: 'R', Cause: "request timed out"}
	x.Res.Status = 408
	return x
}

func TestHTTPLogReadsAsHAProxyWritesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		x    *exchange.Exchange
		edit func(x *exchange.Exchange)
		want string
	}{
		{"a whole exchange", whole(), func(*exchange.Exchange) {},
			`10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/2/3/4/0 5/6 "GET /index.html?a=1 HTTP/1.1"`},
		{"a later exchange on the connection begins later", whole(), func(x *exchange.Exchange) { x.Accept -= 1000 * ms },
			`10.0.1.2:33317 [06/Feb/2009:12:14:15.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/2/3/4/0 5/6 "GET /index.html?a=1 HTTP/1.1"`},
		{"TLS, a redispatch, an empty query, HTTP/2", whole(), func(x *exchange.Exchange) {
			x.TLS, x.Retries, x.Redispatched, x.Req.Query, x.Req.Major2, x.Req.Minor = true, 2, true, nil, true, 2
		}, `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/2/3/4/+2 5/6 "GET /index.html? HTTP/2.0"`},
		{"denied", whole(), func(x *exchange.Exchange) {
			x.Backend, x.Server, x.Queued, x.Connect, x.Answer = "", "", 0, 0, 0
			x.End, x.Res.Status, x.Req.HasQuery = exchange.End{Who: 'P', When: 'R'}, 403, false
		}, `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> 10/-1/-1/-1/109 403 2750 - - PR-- 1/2/3/4/0 5/6 "GET /index.html HTTP/1.1"`},
		{"no connection", whole(), func(x *exchange.Exchange) {
			x.Connect, x.Answer, x.Retries, x.Res.Status, x.Req.Minor = 0, 0, 3, 503, 0
			x.End = exchange.End{Who: 'S', When: 'C', Cause: "connection refused"}
		}, `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/-1/-1/109 503 2750 - - SC-- 1/2/3/4/3 5/6 "GET /index.html?a=1 HTTP/1.0"`},
		{"a request that never came", unread(), func(*exchange.Exchange) {},
			`2001:db8::1:443 [23/Nov/2026:01:13:37.000] web web/<NOSRV> -1/-1/-1/-1/600 408 0 - - cR-- 0/0/0/0/0 0/0 "<BADREQ>"`},
		{"a method that was read is not a request", unread(), func(x *exchange.Exchange) { x.Req.MethodToken = []byte("GET") },
			`2001:db8::1:443 [23/Nov/2026:01:13:37.000] web web/<NOSRV> -1/-1/-1/-1/600 408 0 - - cR-- 0/0/0/0/0 0/0 "<BADREQ>"`},
		{"no answer, no address, mapped addresses", unread(), func(x *exchange.Exchange) { x.Res.Status, x.Src = 0, netip.AddrPort{} },
			`unix:0 [23/Nov/2026:01:13:37.000] web web/<NOSRV> -1/-1/-1/-1/600 -1 0 - - cR-- 0/0/0/0/0 0/0 "<BADREQ>"`},
		{"an IPv4 client on an IPv6 socket", unread(), func(x *exchange.Exchange) { x.Src = netip.MustParseAddrPort("[::ffff:10.0.0.1]:7") },
			`10.0.0.1:7 [23/Nov/2026:01:13:37.000] web web/<NOSRV> -1/-1/-1/-1/600 408 0 - - cR-- 0/0/0/0/0 0/0 "<BADREQ>"`},
		{"a forged line", whole(), func(x *exchange.Exchange) { x.Req.Path = []byte("/a\n\"#\\ \x1b[2J\x7f\xc3\xbc{") },
			`10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/2/3/4/0 5/6 "GET /a#0A#22#23\ #1B[2J#7F#C3#BC{?a=1 HTTP/1.1"`},
	} {
		c.edit(c.x)
		var f Formatter
		if got := string(f.HTTPLog(nil, c.x)); got != c.want+"\n" {
			t.Errorf("%s:\n got %swant %s", c.name, got, c.want)
		}
	}
}

func TestHTTPLogCutsTheRequestLineWhereHAProxyDoes(t *testing.T) {
	t.Parallel()
	x := whole()
	x.Req.Path = bytes.Repeat([]byte("/abcdefghi"), 500)
	line := string(new(Formatter).HTTPLog(nil, x))
	request := line[strings.IndexByte(line, '"')+1 : len(line)-2]
	if len(request) != maxRequestLine || !strings.HasPrefix(request, "GET /abc") {
		t.Errorf("%d bytes: %s", len(request), request)
	}
}

func TestJSONSaysEverything(t *testing.T) {
	t.Parallel()
	x := whole()
	utc := time.Unix(0, x.Wall).UTC().Format("2006-01-02T15:04:05.000Z")
	for _, c := range []struct {
		name string
		x    *exchange.Exchange
		edit func(x *exchange.Exchange)
		want string
	}{
		{"a whole exchange", x, func(*exchange.Exchange) {},
			`{"time":"` + utc + `","client":"10.0.1.2","client_port":33317,"frontend":"http-in","backend":"static","server":"srv1","tls":false,` +
				`"method":"GET","host":"Example.com:8080","path":"/index.html","query":"a=1","proto":"HTTP/1.1","status":200,"bytes_in":80,"bytes_out":2750,` +
				`"request_ms":10.000,"queue_ms":0.000,"connect_ms":30.000,"response_ms":69.999,"total_ms":109.999,"termination":"--","retries":0,"reused":true,` +
				`"user_agent":"curl/8.0","referer":"http://r/"}`},
		{"a client named by a trusted proxy, TLS, a failure", whole(), func(x *exchange.Exchange) {
			x.Src = netip.MustParseAddrPort("[2001:db8::9%eth0]:0")
			x.TLS, x.SNI, x.Retries, x.Redispatched = true, "example.com", 1, true
			x.Connect, x.Answer, x.Res.Status = 0, 0, 503
			x.End = exchange.End{Who: 'S', When: 'C', Cause: `dial "x": refused`}
			x.Req.Header.Reset()
		}, `{"time":"` + utc + `","client":"2001:db8::9","peer":"10.0.1.2","frontend":"http-in","backend":"static","server":"srv1","tls":true,"sni":"example.com",` +
			`"method":"GET","host":"Example.com:8080","path":"/index.html","query":"a=1","proto":"HTTP/1.1","status":503,"bytes_in":80,"bytes_out":2750,` +
			`"request_ms":10.000,"queue_ms":0.000,"connect_ms":-1,"response_ms":-1,"total_ms":109.999,"termination":"SC","cause":"dial \"x\": refused",` +
			`"retries":1,"redispatched":true,"reused":true}`},
		{"a request that never came, before 1970", unread(), func(x *exchange.Exchange) { x.Wall = -1 },
			`{"time":"1969-12-31T23:59:59.999Z","client":"2001:db8::1","client_port":443,"frontend":"web","tls":false,"status":408,"bytes_in":0,"bytes_out":0,` +
				`"request_ms":-1,"queue_ms":-1,"connect_ms":-1,"response_ms":-1,"total_ms":600.000,"termination":"cR","cause":"request timed out","retries":0}`},
	} {
		c.edit(c.x)
		got := string(new(Formatter).JSON(nil, c.x))
		if got != c.want+"\n" {
			t.Errorf("%s:\n got %swant %s", c.name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not JSON: %s", c.name, got)
		}
	}
}

func TestTheDateFollowsTheSecond(t *testing.T) {
	t.Parallel()
	var f Formatter
	x := whole()
	for _, step := range []int64{0, 1e9, 0, -3600e9, 86400e9 * 365} {
		x.Wall += step
		want := time.Unix(0, x.Wall)
		if got := string(f.JSON(nil, x)); !strings.HasPrefix(got, `{"time":"`+want.UTC().Format("2006-01-02T15:04:05.000Z")) {
			t.Errorf("%v: %s", want, got)
		}
		if got := string(f.HTTPLog(nil, x)); !strings.Contains(got, want.Format(" [02/Jan/2006:15:04:05.000] ")) {
			t.Errorf("%v: %s", want, got)
		}
	}
}

func TestTextFromOutsideIsEscaped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, json, hash string }{
		{"plain ~", `plain ~`, `plain ~`},
		{`"\/`, `\"\\/`, `#22\/`},
		{"a\nb\rc\td\x00\x1f\x7f", `a\nb\rc\td\u0000\u001F\u007F`, `a#0Ab#0Dc#09d#00#1F#7F`},
		{"é世😀", "é世😀", `#C3#A9#E4#B8#96#F0#9F#98#80`},
		{"\u2028\u2029\u0085\u009b", `\u2028\u2029\u0085\u009B`, `#E2#80#A8#E2#80#A9#C2#85#C2#9B`},
		{"\u202e\u2066\u200f\ufeff\u00a0", `\u202E\u2066\u200F\uFEFF\u00A0`, `#E2#80#AE#E2#81#A6#E2#80#8F#EF#BB#BF#C2#A0`},
		{"\U000e0001\U0010ffff", `\uDB40\uDC01\uDBFF\uDFFF`, `#F3#A0#80#81#F4#8F#BF#BF`},
		{"\xff\xc3\xed\xa0\x80x", `\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDx`, `#FF#C3#ED#A0#80x`},
		{"\ufffd", "\ufffd", `#EF#BF#BD`},
		{"#", "#", "#23"},
	} {
		if got := string(appendText(nil, `"`, c.in)); got != `"`+c.json+`"` {
			t.Errorf("%q: got %s, want %s", c.in, got, c.json)
		}
		if got := string(appendHash(nil, []byte(c.in))); got != c.hash {
			t.Errorf("%q: got %s, want %s", c.in, got, c.hash)
		}
	}
	long := strings.Repeat("é", maxText)
	if got := string(appendText(nil, `"`, long)); got != `"`+long[:maxText]+`…"` {
		t.Errorf("a long text became %d bytes", len(got))
	}
}

func TestFormatsAreFoundByName(t *testing.T) {
	t.Parallel()
	for _, row := range Formats {
		f, ok := Lookup(row.Name)
		if !ok || !bytes.HasSuffix(f(new(Formatter), []byte("before "), whole()), []byte("\n")) {
			t.Error(row.Name)
		}
	}
	if _, ok := Lookup("clf"); ok {
		t.Error("clf is not there yet")
	}
}

func TestLinesAreWrittenWithoutAllocation(t *testing.T) {
	x := whole()
	x.Req.Path = []byte("/\xff\u2028\"ü\x01#")
	x.TLS, x.SNI, x.End.Cause = true, "example.com", "some cause"
	x.Src = netip.MustParseAddrPort("[2001:db8::1%eth0]:443")
	dst := make([]byte, 0, 4096)
	for _, row := range Formats {
		var f Formatter
		if n := testing.AllocsPerRun(100, func() {
			x.Wall += 1e9 // a new second each time
			dst = row.Format(&f, dst[:0], x)
		}); n != 0 {
			t.Errorf("%s: %v allocations a line", row.Name, n)
		}
	}
}

// hostile lays text from outside into every place it can get to.
func hostile(a, b []byte) *exchange.Exchange {
	x := whole()
	x.Req.MethodToken, x.Req.Path, x.Req.Query, x.Req.Authority = a, b, a, b
	x.Req.Header.Reset()
	x.Req.Header.Append(message.UserAgent, nil, a)
	x.Req.Header.Append(message.Referer, nil, b)
	x.SNI, x.End.Cause, x.Frontend, x.Backend, x.Server = string(a), string(b), string(a), string(b), string(a)
	return x
}

func seeds(f *testing.F) {
	f.Add([]byte("GET"), []byte("/\xff\u2028\n\"\\\x1b[2J\u202e\U0010ffff"))
	f.Add([]byte(`"}`+"\r\n{"), []byte("\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80"))
	f.Add([]byte{}, bytes.Repeat([]byte("\xe2"), maxText+1))
}

func FuzzJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		line := new(Formatter).JSON(nil, hostile(a, b))
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		for i, r := range string(line) {
			if r == '\n' && i == len(line)-1 {
				break
			}
			if !unicode.IsPrint(r) {
				t.Fatalf("%U at %d of %q", r, i, line)
			}
		}
		if !utf8.Valid(line) || line[len(line)-1] != '\n' {
			t.Fatalf("%q", line)
		}
		// What can be told back is told back.
		if want := string(b); len(b) > 0 && len(b) <= maxText && utf8.Valid(b) && len(a) > 0 && got["path"] != want {
			t.Fatalf("path %q, want %q", got["path"], want)
		}
	})
}

func FuzzHTTPLog(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		line := new(Formatter).HTTPLog(nil, hostile(a, b))
		for i, c := range line[:len(line)-1] {
			if c < ' ' || c > '~' {
				t.Fatalf("byte %#x at %d of %q", c, i, line)
			}
		}
		if line[len(line)-1] != '\n' || bytes.Count(line, []byte{'"'}) != 2 {
			t.Fatalf("%q", line)
		}
	})
}

func BenchmarkFormats(b *testing.B) {
	for _, row := range Formats {
		b.Run(row.Name, func(b *testing.B) {
			var f Formatter
			x := whole()
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				dst = row.Format(&f, dst[:0], x)
			}
		})
	}
}
