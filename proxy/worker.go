package proxy

import (
	"time"

	"github.com/approovia/edge/proxy/accesslog"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/upstream"
)

// worker is the proxy's state on one loop. Nothing in it is shared, so nothing is locked; others read it by Loop.Do.
type worker struct {
	p    *Proxy
	l    *loop.Loop
	free []*forward // not in use now
	busy int        // exchanges under way
	log  *accesslog.Buffer
	due  bool // a flush of the log is on its way

	sessions map[*session]struct{}
	idle     [][]*serverConn // idle server connections by server ID, the one used last at the end

	frontends []frontendCount
	backends  []backendCount
	servers   []serverCount
}

// traffic is what is counted of frontends, backends and servers alike.
type traffic struct {
	requests uint64
	classes  [6]uint64 // 1xx to 5xx, then others
	bytesIn  uint64
	bytesOut uint64
}

func (t *traffic) add(o *traffic) {
	t.requests += o.requests
	for i := range t.classes {
		t.classes[i] += o.classes[i]
	}
	t.bytesIn += o.bytesIn
	t.bytesOut += o.bytesOut
}

// ended counts the end of an exchange.
func (t *traffic) ended(class int, in, out int64) {
	t.classes[class]++
	t.bytesIn += uint64(in)
	t.bytesOut += uint64(out)
}

type frontendCount struct {
	traffic
	connections      int
	connectionsTotal uint64
	denied           uint64
	errors           uint64
}

func (c *frontendCount) add(o *frontendCount) {
	c.traffic.add(&o.traffic)
	c.connections += o.connections
	c.connectionsTotal += o.connectionsTotal
	c.denied += o.denied
	c.errors += o.errors
}

type backendCount struct {
	traffic
	inflight int
	noServer uint64
}

func (c *backendCount) add(o *backendCount) {
	c.traffic.add(&o.traffic)
	c.inflight += o.inflight
	c.noServer += o.noServer
}

type serverCount struct {
	traffic
	opened         uint64
	reused         uint64
	retries        uint64
	redispatches   uint64
	errorsConnect  uint64
	errorsResponse uint64
}

func (c *serverCount) add(o *serverCount) {
	c.traffic.add(&o.traffic)
	c.opened += o.opened
	c.reused += o.reused
	c.retries += o.retries
	c.redispatches += o.redispatches
	c.errorsConnect += o.errorsConnect
	c.errorsResponse += o.errorsResponse
}

// class is the place of a status in the counts.
func class(status int) int {
	if c := status/100 - 1; c >= 0 && c < 5 {
		return c
	}
	return 5
}

func classes(c *[6]uint64) control.Classes {
	return control.Classes{C1xx: c[0], C2xx: c[1], C3xx: c[2], C4xx: c[3], C5xx: c[4], Other: c[5]}
}

func newWorker(p *Proxy, l *loop.Loop) *worker {
	return &worker{p: p, l: l, sessions: map[*session]struct{}{}}
}

// at returns the element of a per-identity slice, which grows as identities appear.
func at[T any](s *[]T, id int) *T {
	if id >= len(*s) {
		*s = append(*s, make([]T, id+1-len(*s))...)
	}
	return &(*s)[id]
}

// serverConn is one connection to a server. While it rests it is its own handler: whatever then arrives on it ends it.
type serverConn struct {
	c      loop.Conn
	w      *worker
	srv    *upstream.Server
	target *upstream.Target
	place  int // in worker.idle, -1 while in use
}

// idleTime is how long an unused server connection is kept.
const idleTime = int64(60 * time.Second)

// Serve implements loop.Handler.
func (sc *serverConn) Serve(loop.Conn) {
	sc.leave()
	sc.c.Close()
}

// leave takes the connection out of the idle ones.
func (sc *serverConn) leave() {
	if sc.place < 0 {
		return
	}
	list := sc.w.idle[sc.srv.ID]
	n := len(list) - 1
	list[sc.place] = list[n]
	list[sc.place].place = sc.place
	list[n] = nil
	sc.w.idle[sc.srv.ID] = list[:n]
	sc.place = -1
}

// reuse returns an idle connection to the server that is still good, or nil. sure looks into the socket itself, for requests that must not
// meet a connection that has just been closed.
func (w *worker) reuse(s *upstream.Server, sure bool) *serverConn {
	for {
		list := *at(&w.idle, s.ID)
		if len(list) == 0 {
			return nil
		}
		sc := list[len(list)-1]
		sc.leave()
		if sc.c.Take() && sc.target == s.Target() && (!sure || sc.c.Quiet()) {
			return sc
		}
		sc.c.Close()
	}
}

// keep puts a connection among the idle ones.
func (w *worker) keep(sc *serverConn) {
	list := at(&w.idle, sc.srv.ID)
	sc.place = len(*list)
	*list = append(*list, sc)
	sc.c.Deadline(w.l.Now() + idleTime)
	sc.c.Rest(sc)
}

// dropIdle closes the idle connections of a server.
func (w *worker) dropIdle(id int) {
	if id < len(w.idle) {
		for len(w.idle[id]) > 0 {
			sc := w.idle[id][len(w.idle[id])-1]
			sc.leave()
			sc.c.Close()
		}
	}
}

// begin lends what an exchange needs.
func (w *worker) begin(s *session) *forward {
	var f *forward
	if n := len(w.free); n > 0 {
		f = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		f = &forward{w: w, l: w.l}
	}
	f.s = s
	f.in = w.l.Buf()
	w.busy++
	return f
}

// end takes it back.
func (w *worker) end(f *forward) {
	w.busy--
	w.l.PutBuf(f.in)
	f.reset()
	if len(w.free) < 256 {
		w.free = append(w.free, f)
	}
}

// logged makes sure that what is in the log's buffer gets out soon.
func (w *worker) logged() {
	if !w.due {
		w.due = true
		w.l.After(time.Duration(accesslog.FlushEvery), func() {
			w.due = false
			if w.log != nil {
				w.log.Flush()
			}
		})
	}
}
