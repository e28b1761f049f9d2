package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
)

// howLong is the time of the tests that measure endurance: a moment, or a minute with EDGE_LONG=1.
func howLong() time.Duration {
	if os.Getenv("EDGE_LONG") != "" {
		return time.Minute
	}
	return 3 * time.Second
}

// load is clients at work until stopped.
type load struct {
	t        testing.TB
	stop     chan struct{}
	wg       sync.WaitGroup
	done     atomic.Int64
	failures atomic.Int64
}

func newLoad(t testing.TB) *load { return &load{t: t, stop: make(chan struct{})} }

// run repeats f on a goroutine of its own. An error counts as one failure and ends it.
func (l *load) run(f func() error) {
	l.wg.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := f(); err != nil {
				if l.failures.Add(1) <= 5 {
					l.t.Errorf("under load: %v", err)
				}
				return
			}
			l.done.Add(1)
		}
	})
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// roundTrip makes one request on a connection and wants 200.
func roundTrip(c net.Conn, in *bufio.Reader, request string) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if r.StatusCode != 200 {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	return nil
}

const closingGet = "GET /x HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"

func oneConnection(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return roundTrip(c, bufio.NewReader(c), closingGet)
}

// usage is what reloads must not make grow.
type usage struct {
	goroutines, files, coroutines int
	idle                          int // connections that wait for a next request to a server: each has an end and a descriptor here and there
	heap                          uint64
}

func (e *edge) usage() (u usage) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.goroutines, u.files, u.heap = runtime.NumGoroutine(), descriptors(), m.HeapAlloc
	r := e.report()
	for _, l := range r.Loops {
		u.coroutines += l.Coroutines
	}
	for _, b := range r.Backends {
		for _, s := range b.Servers {
			u.idle += s.ConnsIdle
		}
	}
	return
}

func TestTenReloadsASecondCostNoRequestNoSocketAndNoMemory(t *testing.T) {
	leakless(t)
	servers := []string{named(t, "a"), named(t, "b"), named(t, "c")}
	sockets := echoSocket(t)
	document := func(i int) string {
		text := "timeouts: {connect: 2s, client: 30s, server: 30s, http_request: 30s, keep_alive: 60s, queue: 30s, tunnel: 60s}\n" +
			"frontends:\n  web:\n    bind: [{address: \"127.0.0.1:0\"}"
		if i%2 == 1 {
			text += ", {address: \"127.0.0.2:0\"}"
		}
		text += fmt.Sprintf("]\n    acls: {x: path /x%d}\n    request: [\"set-header X-Reload %d unless x\"]\n", i%7, i)
		text += "    routes: [{path: /socket, backend: sockets}, {path: /r" + fmt.Sprint(i%5) + ", backend: app}]\n    default_backend: app\n"
		text += "backends:\n  sockets: {servers: {s: " + sockets + "}}\n  app:\n    balance: " + []string{"roundrobin", "leastconn"}[i/2%2] +
			"\n    health: {tcp: true, interval: 200ms}\n    servers:\n"
		for j, s := range servers {
			if j == 0 || (i+j)%3 != 0 { // s2 and s3 come and go
				text += fmt.Sprintf("      s%d: {address: \"%s\", weight: %d}\n", j+1, s, 1+i%4)
			}
		}
		return text
	}
	e := start(t, document(0))
	addr := e.addr(0)
	var open []socket
	for range 100 {
		open = append(open, openSocket(t, addr))
	}
	var kept []*wire
	for range 8 {
		kept = append(kept, dialWire(t, addr))
	}
	reloads := 0
	phase := func(length time.Duration) {
		l := newLoad(t)
		for _, w := range kept {
			l.run(func() error { return roundTrip(w, w.in, plainGet) })
		}
		for range 2 {
			l.run(func() error { time.Sleep(time.Millisecond); return oneConnection(addr) }) // sparing ports, not waiting for anything
		}
		for i, s := range open {
			text := fmt.Sprintf("message of socket %d", i)
			pause := time.NewTicker(50 * time.Millisecond)
			l.run(func() error {
				select {
				case <-pause.C:
				case <-l.stop:
					pause.Stop()
					return nil
				}
				s.SetDeadline(time.Now().Add(patience))
				return s.exchange(text)
			})
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(length); time.Now().Before(end); {
			<-tick.C
			reloads++
			e.reload(document(reloads))
		}
		l.end()
		if n := l.failures.Load(); n != 0 {
			t.Fatalf("%d failures in %d requests and messages", n, l.done.Load())
		}
		t.Logf("%d requests and messages, %d reloads", l.done.Load(), reloads)
	}
	phase(time.Second)
	e.reload(document(0))
	before := e.usage()
	phase(howLong())
	e.reload(document(0))
	var after usage
	eventually(t, "the use of memory, goroutines and descriptors is what it was", func() bool {
		after = e.usage()
		more := 2 * max(0, after.idle-before.idle)
		return after.goroutines <= before.goroutines+4+more && after.files <= before.files+4+more && after.coroutines <= before.coroutines+8 &&
			after.idle <= 32 && after.heap < before.heap+before.heap/4+(1<<20)
	})
	t.Logf("used at the end %+v, before %+v", after, before)
	r := e.report()
	if r.Refused != 0 || r.Reloads != uint64(reloads+2) || r.Generation != r.Reloads+1 || e.panics() != 0 {
		t.Errorf("%d reloads, %d refused, generation %d, %d panics", r.Reloads, r.Refused, r.Generation, e.panics())
	}
	if r.AccessLog.Dropped != 0 {
		t.Errorf("%d log lines dropped", r.AccessLog.Dropped)
	}
	e.end()
}

func TestARefusedReloadChangesNothingAndShows(t *testing.T) {
	t.Parallel()
	good := site("", named(t, "a"))
	e := start(t, good)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ name, text, want string }{
		{"an unknown key", good + "nonsense: 1\n", `unknown key "nonsense"`},
		{"an unknown backend", strings.Replace(good, "default_backend: app", "default_backend: ap", 1), `edge.yaml:6:60: `},
		{"a condition that does not compile", strings.Replace(good, "web: {", "web: {request: [deny if nobody], ", 1), "nobody"},
		{"a port in use", strings.Replace(good, "[{address", "[{address: \""+taken.Addr().String()+"\"}, {address", 1), "address already in use"},
		{"what cannot change", strings.Replace(good, "timeouts", "global: {loops: 3}\ntimeouts", 1), "loops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, files := e.report(), len(e.Addrs())
			text := c.text
			if strings.HasPrefix(text, "global: {loops") { // the document has a global section already
				text = strings.TrimPrefix(text, "global: {loops: 3}\n")
				global := e.global
				e.global = strings.Replace(global, "loops: 2", "loops: 3", 1)
				defer func() { e.global = global }()
			}
			e.text.Store(&text)
			r, err := e.Reload(t.Context())
			if err != nil || r.OK || !strings.Contains(strings.Join(r.Errors, "\n"), c.want) {
				t.Fatalf("%v %+v", err, r)
			}
			if !strings.HasPrefix(r.Errors[0], "edge.yaml:") {
				t.Errorf("no place in %q", r.Errors[0])
			}
			after := e.report()
			if after.Generation != before.Generation || after.Refused != before.Refused+1 || after.LastReload.OK || after.ConfigDigest != before.ConfigDigest ||
				!slices.Equal(after.LastReload.Errors, r.Errors) || len(e.Addrs()) != files {
				t.Errorf("%+v", after.LastReload)
			}
			if status, body := getPath(t, e, "/"); status != 200 || body != "a" {
				t.Errorf("%d %q", status, body)
			}
		})
	}
	e.reload(good)
	if r := e.report(); !r.LastReload.OK || len(r.LastReload.Errors) != 0 {
		t.Errorf("%+v", r.LastReload)
	}
}

func TestBindsComeAndGoWhileTheirConnectionsGoOn(t *testing.T) {
	t.Parallel()
	g, sockets := newGate(t), echoSocket(t)
	text := func(binds string) string {
		return "frontends:\n  web: {bind: [" + binds + "], routes: [{path: /socket, backend: sockets}], default_backend: app}\n" +
			"backends:\n  app: {servers: {s: " + g.addr + "}}\n  sockets: {servers: {s: " + sockets + "}}\n"
	}
	const one, two = `{address: "127.0.0.1:0"}`, `{address: "127.0.0.2:0"}`
	e := start(t, text(one))
	e.reload(text(one + ", " + two))
	if len(e.Addrs()) != 2 {
		t.Fatal(e.Addrs())
	}
	second := e.addr(1)
	busy, fresh, tunnel := dialWire(t, second), dialWire(t, second), openSocket(t, second)
	busy.send(plainGet)
	g.came()
	eventually(t, "all three are accepted", func() bool { return e.report().Frontends[0].Connections == 3 })
	e.reload(text(one))
	eventually(t, "nobody listens there any more", func() bool {
		c, err := net.Dial("tcp", second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	tunnel.echo("still here")
	fresh.send(plainGet) // its first request comes after the bind has gone
	g.came()
	g.pass <- struct{}{}
	g.pass <- struct{}{}
	for _, w := range []*wire{busy, fresh} {
		if r, _ := w.answer("GET"); r.StatusCode != 200 || !r.Close {
			t.Errorf("status %d, close %v", r.StatusCode, r.Close)
		}
		w.ended()
	}
	tunnel.echo("still here")
	e.reload(text(two)) // and now the other way round
	c := dialWire(t, e.addr(0))
	c.send(plainGet)
	g.came()
	g.pass <- struct{}{}
	c.answer("GET")
	tunnel.echo("still here")
}

func TestConnectionsThatWaitInTheQueueOfABindThatGoesAreServed(t *testing.T) {
	t.Parallel()
	text := func(binds, server string) string {
		return "frontends:\n  web: {bind: [" + binds + "], default_backend: app}\nbackends:\n  app: {servers: {s: " + server + "}}\n"
	}
	const one, two = `{address: "127.0.0.1:0"}`, `{address: "127.0.0.2:0"}`
	server := named(t, "a")
	e := start(t, text(one+", "+two, server))
	if e.group.Goroutines() {
		t.Skip("package net cannot empty a queue before it closes")
	}
	addr := e.addr(1)
	// While no loop looks, connections gather in the queue and the bind leaves the configuration.
	looking := make(chan struct{})
	for _, w := range e.workers {
		w.l.Post(func() { <-looking })
	}
	var ws []*wire
	for range 20 {
		ws = append(ws, dialWire(t, addr))
	}
	e.reload(text(one, server))
	close(looking)
	eventually(t, "nobody listens there any more", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	for _, w := range ws {
		w.send(plainGet)
		if r, body := w.answer("GET"); r.StatusCode != 200 || body != "a" || !r.Close {
			t.Fatalf("%d %q, close %v", r.StatusCode, body, r.Close)
		}
		w.ended()
	}
}

func TestServersComeAndGoByReload(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	e := start(t, site("", a))
	w := dialWire(t, e.addr(0))
	who := func() string {
		seen := map[string]bool{}
		for range 8 {
			w.send(plainGet)
			r, body := w.answer("GET")
			if r.StatusCode != 200 {
				t.Fatalf("status %d", r.StatusCode)
			}
			seen[body] = true
		}
		return fmt.Sprint(seen)
	}
	if got := who(); got != "map[a:true]" {
		t.Error(got)
	}
	e.reload(site("", a, b))
	if got := who(); got != "map[a:true b:true]" {
		t.Error(got)
	}
	e.reload(strings.Replace(site("", a, b), "s1: "+a, "", 1))
	if got := who(); got != "map[b:true]" {
		t.Error(got)
	}
	eventually(t, "connections to the server that has gone are closed", func() bool {
		n := 0
		for _, wk := range e.workers {
			wk.l.Do(func() {
				for _, list := range wk.idle {
					for _, sc := range list {
						if sc.srv.Name == "s1" {
							n++
						}
					}
				}
			})
		}
		return n == 0
	})
}

func TestCountsAndHealthAreCarriedOverAReload(t *testing.T) {
	t.Parallel()
	up := named(t, "up")
	text := site("    health: {tcp: true, interval: 50ms, fall: 1, rise: 1}\n", up, refusing(t))
	e := start(t, text)
	eventually(t, "the checks have found one down", func() bool {
		return e.server("app", "s2").Status == control.StatusDown && e.server("app", "s1").Status == control.StatusUp
	})
	for range 5 {
		getPath(t, e, "/")
	}
	down := e.server("app", "s2")
	eventually(t, "all five are counted", func() bool { return e.report().Frontends[0].Requests == 5 })
	for i := range 5 {
		e.reload(text + fmt.Sprintf("# %d\n", i))
		now := e.server("app", "s2")
		if now.Status != control.StatusDown || !now.Since.Equal(down.Since) || now.Check == nil || now.Check.Transitions != 1 {
			t.Fatalf("%+v, was %+v", now, down)
		}
	}
	r := e.report()
	if f := r.Frontends[0]; f.Requests != 5 || f.ConnectionsTotal != 5 || f.Classes.C2xx != 5 {
		t.Errorf("%+v", f)
	}
	if b := r.Backends[0]; b.Requests != 5 || b.Servers[0].Requests != 5 {
		t.Errorf("%+v", b)
	}
	// Checks done another way begin from what is known.
	e.reload(strings.Replace(text, "interval: 50ms", "interval: 60ms", 1))
	if now := e.server("app", "s2"); now.Status != control.StatusDown {
		t.Errorf("%+v", now)
	}
}

func TestAReloadTellsItsEvent(t *testing.T) {
	t.Parallel()
	text := site("", named(t, "a"))
	e := start(t, text)
	ctx, cancel := context.WithCancel(t.Context())
	events := e.Events(ctx)
	e.reload(text)
	ev := <-events
	if ev.Kind != control.ReloadEvent || ev.Reload == nil || !ev.Reload.OK {
		t.Errorf("%+v", ev)
	}
	maint := control.Maint
	e.change("app", "s1", control.Change{State: &maint})
	if ev = <-events; ev.Kind != control.ServerEvent || ev.Server != "s1" || ev.Status != control.StatusMaint {
		t.Errorf("%+v", ev)
	}
	cancel()
	for range events {
	}
	if _, err := e.ChangeServer(t.Context(), "app", "nobody", control.Change{State: &maint}, nil); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
