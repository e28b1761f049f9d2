package health_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/approovia/edge/proxy/health"
)

// script is a check whose results the test gives: true is good.
type script struct {
	good atomic.Bool
	took atomic.Int64 // nanoseconds that a check takes
	runs atomic.Int64
}

func (s *script) Run(ctx context.Context) health.Result {
	s.runs.Add(1)
	select {
	case <-ctx.Done():
		return health.Result{Status: health.L7TOUT, Why: "late"}
	case <-time.After(time.Duration(s.took.Load())):
	}
	if s.good.Load() {
		return health.Result{OK: true, Status: health.L7OK, Code: 200}
	}
	return health.Result{Status: health.L7STS, Code: 500, Why: "status 500"}
}

// The table is HAProxy's: rise 2, fall 3. g is a good result, b a bad one; upper case letters in want mean up.
func TestRise(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		from          health.Init
		rise, fall    int
		results, want string
	}{
		{health.InitUp, 2, 3, "ggg", "UUU"},
		{health.InitUp, 2, 3, "b", "d"},                   // the first failure takes it down
		{health.InitUp, 2, 3, "gbb", "UUU"},               // but not after a success
		{health.InitUp, 2, 3, "gbbb", "UUUd"},             // fall failures
		{health.InitUp, 2, 3, "gbbgbbgbbb", "UUUUUUUUUd"}, // in a row
		{health.InitUp, 2, 3, "bgg", "ddU"},
		{health.InitUp, 2, 3, "bgbgg", "ddddU"}, // rise successes in a row
		{health.InitUp, 2, 3, "bggbbb", "ddUUUd"},
		{health.InitUp, 1, 1, "bgbg", "dUdU"},
		{health.InitFullyUp, 2, 3, "bbb", "UUd"},
		{health.InitDown, 2, 3, "g", "U"},
		{health.InitDown, 2, 3, "bgg", "ddU"},
		{health.InitFullyDown, 3, 3, "ggg", "ddU"},
		{health.InitUp, 0, 0, "gbbb", "UUUd"}, // the defaults
	} {
		s := health.Schedule{Rise: row.rise, Fall: row.fall}
		r := health.NewRise(row.from, s)
		got, before := "", r.Up
		for _, x := range row.results {
			if changed := r.Count(x == 'g', s); changed != (r.Up != before) {
				t.Errorf("%+v: changed = %v at %q", row, changed, got)
			}
			before = r.Up
			got += map[bool]string{true: "U", false: "d"}[r.Up]
		}
		if got != row.want {
			t.Errorf("init %d rise %d fall %d, %s: %s, want %s", row.from, row.rise, row.fall, row.results, got, row.want)
		}
	}
}

func TestScheduleChoosesThePauseByTheState(t *testing.T) {
	t.Parallel()
	s := health.Schedule{Interval: 5, Fast: 1, Down: 3}
	for _, row := range []struct {
		s    health.Schedule
		r    health.Rise
		want time.Duration
	}{
		{s, health.Rise{Up: true}, 5},
		{s, health.Rise{Up: true, Streak: 1}, 1},
		{s, health.Rise{}, 3},
		{s, health.Rise{Streak: 1}, 1},
		{health.Schedule{Interval: 5}, health.Rise{}, 5},
		{health.Schedule{Interval: 5}, health.Rise{Streak: 1}, 5},
		{health.Schedule{}, health.Rise{Up: true}, 2 * time.Second},
	} {
		if got := row.s.Pause(row.r); got != row.want {
			t.Errorf("%+v in %+v: %v, want %v", row.s, row.r, got, row.want)
		}
	}
}

// watched is a checker under synctest, with what it has reported.
type watched struct {
	*health.Checker
	mu      sync.Mutex
	reports []health.Status
}

func (w *watched) report(s health.Status) {
	w.Status() // no lock may be held while a report is made
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, s)
}

func start(t *testing.T, c health.Check, s health.Schedule) *watched {
	w := &watched{}
	w.Checker = health.New("backend/server", c, s, w.report)
	run1(t, w.Checker)
	return w
}

// run1 runs a checker until the bubble ends.
func run1(t *testing.T, c *health.Checker) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (w *watched) last() health.Status { return w.reports[len(w.reports)-1] }

func TestCheckerFollowsAServerDownAndUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &script{}
		c.good.Store(true)
		w := start(t, c, health.Schedule{Interval: 2 * time.Second, Fast: 500 * time.Millisecond, Down: time.Second, Rise: 2, Fall: 3})
		if s := w.Status(); !s.Up || s.Last.Status != health.INI || s.String() != "UP 1/3" {
			t.Errorf("before the first check: %v %+v", s, s)
		}
		// Between up and down, the pause is Fast; so the first check comes within that.
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if s := w.Status(); s.Checks != 1 || s.String() != "UP" || s.Last.Code != 200 {
			t.Fatalf("after the first check: %v %+v", s, s)
		}
		first := w.last().Last.At

		c.good.Store(false)
		want := []struct {
			after   time.Duration // the start of the check, from the first one
			text    string
			changed bool
		}{
			{2 * time.Second, "UP 2/3", false},
			{2500 * time.Millisecond, "UP 1/3", false},
			{3 * time.Second, "DOWN", true},
			{4 * time.Second, "DOWN", false}, // Down
			{5 * time.Second, "DOWN", false},
			{6 * time.Second, "DOWN 1/2", false}, // good from here
			{6500 * time.Millisecond, "UP", true},
			{8500 * time.Millisecond, "UP", false},
		}
		for i, x := range want {
			if x.text == "DOWN 1/2" {
				c.good.Store(true)
			}
			time.Sleep(time.Until(first.Add(x.after)))
			synctest.Wait()
			s := w.last()
			if len(w.reports) != i+2 || s.Last.At.Sub(first) != x.after || s.String() != x.text || s.Changed != x.changed || w.Up() != s.Up {
				t.Fatalf("check %d: %v after %v, changed %v, %d reports; want %+v", i+2, s, s.Last.At.Sub(first), s.Changed, len(w.reports), x)
			}
		}
		s := w.Status()
		if s.Checks != 9 || s.Failures != 5 || s.Transitions != 1 || s.Since.Sub(first) != 6500*time.Millisecond || s.Changed {
			t.Errorf("%+v", s)
		}
	})
}

func TestCheckerEndsACheckThatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &script{}
		c.took.Store(int64(time.Hour))
		w := start(t, c, health.Schedule{Interval: time.Second, Timeout: 1500 * time.Millisecond})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := w.last(); s.Up || s.Last.Took != 1500*time.Millisecond || s.Last.Status != health.L7TOUT {
			t.Errorf("%+v", s)
		}
		for i, s := range w.reports[1:] {
			// A check longer than the pause: the next one follows at once, never two at a time.
			if gap := s.Last.At.Sub(w.reports[i].Last.At); gap != 1500*time.Millisecond {
				t.Errorf("check %d: %v after the one before", i+2, gap)
			}
		}
	})
}

func TestCheckerStopsWithoutCountingTheCheckItCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &script{}
		c.took.Store(int64(time.Hour))
		w := &watched{}
		w.Checker = health.New("s", c, health.Schedule{Interval: time.Second, Timeout: time.Hour}, w.report)
		stop := run1(t, w.Checker)
		time.Sleep(10 * time.Second)
		stop()
		if c.runs.Load() != 1 || len(w.reports) != 0 || !w.Up() {
			t.Errorf("%d checks, reports %+v", c.runs.Load(), w.reports)
		}
	})
}

func TestCheckersOfManyServersDoNotCheckAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers, slots = 1000, 20
		var mu sync.Mutex
		var at [slots]int
		begin := time.Now()
		for i := range servers {
			run1(t, health.New(fmt.Sprintf("backend/server%d", i), &script{}, health.Schedule{Interval: 2 * time.Second}, func(s health.Status) {
				mu.Lock()
				defer mu.Unlock()
				at[int(s.Last.At.Sub(begin)*slots/(2*time.Second))]++
			}))
		}
		time.Sleep(2*time.Second - 1)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		sum := 0
		for slot, n := range at {
			sum += n
			if n < servers/slots/3 || n > servers/slots*3 {
				t.Errorf("%d checks in slot %d: %v", n, slot, at)
			}
		}
		if sum != servers {
			t.Errorf("%d of %d servers were checked within the first pause", sum, servers)
		}
	})
}

func TestCheckerTakesANewSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &script{}
		c.good.Store(true)
		w := start(t, c, health.Schedule{Interval: time.Hour})
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.reports) != 1 {
			t.Fatalf("%d checks in the first hour", len(w.reports))
		}
		first := w.last().Last.At
		c.good.Store(false)
		w.SetSchedule(health.Schedule{Interval: 90 * time.Minute, Fast: time.Second, Fall: 2})
		time.Sleep(time.Until(first.Add(90*time.Minute + time.Second)))
		synctest.Wait()
		if s := w.last(); len(w.reports) != 3 || s.Up || s.Last.At.Sub(first) != 90*time.Minute+time.Second {
			t.Errorf("%d checks, the last %v after the first: %+v", len(w.reports), s.Last.At.Sub(first), s)
		}
	})
}

func TestNewFromGoesOnWithWhatWasKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &script{}
		old := &watched{}
		old.Checker = health.New("s", c, health.Schedule{Interval: time.Second}, old.report)
		stop := run1(t, old.Checker)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		stop()
		c.good.Store(true)
		was := old.Status()

		w := &watched{}
		w.Checker = health.NewFrom(old.Checker, "s", c, health.Schedule{Interval: 10 * time.Second, Rise: 1}, w.report)
		if s := w.Status(); s.Up || s.Checks != was.Checks || s.Last != was.Last || s.Since != was.Since || s.Schedule.Rise != 1 {
			t.Errorf("%+v, want what it was: %+v", s, was)
		}
		run1(t, w.Checker)
		time.Sleep(time.Until(was.Last.At.Add(10 * time.Second)))
		synctest.Wait()
		if len(w.reports) != 1 || !w.Up() || w.Status().Checks != was.Checks+1 {
			t.Errorf("%d checks after the change: %+v", len(w.reports), w.Status())
		}
	})
}
