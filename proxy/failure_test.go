package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
)

// mortal is a server that can be killed, with all its connections, and started again on the same port.
type mortal struct {
	t    testing.TB
	addr string

	mu   sync.Mutex
	ln   net.Listener
	open map[net.Conn]bool
	wg   sync.WaitGroup
}

func newMortal(t testing.TB) *mortal {
	m := &mortal{t: t, addr: "127.0.0.3:0", open: map[net.Conn]bool{}}
	m.live()
	t.Cleanup(func() { m.kill(); m.wg.Wait() })
	return m
}

func (m *mortal) live() {
	m.t.Helper()
	ln, err := net.Listen("tcp", m.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.addr, m.ln = ln.Addr().String(), ln
	m.mu.Unlock()
	m.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			alive := m.ln == ln
			if alive {
				m.open[c] = true
			}
			m.mu.Unlock()
			if !alive {
				c.Close()
				continue
			}
			m.wg.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for skipHead(in) != "" {
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
						return
					}
				}
			})
		}
	})
}

// kill resets every connection, as the end of a process does that has not read all it was sent.
func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ln == nil {
		return
	}
	m.ln.Close()
	m.ln = nil
	for c := range m.open {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		delete(m.open, c)
	}
}

const checked = "    health: {tcp: true, interval: 100ms, fall: 1, rise: 1}\n"

func TestAServerKilledUnderLoadCostsNoIdempotentRequest(t *testing.T) {
	leakless(t)
	a, b, c := newMortal(t), newMortal(t), newMortal(t)
	e := start(t, site(checked+"    retries: {attempts: 3, on: [conn-failure, empty-response]}\n", a.addr, b.addr, c.addr))
	l := newLoad(t)
	addr := e.addr(0)
	for range 16 {
		w := dialWire(t, addr)
		l.run(func() error { return roundTrip(w, w.in, plainGet) })
	}
	for range 2 {
		l.run(func() error { time.Sleep(time.Millisecond); return oneConnection(addr) })
	}
	step := func() {
		n := l.done.Load()
		eventually(t, "requests go on", func() bool { return l.done.Load() >= n+500 || l.failures.Load() > 0 })
	}
	for range 5 {
		step()
		a.kill()
		eventually(t, "the checks have seen it", func() bool { return e.server("app", "s1").Status == control.StatusDown })
		step()
		a.live()
		eventually(t, "the checks have seen it", func() bool { return e.server("app", "s1").Status == control.StatusUp })
	}
	l.end()
	if n := l.failures.Load(); n != 0 {
		t.Errorf("%d failures in %d", n, l.done.Load())
	}
	e.end()
	a.kill()
	b.kill()
	c.kill()
}

func TestWithAllServersDown503ComesAtOnceAndServiceReturnsWithinOneCheck(t *testing.T) {
	t.Parallel()
	a, b := newMortal(t), newMortal(t)
	e := start(t, site(checked, a.addr, b.addr))
	if status, _ := getPath(t, e, "/"); status != 200 {
		t.Fatalf("status %d", status)
	}
	a.kill()
	b.kill()
	eventually(t, "both are down", func() bool {
		return e.server("app", "s1").Status == control.StatusDown && e.server("app", "s2").Status == control.StatusDown
	})
	began := time.Now()
	if status, _ := getPath(t, e, "/"); status != 503 {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took > 250*time.Millisecond {
		t.Errorf("took %v", took)
	}
	eventually(t, "the log says so", func() bool {
		for _, l := range e.lines(2) {
			if l.Status == 503 {
				return l.Termination == "SC" && l.Server == "" && strings.Contains(l.Cause, "no server of backend app is up")
			}
		}
		return false
	})
	if r := e.report(); r.Backends[0].NoServer != 1 {
		t.Errorf("%+v", r.Backends[0])
	}
	b.live()
	began = time.Now()
	eventually(t, "it serves again", func() bool { status, _ := getPath(t, e, "/"); return status == 200 })
	if took := time.Since(began); took > time.Second { // one interval is 100 ms
		t.Errorf("took %v", took)
	}
}

func TestOneHTTPCheckThatFailsTakesAServerOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ill := false
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/healthz" && ill {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, "a")
	})
	e := start(t, site("    health: {http: GET /healthz, expect: 200, interval: 50ms, fall: 2, rise: 1}\n", addr, named(t, "b")))
	set := func(v bool) { mu.Lock(); ill = v; mu.Unlock() }
	set(true)
	eventually(t, "it is down", func() bool { return e.server("app", "s1").Status == control.StatusDown })
	if s := e.server("app", "s1"); s.Check == nil || s.Check.Code != 500 || s.Check.Status != "L7STS" {
		t.Errorf("%+v", s.Check)
	}
	for range 4 {
		if _, body := getPath(t, e, "/"); body != "b" {
			t.Errorf("%q", body)
		}
	}
	set(false)
	eventually(t, "it is up", func() bool { return e.server("app", "s1").Status == control.StatusUp })
}
