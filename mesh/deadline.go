package mesh

import (
	"sync"
	"time"
)

// deadline is a channel that is closed when a time has come, and can be set anew at any moment. A wait that began before
// sees the new time too.
type deadline struct {
	mu      sync.Mutex // guards the fields below
	timer   *time.Timer
	expired chan struct{}
}

func newDeadline() deadline { return deadline{expired: make(chan struct{})} }

// wait gives the channel that is closed when the time has come.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// set moves the time; zero means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.expired // the timer has begun to fire: let it finish
	}
	d.timer = nil
	fired := isDone(d.expired)
	if t.IsZero() {
		if fired {
			d.expired = make(chan struct{})
		}
		return
	}
	left := time.Until(t)
	if left <= 0 {
		if !fired {
			close(d.expired)
		}
		return
	}
	if fired {
		d.expired = make(chan struct{})
	}
	expired := d.expired
	d.timer = time.AfterFunc(left, func() { close(expired) })
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
