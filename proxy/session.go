package proxy

import (
	"time"

	"github.com/approovia/edge/proxy/loop"
)

// session is one client connection. Between exchanges this struct and its loop.Conn are all there is of it.
type session struct {
	w        *worker
	c        loop.Conn
	b        *bind
	fe       *liveFrontend
	accepted int64
	n        int // exchanges begun
	active   bool
}

// admit takes a new connection into service.
func (w *worker) admit(b *bind, c loop.Conn) {
	fe := b.frontend.Load()
	if fe == nil { // it waited in the queue of a bind that has gone meanwhile
		fe = b.last
	}
	s := &session{w: w, c: c, b: b, fe: fe.live, accepted: w.l.Now()}
	w.sessions[s] = struct{}{}
	n := at(&w.frontends, fe.live.id)
	n.connections++
	n.connectionsTotal++
	fe.live.opened(b)
	w.p.opened(b)
	c.Deadline(s.accepted + int64(fe.timeouts.HTTPRequest))
	c.Rest(s)
}

// close ends the session.
func (s *session) close() {
	s.c.Close()
	if _, ok := s.w.sessions[s]; !ok {
		return
	}
	delete(s.w.sessions, s)
	s.w.frontends[s.fe.id].connections--
	s.fe.closed()
	s.w.p.closed()
}

// Serve implements loop.Handler: exchange by exchange, as long as the client has something to say. It returns with the connection at rest or
// closed.
func (s *session) Serve(c loop.Conn) {
	w := s.w
	s.active = true
	if c.Readable() {
		c.Take() // a request that came together with the end of the process is served
	}
	f := w.begin(s)
	done := false
	defer func() {
		if !done { // a panic: end what it held, then let the loop count it
			f.abandon()
			s.close()
		}
		w.end(f)
		s.active = false
	}()
	for {
		again := f.exchange()
		if !again || w.p.draining.Load() {
			s.linger(f)
			s.close()
			break
		}
		if f.next() {
			continue // a pipelined request is already here
		}
		c.Deadline(w.l.Now() + int64(f.fe.timeouts.KeepAlive))
		if !c.Readable() {
			c.Rest(s)
			break
		}
	}
	done = true
}

// lingerFor is how long the rest of a request is read and thrown away, so that closing does not take the answer back with a reset.
const (
	lingerFor   = int64(2 * time.Second)
	lingerBytes = 1 << 20
)

// linger prepares the close after an exchange.
func (s *session) linger(f *forward) {
	switch {
	case f.cut:
		s.c.Abort()
		return
	case f.head == 0 && f.n == 0, f.tunnel, f.upDone && f.taken == f.n && !s.c.Readable():
		return
	}
	s.c.Take()
	if s.c.CloseWrite() != nil {
		return
	}
	s.c.Deadline(s.w.l.Now() + lingerFor)
	for n := 0; n < lingerBytes; {
		m, err := s.c.Read(f.in)
		if err != nil {
			return
		}
		n += m
	}
}
