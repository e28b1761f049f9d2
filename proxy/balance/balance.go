// Package balance answers which of a backend's servers takes the next request. It sees indices, weights and loads; what a server
// is, whether it is up and what it is called are not its business: whoever knows tells it by Update which servers are eligible.
package balance

import (
	"cmp"
	"slices"
)

// Picker chooses a server by its index. All methods may be called by several goroutines and event loops at once; Pick does not
// allocate and takes no lock.
type Picker interface {
	// Pick returns the index of the server to use, or -1 when none may be used. The key is the hash of whatever the algorithm
	// hashes; the algorithms that hash nothing ignore it. skip(i) says that server i must not be used this time (it is full,
	// or was tried before); a nil skip refuses none. It may be asked more than once about one server.
	Pick(key uint64, skip func(i int) bool) int

	// Update replaces the servers that may be picked. Picks that run meanwhile see the servers from before or those from
	// after, whole. The slice is not kept.
	Update(eligible []Weight)
}

// Weight gives an eligible server its share. A server that is not listed gets nothing.
type Weight struct {
	Index  int // 0 or more, each at most once
	Weight int // 1 to 256; below 1 the server gets nothing
}

// Algorithm is one row of the table of balance algorithms.
type Algorithm struct {
	Name string
	Doc  string
	// New builds the picker of one backend, with no server in it. load(i) is the number of requests that server i has at hand,
	// being served and queued; it is asked during Pick, by several goroutines at once.
	New func(load func(i int) int64) Picker
}

// Algorithms is every name that `balance` accepts.
var Algorithms = []Algorithm{
	{
		Name: "roundrobin",
		Doc:  "Each server in its turn, as often as its weight says, the turns of one server spread evenly over the rotation.",
		New:  func(func(int) int64) Picker { return NewRoundRobin() },
	},
	{
		Name: "leastconn",
		Doc:  "The server with the fewest requests at hand for its weight; among equals the one whose turn was longest ago.",
		New:  func(load func(int) int64) Picker { return NewLeastConn(load) },
	},
}

// Find returns the algorithm of that name.
func Find(name string) (Algorithm, bool) {
	for _, a := range Algorithms {
		if a.Name == name {
			return a, true
		}
	}
	return Algorithm{}, false
}

// normal is the list of eligible servers as the pickers keep it: in order of index, so that equal lists compare equal, and without
// those that get nothing.
func normal(eligible []Weight) []Weight {
	s := make([]Weight, 0, len(eligible))
	for _, w := range eligible {
		if w.Weight >= 1 {
			s = append(s, w)
		}
	}
	slices.SortFunc(s, func(a, b Weight) int { return cmp.Compare(a.Index, b.Index) })
	return s
}
