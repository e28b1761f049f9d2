package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/approovia/edge/proxy/balance"
	"github.com/approovia/edge/proxy/control"
)

// Backend is a set of servers that are as good as each other.
type Backend struct {
	Name string
	ID   int // small and unique: the index of what each loop keeps for this backend

	set     atomic.Pointer[set]
	waiting atomic.Int64 // requests in the queue

	mu    sync.Mutex
	queue []*Waiter
}

// set is the servers and the algorithm of one configuration.
type set struct {
	algorithm string
	servers   []*Server
	picker    balance.Picker
	limited   atomic.Bool // a server has a maxconn: picking must look at the slots
	usable    atomic.Int64
	full      func(i int) bool // made once: a pick allocates nothing
}

// Servers are the servers in the order of the configuration.
func (b *Backend) Servers() []*Server { return b.set.Load().servers }

// Algorithm is the name of the balancing algorithm.
func (b *Backend) Algorithm() string { return b.set.Load().algorithm }

// Waiting is how many requests wait for a slot.
func (b *Backend) Waiting() int { return int(b.waiting.Load()) }

// Pick chooses a server and takes a slot of it. Servers in tried are avoided as long as there are others. Nil: none is usable
// (full is false), or all that are have no slot free.
func (b *Backend) Pick(tried []*Server) (s *Server, full bool) {
	set := b.set.Load()
	if len(tried) == 0 && !set.limited.Load() {
		if i := set.picker.Pick(0, nil); i >= 0 {
			s := set.servers[i]
			s.Inflight.Add(1)
			return s, false
		}
		return nil, false
	}
	if set.usable.Load() == 0 {
		return nil, false
	}
	if b.waiting.Load() > 0 { // who came first is served first
		return nil, true
	}
	s = set.pick(tried)
	return s, s == nil
}

// pick takes a slot of a server, nil if none is free.
func (set *set) pick(tried []*Server) *Server {
	for avoid := tried; ; avoid = nil {
		skip := set.full
		if len(avoid) > 0 {
			skip = func(i int) bool { return set.servers[i].full() || slices.Contains(tried, set.servers[i]) }
		}
		for range 4 { // a slot may be lost to another loop between the look and the taking
			i := set.picker.Pick(0, skip)
			if i < 0 {
				break
			}
			if set.servers[i].Take() {
				return set.servers[i]
			}
		}
		if len(avoid) == 0 {
			return nil
		}
	}
}

// Release gives a slot back, to the first in the queue if there is one.
func (b *Backend) Release(s *Server) {
	s.Inflight.Add(-1)
	b.serve()
}

// Waiter is one request in the queue. Wake is called once, from any goroutine, when it need not wait any more: Leave tells what it got.
type Waiter struct {
	Wake  func()
	Tried []*Server // as for Pick

	in     bool
	server *Server
}

// Enqueue puts a request at the end of the queue. It may be served at once.
func (b *Backend) Enqueue(w *Waiter) {
	b.mu.Lock()
	b.queue = append(b.queue, w)
	w.in = true
	b.waiting.Store(int64(len(b.queue)))
	b.mu.Unlock()
	b.serve() // a slot may have been given back just before
}

// Leave ends the wait. It returns the server whose slot the request was given; nil if it waited in vain, or if there is none left to wait for.
func (b *Backend) Leave(w *Waiter) *Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.in {
		i := slices.Index(b.queue, w)
		b.queue = slices.Delete(b.queue, i, i+1)
		w.in = false
		b.waiting.Store(int64(len(b.queue)))
	}
	return w.server
}

// serve gives what slots are free to the queue, in its order. A slot goes from hand to hand: no newcomer can take it on the way. With no usable
// server the queue is let go.
func (b *Backend) serve() {
	for b.waiting.Load() > 0 {
		b.mu.Lock()
		if len(b.queue) == 0 {
			b.mu.Unlock()
			return
		}
		w, set := b.queue[0], b.set.Load()
		w.server = set.pick(w.Tried)
		if w.server == nil && set.usable.Load() > 0 {
			b.mu.Unlock()
			return
		}
		b.queue = slices.Delete(b.queue, 0, 1)
		w.in = false
		b.waiting.Store(int64(len(b.queue)))
		b.mu.Unlock()
		w.Wake()
	}
}

// refresh looks at the servers again after one of them has changed.
func (b *Backend) refresh() (changed []*Server) { return b.use(b.set.Load()) }

// use works out which servers may be picked: those that are up, or the first usable backup when none is. Only then is the set put in force, so that
// nobody meets it empty. It returns the servers whose status changed.
func (b *Backend) use(set *set) (changed []*Server) {
	now := time.Now()
	var primary, backup []balance.Weight
	limited := false
	for i, s := range set.servers {
		s.mu.Lock()
		if s.refresh(now) {
			changed = append(changed, s)
		}
		limited = limited || s.maxconn.Load() > 0
		if w := s.weight(); w > 0 && s.status.Usable() {
			if !s.set.Backup {
				primary = append(primary, balance.Weight{Index: i, Weight: w})
			} else if backup == nil {
				backup = []balance.Weight{{Index: i, Weight: w}}
			}
		}
		s.mu.Unlock()
	}
	if len(primary) == 0 {
		primary = backup
	}
	set.limited.Store(limited)
	set.usable.Store(int64(len(primary)))
	set.picker.Update(primary)
	b.set.Store(set)
	b.serve()
	return changed
}

// newSet builds the picker of an algorithm over servers.
func newSet(a balance.Algorithm, servers []*Server) *set {
	return &set{algorithm: a.Name, servers: servers, picker: a.New(func(i int) int64 { return servers[i].Inflight.Load() }),
		full: func(i int) bool { return servers[i].full() }}
}

// Status is a server's status in words, for messages.
func Status(s *Server) control.ServerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}
