package health

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Checker watches one server. Its methods may be called at any time by any goroutine.
type Checker struct {
	name   string
	check  Check
	report func(Status)
	change chan struct{} // holds a token after SetSchedule

	mu       sync.Mutex
	schedule Schedule
	status   Status
}

// Status is what is known of a server.
type Status struct {
	Name     string
	Rise               // whether it is up, and what speaks against that
	Schedule Schedule  // in force, to read Streak by
	Last     Result    // of the check that ended last; INI before there was one
	Since    time.Time // of Up
	Changed  bool      // Up has just changed (only in what is reported)

	Checks      uint64 // that ended
	Failures    uint64 // bad results
	Transitions uint64 // from up to down
}

// New makes the checker of a server that counts as up until its first check fails (InitUp). report is called by Run after each
// check, with the state after it and with no lock held. The name tells servers apart in time: see Run.
func New(name string, c Check, s Schedule, report func(Status)) *Checker {
	return NewInit(name, c, s, InitUp, report)
}

// NewInit is New with another beginning.
func NewInit(name string, c Check, s Schedule, i Init, report func(Status)) *Checker {
	n := newChecker(name, c, s, report)
	n.status = Status{Name: name, Rise: NewRise(i, s), Last: Result{Status: INI}, Since: time.Now()}
	return n
}

// NewFrom makes a checker that goes on with what an old one knows: state, counts, last result. The old one's Run should be
// ended; what it finds afterwards is not taken over.
func NewFrom(old *Checker, name string, c Check, s Schedule, report func(Status)) *Checker {
	n := newChecker(name, c, s, report)
	n.status = old.Status()
	n.status.Name = name
	return n
}

func newChecker(name string, c Check, s Schedule, report func(Status)) *Checker {
	return &Checker{name: name, check: c, schedule: s.whole(), report: report, change: make(chan struct{}, 1)}
}

// Up says whether the server is fit to be used.
func (c *Checker) Up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Up
}

// Last returns the result of the check that ended last.
func (c *Checker) Last() Result { return c.Status().Last }

// Status returns what is known now.
func (c *Checker) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Schedule = c.schedule
	return s
}

// SetSchedule changes the schedule of a running checker. The state and the streak stay; the next check is due one new pause after
// the start of the last one.
func (c *Checker) SetSchedule(s Schedule) {
	c.mu.Lock()
	c.schedule = s.whole()
	c.mu.Unlock()
	select {
	case c.change <- struct{}{}:
	default:
	}
}

// Run checks until ctx ends. The first check comes at an instant within the first pause that depends on the name alone, the others
// one pause after the start of the one before, or as soon as that one has ended. A checker made by NewFrom goes on with the times of
// the old one, so that frequent changes do not keep a server from being checked. Run is called once.
func (c *Checker) Run(ctx context.Context) {
	from, first := time.Now(), true
	if last := c.Last(); !last.At.IsZero() {
		from, first = last.At, false
	}
	timer := time.NewTimer(c.wait(from, first))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.change:
			timer.Reset(c.wait(from, first))
			continue
		case <-timer.C:
		}
		from, first = time.Now(), false
		result := c.once(ctx, from)
		if ctx.Err() != nil {
			return // the check was cut short by the end, not by the server
		}
		status := c.take(result)
		c.report(status)
		timer.Reset(c.wait(from, false))
	}
}

// wait is how long it is until the next check, when the last one began (or Run did) at from.
func (c *Checker) wait(from time.Time, first bool) time.Duration {
	c.mu.Lock()
	pause := c.schedule.Pause(c.status.Rise)
	c.mu.Unlock()
	if first {
		pause = offset(c.name, pause)
	}
	return time.Until(from.Add(pause))
}

func (c *Checker) once(ctx context.Context, at time.Time) Result {
	c.mu.Lock()
	timeout := c.schedule.Timeout
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := c.check.Run(ctx)
	r.At, r.Took = at, time.Since(at)
	return r
}

// take counts a result.
func (c *Checker) take(r Result) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.status
	s.Last = r
	s.Checks++
	if !r.OK {
		s.Failures++
	}
	changed := s.Rise.Count(r.OK, c.schedule)
	if changed {
		s.Since = time.Now()
		if !s.Up {
			s.Transitions++
		}
	}
	out := *s
	out.Changed, out.Schedule = changed, c.schedule
	return out
}

// String is the state as HAProxy's statistics show it: "UP", "UP 1/3" (one more failure and it is down), "DOWN", "DOWN 1/2" (one
// success of two).
func (s Status) String() string {
	switch {
	case s.Up && s.Settled():
		return "UP"
	case s.Up:
		return fmt.Sprintf("UP %d/%d", max(1, s.Schedule.Fall-s.Streak), s.Schedule.Fall)
	case s.Settled():
		return "DOWN"
	}
	return fmt.Sprintf("DOWN %d/%d", min(s.Streak, s.Schedule.Rise), s.Schedule.Rise)
}
