package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
)

func TestADrainFinishesWhatRunsAndEndsWhatRests(t *testing.T) {
	leakless(t)
	g := newGate(t)
	e := start(t, site("", g.addr, named(t, "free")), setup{drain: patience})
	idle, busy := dialWire(t, e.addr(0)), dialWire(t, e.addr(0))
	onlyOn(t, e, g, busy)
	maint := control.Maint
	e.change("app", "s1", control.Change{State: &maint}) // it keeps what it has
	idle.send(plainGet)
	idle.answer("GET")
	e.stop()
	idle.ended()
	if e.Ready() {
		t.Error("ready while draining")
	}
	eventually(t, "nobody listens any more", func() bool {
		c, err := net.Dial("tcp", e.Addrs()[0][len("web="):])
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if r := e.report(); !r.Draining {
		t.Error("the report does not say so")
	}
	if _, err := e.Reload(t.Context()); err == nil {
		t.Error("reloaded while draining")
	}
	select {
	case <-e.stopped:
		t.Fatal("stopped with an exchange under way")
	default:
	}
	g.pass <- struct{}{}
	if r, _ := busy.answer("GET"); r.StatusCode != 200 || !r.Close {
		t.Errorf("status %d, close %v", r.StatusCode, r.Close)
	}
	busy.ended()
	e.end()
	if ls := e.lines(2); ls[0].Termination != "--" || ls[1].Termination != "--" {
		t.Errorf("%+v", ls)
	}
}

func TestADrainsTimeCutsWhatIsLeft(t *testing.T) {
	leakless(t)
	held := make(chan struct{})
	entered := make(chan struct{}, 2)
	stuck := rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		entered <- struct{}{}
		<-held
	})
	e := start(t, "frontends:\n  web: {bind: [{address: \"127.0.0.1:0\"}], routes: [{path: /socket, backend: sockets}], default_backend: app}\n"+
		"backends:\n  app: {servers: {s: "+stuck+"}}\n  sockets: {servers: {s: "+echoSocket(t)+"}}\n", setup{drain: 200 * time.Millisecond})
	w, s := dialWire(t, e.addr(0)), openSocket(t, e.addr(0))
	w.send(plainGet)
	<-entered
	began := time.Now()
	e.stop()
	io.Copy(io.Discard, w.in)
	io.Copy(io.Discard, s.in)
	<-e.stopped
	if took := time.Since(began); took < 200*time.Millisecond || took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	close(held)
	e.end()
	for _, l := range e.lines(2) { // what is cut is in the log all the same
		if l.Path == "/x" && (l.Termination != "KH" || l.Status != 0) {
			t.Errorf("%+v", l)
		}
	}
}

// A request that meets the drain on a connection that is in use is answered, and told that it was the last.
func TestNoAnswerIsLostInADrain(t *testing.T) {
	leakless(t)
	e := start(t, site("", origin(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond) // so that requests are under way at any moment
		io.WriteString(w, "ok")
	})), setup{drain: patience})
	l := newLoad(t)
	for range 16 {
		w := dialWire(t, e.addr(0))
		last := false
		l.run(func() error {
			if last {
				return nil
			}
			w.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(w, plainGet); err != nil {
				last = true // the connection ended between two requests
				return nil
			}
			if _, err := w.in.Peek(1); err != nil {
				last = true
				return nil
			}
			r, err := http.ReadResponse(w.in, nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r.Body)
			last = r.Close
			return err
		})
	}
	eventually(t, "requests are under way", func() bool { return l.done.Load() > 100 })
	e.stop()
	<-e.stopped
	l.end()
	e.end()
	for _, x := range e.lines(100) {
		if x.Termination != "--" || x.Status != 200 {
			t.Errorf("%+v", x)
		}
	}
}

func TestAPanicEndsItsExchangeOnlyAndIsCounted(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, site("", g.addr))
	victim, other := dialWire(t, e.addr(0)), dialWire(t, e.addr(0))
	victim.send("GET /victim HTTP/1.1\r\nHost: a\r\n\r\n")
	g.came()
	other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
	g.came()
	// While both wait for their answers, one session loses what it cannot do without.
	for _, w := range e.workers {
		w.l.Do(func() {
			for s := range w.sessions {
				if s.c.RemoteAddr().String() == victim.LocalAddr().String() {
					s.b = nil
				}
			}
		})
	}
	g.pass <- struct{}{}
	g.pass <- struct{}{}
	if all, _ := io.ReadAll(victim.in); strings.Contains(string(all), " 200 ") {
		t.Errorf("%q", all)
	}
	if r, _ := other.answer("GET"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	eventually(t, "the panic is counted", func() bool { return e.panics() == 1 })
	other.send(plainGet)
	g.came()
	g.pass <- struct{}{}
	other.answer("GET")
	eventually(t, "nothing of the exchange is left", func() bool {
		r := e.report()
		exchanges := 0
		for _, l := range r.Loops {
			exchanges += l.Exchanges
		}
		return exchanges == 0 && r.Frontends[0].Connections == 1 && r.Backends[0].Inflight == 0 && r.Backends[0].Servers[0].Inflight == 0
	})
	found := false
	for _, l := range e.lines(3) {
		found = found || l.Path == "/victim" && l.Termination == "I-" && l.Cause == "internal error"
	}
	if !found {
		t.Error("the log does not tell of it")
	}
}
