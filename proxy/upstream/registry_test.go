package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/health"
	"github.com/approovia/edge/proxy/upstream"
)

// plan is a backend with servers written as "name", each at an address of its own.
func plan(name string, servers ...string) upstream.Plan {
	p := upstream.Plan{Name: name, Algorithm: "roundrobin"}
	for i, s := range servers {
		p.Servers = append(p.Servers, upstream.ServerPlan{Name: s, Settings: upstream.Settings{Address: fmt.Sprintf("127.0.0.1:%d", 8001+i), Weight: 1}})
	}
	return p
}

// with is a plan whose servers are changed.
func with(p upstream.Plan, change func(i int, s *upstream.Settings)) upstream.Plan {
	p.Servers = slices.Clone(p.Servers)
	for i := range p.Servers {
		change(i, &p.Servers[i].Settings)
	}
	return p
}

// commit puts plans in force and returns the names of the servers that are gone.
func commit(t *testing.T, r *upstream.Registry, plans ...upstream.Plan) (gone []*upstream.Server) {
	t.Helper()
	st, err := r.Stage(plans)
	if err != nil {
		t.Fatal(err)
	}
	return st.Commit()
}

func find(t *testing.T, r *upstream.Registry, backend, server string) *upstream.Server {
	t.Helper()
	s, err := r.Find(backend, server)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func saved(*control.State) error { return nil }

func change(t *testing.T, r *upstream.Registry, s *upstream.Server, c control.Change) {
	t.Helper()
	if err := r.Change(s, c, saved); err != nil {
		t.Fatal(err)
	}
}

// picks counts whom b gives n requests to, which end at once.
func picks(t *testing.T, b *upstream.Backend, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		s, _ := b.Pick(nil)
		if s == nil {
			got["none"]++
			continue
		}
		got[s.Name]++
		b.Release(s)
	}
	return got
}

func want(t *testing.T, got map[string]int, want string) {
	t.Helper()
	if s := fmt.Sprint(got); s != "map["+want+"]" {
		t.Errorf("picked %s, want map[%s]", s, want)
	}
}

func TestStagingChangesNothing(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, plan("app", "a", "b"))
	b := r.Backend("app")
	st, err := r.Stage([]upstream.Plan{plan("app", "c"), plan("new", "x")})
	if err != nil {
		t.Fatal(err)
	}
	if st.Backend("app") != b || st.Backend("new") == nil || st.Backend("other") != nil || r.Backend("new") != nil {
		t.Error("the staged backends are not those that will be")
	}
	if _, err := r.Find("app", "c"); err == nil {
		t.Error("a staged server is in force")
	}
	want(t, picks(t, b, 4), "a:2 b:2")
	if gone := st.Commit(); len(gone) != 2 {
		t.Errorf("%d servers are gone", len(gone))
	}
	want(t, picks(t, b, 4), "c:4")
	want(t, picks(t, r.Backend("new"), 1), "x:1")
}

func TestAConfigurationThatCannotBeIsRefusedWhole(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, plan("app", "a"))
	bad := plan("app", "b")
	bad.Algorithm = "leastcon"
	for _, c := range []struct {
		plan upstream.Plan
		err  string
	}{
		{bad, `unknown balance algorithm "leastcon"`},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = "127.0.0.1" }), `backend "app": server "b": address "127.0.0.1"`},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = "h:0" }), "port must be 1 to 65535"},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = "h:65536" }), "port must be 1 to 65535"},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = "h:http" }), "port must be 1 to 65535"},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = ":80" }), "no host"},
		{with(plan("app", "b"), func(_ int, s *upstream.Settings) { s.Address = "::1:80" }), "too many colons"},
	} {
		if _, err := r.Stage([]upstream.Plan{plan("first", "x"), c.plan}); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v, want %s", err, c.err)
		}
	}
	want(t, picks(t, r.Backend("app"), 2), "a:2")
	if r.Backend("first") != nil {
		t.Error("half of a refused configuration is in force")
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, plan("app", "vm2"))
	for _, c := range [][2]string{{"app", "vm3"}, {"api", "vm2"}, {"", ""}} {
		if s, err := r.Find(c[0], c[1]); s != nil || !errors.Is(err, control.ErrNotFound) {
			t.Errorf("%v: %v, %v", c, s, err)
		}
	}
}

func TestAReloadKeepsServersCountsAndTurns(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	p := with(plan("app", "a", "b", "c"), func(i int, s *upstream.Settings) { s.Weight = i + 1 })
	commit(t, r, p)
	b, a := r.Backend("app"), find(t, r, "app", "a")
	id, target := a.ID, a.Target()
	busy, _ := b.Pick(nil)
	total := map[string]int{busy.Name: 1}
	for range 10 { // 6 turns make a rotation: of 60 requests each server has its exact share, reloads or not
		if gone := commit(t, r, p); len(gone) != 0 {
			t.Errorf("%d servers are gone", len(gone))
		}
		for name, n := range picks(t, b, 5) {
			total[name] += n
		}
	}
	for name, n := range picks(t, b, 9) {
		total[name] += n
	}
	want(t, total, "a:10 b:20 c:30")
	if r.Backend("app") != b || find(t, r, "app", "a") != a || a.ID != id || a.Target() != target || busy.Inflight.Load() != 1 {
		t.Error("a reload has replaced what lives")
	}
	b.Release(busy)

	commit(t, r, with(p, func(i int, s *upstream.Settings) {
		s.Weight, s.Maxconn = 1, 7
		s.Address = fmt.Sprintf("127.0.0.2:%d", 1+i)
	}))
	if a.Target() == target || a.Target().Addr != netip.MustParseAddrPort("127.0.0.2:1") || a.Maxconn() != 7 || find(t, r, "app", "a") != a {
		t.Errorf("new settings are not in force: %+v", a.View())
	}
	want(t, picks(t, b, 6), "a:2 b:2 c:2")
	least := p
	least.Algorithm = "leastconn"
	commit(t, r, least)
	if b.Algorithm() != "leastconn" || len(b.Servers()) != 3 || b.Servers()[0] != a {
		t.Errorf("%s over %d servers", b.Algorithm(), len(b.Servers()))
	}
}

func TestAServerThatIsGoneIsReportedOnceAndItsPlaceKeptUntilForgotten(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, plan("app", "a", "b"), plan("other", "a"))
	a := find(t, r, "app", "a")
	gone := commit(t, r, plan("app", "b"), plan("other", "a"))
	if len(gone) != 1 || gone[0] != a {
		t.Fatalf("%d servers are gone", len(gone))
	}
	if gone := commit(t, r, plan("app", "b"), plan("other", "a")); len(gone) != 0 {
		t.Errorf("%d servers are gone a second time", len(gone))
	}
	used := func() map[int]string {
		ids := map[int]string{}
		for _, name := range []string{"app", "other"} {
			if b := r.Backend(name); b != nil {
				for _, s := range b.Servers() {
					if was, ok := ids[s.ID]; ok || s.ID < 0 {
						t.Errorf("%s/%s has the place of %s", name, s.Name, was)
					}
					ids[s.ID] = name + "/" + s.Name
				}
			}
		}
		return ids
	}
	commit(t, r, plan("app", "a", "b", "c"), plan("other", "a"))
	if find(t, r, "app", "a") == a {
		t.Error("a server that was gone is back with what it counted")
	}
	if who, ok := used()[a.ID]; ok {
		t.Errorf("place %d has gone to %s before it was forgotten", a.ID, who)
	}
	r.Forget(a)
	commit(t, r, plan("app", "a", "b", "c", "d"), plan("other", "a"))
	if who := used()[a.ID]; who != "app/d" {
		t.Errorf("place %d has gone to %q", a.ID, who)
	}
	if gone := commit(t, r); len(gone) != 5 || r.Backend("app") != nil {
		t.Errorf("%d servers are gone with their backends", len(gone))
	}
}

// While sets of servers come and go, no request may find none.
func TestAReloadNeverShowsABackendWithoutServers(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, plan("app", "a"))
	b := r.Backend("app")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var lost, served atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, _ := b.Pick(nil)
				if s == nil {
					lost.Add(1)
					continue
				}
				served.Add(1)
				b.Release(s)
			}
		})
	}
	for i := range 2000 {
		p := plan("app", "a", fmt.Sprint("s", i))
		if i%2 == 0 {
			p = with(p, func(_ int, s *upstream.Settings) { s.Maxconn = 1000 })
		}
		for _, s := range commit(t, r, p) {
			r.Forget(s)
		}
	}
	for served.Load() == 0 && lost.Load() == 0 {
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests met no server", lost.Load(), lost.Load()+served.Load())
	}
}

func TestARuntimeChangeLiesOverTheConfigurationAndSurvivesReloads(t *testing.T) {
	t.Parallel()
	state := &control.State{}
	r := upstream.NewRegistry(state)
	p := plan("app", "a", "b")
	commit(t, r, p)
	b, a := r.Backend("app"), find(t, r, "app", "a")
	weight, maxconn, addr, drain, maint, ready := 3, 9, "127.0.0.9:99", control.Drain, control.Maint, control.Ready
	keeps := 0
	if err := r.Change(a, control.Change{Weight: &weight, Maxconn: &maxconn, Address: &addr}, func(s *control.State) error {
		keeps++
		if c := s.Server("app", "a"); c.Weight == nil || *c.Weight != 3 {
			t.Errorf("what is to be kept is %+v", c)
		}
		if v := a.View(); v.Changed {
			t.Error("the change takes effect before it is kept")
		}
		return nil
	}); err != nil || keeps != 1 {
		t.Fatal(err, keeps)
	}
	check := func(when string) {
		t.Helper()
		a := find(t, r, "app", "a")
		v := a.View()
		if v.Weight != 3 || v.Maxconn != 9 || v.Address != addr || v.Target.Addr.String() != addr || a.Maxconn() != 9 || !v.Changed || v.Operator != control.Ready || v.Status != control.StatusNoChecks {
			t.Errorf("%s: %+v", when, v)
		}
		want(t, picks(t, r.Backend("app"), 4), "a:3 b:1")
	}
	check("after the change")
	commit(t, r, with(p, func(_ int, s *upstream.Settings) { s.Weight = 1; s.Maxconn = 2; s.Address = "127.0.0.1:1" }))
	commit(t, r, p)
	check("after reloads")
	commit(t, r, plan("app", "b"))
	commit(t, r, p)
	check("after the server was away")

	a = find(t, r, "app", "a")
	change(t, r, a, control.Change{State: &drain})
	if upstream.Status(a) != control.StatusDrain {
		t.Error(upstream.Status(a))
	}
	want(t, picks(t, b, 2), "b:2")
	change(t, r, a, control.Change{State: &maint})
	commit(t, r, p)
	if a := find(t, r, "app", "a"); upstream.Status(a) != control.StatusMaint || a.View().Operator != control.Maint {
		t.Errorf("%+v", a.View())
	}
	change(t, r, a, control.Change{State: &ready})
	check("after all")

	r = upstream.NewRegistry(state) // as after a restart
	commit(t, r, p)
	check("after a restart")
	zero := 0
	change(t, r, find(t, r, "app", "a"), control.Change{Weight: &zero})
	want(t, picks(t, r.Backend("app"), 2), "b:2")
}

func TestAChangeThatCannotBeKeptIsNotMade(t *testing.T) {
	t.Parallel()
	state := &control.State{}
	r := upstream.NewRegistry(state)
	p := plan("app", "a")
	commit(t, r, p)
	a := find(t, r, "app", "a")
	full := errors.New("disk full")
	five, six := 5, 6
	refuse := func(*control.State) error { return full }
	nothing := func(when string, weight int) {
		t.Helper()
		commit(t, r, p)
		if v := a.View(); v.Weight != weight || v.Changed != (weight != 1) {
			t.Errorf("%s: %+v", when, v)
		}
		if c := state.Server("app", "a"); c.Empty() != (weight == 1) || c.Weight != nil && *c.Weight != weight || c.Maxconn != nil {
			t.Errorf("%s: %+v is kept", when, c)
		}
	}
	if err := r.Change(a, control.Change{Weight: &five, Maxconn: &six}, refuse); !errors.Is(err, full) {
		t.Error(err)
	}
	nothing("the first change", 1)
	change(t, r, a, control.Change{Weight: &five})
	if err := r.Change(a, control.Change{Weight: &six, Maxconn: &six}, refuse); !errors.Is(err, full) {
		t.Error(err)
	}
	nothing("the second change", 5)
	for _, bad := range []string{"h", "h:0", ":80", "::1:80"} {
		if err := r.Change(a, control.Change{Address: &bad}, func(*control.State) error { t.Error("kept"); return nil }); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	nothing("bad addresses", 5)
}

func TestADisabledServerWaitsForItsOperator(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a", "b"), func(i int, s *upstream.Settings) { s.Disabled = i == 0 }))
	a := find(t, r, "app", "a")
	if v := a.View(); v.Status != control.StatusMaint || v.Changed {
		t.Errorf("%+v", v)
	}
	want(t, picks(t, r.Backend("app"), 2), "b:2")
	ready := control.Ready
	change(t, r, a, control.Change{State: &ready})
	want(t, picks(t, r.Backend("app"), 2), "a:1 b:1")
}

// told collects what Registry.Changed is told.
type told struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func listen(r *upstream.Registry) *told {
	l := &told{more: make(chan struct{}, 1000)}
	r.Changed = func(s *upstream.Server, v upstream.View) {
		l.mu.Lock()
		l.lines = append(l.lines, fmt.Sprintf("%s/%s %s", s.Backend, s.Name, v.Status))
		l.mu.Unlock()
		l.more <- struct{}{}
	}
	return l
}

// until waits for the last line to be this one.
func (l *told) until(t *testing.T, line string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		ok := len(l.lines) > 0 && l.lines[len(l.lines)-1] == line
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("never %q, but %q", line, l.lines)
		}
	}
}

// run runs the registry for the time of the test.
func run(t *testing.T, r *upstream.Registry) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

func TestANameIsResolved(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	l := listen(r)
	p := with(plan("app", "a"), func(_ int, s *upstream.Settings) { s.Address = "localhost:8080" })
	commit(t, r, p)
	a := find(t, r, "app", "a")
	if v := a.View(); v.Status != control.StatusDown || v.Target.Addr.IsValid() {
		t.Errorf("before it is resolved: %+v", v)
	}
	want(t, picks(t, r.Backend("app"), 1), "none:1")
	run(t, r)
	l.until(t, "app/a no check")
	target := a.Target()
	if !target.Addr.Addr().IsLoopback() || target.Addr.Port() != 8080 || target.Text != "localhost:8080" {
		t.Errorf("%+v", target)
	}
	want(t, picks(t, r.Backend("app"), 1), "a:1")
	commit(t, r, p)
	if a.Target() != target {
		t.Error("a reload has resolved the name anew")
	}
	other := "localhost:9090"
	change(t, r, a, control.Change{Address: &other})
	l.until(t, "app/a no check")
	if got := a.Target(); got.Addr.Port() != 9090 || !got.Addr.Addr().IsLoopback() {
		t.Errorf("%+v", got)
	}
}

// fake is a check whose answer the test decides.
type fake struct {
	ok   *atomic.Bool
	addr func() string
	seen chan string
}

func (f *fake) Run(context.Context) health.Result {
	select {
	case f.seen <- f.addr():
	default:
	}
	if f.ok.Load() {
		return health.Result{OK: true, Status: health.L4OK}
	}
	return health.Result{Status: health.L4CON, Why: "refused"}
}

func TestChecksTakeServersOutAndBringThemBack(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	l := listen(r)
	var ok atomic.Bool
	ok.Store(true)
	seen := make(chan string, 1)
	made := 0
	p := plan("app", "a")
	check := upstream.CheckPlan{Key: "1", Schedule: health.Schedule{Interval: time.Millisecond, Rise: 2, Fall: 2}, New: func(addr func() string) health.Check {
		made++
		return &fake{&ok, addr, seen}
	}}
	p.Check = &check
	commit(t, r, p)
	a, b := find(t, r, "app", "a"), r.Backend("app")
	if upstream.Status(a) != control.StatusUp {
		t.Error(upstream.Status(a))
	}
	run(t, r)
	if addr := <-seen; addr != "127.0.0.1:8001" {
		t.Errorf("checked at %s", addr)
	}
	ok.Store(false)
	l.until(t, "app/a down")
	if s, full := b.Pick(nil); s != nil || full {
		t.Errorf("a server that is down is picked, full %v", full)
	}
	again := check
	again.New = func(func() string) health.Check { t.Error("the same check is made anew"); return nil }
	p.Check = &again
	commit(t, r, p) // an equal plan: the checks go on
	if v := a.View(); v.Status != control.StatusDown || made != 1 || v.Healthy {
		t.Errorf("%d checks, %+v", made, v)
	}
	check.Key = "2"
	p.Check = &check
	commit(t, r, p) // another check goes on with what the old one knew
	if v := a.View(); v.Status != control.StatusDown || made != 2 {
		t.Errorf("%d checks, %+v", made, v)
	}
	ok.Store(true)
	l.until(t, "app/a up")
	want(t, picks(t, b, 2), "a:2")
	ok.Store(false)
	l.until(t, "app/a down")
	p.Check = nil
	commit(t, r, p) // unchecked servers count as up
	l.until(t, "app/a no check")
	want(t, picks(t, b, 2), "a:2")
}
