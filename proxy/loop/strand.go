package loop

import (
	"iter"
	"runtime/debug"
)

// strand is a flow of control on a loop: a coroutine, or a goroutine that takes its turn. It does one job after another.
type strand struct {
	l *Loop
	// The job: a function, or a handler with its connection.
	fn   func()
	h    Handler
	conn Conn

	// Coroutine.
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool

	// Goroutine.
	turn    chan struct{}
	started bool
}

// lend takes a strand from the free ones or makes one.
func (l *Loop) lend() *strand {
	if n := len(l.free); n > 0 {
		s := l.free[n-1]
		l.free[n-1] = nil
		l.free = l.free[:n-1]
		l.lowCo = min(l.lowCo, n-1)
		return s
	}
	l.Counters.Coroutines++
	s := &strand{l: l}
	if l.poll == nil {
		s.turn = make(chan struct{}, 1)
		return s
	}
	s.next, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		for {
			s.do()
			l.free = append(l.free, s)
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return s
}

// do does the job. A panic ends the job and nothing else.
func (s *strand) do() {
	defer func() {
		c := s.conn
		s.fn, s.h, s.conn = nil, nil, nil
		if p := recover(); p != nil {
			s.l.Counters.Panics++
			s.l.group.opt.Logf("panic in an exchange, which is ended: %v\n%s", p, debug.Stack())
			if c != nil {
				c.Abort()
			}
		}
	}()
	if s.h != nil {
		s.h.Serve(s.conn)
	} else {
		s.fn()
	}
}

// end lets go of a strand that has no job.
func (s *strand) end() {
	if s.stop != nil {
		s.stop()
	} else {
		close(s.turn)
	}
}

// resume switches to a strand until it parks or ends. Only the loop's own flow calls it.
func (l *Loop) resume(s *strand) {
	if l.poll == nil {
		l.pass(s)
		return
	}
	l.cur = s
	s.next()
	l.cur = nil
}

// wake has a strand resumed before the loop waits again.
func (l *Loop) wake(s *strand) {
	if l.poll == nil {
		l.pass(s)
		return
	}
	l.ready = append(l.ready, s)
}

// park gives the loop to others until the strand is resumed.
func (l *Loop) park() {
	if l.poll == nil {
		l.yieldTurn()
		return
	}
	l.cur.yield(struct{}{})
}

func (l *Loop) runReady() {
	for len(l.ready) > 0 {
		// Strands woken meanwhile are appended and get their turn in this same pass.
		for i := 0; i < len(l.ready); i++ {
			s := l.ready[i]
			l.ready[i] = nil
			l.resume(s)
		}
		l.ready = l.ready[:0]
	}
}

// trim lets go of what nobody needed since the last trim: a burst of exchanges does not hold its memory for ever.
func (l *Loop) trim() {
	for range min(l.lowCo, len(l.free)) {
		n := len(l.free) - 1
		s := l.free[n]
		l.free[n] = nil
		l.free = l.free[:n]
		l.Counters.Coroutines--
		s.end()
	}
	drop := min(l.lowBuf, len(l.bufs))
	clear(l.bufs[len(l.bufs)-drop:])
	l.bufs = l.bufs[:len(l.bufs)-drop]
	l.lowCo, l.lowBuf = len(l.free), len(l.bufs)
}
