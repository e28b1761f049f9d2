package balance

import (
	"slices"
	"sync"
	"sync/atomic"
)

// LeastConn picks the server with the smallest (load+1)/weight; among equals the one picked longest ago. Servers with no load at
// all are equals whatever they weigh, as in HAProxy, so that a light server is not left out when there is little to do. A
// pick looks at every server once.
type LeastConn struct {
	load   func(i int) int64
	crowd  atomic.Pointer[crowd]
	update sync.Mutex

	_     [64]byte
	picks atomic.Uint64
	_     [64]byte
}

// crowd is never changed once it is stored, but for the marks.
type crowd struct {
	servers []Weight
	marks   []atomic.Uint64 // the number of the pick that took the server last, 0 = none yet
}

// NewLeastConn builds a picker without servers. load is described at Algorithm.New.
func NewLeastConn(load func(i int) int64) *LeastConn { return &LeastConn{load: load} }

// Update implements Picker. Servers that stay keep their place among equals; new ones come first.
func (l *LeastConn) Update(eligible []Weight) {
	servers := normal(eligible)
	l.update.Lock()
	defer l.update.Unlock()
	next := &crowd{servers, make([]atomic.Uint64, len(servers))}
	if old := l.crowd.Load(); old != nil {
		if slices.Equal(old.servers, servers) {
			return
		}
		marks := make(map[int]uint64, len(old.servers))
		for i := range old.servers {
			marks[old.servers[i].Index] = old.marks[i].Load()
		}
		for i := range servers {
			next.marks[i].Store(marks[servers[i].Index])
		}
	}
	l.crowd.Store(next)
}

// Pick implements Picker; it does not use the key. Loops that pick in the same instant, before the load of either shows, may take
// the same server.
func (l *LeastConn) Pick(_ uint64, skip func(i int) bool) int {
	now := l.crowd.Load()
	if now == nil {
		return -1
	}
	best, mark := -1, uint64(0)
	var need, per int64 // the best one's (load+1)/weight, as a fraction
	for i, s := range now.servers {
		if skip != nil && skip(s.Index) {
			continue
		}
		n, w := l.load(s.Index), int64(s.Weight)
		if n++; n <= 1 {
			n = 0
		}
		m := now.marks[i].Load()
		if a, b := n*per, need*w; best < 0 || a < b || a == b && m < mark {
			best, mark, need, per = i, m, n, w
		}
	}
	if best < 0 {
		return -1
	}
	now.marks[best].Store(l.picks.Add(1))
	return now.servers[best].Index
}
