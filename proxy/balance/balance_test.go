package balance_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/approovia/edge/proxy/balance"
)

func idle(int) int64 { return 0 }

func weights(w ...int) []balance.Weight {
	list := make([]balance.Weight, len(w))
	for i := range w {
		list[i] = balance.Weight{Index: i, Weight: w[i]}
	}
	return list
}

// Conformance: what Picker promises, of every row of the table.
func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, a := range balance.Algorithms {
		t.Run(a.Name, func(t *testing.T) {
			if a.Doc == "" || names[a.Name] {
				t.Errorf("%q has no description or occurs twice", a.Name)
			}
			names[a.Name] = true
			if found, ok := balance.Find(a.Name); !ok || found.Name != a.Name {
				t.Errorf("Find(%q) = %q, %v", a.Name, found.Name, ok)
			}
			p := a.New(idle)
			if got := p.Pick(0, nil); got != -1 {
				t.Errorf("before the first Update: picked %d", got)
			}
			p.Update(nil)
			if got := p.Pick(0, nil); got != -1 {
				t.Errorf("with no server: picked %d", got)
			}
			p.Update([]balance.Weight{{Index: 7, Weight: 0}, {Index: 3, Weight: 2}, {Index: 900, Weight: 256}})
			for range 2000 {
				if got := p.Pick(0, func(i int) bool { return i == 900 }); got != 3 {
					t.Fatalf("server 900 refused, 7 without weight: picked %d, want 3", got)
				}
				if got := p.Pick(0, func(i int) bool { return i == 3 }); got != 900 {
					t.Fatalf("server 3 refused: picked %d, want 900", got)
				}
				if got := p.Pick(0, func(int) bool { return true }); got != -1 {
					t.Fatalf("all refused: picked %d", got)
				}
			}
			p.Update(weights(1))
			if got := p.Pick(0, nil); got != 0 {
				t.Errorf("after an Update to server 0 alone: picked %d", got)
			}
			p.Update(nil)
			if got := p.Pick(0, nil); got != -1 {
				t.Errorf("after all servers left: picked %d", got)
			}
		})
	}
	if _, ok := balance.Find("leastcon"); ok {
		t.Error("Find took an unknown name")
	}
}

func TestEveryAlgorithmPicksWithoutAllocating(t *testing.T) {
	for _, a := range balance.Algorithms {
		p := a.New(idle)
		p.Update(weights(1, 200, 3, 4))
		refuse := func(i int) bool { return i == 1 }
		if n := testing.AllocsPerRun(1000, func() { p.Pick(1, nil); p.Pick(2, refuse) }); n != 0 {
			t.Errorf("%s: %v allocations for two picks", a.Name, n)
		}
	}
}

// Picks race with Updates between two sets that share no server; every pick must come from one of them.
func TestEveryAlgorithmIsSafeWhileServersChange(t *testing.T) {
	t.Parallel()
	for _, a := range balance.Algorithms {
		t.Run(a.Name, func(t *testing.T) {
			var load [8]atomic.Int64
			p := a.New(func(i int) int64 { return load[i].Load() })
			even := []balance.Weight{{0, 1}, {2, 20}, {4, 3}, {6, 1}}
			odd := []balance.Weight{{1, 5}, {3, 1}}
			p.Update(even)
			var pickers, updater sync.WaitGroup
			var stop atomic.Bool
			updater.Go(func() {
				for i := 0; !stop.Load(); i++ {
					if i%2 == 0 {
						p.Update(odd)
					} else {
						p.Update(even)
					}
				}
			})
			for range 4 {
				pickers.Go(func() {
					for n := range 20000 {
						i := p.Pick(uint64(n), func(i int) bool { return i == 2 })
						if i < 0 || i > 6 || i == 2 || i == 5 {
							t.Errorf("picked %d", i)
							return
						}
						load[i].Add(1)
						load[i].Add(-1)
					}
				})
			}
			pickers.Wait()
			stop.Store(true)
			updater.Wait()
		})
	}
}

func TestRoundRobinInterleaves(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ weights, want []int }{
		{[]int{1, 1, 1}, []int{0, 1, 2}},
		{[]int{7, 7}, []int{0, 1}},
		{[]int{256}, []int{0}},
		{[]int{2, 1}, []int{0, 0, 1}},
		{[]int{3, 2, 1}, []int{0, 1, 0, 1, 0, 2}},
		{[]int{50, 10, 10}, []int{0, 0, 0, 1, 0, 0, 2}},
	} {
		r := balance.NewRoundRobin()
		r.Update(weights(row.weights...))
		for round := range 3 {
			got := []int{}
			for range row.want {
				got = append(got, r.Pick(0, nil))
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("weights %v, round %d: %v, want %v", row.weights, round, got, row.want)
			}
		}
	}
}

// After any number of picks from the start of the rotation, each server is less than one pick away from its exact share; from
// anywhere else, less than two.
func TestRoundRobinNeverStraysFromTheShares(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	sets := [][]balance.Weight{weights(append([]int{100}, slices.Repeat([]int{1}, 100)...)...), weights(256, 255, 1), weights(13, 1, 1, 1, 1)}
	for range 30 {
		set := make([]balance.Weight, 1+random.IntN(40))
		for i := range set {
			set[i] = balance.Weight{Index: i, Weight: 1 + random.IntN(256)}
		}
		sets = append(sets, set)
	}
	for _, set := range sets {
		sum := 0
		for _, s := range set {
			sum += s.Weight
		}
		r := balance.NewRoundRobin()
		r.Update(set)
		count := make([]int, len(set))
		for n := 1; n <= 2*sum; n++ {
			count[r.Pick(0, nil)]++
			for _, s := range set {
				if off := count[s.Index]*sum - n*s.Weight; off >= sum || off <= -sum {
					t.Fatalf("weights %v: after %d picks server %d was picked %d times", set, n, s.Index, count[s.Index])
				}
			}
		}
	}
}

func TestRoundRobinIsExactWhenManyLoopsPick(t *testing.T) {
	t.Parallel()
	set := weights(5, 3, 2, 90)
	r := balance.NewRoundRobin()
	r.Update(set)
	for range 17 { // begin anywhere in the rotation
		r.Pick(0, nil)
	}
	var count [4]atomic.Int64
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			for range 25 * 100 {
				count[r.Pick(0, nil)].Add(1)
			}
		})
	}
	loops.Wait()
	for i, s := range set {
		if got, want := count[i].Load(), int64(100*s.Weight); got != want {
			t.Errorf("server %d: %d picks, want exactly %d", i, got, want)
		}
	}
}

// A refused server's share goes to the others by their weights, not to the one that follows it.
func TestRoundRobinSharesOutWhatARefusedServerWouldHaveHad(t *testing.T) {
	t.Parallel()
	for _, set := range [][]balance.Weight{weights(1, 1, 1, 1), weights(4, 2, 1, 1), weights(256, 3, 2, 1)} {
		r := balance.NewRoundRobin()
		r.Update(set)
		rest := 0
		for _, s := range set[1:] {
			rest += s.Weight
		}
		count := make([]int, len(set))
		for range 1000 * rest {
			count[r.Pick(0, func(i int) bool { return i == 0 })]++
		}
		for _, s := range set[1:] {
			if off := count[s.Index] - 1000*s.Weight; off < -10 || off > 10 {
				t.Errorf("weights %v without server 0: server %d got %d picks, want %d", set, s.Index, count[s.Index], 1000*s.Weight)
			}
		}
	}
}

// A check that flaps makes an Update before every pick; the servers still share the traffic.
func TestRoundRobinGoesOnWhereItWasAfterAnUpdate(t *testing.T) {
	t.Parallel()
	r := balance.NewRoundRobin()
	count := make([]int, 5)
	for n := range 6000 {
		if n%3 == 0 {
			r.Update(weights(1, 1, 1, 1))
		} else {
			r.Update(weights(1, 1, 1, 1, 1))
		}
		count[r.Pick(0, nil)]++
	}
	for i, n := range count[:4] {
		if n < 900 || n > 1800 {
			t.Errorf("server %d got %d of 6000 picks: %v", i, n, count)
		}
	}
	same := balance.NewRoundRobin()
	for n := range 100 {
		same.Update(weights(1, 1, 1))
		if got := same.Pick(0, nil); got != n%3 {
			t.Fatalf("pick %d after an Update that changed nothing: server %d", n, got)
		}
	}
}

func TestRoundRobinBoundsTheRotationOfAVeryLargeFarm(t *testing.T) {
	t.Parallel()
	const servers = 6000
	set := make([]balance.Weight, servers)
	for i := range set {
		set[i] = balance.Weight{Index: i, Weight: 255 + i%2}
	}
	r := balance.NewRoundRobin()
	r.Update(set)
	count := make([]int, servers)
	for range servers * 128 { // 255 and 256 both become 128, and so 1: all have the same share
		count[r.Pick(0, nil)]++
	}
	for i, n := range count {
		if n < 127 || n > 129 {
			t.Fatalf("server %d got %d picks, want 128", i, n)
		}
	}
}

func TestLeastConnWeighsTheLoad(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name          string
		weights, load []int
		want          int
	}{
		{"fewest", []int{1, 1, 1}, []int{3, 1, 2}, 1},
		{"an idle one before all", []int{256, 1}, []int{1, 0}, 1},
		{"half the weight, half the load", []int{2, 1}, []int{4, 2}, 0},
		{"heavier takes more", []int{1, 10}, []int{1, 8}, 1},
		{"until it has its share", []int{1, 10}, []int{1, 20}, 0},
		{"a load below zero is none", []int{1, 1}, []int{1, -1}, 1},
	} {
		l := balance.NewLeastConn(func(i int) int64 { return int64(row.load[i]) })
		l.Update(weights(row.weights...))
		if got := l.Pick(0, nil); got != row.want {
			t.Errorf("%s: picked %d, want %d", row.name, got, row.want)
		}
	}
}

func TestLeastConnTakesEqualsInRotation(t *testing.T) {
	t.Parallel()
	load := []int64{5, 0, 0, 5, 0, 0}
	l := balance.NewLeastConn(func(i int) int64 { return load[i] })
	l.Update(weights(1, 1, 9, 1, 1, 1))
	for n := range 40 {
		if got, want := l.Pick(0, nil), []int{1, 2, 4, 5}[n%4]; got != want {
			t.Fatalf("pick %d: server %d, want %d", n, got, want)
		}
	}
	l.Update(weights(1, 1, 1, 1, 1)) // server 5 leaves: 1 is still the one that has waited longest
	for n := range 30 {
		if got, want := l.Pick(0, nil), []int{1, 2, 4}[n%3]; got != want {
			t.Fatalf("pick %d after the Update: server %d, want %d", n, got, want)
		}
	}
}

func TestLeastConnSpreadsHeldRequestsByWeight(t *testing.T) {
	t.Parallel()
	var load [3]int64
	l := balance.NewLeastConn(func(i int) int64 { return load[i] })
	l.Update(weights(10, 20, 30))
	for range 600 {
		load[l.Pick(0, nil)]++
	}
	for i, want := range []int64{100, 200, 300} {
		if off := load[i] - want; off < -2 || off > 2 {
			t.Errorf("server %d holds %d requests, want %d", i, load[i], want)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, a := range balance.Algorithms {
		for _, n := range []int{3, 100} {
			p := a.New(idle)
			p.Update(weights(slices.Repeat([]int{1, 2}, (n+1)/2)...))
			b.Run(a.Name+"/"+map[int]string{3: "3-servers", 100: "100-servers"}[n], func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						p.Pick(0, nil)
					}
				})
			})
		}
	}
}

func BenchmarkRoundRobinUpdate(b *testing.B) {
	set := weights(slices.Repeat([]int{255, 256, 1, 7}, 250)...)
	other := weights(slices.Repeat([]int{255, 256, 1, 9}, 250)...)
	r := balance.NewRoundRobin()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			r.Update(set)
		} else {
			r.Update(other)
		}
	}
}
