package proxy

import (
	"bufio"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const plainGet = "GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n"

func TestEveryEndHasHAProxysStatusLettersAndACause(t *testing.T) {
	t.Parallel()
	const timeouts = "timeouts: {connect: 100ms, client: 5s, server: 5s, http_request: 5s, keep_alive: 5s, queue: 5s, tunnel: 5s}\n"
	short := func(key, document string) string { return strings.Replace(document, key+": 5s", key+": 200ms", 1) }
	front := func(extra string) string {
		return timeouts + "frontends:\n  web:\n    bind: [{address: \"127.0.0.1:0\"}]\n    default_backend: app\n" + extra
	}
	back := func(servers string) string { return "backends:\n  app:\n    servers:\n" + servers }
	normal := func(t *testing.T) string { return "      s1: " + named(t, "hello") + "\n" }

	for _, c := range []struct {
		name     string
		document func(t *testing.T) string
		request  string
		end      bool // the client ends its side after the request
		status   int  // 0 = no answer
		logged   int  // status in the log, if it is another
		letters  string
		cause    string // in the log's cause
		server   string
	}{
		{name: "a normal exchange", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: plainGet, status: 200, letters: "--", server: "s1"},
		{name: "no server is up", document: func(t *testing.T) string {
			return front("") + back("      s1: {address: \""+refusing(t)+"\", disabled: true}\n")
		}, request: plainGet, status: 503, letters: "SC", cause: "no server of backend app is up"},
		{name: "the server refuses", document: func(t *testing.T) string { return front("") + back("      s1: "+refusing(t)+"\n") },
			request: plainGet, status: 503, letters: "SC", cause: "connection refused", server: "s1"},
		{name: "the server's answer is late", document: func(t *testing.T) string {
			return short("server", front("")) + back("      s1: "+rawOrigin(t, func(c net.Conn, in *bufio.Reader) { io.Copy(io.Discard, in) })+"\n")
		}, request: plainGet, status: 504, letters: "sH", cause: "no answer from the server in its time", server: "s1"},
		{name: "the server closes before an answer", document: func(t *testing.T) string {
			return front("") + back("      s1: "+rawOrigin(t, func(c net.Conn, in *bufio.Reader) { skipHead(in) })+"\n")
		}, request: plainGet, status: 502, letters: "SH", cause: "server: ", server: "s1"},
		{name: "the server answers nonsense", document: func(t *testing.T) string {
			return front("") + back("      s1: "+answering(t, "HELLO\r\n\r\n")+"\n")
		}, request: plainGet, status: 502, letters: "PH", cause: "server: ", server: "s1"},
		{name: "the server's framing is ambiguous", document: func(t *testing.T) string {
			return front("") + back("      s1: "+answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")+"\n")
		}, request: plainGet, status: 502, letters: "PH", cause: "server: ", server: "s1"},
		{name: "the server leaves within its head", document: func(t *testing.T) string {
			return front("") + back("      s1: "+rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
				skipHead(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
			})+"\n")
		}, request: plainGet, status: 502, letters: "PH", cause: "left within its response head", server: "s1"},
		{name: "a rule denies", document: func(t *testing.T) string {
			return front("    request: [\"deny if { path /x }\"]\n") + back(normal(t))
		}, request: plainGet, status: 403, letters: "PR", cause: "denied by a rule"},
		{name: "a deny list denies", document: func(t *testing.T) string {
			return front("    deny: [\"{ path /x }\"]\n") + back(normal(t))
		}, request: plainGet, status: 403, letters: "PR", cause: "deny"},
		{name: "a rule redirects", document: func(t *testing.T) string {
			return front("    request: [redirect location /y code 301]\n") + back(normal(t))
		}, request: plainGet, status: 301, letters: "LR"},
		{name: "plain text is redirected", document: func(t *testing.T) string {
			return front("    redirect_https: true\n") + back(normal(t))
		}, request: plainGet, status: 301, letters: "LR"},
		{name: "the request is malformed", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: "GET /x HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", status: 400, letters: "PR", cause: " "},
		{name: "the request's framing is ambiguous", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 400, letters: "PR", cause: " "},
		{name: "the request head is late", document: func(t *testing.T) string { return short("http_request", front("")) + back(normal(t)) },
			request: "GET /x HTTP/1.1\r\nHo", status: 408, letters: "cR", cause: "did not come in time"},
		{name: "the client leaves within its head", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: "GET /x HTTP/1.1\r\nHo", end: true, status: 400, letters: "CR", cause: "left within the request head"},
		{name: "the client leaves within its body", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", end: true, letters: "CD", cause: "the client left within its request", server: "s1"},
		{name: "the request's body is late", document: func(t *testing.T) string {
			return short("client", front("")) + back(normal(t))
		}, request: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", status: 408, letters: "cD", cause: "fell silent", server: "s1"},
		{name: "the request's chunks are malformed", document: func(t *testing.T) string { return front("") + back(normal(t)) },
			request: "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", status: 400, letters: "PD", cause: " ", server: "s1"},
		{name: "a response rule denies", document: func(t *testing.T) string {
			return front("    response: [\"deny if { status 200 }\"]\n") + back(normal(t))
		}, request: plainGet, status: 502, letters: "PH", cause: "response rule", server: "s1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := start(t, c.document(t))
			w := dialWire(t, e.addr(0))
			w.send(c.request)
			if c.end {
				w.Conn.(*net.TCPConn).CloseWrite()
			}
			if c.status != 0 {
				if r, _ := w.answer("GET"); r.StatusCode != c.status {
					t.Errorf("status %d, want %d", r.StatusCode, c.status)
				}
			} else {
				w.ended()
			}
			l := e.lines(1)[0]
			if l.Termination != c.letters || !strings.Contains(l.Cause, c.cause) || c.cause == "" && l.Cause != "" || l.Server != c.server ||
				c.logged == 0 && l.Status != c.status {
				t.Errorf("logged %+v, want status %d, %s, cause %q, server %q", l, c.status, c.letters, c.cause, c.server)
			}
		})
	}
}

func TestAServerThatBreaksWithinItsBodyBreaksTheClientsConnection(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
				skipHead(in)
				io.WriteString(c, answer)
			})))
			w := dialWire(t, e.addr(0))
			w.send(plainGet)
			if all, err := io.ReadAll(w.in); err == nil && !strings.Contains(string(all), "Content-Length: 10") {
				t.Errorf("a broken answer ended like a whole one: %q", all)
			}
			if l := e.lines(1)[0]; l.Termination != "SD" || l.Status != 200 {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestAServerThatFallsSilentWithinItsBodyIsCut(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		io.Copy(io.Discard, in)
	})), "server: 5s", "server: 100ms", 1))
	w := dialWire(t, e.addr(0))
	w.send(plainGet)
	io.Copy(io.Discard, w.in)
	if l := e.lines(1)[0]; l.Termination != "sD" {
		t.Errorf("%+v", l)
	}
}

func TestAClientThatLeavesWithinTheAnswerIsLoggedCD(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sized", "chunked"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			e := start(t, site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
				defer close(gone)
				skipHead(in)
				piece := strings.Repeat("x", 0x1000)
				if kind == "sized" {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
				} else {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					piece = "1000\r\n" + piece + "\r\n"
				}
				for {
					if _, err := io.WriteString(c, piece); err != nil {
						return
					}
				}
			})))
			w := dialWire(t, e.addr(0))
			w.send(plainGet)
			if _, err := io.CopyN(io.Discard, w.in, 200<<10); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if l := e.lines(1)[0]; l.Termination != "CD" || l.Status != 200 {
				t.Errorf("%+v", l)
			}
			<-gone // the server is not left to write into the void
		})
	}
}

func TestAClientThatTakesNothingIsLoggedWithSmallC(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
		for piece := make([]byte, 64<<10); ; {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	})), "client: 5s", "client: 200ms", 1))
	w := dialWire(t, e.addr(0))
	w.send(plainGet)
	if l := e.lines(1)[0]; l.Termination != "cD" {
		t.Errorf("%+v", l)
	}
}

func TestAFullQueueEndsWith503AndSmallSQ(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	entered := make(chan struct{}, 1)
	addr := rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		entered <- struct{}{}
		<-hold
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	e := start(t, strings.Replace(site("", "{address: \""+addr+"\", maxconn: 1}"), "queue: 5s", "queue: 100ms", 1))
	first := dialWire(t, e.addr(0))
	first.send(plainGet)
	<-entered
	began := time.Now()
	if status, _ := getPath(t, e, "/second"); status != 503 {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("waited in the queue for %v only", took)
	}
	close(hold)
	first.answer("GET")
	ls := e.lines(2)
	slices.SortFunc(ls, func(a, b line) int { return b.Status - a.Status }) // each loop writes its own
	if l := ls[0]; l.Termination != "sQ" || l.Status != 503 || !strings.Contains(l.Cause, "slot") || l.Server != "" {
		t.Errorf("%+v", l)
	}
	if e.server("app", "s1").Inflight != 0 {
		t.Error("a slot is lost")
	}
}

func TestTheLogSpeaksHttplogToo(t *testing.T) {
	t.Parallel()
	e := start(t, site("", named(t, "hello")), setup{format: "httplog"})
	getPath(t, e, "/a?b=c")
	want := regexp.MustCompile(`^127\.0\.0\.1:\d+ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\] web app/s1 \d+/\d+/\d+/\d+/\d+ 200 \d+ - - ---- 1/1/\d/\d/0 0/0 "GET /a\?b=c HTTP/1\.1"$`)
	if l := e.rawLines(1)[0]; !want.MatchString(l) {
		t.Errorf("%s", l)
	}
	e = start(t, site("", "{address: \""+refusing(t)+"\", disabled: true}"), setup{format: "httplog"})
	getPath(t, e, "/")
	if l := e.rawLines(1)[0]; !strings.Contains(l, " web app/<NOSRV> ") || !strings.Contains(l, " 503 ") || !strings.Contains(l, " SC-- ") {
		t.Errorf("%s", l)
	}
}
