package upstream_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/upstream"
)

func TestABackupServesOnlyWhenNobodyElseCan(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a", "b", "c", "d"), func(i int, s *upstream.Settings) { s.Backup = i == 1 || i == 2 }))
	b := r.Backend("app")
	want(t, picks(t, b, 4), "a:2 d:2")
	maint, ready, zero := control.Maint, control.Ready, 0
	set := func(name string, c control.Change) { change(t, r, find(t, r, "app", name), c) }
	set("a", control.Change{State: &maint})
	want(t, picks(t, b, 4), "d:4")
	set("d", control.Change{Weight: &zero})
	want(t, picks(t, b, 4), "b:4") // the first backup alone, as HAProxy without allbackups
	set("b", control.Change{State: &maint})
	want(t, picks(t, b, 4), "c:4")
	set("c", control.Change{State: &maint})
	if s, full := b.Pick(nil); s != nil || full {
		t.Errorf("picked %v, full %v, of none", s, full)
	}
	set("a", control.Change{State: &ready})
	want(t, picks(t, b, 4), "a:4")
}

func TestTurnsAreExactByWeight(t *testing.T) {
	t.Parallel()
	for _, maxconn := range []int{0, 100} { // with a limit that is never met, nothing changes
		r := upstream.NewRegistry(&control.State{})
		commit(t, r, with(plan("app", "a", "b", "c"), func(i int, s *upstream.Settings) { s.Weight, s.Maxconn = []int{4, 1, 2}[i], maxconn }))
		want(t, picks(t, r.Backend("app"), 700), "a:400 b:100 c:200")
	}
}

func TestServersTriedBeforeAreAvoidedWhileThereAreOthers(t *testing.T) {
	t.Parallel()
	for _, maxconn := range []int{0, 2} {
		r := upstream.NewRegistry(&control.State{})
		commit(t, r, with(plan("app", "a", "b", "c"), func(_ int, s *upstream.Settings) { s.Maxconn = maxconn }))
		b := r.Backend("app")
		var tried []*upstream.Server
		for range 3 {
			for range 5 {
				s, full := b.Pick(tried)
				if s == nil || full {
					t.Fatalf("no server, full %v", full)
				}
				for _, x := range tried {
					if s == x {
						t.Errorf("%s again, with %d tried", s.Name, len(tried))
					}
				}
				b.Release(s)
			}
			s, _ := b.Pick(tried)
			b.Release(s)
			tried = append(tried, s)
		}
		if s, full := b.Pick(tried); s == nil || full { // all were: any will do
			t.Errorf("no server, full %v", full)
		}
	}
}

func TestAFullBackendSaysSo(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a", "b"), func(i int, s *upstream.Settings) { s.Maxconn = i + 1 }))
	b := r.Backend("app")
	var held []*upstream.Server
	for range 3 {
		s, _ := b.Pick(nil)
		if s == nil {
			t.Fatal("no server")
		}
		held = append(held, s)
	}
	if s, full := b.Pick(nil); s != nil || !full {
		t.Errorf("a fourth of three slots is given, full %v", full)
	}
	if s, full := b.Pick(held[:1]); s != nil || !full {
		t.Errorf("a fourth of three slots is given, full %v", full)
	}
	b.Release(held[1])
	if s, _ := b.Pick(nil); s != held[1] {
		t.Errorf("the slot given back is not given on")
	}
	if a := find(t, r, "app", "a"); a.Take() || a.Inflight.Load() != 1 {
		t.Errorf("%d of 1 slots are taken", a.Inflight.Load())
	}
}

// Who asks in vain is not counted, not even for a moment: another who looks then would take a free server for full and wait for nobody.
func TestOneWhoGetsNoSlotIsNeverCounted(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a"), func(_ int, s *upstream.Settings) { s.Maxconn = 1 }))
	a := find(t, r, "app", "a")
	if !a.Take() {
		t.Fatal("no slot")
	}
	var wg sync.WaitGroup
	var asking atomic.Int64
	asking.Store(3)
	for range 3 {
		wg.Go(func() {
			defer asking.Add(-1)
			for range 200_000 {
				if a.Take() {
					t.Error("a slot that is taken is given")
					return
				}
			}
		})
	}
	for asking.Load() > 0 {
		if n := a.Inflight.Load(); n != 1 {
			t.Errorf("%d slots are counted", n)
			break
		}
	}
	wg.Wait()
}

func TestTheQueueIsServedInOrder(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a"), func(_ int, s *upstream.Settings) { s.Maxconn = 1 }))
	b := r.Backend("app")
	s, _ := b.Pick(nil)
	var woken []int
	var w [5]*upstream.Waiter
	for i := range w {
		w[i] = &upstream.Waiter{Wake: func() { woken = append(woken, i) }}
		b.Enqueue(w[i])
	}
	expect := func(waiting int, order ...int) {
		t.Helper()
		if b.Waiting() != waiting || !slices.Equal(woken, order) {
			t.Fatalf("%d wait, %v were woken; want %d and %v", b.Waiting(), woken, waiting, order)
		}
	}
	expect(5)
	for range 2 { // leaving twice does no harm
		if b.Leave(w[1]) != nil {
			t.Error("one who left was served")
		}
	}
	expect(4)
	b.Release(s)
	expect(3, 0)
	if x, full := b.Pick(nil); x != nil || !full {
		t.Error("a newcomer has taken the slot of one who waited")
	}
	if b.Leave(w[0]) != s || s.Inflight.Load() != 1 {
		t.Error("one who was woken has no slot")
	}
	b.Release(s)
	expect(2, 0, 2)
	two := 2
	change(t, r, s, control.Change{Maxconn: &two}) // there is room for one more
	expect(1, 0, 2, 3)
	maint := control.Maint
	change(t, r, s, control.Change{State: &maint}) // there is nothing to wait for
	expect(0, 0, 2, 3, 4)
	if b.Leave(w[4]) != nil || b.Leave(w[3]) != s {
		t.Error("with no server left, who waited has a slot")
	}
	b.Release(s)
	b.Release(s)
	b.Enqueue(w[1]) // too late: it is let go at once
	expect(0, 0, 2, 3, 4, 1)
}

// Requests take slots as an exchange does: pick, or join the queue and wait. Meanwhile some give up, and servers may change. No server
// may ever have more than its limit, and every request must have its turn.
func TestNoSlotIsGivenTwiceAndNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		servers []string
		limit   int
		changes bool // they wake the whole queue now and then
	}{
		{"one slot", []string{"a"}, 1, false},
		{"two servers", []string{"a", "b"}, 2, false},
		{"two servers that change", []string{"a", "b"}, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := upstream.NewRegistry(&control.State{})
			commit(t, r, with(plan("app", c.servers...), func(_ int, s *upstream.Settings) { s.Maxconn = c.limit }))
			b := r.Backend("app")
			crowd := newCrowd(t, b, c.limit)
			if c.changes {
				go func() {
					for i := 0; !crowd.ended(); i++ {
						w := 1 + i%3
						if err := r.Change(b.Servers()[i%2], control.Change{Weight: &w}, saved); err != nil {
							t.Error(err)
						}
						runtime.Gosched()
					}
				}()
			}
			select {
			case <-crowd.done:
			case <-time.After(60 * time.Second):
				n := b.Waiting()
				close(crowd.stuck)
				<-crowd.done
				t.Errorf("%d still wait, %d were served: a wake-up was lost", n, crowd.served.Load())
			}
			for _, s := range b.Servers() {
				if s.Inflight.Load() != 0 {
					t.Errorf("%s: %d slots are still taken", s.Name, s.Inflight.Load())
				}
			}
			if n := crowd.served.Load() + crowd.gaveUp.Load(); n != clients*each || b.Waiting() != 0 || crowd.queued.Load() == 0 || crowd.gaveUp.Load() == 0 {
				t.Errorf("%d served, %d gave up, %d queued, %d left", crowd.served.Load(), crowd.gaveUp.Load(), crowd.queued.Load(), b.Waiting())
			}
		})
	}
}

const clients, each = 32, 300

// crowd is many clients of one backend, each of which makes one request after the other.
type crowd struct {
	b                      *upstream.Backend
	served, gaveUp, queued atomic.Int64
	done, stuck            chan struct{}
}

func newCrowd(t *testing.T, b *upstream.Backend, limit int) *crowd {
	w := &crowd{b: b, done: make(chan struct{}), stuck: make(chan struct{})}
	inflight := map[*upstream.Server]*atomic.Int64{}
	for _, s := range b.Servers() {
		inflight[s] = new(atomic.Int64)
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				s, ok := w.acquire((c+i)%7 != 0)
				if !ok {
					t.Error("servers are up, and none can be picked")
				}
				if s == nil {
					w.gaveUp.Add(1)
					continue
				}
				if n := inflight[s].Add(1); n > int64(limit) {
					t.Errorf("%d requests on %s", n, s.Name)
				}
				w.served.Add(1)
				for range 20 { // while it is served, others come
					runtime.Gosched()
				}
				inflight[s].Add(-1)
				b.Release(s)
			}
		})
	}
	go func() { wg.Wait(); close(w.done) }()
	return w
}

func (w *crowd) ended() bool {
	select {
	case <-w.done:
		return true
	case <-w.stuck:
		return true
	default:
		return false
	}
}

// acquire returns nil for one who is not patient and has left the queue. ok is false if there was nothing to wait for.
func (w *crowd) acquire(patient bool) (s *upstream.Server, ok bool) {
	for {
		s, full := w.b.Pick(nil)
		if s != nil || !full {
			return s, full || s != nil
		}
		woken := make(chan struct{})
		wait := &upstream.Waiter{Wake: func() { close(woken) }}
		w.b.Enqueue(wait)
		w.queued.Add(1)
		if patient {
			select {
			case <-woken:
			case <-w.stuck:
			}
		}
		if s := w.b.Leave(wait); s != nil || !patient || w.ended() {
			return s, true
		}
	}
}

// Who waits has his turn after those before him, and no newcomer before him.
func TestNobodyOvertakesTheQueue(t *testing.T) {
	t.Parallel()
	r := upstream.NewRegistry(&control.State{})
	commit(t, r, with(plan("app", "a"), func(_ int, s *upstream.Settings) { s.Maxconn = 1 }))
	b := r.Backend("app")
	const others = 8
	held, _ := b.Pick(nil)
	for range 100 {
		woken := make(chan struct{})
		slow := &upstream.Waiter{Wake: func() { close(woken) }}
		b.Enqueue(slow)
		var behind []*upstream.Waiter
		for range others {
			if s, _ := b.Pick(nil); s != nil {
				t.Fatal("overtaken")
			}
			w := &upstream.Waiter{Wake: func() {}}
			b.Enqueue(w)
			behind = append(behind, w)
		}
		b.Release(held)
		if s, _ := b.Pick(nil); s != nil {
			t.Fatal("overtaken")
		}
		<-woken
		for _, w := range append([]*upstream.Waiter{slow}, behind...) {
			if held = b.Leave(w); held != b.Servers()[0] {
				t.Fatal("one in the queue was left out")
			}
			if w != behind[others-1] {
				b.Release(held)
			}
		}
	}
}

// Not parallel: allocations are counted for the whole process.
func TestPickingAllocatesNothing(t *testing.T) {
	for _, maxconn := range []int{0, 5} {
		r := upstream.NewRegistry(&control.State{})
		commit(t, r, with(plan("app", "a", "b", "c"), func(_ int, s *upstream.Settings) { s.Maxconn = maxconn }))
		b := r.Backend("app")
		if n := testing.AllocsPerRun(100, func() {
			s, _ := b.Pick(nil)
			b.Release(s)
		}); n != 0 {
			t.Errorf("maxconn %d: %v allocations", maxconn, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for name, maxconn := range map[string]int{"unlimited": 0, "limited": 1000} {
		b.Run(name, func(b *testing.B) {
			r := upstream.NewRegistry(&control.State{})
			st, err := r.Stage([]upstream.Plan{with(plan("app", "a", "b", "c"), func(_ int, s *upstream.Settings) { s.Maxconn = maxconn })})
			if err != nil {
				b.Fatal(err)
			}
			st.Commit()
			be := r.Backend("app")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if s, _ := be.Pick(nil); s != nil {
						be.Release(s)
					}
				}
			})
		})
	}
}
