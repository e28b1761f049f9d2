package proxy

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/upstream"
)

// forward carries one exchange through: read the request, decide, find a server, relay both ways, account for it. It is lent by its worker
// and holds nothing between exchanges.
type forward struct {
	x  exchange.Exchange
	w  *worker
	l  *loop.Loop
	s  *session
	fe *frontend
	be *backend

	in        []byte // the client's bytes: in[:n] received, in[:head] is the head, in[head:taken] body already used
	n         int
	head      int
	taken     int
	parser    http1.RequestParser
	chunks    http1.Chunks // of the request's body
	upLeft    int64        // bytes of a sized request body not yet taken from the client
	upDone    bool         // the request has been read to its end
	uploading bool         // its body is on its way to the server

	srv      *upstream.Server // whose slot we hold
	sc       *serverConn
	tried    [4]*upstream.Server
	nTried   int
	answered bool // something of a final response has gone to the client
	tunnel   bool
	counted  bool         // in the backend's inflight
	cut      bool         // the client has a broken answer and must see it break
	badBody  *http1.Error // what is wrong with the request's body
}

func (f *forward) reset() {
	f.x.Reset()
	f.s, f.fe, f.be, f.in, f.n, f.head, f.taken = nil, nil, nil, nil, 0, 0, 0
	f.fresh()
}

// fresh forgets what belonged to one exchange; the bytes received stay.
func (f *forward) fresh() {
	f.parser, f.chunks = http1.RequestParser{}, http1.Chunks{}
	f.upLeft, f.upDone, f.uploading = 0, false, false
	f.srv, f.sc, f.nTried = nil, nil, 0
	f.tried = [4]*upstream.Server{}
	f.answered, f.tunnel, f.counted, f.cut, f.badBody = false, false, false, false, nil
}

// next makes ready for the request behind this one and says whether bytes of it are here already.
func (f *forward) next() bool {
	f.n = copy(f.in, f.in[f.taken:f.n])
	f.head, f.taken = 0, 0
	f.x.Reset()
	f.fresh()
	return f.n > 0
}

// exchange serves one request. It returns whether the client's connection can carry another.
func (f *forward) exchange() bool {
	x, s := &f.x, f.s
	if fe := s.b.frontend.Load(); fe != nil {
		f.fe = fe
	} else if f.fe == nil { // the bind has left the configuration; its last frontend serves out
		f.fe = s.b.last
	}
	x.Peer = s.c.RemoteAddr()
	x.Src = x.Peer
	x.TLS = false
	x.Begin = f.l.Now()
	x.Accept = x.Begin
	if s.n == 0 {
		x.Accept = s.accepted
	}
	x.Frontend = f.fe.name
	ok := f.readHead()
	if f.n == 0 && f.head == 0 {
		return false // nothing was asked
	}
	s.n++
	f.w.frontends[s.fe.id].requests++
	x.Head = f.l.Now()
	again := ok && f.serve()
	f.finish()
	return again && !f.tunnel
}

// readHead reads until the request's head is complete. On failure it has answered.
func (f *forward) readHead() bool {
	x, c := &f.x, f.s.c
	for {
		if f.n > 0 {
			head, err := f.parser.Parse(f.in[:f.n], &x.Req, &x.Arena)
			if err != nil {
				f.fail(exchange.End{Who: 'P', When: 'R', Cause: err.Msg})
				f.taken = f.n
				f.w.frontends[f.s.fe.id].errors++
				f.x.Req.Close = true
				f.head = max(f.head, 1)
				f.explain(err.Status)
				return false
			}
			if head > 0 {
				f.head, f.taken = head, head
				x.BytesIn = int64(head)
				f.upLeft = 0
				switch x.Req.Body.Kind {
				case message.Sized:
					f.upLeft = x.Req.Body.Length
					f.upDone = f.upLeft == 0
				case message.NoBody:
					f.upDone = true
				}
				return true
			}
			c.Deadline(x.Begin + int64(f.fe.timeouts.HTTPRequest))
		}
		n, err := c.Read(f.in[f.n:])
		if err != nil {
			return f.headFailed(err)
		}
		if f.n == 0 {
			x.Begin = f.l.Now()
			if f.s.n > 0 {
				x.Accept = x.Begin
			}
		}
		f.n += n
	}
}

// headFailed ends a connection whose next request did not come. One of which nothing came ends in silence.
func (f *forward) headFailed(err error) bool {
	if f.n == 0 {
		return false
	}
	f.head = 1
	f.x.Req.Close = true
	f.w.frontends[f.s.fe.id].errors++
	f.taken = f.n
	switch {
	case err == loop.ErrTimeout:
		f.fail(exchange.End{Who: 'c', When: 'R', Cause: "the request head did not come in time"})
		f.explain(408)
	case err == io.EOF || errors.Is(err, syscall.ECONNRESET):
		f.fail(exchange.End{Who: 'C', When: 'R', Cause: "the client left within the request head"})
		if err == io.EOF {
			f.explain(400)
		}
	default:
		f.fail(exchange.End{Who: 'C', When: 'R', Cause: err.Error()})
	}
	return false
}

// serve decides what becomes of a request and does it.
func (f *forward) serve() bool {
	x, fe := &f.x, f.fe
	believe(x, fe.trusted)
	if fe.needDst {
		x.Dst = f.s.c.LocalAddr()
	}
	if fe.redirectHTTPS && !x.TLS && !saidHTTPS(x) {
		return f.redirectHTTPS()
	}
	if !fe.admits(x) {
		return f.refuse()
	}
	if len(fe.request) > 0 {
		if r := fe.request.Run(x); r != nil {
			return f.ruled(r)
		}
	}
	if !f.route() {
		f.fail(exchange.End{Who: 'S', When: 'C', Cause: "no route and no default_backend"})
		return f.explain(503)
	}
	be := f.be
	x.Backend = be.name
	if len(be.request) > 0 {
		if r := be.request.Run(x); r != nil {
			return f.ruled(r)
		}
	}
	f.counted = true
	count := at(&f.w.backends, be.live.ID)
	count.inflight++
	count.requests++
	return f.relay()
}

// route finds the backend.
func (f *forward) route() bool {
	x := &f.x
	r := f.fe.routes.find(x)
	if r == nil {
		f.be = f.fe.def
		return f.be != nil
	}
	f.be = r.backend
	if r.strip > 0 {
		x.Req.Path = cut(x.Req.Path, r.strip)
		x.Req.Match = cut(x.Req.Match, r.strip)
	}
	return true
}

// cut takes n segments off the front of a path, path parameters and all, and leaves it a path.
func cut(p []byte, n int) []byte {
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			if n--; n == 0 {
				return p[i:]
			}
		}
	}
	return slash
}

var slash = []byte("/")

// relay finds a server that answers, as often as the configuration allows, and relays its answer.
func (f *forward) relay() bool {
	x, be := &f.x, f.be
	for attempt, stales := 0, 0; ; {
		if !f.acquire() {
			return f.explain(503)
		}
		x.Server = f.srv.Name
		outcome := f.try()
		switch outcome {
		case relayed:
			return !f.mustClose() && f.upDone
		case over:
			return false
		}
		if f.badBody != nil {
			f.release()
			f.explain(f.badBody.Status)
			return false
		}
		if x.End.Who == 'C' || x.End.Who == 'c' { // the client left within its request
			if x.End.Who == 'c' {
				f.explain(408)
			}
			return false
		}
		// Nothing of an answer has come: again, if that may be.
		counts := at(&f.w.servers, f.srv.ID)
		if outcome == unreachable {
			counts.errorsConnect++
		} else {
			counts.errorsResponse++
		}
		var may bool
		switch outcome {
		case unreachable:
			may = be.connFailure && attempt < be.attempts
		case unanswered:
			may = be.emptyResponse && attempt < be.attempts && f.replayable()
		case stale: // the connection was dead before we used it: no attempt at all
			may = stales < maxStale && f.replayable()
		}
		failed := f.srv
		f.release()
		if !may {
			status := 502
			switch {
			case outcome == unreachable:
				status = 503
			case x.End.Who == 's' && x.End.When == 'H':
				status = 504
			}
			return f.explain(status)
		}
		x.End = exchange.End{}
		if outcome == stale {
			stales++
			continue
		}
		attempt++
		x.Retries++
		counts.retries++
		if f.nTried < len(f.tried) && be.redispatch {
			f.tried[f.nTried] = failed
			f.nTried++
		}
		if len(be.live.Servers()) == 1 || !be.redispatch {
			// As HAProxy: a server that refused is given a moment before it is asked again.
			f.l.NewSignal().Wait(f.l.Now() + int64(min(time.Second, be.timeouts.Connect)))
		} else {
			x.Redispatched = true
			counts.redispatches++
		}
	}
}

// maxStale bounds how many dead connections one request may meet before that counts as a failure.
const maxStale = 16

// outcome is how an attempt with one server ended.
type outcome uint8

const (
	relayed     outcome = iota // the client has its answer
	over                       // the exchange has ended early; the client's connection must end
	unreachable                // no connection: nothing was sent
	unanswered                 // the server left without a byte of an answer
	stale                      // as unanswered, on a reused connection
	broken                     // something came that is no answer, or nothing in time: not to be repeated
)

// replayable says whether the request can be sent a second time: it does no harm twice, and all of it is still here.
func (f *forward) replayable() bool {
	return f.x.Req.Method.Idempotent() && f.bodyHere() && !f.answered
}

// bodyHere says whether the whole body, if any, came with the head.
func (f *forward) bodyHere() bool {
	switch f.x.Req.Body.Kind {
	case message.NoBody:
		return true
	case message.Sized:
		return int64(f.n-f.head) >= f.x.Req.Body.Length
	}
	return false
}

// bodyRead says whether nothing of this request is still to come from the client. A body that came with the head is taken here.
func (f *forward) bodyRead() bool {
	if !f.upDone && f.bodyHere() && f.taken == f.head {
		f.taken = f.head + int(f.x.Req.Body.Length)
		f.upDone = true
	}
	return f.upDone
}

// acquire gets a slot of a server, waiting in the queue if all are taken. On failure the end is noted.
func (f *forward) acquire() bool {
	x, be := &f.x, f.be
	var limit int64
	for {
		s, full := be.live.Pick(f.tried[:f.nTried])
		if s != nil {
			f.srv = s
			x.Queued = f.l.Now()
			return true
		}
		if !full {
			at(&f.w.backends, be.live.ID).noServer++
			f.fail(exchange.End{Who: 'S', When: 'C', Cause: "no server of backend " + be.name + " is up"})
			return false
		}
		now := f.l.Now()
		if limit == 0 {
			limit = now + int64(be.timeouts.Queue)
		}
		x.BackendQueue = be.live.Waiting()
		sig := f.l.NewSignal()
		wait := &upstream.Waiter{Wake: func() { f.l.Post(sig.Set) }, Tried: f.tried[:f.nTried]}
		be.live.Enqueue(wait)
		woken := sig.Wait(limit)
		if s := be.live.Leave(wait); s != nil {
			f.srv = s
			x.Queued = f.l.Clock()
			return true
		}
		if !woken {
			f.fail(exchange.End{Who: 's', When: 'Q', Cause: "no slot became free in the queue's time"})
			return false
		}
	}
}

// release gives the slot back.
func (f *forward) release() {
	if f.srv != nil {
		f.be.live.Release(f.srv)
		f.srv = nil
	}
}

// connect gets a connection to the server: one that waits, or a new one.
func (f *forward) connect() error {
	x := &f.x
	count := at(&f.w.servers, f.srv.ID)
	if sc := f.w.reuse(f.srv, !x.Req.Method.Idempotent() || !f.bodyHere()); sc != nil {
		f.sc = sc
		x.Reused = true
		x.Connect = x.Queued
		count.reused++
		return nil
	}
	x.Reused = false
	t := f.srv.Target()
	c, err := f.w.p.dial(f.l, t.Addr, f.l.Now()+int64(f.be.timeouts.Connect))
	if err != nil {
		if err == loop.ErrClosed {
			return err
		}
		e := exchange.End{Who: 'S', When: 'C', Cause: "connect to " + t.Text + ": " + err.Error()}
		if err == loop.ErrTimeout {
			e.Who = 's'
		}
		f.fail(e)
		return err
	}
	x.Connect = f.l.Now()
	count.opened++
	f.sc = &serverConn{c: c, w: f.w, srv: f.srv, target: t, place: -1}
	return nil
}

// mustClose says whether the client's connection ends after this exchange.
func (f *forward) mustClose() bool {
	return f.x.Req.Close || f.w.p.draining.Load() || f.s.b.frontend.Load() == nil
}

// clientPatience renews the time the client has to take or send something.
func (f *forward) clientPatience() {
	f.s.c.Deadline(f.l.Now() + int64(f.fe.timeouts.Client))
}

func (f *forward) serverPatience() {
	f.sc.c.Deadline(f.l.Now() + int64(f.be.timeouts.Server))
}

// abandon ends what the exchange holds, after a panic.
func (f *forward) abandon() {
	if f.sc != nil {
		f.sc.c.Abort()
		f.sc = nil
	}
	f.fail(exchange.End{Who: 'I', Cause: "internal error"})
	f.finish()
}

// finish accounts for the exchange and writes its line.
func (f *forward) finish() {
	x, w := &f.x, f.w
	x.Done = f.l.Now()
	if f.tunnel {
		x.Done = f.l.Clock()
	}
	if f.fe == nil {
		return
	}
	fc := &w.frontends[f.s.fe.id]
	cl := class(x.Res.Status)
	fc.ended(cl, x.BytesIn, x.BytesOut)
	if f.counted {
		bc := at(&w.backends, f.be.live.ID)
		bc.inflight--
		bc.ended(cl, x.BytesIn, x.BytesOut)
	}
	if f.srv != nil {
		sc := at(&w.servers, f.srv.ID)
		sc.ended(cl, x.BytesIn, x.BytesOut)
		if f.fe.log != nil {
			x.SrvConn = int(f.srv.Inflight.Load())
		}
		f.release()
	}
	if f.fe.log != nil && w.log != nil {
		x.Wall = loop.Wall(x.Accept)
		x.ActConn, x.FeConn = int(w.p.conns.Load()), int(f.s.fe.conns.Load())
		if f.be != nil {
			x.BeConn = at(&w.backends, f.be.live.ID).inflight
		}
		w.log.Log(f.fe.log, x)
		w.logged()
	}
}
