package loop

// waits is what a connection driven by events keeps besides its transport: who waits on it, and for what. readable and writable remember
// what the transport last said, so that a call that would only say "not now" is not made.
type waits struct {
	timer
	l      *Loop
	self   Conn
	h      Handler // resting: who is served next
	rw, ww *strand // who waits to read, to write
	guards *waits  // whom to interrupt when this breaks

	readable, writable bool
	expired            bool
	interrupted        bool
	closed             bool
}

// dispatch resumes whoever can go on. Only the loop's own flow calls it.
func (w *waits) dispatch() {
	stir := w.expired || w.interrupted || w.closed
	if s := w.ww; s != nil && (w.writable || stir) {
		w.ww = nil
		w.l.resume(s)
	}
	if s := w.rw; s != nil && (w.readable || stir) {
		w.rw = nil
		w.l.resume(s)
	} else if w.h != nil && !w.closed && (w.readable || stir) {
		w.l.resume(w.serve())
	}
}

// stir has whoever waits look again, before the loop waits the next time.
func (w *waits) stir() {
	if w.rw != nil {
		w.l.wake(w.rw)
		w.rw = nil
	}
	if w.ww != nil {
		w.l.wake(w.ww)
		w.ww = nil
	}
	if w.h != nil && !w.closed {
		w.l.wake(w.serve())
	}
}

// serve lends a strand to the resting connection's handler.
func (w *waits) serve() *strand {
	s := w.l.lend()
	s.h, s.conn = w.h, w.self
	w.h = nil
	return s
}

func (w *waits) expire() { w.expired = true; w.stir() }

// wait parks until the connection may have become ready for that side.
func (w *waits) wait(side **strand) error {
	if err := w.barred(); err != nil {
		return err
	}
	*side = w.l.cur
	w.l.park()
	return w.barred()
}

func (w *waits) barred() error {
	switch {
	case w.closed:
		return ErrClosed
	case w.interrupted:
		return ErrInterrupted
	case w.expired:
		return ErrTimeout
	}
	return nil
}

// shut does what every Close has in common; false if it was closed before.
func (w *waits) shut() bool {
	if w.closed {
		return false
	}
	w.closed, w.h = true, nil
	w.l.timers.remove(w)
	w.l.Counters.Conns--
	w.l.conns.Store(int64(w.l.Counters.Conns))
	w.stir()
	return true
}

// opened counts the connection as one of the loop's.
func (w *waits) opened() {
	w.l.Counters.Conns++
	w.l.conns.Store(int64(w.l.Counters.Conns))
}

// Deadline implements Conn.
func (w *waits) Deadline(at int64) {
	w.expired = false
	if at == 0 {
		w.timer.clear()
	} else if !w.closed {
		w.l.timers.set(w, at)
	}
}

// Rest implements Conn.
func (w *waits) Rest(h Handler) {
	if w.closed {
		return
	}
	w.h = h
	if w.readable || w.interrupted || w.expired {
		w.stir()
	}
}

// Take implements Conn.
func (w *waits) Take() bool {
	w.h, w.interrupted = nil, false
	return !w.closed && !w.readable && !w.expired
}

// Interrupt implements Conn.
func (w *waits) Interrupt() {
	w.interrupted = true
	w.stir()
}

// WaitReadable implements Conn.
func (w *waits) WaitReadable() error {
	for !w.readable {
		if err := w.wait(&w.rw); err != nil {
			return err
		}
	}
	if w.closed {
		return ErrClosed
	}
	return nil
}

// Guard implements Conn.
func (w *waits) Guard(other Conn) {
	w.guards = nil
	if other != nil {
		w.guards = other.waiter()
	}
}

func (w *waits) waiter() *waits { return w }

// broken interrupts whom the connection guards.
func (w *waits) broken() {
	if g := w.guards; g != nil {
		w.guards = nil
		g.Interrupt()
	}
}

// Readable implements Conn.
func (w *waits) Readable() bool { return w.readable }

// Loop implements Conn.
func (w *waits) Loop() *Loop { return w.l }
