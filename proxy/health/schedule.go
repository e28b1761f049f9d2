package health

import (
	"hash/fnv"
	"time"
)

// Schedule says how often a server is checked and how its results are counted. A value of 0 (or below) takes the default.
type Schedule struct {
	Interval time.Duration // from the start of one check to the start of the next; 2s
	Fast     time.Duration // the same while the server is between up and down; Interval
	Down     time.Duration // the same while it is down; Interval
	Timeout  time.Duration // of a whole check, connection and answer; Interval
	Rise     int           // successes in a row until up; 2
	Fall     int           // failures in a row until down; 3
}

// whole returns the schedule with its defaults, which are HAProxy's.
func (s Schedule) whole() Schedule {
	if s.Interval <= 0 {
		s.Interval = 2 * time.Second
	}
	for _, d := range []*time.Duration{&s.Fast, &s.Down, &s.Timeout} {
		if *d <= 0 {
			*d = s.Interval
		}
	}
	if s.Rise <= 0 {
		s.Rise = 2
	}
	if s.Fall <= 0 {
		s.Fall = 3
	}
	return s
}

// Pause is the time from the start of one check to the start of the next in a given state.
func (s Schedule) Pause(r Rise) time.Duration {
	s = s.whole()
	switch {
	case !r.Settled():
		return s.Fast
	case r.Up:
		return s.Interval
	}
	return s.Down
}

// offset is when within a pause a server of this name is checked first, so that a thousand servers configured at once are not
// checked at once. It is the same for the same name, always.
func offset(name string, pause time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	// FNV spreads poorly into its upper bits for names that differ in their last letters only; a multiplication mends that.
	const steps = 1 << 20
	n := h.Sum64() * 0x9e3779b97f4a7c15 >> 44
	return time.Duration(float64(pause) * float64(n) / steps)
}
