package balance

import (
	"slices"
	"sync"
	"sync/atomic"
)

// RoundRobin gives each server its turns. The rotation is worked out once per Update and its turns are numbered by one counter, so
// among any sum(weights)/gcd(weights) successive turns every server has exactly its share, however many loops pick.
//
// A turn that falls on a refused server is lost, not handed to the next one in line: so the servers that are left share by
// weight what the refused one would have had, instead of its neighbour getting all of it.
type RoundRobin struct {
	rotation atomic.Pointer[rotation]
	update   sync.Mutex

	_     [64]byte // the counters are written at every pick: on lines of their own the loops do not evict the pointer
	turn  atomic.Uint64
	spare atomic.Uint64
	_     [64]byte
}

// rotation is never changed once it is stored.
type rotation struct {
	servers []Weight
	turns   []int32 // indices of servers, in the order of their turns
}

// attempts is how many turns one pick may use up before it looks at the whole list instead. It bounds the cost where a server
// with most of the turns is full.
const attempts = 8

// NewRoundRobin builds a picker without servers.
func NewRoundRobin() *RoundRobin { return new(RoundRobin) }

// Update implements Picker. The turns are counted on, so the new rotation is entered wherever the count has come to: a server
// that comes and goes does not send the traffic back to the first one each time.
func (r *RoundRobin) Update(eligible []Weight) {
	servers := normal(eligible)
	r.update.Lock()
	defer r.update.Unlock()
	if old := r.rotation.Load(); old != nil && slices.Equal(old.servers, servers) {
		return
	}
	r.rotation.Store(&rotation{servers, turns(servers)})
}

// Pick implements Picker; it does not use the key.
func (r *RoundRobin) Pick(_ uint64, skip func(i int) bool) int {
	now := r.rotation.Load()
	if now == nil || len(now.turns) == 0 {
		return -1
	}
	n := uint64(len(now.turns))
	for range attempts {
		i := int(now.turns[(r.turn.Add(1)-1)%n])
		if skip == nil || !skip(i) {
			return i
		}
	}
	return r.rest(now, skip)
}

// rest picks by weight among the servers that are not refused, looking at every one. What is refused may change between the two
// passes; the last one found usable is then taken.
func (r *RoundRobin) rest(now *rotation, skip func(i int) bool) int {
	sum := uint64(0)
	for _, s := range now.servers {
		if !skip(s.Index) {
			sum += uint64(s.Weight)
		}
	}
	if sum == 0 {
		return -1
	}
	left, found := (r.spare.Add(1)-1)%sum, -1
	for _, s := range now.servers {
		if skip(s.Index) {
			continue
		}
		if found = s.Index; left < uint64(s.Weight) {
			break
		}
		left -= uint64(s.Weight)
	}
	return found
}
