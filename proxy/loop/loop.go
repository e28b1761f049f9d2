// Package loop runs the data path: one event loop per core, each lending coroutines to the exchanges that have something to do.
//
// The rule of this package: WHAT RUNS ON A LOOP NEVER BLOCKS ON ANYTHING BUT ITS LOOP. No channel receive, no contended mutex, no
// DNS, no file, no log write that can wait. Such work goes through Loop.Await, which parks the coroutine while a goroutine does it. A
// loop that was away for longer than 10 ms is counted and its stack is logged (watch.go).
//
// A handler is ordinary blocking-style code. It runs in a coroutine that is lent to it from the moment its connection has
// something to read until it lets the connection rest: an idle connection is one small struct, without stack or buffers. All that runs
// on one loop runs in turn, so nothing that belongs to a loop needs a lock.
//
// There are two implementations of the same contract. The fast one (epoll_linux.go, sock_linux.go) makes raw non-blocking system
// calls and switches coroutines by iter.Pull. The portable one (goroutines.go) gives each flow of control a goroutine, of which only
// the holder of the loop's baton runs; it serves other systems and the tests (EDGE_LOOP=goroutines).
package loop

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// What a wait on a connection can end with besides an error of the system.
var (
	ErrTimeout     = errors.New("timeout")
	ErrInterrupted = errors.New("interrupted")
	ErrClosed      = errors.New("use of closed connection")
)

// Handler serves a connection that rested and has become readable, has reached its deadline (Read then gives ErrTimeout) or was
// interrupted (ErrInterrupted). Serve runs on the connection's loop and ends with the connection closed, resting again, or given to another keeper.
type Handler interface{ Serve(c Conn) }

// Conn is a byte stream that belongs to one loop. Its methods are called on that loop only. At most one flow of control reads and
// one writes at a time; both share the deadline. A wait that has passed the deadline ends with ErrTimeout.
type Conn interface {
	// Read reads what there is, at least one byte; io.EOF at the end of the stream.
	Read(p []byte) (int, error)
	// Write writes all of p or returns an error.
	Write(p []byte) (int, error)
	// WaitReadable waits until a Read would not have to.
	WaitReadable() error
	// Writev writes a, then b, with one system call where there is one for that.
	Writev(a, b []byte) (int, error)
	// CloseWrite ends our side of the stream.
	CloseWrite() error
	// Close ends the stream and wakes whoever waits on it with ErrClosed. A second Close does nothing.
	Close() error
	// Abort closes with a reset where the transport has one, so that the peer cannot take the end for a regular one.
	Abort()
	// Deadline sets the instant, on the loop's clock, at which waits on this connection give up; 0 is never. It is cheap: moving it
	// later is one store.
	Deadline(at int64)
	// Rest gives up the coroutine: when something is to be read, or at the deadline, h.Serve is called on a fresh one.
	Rest(h Handler)
	// Take ends the rest without h being called and says whether the connection is still quiet: nothing to read, not ended.
	Take() bool
	// Interrupt wakes whoever waits or rests on the connection with ErrInterrupted; later waits get it too until Interrupt is cleared by Take.
	Interrupt()
	// Guard has other interrupted should this connection break while nobody waits on it; nil ends that. Where breaking can only be learnt by reading or
	// writing (the portable implementation), nothing happens.
	Guard(other Conn)
	// Readable says whether something (bytes, the end, an error) is known to wait.
	Readable() bool
	// Quiet looks into the stream itself, not only at what the loop knows: false if bytes, the end or an error wait.
	Quiet() bool
	RemoteAddr() netip.AddrPort
	LocalAddr() netip.AddrPort
	Loop() *Loop

	waiter() *waits // nil in the portable implementation
}

// Counters of one loop. They are written by the loop only: read them by Loop.Do.
type Counters struct {
	Coroutines int    // that exist now
	Conns      int    // open now, accepted and dialled
	Accepted   uint64 // connections accepted
	Panics     uint64 // exchanges ended by a panic
	Wakeups    uint64 // rounds of the loop
}

// Loop is one event loop. Its methods are called by what runs on it, except Post, Do and Away.
type Loop struct {
	// Local is the owner's state for this loop; the loop does not look at it.
	Local any

	Index    int
	Counters Counters

	group  *Group
	now    int64
	cur    *strand
	free   []*strand
	ready  []*strand // to be resumed before the loop waits again
	timers timers
	bufs   [][]byte
	lowCo  int // fewest free coroutines and buffers since the last trim: what nobody needed
	lowBuf int

	adopted map[*endpoint]struct{} // open connections from elsewhere

	poll  poller
	baton sync.Mutex    // portable implementation: held by whatever runs on the loop
	kick  chan struct{} // portable implementation: wakes the loop's own goroutine
	turns turns         // portable implementation

	mu     sync.Mutex
	posted []func()
	spare  []func()
	ended  bool // nothing is taken any more

	signalled atomic.Bool  // posted is not empty and the loop knows or will
	since     atomic.Int64 // when the loop began this round; 0 while it waits
	away      atomic.Uint64
	conns     atomic.Int64 // Counters.Conns for others, to balance by
}

// BufSize is the size of the buffers lent by Buf, in bytes. It holds a full request head, or an answer of 16 KiB with its head.
const BufSize = 32 << 10

// Buf lends a buffer; give it back by PutBuf. The one given back last is lent first, as it is still in the cache.
func (l *Loop) Buf() []byte {
	n := len(l.bufs)
	if n == 0 {
		return make([]byte, BufSize)
	}
	b := l.bufs[n-1]
	l.bufs = l.bufs[:n-1]
	l.lowBuf = min(l.lowBuf, n-1)
	return b
}

// PutBuf takes a buffer back.
func (l *Loop) PutBuf(b []byte) { l.bufs = append(l.bufs, b[:BufSize]) }

var epoch = time.Now()

func nanotime() int64 { return int64(time.Since(epoch)) + 1 }

// Now is the loop's clock in nanoseconds: monotonic, the same for all loops, never 0. It stands still while a handler runs.
func (l *Loop) Now() int64 {
	if l.poll == nil {
		return nanotime()
	}
	return l.now
}

// Clock reads the clock afresh: for durations within one round.
func (l *Loop) Clock() int64 { return nanotime() }

// Wall converts an instant of the loop's clock to nanoseconds since 1970.
func Wall(at int64) int64 { return epochWall + at }

var epochWall = epoch.UnixNano()

// Go starts f on this loop, before the loop waits again.
func (l *Loop) Go(f func()) {
	s := l.lend()
	s.fn = f
	l.wake(s)
}

// Both runs f and g side by side on this loop and returns when both have returned: the way to wait for two things at once. Whichever
// finds that the other's work is of no use any more interrupts or closes the connection that the other waits on.
func (l *Loop) Both(f, g func()) {
	s := l.NewSignal()
	l.Go(func() {
		defer s.Set()
		f()
	})
	defer s.Wait(0)
	g()
}

// Await runs f on a goroutine of its own while the caller is parked; other exchanges of the loop go on. f may block.
func (l *Loop) Await(f func()) {
	s := l.NewSignal()
	var p any
	go func() {
		defer l.Post(s.Set)
		defer func() { p = recover() }()
		f()
	}()
	s.Wait(0)
	if p != nil {
		panic(p)
	}
}

// Signal parks one flow of control until Set. It belongs to its loop.
type Signal struct {
	timer
	l   *Loop
	s   *strand
	set bool
}

// NewSignal makes a Signal of this loop.
func (l *Loop) NewSignal() *Signal { return &Signal{l: l} }

// Set lets the waiter go on. From another goroutine: l.Post(s.Set).
func (s *Signal) Set() {
	s.set = true
	if s.s != nil {
		s.l.wake(s.s)
		s.s = nil
	}
}

// Wait parks until Set (true) or until the instant at (false); at 0 is never.
func (s *Signal) Wait(at int64) bool {
	if !s.set {
		if at != 0 {
			s.l.timers.set(s, at)
		}
		s.s = s.l.cur
		s.l.nudge()
		s.l.park()
		s.s = nil
		s.l.timers.remove(s)
	}
	return s.set
}

func (s *Signal) expire() {
	if s.s != nil {
		s.l.wake(s.s)
		s.s = nil
	}
}

// endSignals has whoever waits on a Signal for some time wait no longer: the loop stops.
func (l *Loop) endSignals() {
	for _, t := range l.timers.heap {
		if s, ok := t.e.(*Signal); ok {
			s.expire()
		}
	}
}

// After runs f on the loop (not in a coroutine: it must not wait) once the duration has passed. The function it returns stops it.
func (l *Loop) After(d time.Duration, f func()) (stop func()) {
	t := &afterTimer{f: f}
	l.timers.set(t, l.Now()+int64(d))
	l.nudge()
	return func() { l.timers.remove(t) }
}

type afterTimer struct {
	timer
	f func()
}

func (t *afterTimer) expire() { t.f() }

// Post runs f on the loop soon, in order with other posted functions. It may be called from anywhere. f must not wait: it may
// start a coroutine by Go. After the loop has stopped, f is dropped.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.posted = append(l.posted, f)
	if l.signalled.CompareAndSwap(false, true) {
		l.interrupt() // under the lock: its descriptor must not be closed, and become another's, meanwhile
	}
}

// Do runs f on the loop and waits for it; false if the loop has stopped. Never call it from a loop.
func (l *Loop) Do(f func()) bool {
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	select {
	case <-done:
		return true
	case <-l.group.stopped:
		select { // both
		case <-done:
			return true
		default:
			return false
		}
	}
}

// Away is how often this loop was away for longer than 10 ms. It may be called from anywhere.
func (l *Loop) Away() uint64 { return l.away.Load() }

func (l *Loop) runPosted() {
	if !l.signalled.Load() {
		return
	}
	l.signalled.Store(false)
	l.mu.Lock()
	fs := l.posted
	l.posted = l.spare[:0]
	l.mu.Unlock()
	for i, f := range fs {
		fs[i] = nil
		f()
	}
	l.spare = fs
}

// Options of a Group.
type Options struct {
	Loops      int  // how many; 0 = one per core
	Goroutines bool // the portable implementation
	// Logf tells of panics and of loops that were away; it may be called from anywhere and must not block. Nil is silence.
	Logf func(format string, args ...any)
}

// Group is the set of loops of a process.
type Group struct {
	Loops   []*Loop
	opt     Options
	told    atomic.Int64 // when a loop's absence was last logged
	stopped chan struct{}
	once    sync.Once
}

// New builds the loops; Run runs them.
func New(opt Options) (*Group, error) {
	if opt.Loops <= 0 {
		opt.Loops = runtime.NumCPU()
	}
	if opt.Logf == nil {
		opt.Logf = func(string, ...any) {}
	}
	if os.Getenv("EDGE_LOOP") == "goroutines" || !havePoller {
		opt.Goroutines = true
	}
	g := &Group{opt: opt, stopped: make(chan struct{})}
	for i := range opt.Loops {
		l := &Loop{Index: i, group: g}
		if opt.Goroutines {
			l.kick = make(chan struct{}, 1)
		} else {
			p, err := newPoller(l)
			if err != nil {
				g.closePollers()
				return nil, err
			}
			l.poll = p
		}
		g.Loops = append(g.Loops, l)
	}
	return g, nil
}

func (g *Group) closePollers() {
	for _, l := range g.Loops {
		l.mu.Lock()
		l.ended = true
		l.posted = nil
		if l.poll != nil {
			l.poll.close()
		}
		l.mu.Unlock()
	}
}

// Goroutines says whether the portable implementation is in use.
func (g *Group) Goroutines() bool { return g.opt.Goroutines }

// Run runs the loops until the context ends. Connections still open are then closed and what waits on them is let end, so that
// nothing is left behind.
func (g *Group) Run(ctx context.Context) {
	// A loop waits inside a system call that Go's scheduler watches. If no processor of the scheduler were idle then, it would take the loop's away to
	// look for work, and the loop would have to queue for one at every event: measured, that doubles the cost of a request. So there are always more
	// than the loops need.
	if want := len(g.Loops) + 2; !g.opt.Goroutines && runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	var wg sync.WaitGroup
	for _, l := range g.Loops {
		wg.Go(l.run)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		g.watch(ctx)
	}()
	<-ctx.Done()
	for _, l := range g.Loops {
		l.Post(l.stop)
	}
	wg.Wait()
	<-watched
	g.once.Do(func() { close(g.stopped) })
	g.closePollers()
}

// Discard lets go of a Group that is not to be run.
func (g *Group) Discard() { g.closePollers() }
