package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/control"
)

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// edge is a proxy under test, running in this process with its access log in a file.
type edge struct {
	*Proxy
	t        testing.TB
	global   string
	text     atomic.Pointer[string] // the document that Reload reads
	log      string                 // "" = no access log
	stop     context.CancelFunc
	stopped  chan struct{}
	runError error
}

// setup is what a test wants of its edge besides the document.
type setup struct {
	global string // further lines of the global section
	format string // of the access log; json, and "off" for none
	drain  time.Duration
}

// document parses what a test wrote.
func (e *edge) document() (*configs.Config, error) {
	return configs.Parse("edge.yaml", []byte(e.global+*e.text.Load()), configs.Options{})
}

// start runs an edge until the test ends.
func start(t testing.TB, text string, with ...setup) *edge {
	t.Helper()
	e := prepare(t, text, with...)
	cfg, err := e.document()
	if err != nil {
		t.Fatal(err)
	}
	e.run(cfg, with...)
	return e
}

func prepare(t testing.TB, text string, with ...setup) *edge {
	s := setup{}
	if len(with) > 0 {
		s = with[0]
	}
	e := &edge{t: t, global: "global:\n  loops: 2\n", stopped: make(chan struct{})}
	if s.format == "off" {
		e.global += "  log: {access: off}\n"
	} else {
		if s.format == "" {
			s.format = "json"
		}
		e.log = filepath.Join(t.TempDir(), "access.log")
		e.global += fmt.Sprintf("  log: {access: {format: %s, to: %q}}\n", s.format, e.log)
	}
	e.global += s.global
	e.text.Store(&text)
	return e
}

func (e *edge) run(cfg *configs.Config, with ...setup) {
	t := e.t
	t.Helper()
	opt := Options{Version: "test", Load: e.document, Drain: 2 * time.Second}
	if testing.Verbose() {
		opt.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	if len(with) > 0 && with[0].drain != 0 {
		opt.Drain = with[0].drain
	}
	p, err := New(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	e.Proxy = p
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go func() {
		defer close(e.stopped)
		e.runError = p.Run(ctx)
	}()
	t.Cleanup(e.end)
	eventually(t, "the edge serves", p.Ready)
}

// end stops the edge and waits for it.
func (e *edge) end() {
	e.stop()
	select {
	case <-e.stopped:
		if e.runError != nil {
			e.t.Errorf("Run: %v", e.runError)
		}
	case <-time.After(patience):
		e.t.Error("Run does not end")
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), b)
	return len(b), nil
}

// addr is where the nth bind listens.
func (e *edge) addr(n int) string {
	e.t.Helper()
	_, addr, _ := strings.Cut(e.Addrs()[n], "=")
	return addr
}

func (e *edge) url(path string) string { return "http://" + e.addr(0) + path }

// reload puts another document in force, which must be accepted.
func (e *edge) reload(text string) control.ReloadResult {
	e.t.Helper()
	e.text.Store(&text)
	r, err := e.Reload(context.Background())
	if err != nil || !r.OK {
		e.t.Fatalf("reload: %v %v", err, r.Errors)
	}
	return r
}

func (e *edge) report() *control.Report {
	e.t.Helper()
	r, err := e.Report(context.Background())
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// server is what the report says of one server.
func (e *edge) server(backend, server string) control.Server {
	e.t.Helper()
	s, err := e.report().Server(backend, server)
	if err != nil {
		e.t.Fatal(err)
	}
	return *s
}

// change makes a runtime change that must be accepted.
func (e *edge) change(backend, server string, c control.Change) {
	e.t.Helper()
	if _, err := e.ChangeServer(context.Background(), backend, server, c, nil); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) panics() (n uint64) {
	for _, l := range e.report().Loops {
		n += l.Panics
	}
	return
}

// line is a line of the JSON access log, as far as tests look at it.
type line struct {
	Client, Peer, Frontend, Backend, Server string
	Method, Path, Query                     string
	Status                                  int
	Termination, Cause                      string
	Retries                                 int
	Redispatched, Reused                    bool
}

// lines waits until the access log has n lines and returns them.
func (e *edge) lines(n int) (out []line) {
	e.t.Helper()
	for i, text := range e.rawLines(n) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			e.t.Fatalf("log line %d: %v: %s", i, err, text)
		}
		out = append(out, l)
	}
	return out
}

func (e *edge) rawLines(n int) (out []string) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%d lines in the access log", n), func() bool {
		b, _ := os.ReadFile(e.log)
		out = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		return bytes.Count(b, []byte("\n")) >= n
	})
	return out
}

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			if testing.Verbose() {
				t.Logf("%s", buf[:runtime.Stack(buf, true)])
			}
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// origin is a server of package net/http.
func origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// named answers with its name.
func named(t testing.TB, name string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, name)
	})
}

// rawOrigin runs f for each connection, which it then closes.
func rawOrigin(t testing.TB, f func(c net.Conn, in *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, f)
	return ln.Addr().String()
}

func serveRaw(t testing.TB, ln net.Listener, f func(c net.Conn, in *bufio.Reader)) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				f(c, bufio.NewReader(c))
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// skipHead reads a message head and returns it, "" at the end of the stream.
func skipHead(in *bufio.Reader) string {
	var b strings.Builder
	for {
		s, err := in.ReadString('\n')
		if err != nil {
			return ""
		}
		b.WriteString(s)
		if s == "\r\n" {
			return b.String()
		}
	}
}

// answering answers each request head with the same bytes.
func answering(t testing.TB, answer string) string {
	return rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		for skipHead(in) != "" {
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

// refusing is an address at which every connection is refused for as long as the test runs: the port is taken, but nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	fd, addr := boundSocket(t)
	t.Cleanup(func() { syscall.Close(fd) })
	return addr
}

func boundSocket(t testing.TB) (int, string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
}

// wire is a client's bare connection.
type wire struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

func dialWire(t testing.TB, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &wire{c, bufio.NewReader(c), t}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads a response and its body.
func (w *wire) answer(method string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, string(body)
}

// ended waits for the end of the stream; nothing may come before it.
func (w *wire) ended() {
	w.t.Helper()
	if b, err := w.in.ReadByte(); err != io.EOF {
		w.t.Errorf("got %q, %v instead of the end", b, err)
	}
}

// ask makes one request on a connection of its own.
func ask(t testing.TB, addr, request string) (*http.Response, string) {
	t.Helper()
	w := dialWire(t, addr)
	defer w.Close()
	w.send(request)
	method, _, _ := strings.Cut(request, " ")
	return w.answer(method)
}

// get asks for a path on a connection of its own.
func getPath(t testing.TB, e *edge, path string) (int, string) {
	t.Helper()
	r, body := ask(t, e.addr(0), "GET "+path+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
	return r.StatusCode, body
}

// client is an http.Client with connections of its own.
func client(t testing.TB, keepAlive bool) *http.Client {
	tr := &http.Transport{DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// descriptors counts this process's open files; -1 where the system does not say.
func descriptors() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(d)
}

// leakless checks at the test's end that goroutines and descriptors are back to what they were. Call it first, in a test that is not parallel.
func leakless(t *testing.T) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // the runtime opens descriptors of its own with the first socket
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		eventually(t, fmt.Sprintf("goroutines and descriptors are back to %d and %d", goroutines, files), func() bool {
			runtime.GC() // which closes the pipes that package net keeps for its own splicing
			return runtime.NumGoroutine() <= goroutines && descriptors() <= files
		})
	})
}

// site is a document with one frontend before one backend; options are further lines of the backend.
func site(options string, servers ...string) string {
	b := "timeouts: {connect: 500ms, client: 5s, server: 5s, http_request: 5s, keep_alive: 5s, queue: 5s, tunnel: 5s}\n" +
		"frontends:\n  web: {bind: [{address: \"127.0.0.1:0\"}], default_backend: app}\nbackends:\n  app:\n" + options + "    servers:\n"
	for i, s := range servers {
		b += fmt.Sprintf("      s%d: %s\n", i+1, s)
	}
	return b
}
