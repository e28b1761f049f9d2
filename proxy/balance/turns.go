package balance

import "container/heap"

// maxTurns bounds the length of a rotation (4 bytes a turn). 4096 servers of any weight fit exactly. For more, weights are halved,
// rounded up, until they fit: at each halving the share of a small odd weight grows against the others, at most to its double.
const maxTurns = 1 << 20

// turns lays out one rotation: each server as often as its weight (divided by what all weights have in common), and its turns
// spread so evenly that after any number of them every server has had its exact share, give or take less than one turn.
//
// Of a server with weight w in a rotation of n turns, turn k has to be in the window from k*n/w to (k+1)*n/w, widened to whole
// numbers. Taking, among the turns whose window has begun, the one whose window ends first always meets all windows (earliest
// deadline first; the windows are those of proportionate-fair scheduling, Baruah et al. 1996).
func turns(servers []Weight) []int32 {
	if len(servers) == 0 {
		return nil
	}
	weights, sum := shares(servers)
	var (
		order = make([]int32, 0, sum)
		ready = queue{weights: weights, done: make([]int, len(servers))}
		later = make([]int32, sum) // later[t]: the first server whose next window begins at t, as number+1; 0 = none
		next  = make([]int32, len(servers))
	)
	for s := range servers {
		ready.Push(s)
	}
	heap.Init(&ready)
	for t := range sum {
		for s := later[t]; s != 0; s = next[s-1] {
			heap.Push(&ready, int(s-1))
		}
		s := ready.servers[0]
		order = append(order, int32(servers[s].Index))
		ready.done[s]++
		begin := ready.done[s] * sum / weights[s]
		switch {
		case begin <= t+1 && ready.done[s] < weights[s]:
			heap.Fix(&ready, 0)
		default:
			heap.Pop(&ready)
			if begin < sum {
				next[s], later[begin] = later[begin], int32(s+1)
			}
		}
	}
	return order
}

// shares returns the weights in their lowest terms, and their sum.
func shares(servers []Weight) (weights []int, sum int) {
	common := 0
	for _, s := range servers {
		common = gcd(s.Weight, common)
	}
	weights = make([]int, len(servers))
	for i, s := range servers {
		weights[i] = s.Weight / common
		sum += weights[i]
	}
	for sum > maxTurns && sum > len(servers) {
		sum = 0
		for i := range weights {
			weights[i] = (weights[i] + 1) / 2
			sum += weights[i]
		}
	}
	return weights, sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// queue is a heap of servers (their numbers in weights and done), the one whose current window ends first on top.
type queue struct {
	servers []int
	weights []int
	done    []int // turns given so far
}

func (q *queue) Len() int { return len(q.servers) }

func (q *queue) Less(i, j int) bool {
	a, b := q.servers[i], q.servers[j]
	ends, other := (q.done[a]+1)*q.weights[b], (q.done[b]+1)*q.weights[a]
	return ends < other || ends == other && a < b
}

func (q *queue) Swap(i, j int) { q.servers[i], q.servers[j] = q.servers[j], q.servers[i] }
func (q *queue) Push(s any)    { q.servers = append(q.servers, s.(int)) }

func (q *queue) Pop() any {
	last := len(q.servers) - 1
	s := q.servers[last]
	q.servers = q.servers[:last]
	return s
}
