package health_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/health"
)

var dial = new(net.Dialer).DialContext

// serve runs a server on loopback that does one thing with each connection, and returns its address.
func serve(t *testing.T, do func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, do)
	return l.Addr().String()
}

func accept(t *testing.T, l net.Listener, do func(c net.Conn)) {
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
			c.Close()
		}
	}()
}

// say answers a request with these bytes.
func say(answer string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	}
}

// hold waits until the other side closes.
func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// refused is an address that nobody listens on and nobody else can be given: our own end of a connection.
func refused(t *testing.T) string {
	t.Helper()
	c, err := net.Dial("tcp", serve(t, hold))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// stuck is a dial that never connects.
func stuck(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// short is for the checks that are to run into their timeout.
const short = 50 * time.Millisecond

func run(t *testing.T, c health.Check, timeout time.Duration) health.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.Run(ctx)
}

func TestHTTPCheck(t *testing.T) {
	t.Parallel()
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, row := range []struct {
		name, answer string
		status       string
		code         int
	}{
		{"good", ok, health.L7OK, 200},
		{"1.0", "HTTP/1.0 204 No Content\r\n\r\n", health.L7OK, 204},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", health.L7OK, 302},
		{"no reason", "HTTP/1.1 200\r\n\r\n", health.L7OK, 200},
		{"body to come", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", health.L7OK, 200},
		{"interim first", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok, health.L7OK, 200},
		{"500", "HTTP/1.1 500 Oops\r\n\r\n", health.L7STS, 500},
		{"404", "HTTP/1.1 404 Not Found\r\n\r\n", health.L7STS, 404},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", health.L7STS, 101},
		{"garbage", "\x00\x01\x02 hello\r\n\r\n", health.L7RSP, 0},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", health.L7RSP, 0},
		{"status of five digits", "HTTP/1.1 99999 Big\r\n\r\n", health.L7RSP, 0},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", health.L7RSP, 0},
		{"HTTP/2 said in clear", "HTTP/2 200 OK\r\n\r\n", health.L7RSP, 0},
		{"bare line feeds", "HTTP/1.1 200 OK\n\n", health.L7RSP, 0},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", health.L7RSP, 0},
		{"huge head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", health.L7RSP, 0},
		{"endless interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), health.L7RSP, 0},
		{"closed at once", "", health.L7RSP, 0},
		{"closed in the status line", "HTTP/1.1 20", health.L7RSP, 0},
		{"closed in the head", "HTTP/1.1 200 OK\r\nServer: x\r\n", health.L7RSP, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, say(row.answer))
			r := run(t, health.NewHTTP(dial, func() string { return addr }, health.HTTPOptions{Method: "GET"}), 10*time.Second)
			if r.Status != row.status || r.Code != row.code || r.OK != (row.status == health.L7OK) || r.OK != (r.Why == "") {
				t.Errorf("got %+v, want %s %d", r, row.status, row.code)
			}
		})
	}
}

func TestHTTPCheckThatTakesTooLong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(c net.Conn)
	}{
		{"silent", hold},
		{"stops in the head", func(c net.Conn) { say("HTTP/1.1 200 OK\r\nServer")(c); hold(c) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, row.do)
			r := run(t, health.NewHTTP(dial, func() string { return addr }, health.HTTPOptions{}), short)
			if r.OK || r.Status != health.L7TOUT {
				t.Errorf("got %+v, want L7TOUT", r)
			}
		})
	}
}

func TestHTTPCheckSendsOneRequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		o    health.HTTPOptions
		want string // "ADDR" stands for the address
	}{
		{health.HTTPOptions{}, "OPTIONS / HTTP/1.1\r\nHost: ADDR\r\nAccept: */*\r\nConnection: close\r\n\r\n"},
		{health.HTTPOptions{Method: "HEAD", Path: "/healthz?deep=1", Host: "a.example", UserAgent: "probe 1"},
			"HEAD /healthz?deep=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: probe 1\r\nAccept: */*\r\nConnection: close\r\n\r\n"},
	} {
		got := make(chan string, 1)
		addr := serve(t, func(c net.Conn) {
			b := make([]byte, 4096)
			n := 0
			for !strings.HasSuffix(string(b[:n]), "\r\n\r\n") {
				m, err := c.Read(b[n:])
				if err != nil {
					break
				}
				n += m
			}
			got <- string(b[:n])
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
		})
		if r := run(t, health.NewHTTP(dial, func() string { return addr }, row.o), 10*time.Second); !r.OK {
			t.Errorf("%+v", r)
		}
		if sent, want := <-got, strings.ReplaceAll(row.want, "ADDR", addr); sent != want {
			t.Errorf("sent %q, want %q", sent, want)
		}
	}
}

func TestHTTPCheckTakesTheStatusItIsToldToExpect(t *testing.T) {
	t.Parallel()
	addr := serve(t, say("HTTP/1.1 418 I'm a teapot\r\n\r\n"))
	teapot := health.HTTPOptions{Expect: func(code int) bool { return code == 418 }}
	if r := run(t, health.NewHTTP(dial, func() string { return addr }, teapot), 10*time.Second); !r.OK || r.Code != 418 {
		t.Errorf("%+v", r)
	}
}

func TestHTTPCheckNeverSendsOptionsThatWouldBreakTheRequest(t *testing.T) {
	t.Parallel()
	none := func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("no")
	}
	for _, o := range []health.HTTPOptions{
		{Method: "GET /"}, {Path: "/a b"}, {Path: "/\r\nX: y"}, {Host: "a\r\nX: y"}, {Host: "a b"}, {UserAgent: "a\nb"}, {Method: "G\x00"},
	} {
		r := run(t, health.NewHTTP(none, func() string { return "x" }, o), time.Second)
		if r.OK || r.Status != health.L7RSP || !strings.Contains(r.Why, "cannot be sent") {
			t.Errorf("%+v: %+v", o, r)
		}
	}
}

// What the kinds have in common: connections.
func TestEveryKindNamesAFailedConnection(t *testing.T) {
	t.Parallel()
	gone := refused(t)
	untrusted := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}
	}
	for _, k := range health.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			if k.Doc == "" {
				t.Error("no description")
			}
			addr := serve(t, say("HTTP/1.1 200 OK\r\n\r\n"))
			if r := run(t, k.New(dial, func() string { return addr }, health.HTTPOptions{}), 10*time.Second); !r.OK {
				t.Errorf("a server that answers: %+v", r)
			}
			if r := run(t, k.New(dial, func() string { return gone }, health.HTTPOptions{}), 10*time.Second); r.OK || r.Status != health.L4CON || r.Why == "" {
				t.Errorf("refused: %+v", r)
			}
			if r := run(t, k.New(stuck, func() string { return addr }, health.HTTPOptions{}), short); r.OK || r.Status != health.L4TOUT || r.Why == "" {
				t.Errorf("no answer to the connection: %+v", r)
			}
			if r := run(t, k.New(untrusted, func() string { return addr }, health.HTTPOptions{}), short); r.OK || r.Status != health.L6RSP || r.Why == "" {
				t.Errorf("failed handshake: %+v", r)
			}
		})
	}
}

func TestEveryKindAsksForTheAddressEachTime(t *testing.T) {
	t.Parallel()
	for _, k := range health.Kinds {
		addr := refused(t)
		c := k.New(dial, func() string { return addr }, health.HTTPOptions{})
		if r := run(t, c, 10*time.Second); r.OK {
			t.Errorf("%s: %+v", k.Name, r)
		}
		addr = serve(t, say("HTTP/1.1 200 OK\r\n\r\n"))
		if r := run(t, c, 10*time.Second); !r.OK {
			t.Errorf("%s after the address changed: %+v", k.Name, r)
		}
	}
}

func TestEveryKindChecksUnixSockets(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "health") // t.TempDir may be longer than a socket's address can be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, say("HTTP/1.1 200 OK\r\n\r\n"))
	for _, k := range health.Kinds {
		if r := run(t, k.New(dial, func() string { return path }, health.HTTPOptions{}), 10*time.Second); !r.OK {
			t.Errorf("%s: %+v", k.Name, r)
		}
	}
}

// A check that is told to stop returns at once and leaves no goroutine and no connection.
func TestChecksLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	closed := make(chan struct{}, 100)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { hold(c); c.Close(); closed <- struct{}{} }()
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan health.Result)
	const n = 20
	for i := range n {
		go func() {
			k := health.Kinds[i%len(health.Kinds)]
			results <- k.New(dial, func() string { return l.Addr().String() }, health.HTTPOptions{}).Run(ctx)
		}()
	}
	for range n / len(health.Kinds) {
		<-results // the TCP checks
	}
	cancel()
	for range n - n/len(health.Kinds) {
		if r := <-results; r.OK {
			t.Errorf("%+v", r)
		}
	}
	for range n / 2 {
		<-closed
	}
	l.Close()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
