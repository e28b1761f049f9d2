package proxy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
)

func TestAServerNeverHasMoreExchangesThanItsMaxconn(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	h := func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		io.WriteString(w, "ok")
		now.Add(-1)
	}
	e := start(t, site("", "{address: \""+origin(t, h)+"\", maxconn: 3}"))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			c := client(t, true)
			for range 50 {
				r, err := c.Get(e.url("/"))
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode != 200 {
					t.Errorf("status %d", r.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m > 3 {
		t.Errorf("%d at once", m)
	}
	if s := e.server("app", "s1"); s.Inflight != 0 || s.Requests != 1600 || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
	if q := e.report().Backends[0].Queue; q != 0 {
		t.Errorf("%d left in the queue", q)
	}
}

// gate is a server that holds each request until it is let through, and says which came.
type gate struct {
	t       testing.TB
	addr    string
	entered chan string
	pass    chan struct{}
}

func newGate(t testing.TB) *gate {
	g := &gate{t: t, entered: make(chan string, 100), pass: make(chan struct{})}
	done := make(chan struct{})
	g.addr = origin(t, func(w http.ResponseWriter, r *http.Request) {
		g.entered <- r.URL.Path
		select {
		case <-g.pass:
		case <-done:
		}
	})
	t.Cleanup(func() { close(done) })
	return g
}

func TestTheQueueIsServedInOrder(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, site("", "{address: \""+g.addr+"\", maxconn: 1}"))
	const n = 10
	var ws []*wire
	for i := range n {
		w := dialWire(t, e.addr(0))
		w.send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
		ws = append(ws, w)
		if i == 0 {
			if p := g.came(); p != "/0" {
				t.Fatal(p)
			}
		} else {
			eventually(t, "the request is queued", func() bool { return e.report().Backends[0].Queue == i })
		}
	}
	for i := range n {
		g.pass <- struct{}{}
		if r, _ := ws[i].answer("GET"); r.StatusCode != 200 {
			t.Fatalf("request %d: status %d", i, r.StatusCode)
		}
		if i+1 < n {
			if p := g.came(); p != fmt.Sprintf("/%d", i+1) {
				t.Fatalf("%s came after /%d", p, i)
			}
		}
	}
}

func TestAClientConnectionBeyondMaxconnWaitsAndIsServed(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"frontend", "global"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			text := site("", named(t, "ok"))
			if whose == "frontend" {
				beyondMaxconn(t, start(t, strings.Replace(text, "web: {", "web: {maxconn: 4, ", 1)))
			} else {
				beyondMaxconn(t, start(t, text, setup{global: "  maxconn: 4\n"}))
			}
		})
	}
}

// beyondMaxconn has more clients come than the four that are allowed.
func beyondMaxconn(t *testing.T, e *edge) {
	var held []*wire
	for range 4 {
		w := dialWire(t, e.addr(0))
		w.send(plainGet)
		w.answer("GET")
		held = append(held, w)
	}
	eventually(t, "the frontend is full", func() bool { return e.report().Frontends[0].Connections == 4 })
	var more []*wire
	for range 20 {
		w := dialWire(t, e.addr(0))
		w.send(plainGet)
		more = append(more, w)
	}
	// Each loop may take one more while another learns of the limit.
	if n := e.report().Frontends[0].Connections; n > 5 {
		t.Errorf("%d connections are open", n)
	}
	for _, w := range held {
		w.Close()
	}
	for i, w := range more {
		if r, body := w.answer("GET"); r.StatusCode != 200 || body != "ok" {
			t.Fatalf("connection %d: %d %q", i, r.StatusCode, body)
		}
		w.Close()
	}
	eventually(t, "all have left", func() bool { return e.report().Frontends[0].Connections == 0 })
}

func TestAReloadThatLiftsMaxconnLetsTheWaitingIn(t *testing.T) {
	t.Parallel()
	text := site("", named(t, "ok"))
	e := start(t, strings.Replace(text, "web: {", "web: {maxconn: 1, ", 1))
	first := dialWire(t, e.addr(0))
	first.send(plainGet)
	first.answer("GET")
	var ws []*wire
	for range 8 {
		w := dialWire(t, e.addr(0))
		w.send(plainGet)
		ws = append(ws, w)
	}
	e.reload(text)
	for _, w := range ws {
		if r, _ := w.answer("GET"); r.StatusCode != 200 {
			t.Errorf("status %d", r.StatusCode)
		}
	}
}

// came waits for the next request and returns its path.
func (g *gate) came() string {
	g.t.Helper()
	select {
	case p := <-g.entered:
		return p
	case <-time.After(patience):
		g.t.Fatal("the request does not come")
		return ""
	}
}

// onlyOn has s1 hold a request of the client while s2 is in maintenance.
func onlyOn(t *testing.T, e *edge, g *gate, w *wire) {
	t.Helper()
	maint, ready := control.Maint, control.Ready
	e.change("app", "s2", control.Change{State: &maint})
	w.send(plainGet)
	g.came()
	e.change("app", "s2", control.Change{State: &ready})
}

func TestLeastconnGoesWhereTheFewestAre(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, site("    balance: leastconn\n", g.addr, named(t, "idle")))
	// One request is held by s1. All others must go to s2.
	w := dialWire(t, e.addr(0))
	onlyOn(t, e, g, w)
	before := e.server("app", "s2").Requests
	for range 10 {
		if _, body := getPath(t, e, "/"); body != "idle" {
			t.Fatalf("%q", body)
		}
		eventually(t, "its slot is free again", func() bool { return e.server("app", "s2").Inflight == 0 })
	}
	if n := e.server("app", "s2").Requests - before; n != 10 {
		t.Errorf("%d of 10", n)
	}
	g.pass <- struct{}{}
	w.answer("GET")
}

func TestRoundrobinGivesEachServerItsWeight(t *testing.T) {
	t.Parallel()
	e := start(t, site("", "{address: \""+named(t, "a")+"\", weight: 3}", "{address: \""+named(t, "b")+"\", weight: 1}", "{address: \""+named(t, "c")+"\", weight: 0}"))
	w := dialWire(t, e.addr(0))
	count := map[string]int{}
	for range 40 {
		w.send(plainGet)
		_, body := w.answer("GET")
		count[body]++
	}
	if count["a"] != 30 || count["b"] != 10 {
		t.Errorf("%v", count)
	}
}

func TestABackupServesOnlyWhenNoOtherCan(t *testing.T) {
	t.Parallel()
	e := start(t, site("", named(t, "main"), "{address: \""+named(t, "backup")+"\", backup: true}"))
	serves := func(want string) {
		t.Helper()
		for range 4 {
			if _, body := getPath(t, e, "/"); body != want {
				t.Fatalf("%s serves, want %s", body, want)
			}
		}
	}
	serves("main")
	maint, ready := control.Maint, control.Ready
	e.change("app", "s1", control.Change{State: &maint})
	serves("backup")
	e.change("app", "s1", control.Change{State: &ready})
	serves("main")
}

func TestRuntimeChangesTakeEffectAndOutliveReloadAndRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	with := setup{global: fmt.Sprintf("  state_dir: %q\n", dir)}
	text := site("", named(t, "a"), named(t, "b"), named(t, "c"))
	e := start(t, text, with)
	seen := func(e *edge) string {
		t.Helper()
		w := dialWire(t, e.addr(0))
		defer w.Close()
		who := map[string]bool{}
		for range 32 {
			w.send(plainGet)
			r, body := w.answer("GET")
			if r.StatusCode != 200 {
				t.Fatalf("status %d", r.StatusCode)
			}
			who[body] = true
		}
		var names []string
		for n := range who {
			names = append(names, n)
		}
		slices.Sort(names)
		return strings.Join(names, "")
	}
	expect := func(e *edge, want string) {
		t.Helper()
		if got := seen(e); got != want {
			t.Fatalf("served by %s, want %s", got, want)
		}
	}
	expect(e, "abc")
	drain, maint, ready, zero := control.Drain, control.Maint, control.Ready, 0
	e.change("app", "s1", control.Change{State: &drain})
	expect(e, "bc")
	e.change("app", "s2", control.Change{State: &maint})
	expect(e, "c")
	e.change("app", "s2", control.Change{State: &ready})
	e.change("app", "s3", control.Change{Weight: &zero})
	expect(e, "b")
	moved := named(t, "d")
	e.change("app", "s2", control.Change{Address: &moved})
	expect(e, "d")
	e.reload(text + "# another digest\n")
	expect(e, "d")
	for name, want := range map[string]control.ServerStatus{"s1": control.StatusDrain, "s2": control.StatusNoChecks, "s3": control.StatusNoChecks} {
		if s := e.server("app", name); s.Status != want || !s.Changed {
			t.Errorf("%+v", s)
		}
	}
	e.stop()
	<-e.stopped
	if _, err := os.Stat(filepath.Join(dir, "servers.json")); err != nil {
		t.Error(err)
	}
	again := start(t, text, with)
	expect(again, "d")
	if s := again.server("app", "s1"); s.Status != control.StatusDrain {
		t.Errorf("%+v", s)
	}
}

func TestAChangeThatExpectsAnotherGenerationIsRefused(t *testing.T) {
	t.Parallel()
	e := start(t, site("", named(t, "a")))
	gen := e.report().Generation
	weight := 7
	if _, err := e.ChangeServer(t.Context(), "app", "s1", control.Change{Weight: &weight}, new(uint64)); err == nil {
		t.Error("changed against its expectation")
	}
	if s := e.server("app", "s1"); s.Weight != 1 || e.report().Generation != gen {
		t.Errorf("%+v", s)
	}
	if next, err := e.ChangeServer(t.Context(), "app", "s1", control.Change{Weight: &weight}, &gen); err != nil || next != gen+1 {
		t.Errorf("%d %v", next, err)
	}
	if s := e.server("app", "s1"); s.Weight != 7 {
		t.Errorf("%+v", s)
	}
}

func TestADrainingServerFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, site("", g.addr, named(t, "other")))
	w := dialWire(t, e.addr(0))
	onlyOn(t, e, g, w)
	drain := control.Drain
	e.change("app", "s1", control.Change{State: &drain})
	if n, err := e.Inflight(t.Context(), "app", "s1"); err != nil || n.HTTP != 1 || n.Tunnels != 0 {
		t.Errorf("%+v %v", n, err)
	}
	for range 4 {
		if _, body := getPath(t, e, "/"); body != "other" {
			t.Errorf("%q", body)
		}
	}
	g.pass <- struct{}{}
	if r, _ := w.answer("GET"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	eventually(t, "nothing is in flight", func() bool {
		n, _ := e.Inflight(t.Context(), "app", "s1")
		return n.HTTP == 0
	})
}

func TestAMaxconnChangedAtRuntimeLetsTheQueueGo(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, site("", "{address: \""+g.addr+"\", maxconn: 1}"))
	var ws []*wire
	for range 3 {
		w := dialWire(t, e.addr(0))
		w.send(plainGet)
		ws = append(ws, w)
	}
	g.came()
	eventually(t, "two are queued", func() bool { return e.report().Backends[0].Queue == 2 })
	three := 3
	e.change("app", "s1", control.Change{Maxconn: &three})
	g.came()
	g.came()
	for range 3 {
		g.pass <- struct{}{}
	}
	for _, w := range ws {
		w.answer("GET")
	}
}

func TestTheQueueGoesOnPastThoseWhoseTimeIsUp(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	e := start(t, strings.Replace(site("", "{address: \""+g.addr+"\", maxconn: 1}"), "queue: 5s", "queue: 200ms", 1))
	first := dialWire(t, e.addr(0))
	first.send(plainGet)
	g.came()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if status, _ := getPath(t, e, "/"); status != 503 {
				t.Errorf("status %d", status)
			}
		})
	}
	wg.Wait()
	last := dialWire(t, e.addr(0))
	last.send(plainGet)
	eventually(t, "the last is queued alone", func() bool { return e.report().Backends[0].Queue == 1 })
	g.pass <- struct{}{}
	first.answer("GET")
	g.came()
	g.pass <- struct{}{}
	if r, _ := last.answer("GET"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
}
