package health

// Rise says after how many results in a row a server changes sides: fall failures take it down, rise successes bring it up. A single
// contrary result begins the count anew. The zero value is a server that is down.
type Rise struct {
	Up     bool
	Streak int // results in a row that speak against Up
}

// Init is how a server begins, before its first check.
type Init uint8

// The beginnings, by HAProxy's names for init-state.
const (
	InitUp        Init = iota // "up", the default: up, but the first failure takes it down
	InitFullyUp               // "fully-up": up, and down only after fall failures
	InitDown                  // "down": down, but the first success brings it up
	InitFullyDown             // "fully-down": down, and up only after rise successes
)

// NewRise returns the state before the first check.
func NewRise(i Init, s Schedule) Rise {
	s = s.whole()
	switch i {
	case InitFullyUp:
		return Rise{Up: true}
	case InitDown:
		return Rise{Streak: s.Rise - 1}
	case InitFullyDown:
		return Rise{}
	}
	return Rise{Up: true, Streak: s.Fall - 1}
}

// Count takes in a result and says whether it made the server change sides. After a change of the schedule the streak so far counts
// against the new numbers.
func (r *Rise) Count(ok bool, s Schedule) (changed bool) {
	s = s.whole()
	if ok == r.Up {
		r.Streak = 0
		return false
	}
	need := s.Rise
	if r.Up {
		need = s.Fall
	}
	if r.Streak++; r.Streak < need {
		return false
	}
	r.Up, r.Streak = !r.Up, 0
	return true
}

// Settled says that nothing speaks against the state the server is in.
func (r Rise) Settled() bool { return r.Streak == 0 }
