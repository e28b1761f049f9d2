package control

import (
	"context"
	"sync"
	"time"
)

// Event is something an operator may want to know at once.
type Event struct {
	ID      uint64        `json:"id"` // grows by one with each event of a process
	At      time.Time     `json:"at"`
	Kind    EventKind     `json:"kind"`
	Backend string        `json:"backend,omitempty"` // for ServerEvent
	Server  string        `json:"server,omitempty"`
	Status  ServerStatus  `json:"status,omitempty"` // the new one
	Reload  *ReloadResult `json:"reload,omitempty"` // for ReloadEvent
	Text    string        `json:"text"`             // the same in words
}

// EventKind tells what an event is about.
type EventKind string

// The kinds of event.
const (
	ServerEvent EventKind = "server" // a server changed its status, weight or address
	ReloadEvent EventKind = "reload" // the configuration was loaded again, or refused
	DrainEvent  EventKind = "drain"  // the process began to end
)

// backlog is how many events a reader may be behind.
const backlog = 256

// Feed hands events to whoever listens. The zero value is ready; all methods may be called from any goroutine.
type Feed struct {
	mu      sync.Mutex
	last    uint64
	readers map[chan Event]struct{}
}

// Publish numbers the event, dates it if it has no date, and hands it to every reader. It never waits: the channel of a reader that is
// too far behind is closed.
func (f *Feed) Publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e.ID = f.last
	if e.At.IsZero() {
		e.At = time.Now()
	}
	for c := range f.readers {
		select {
		case c <- e:
		default:
			delete(f.readers, c)
			close(c)
		}
	}
}

// Subscribe returns the events from now on, until ctx is done or the reader has fallen 256 events behind; then the channel is closed.
func (f *Feed) Subscribe(ctx context.Context) <-chan Event {
	c := make(chan Event, backlog)
	f.mu.Lock()
	if f.readers == nil {
		f.readers = map[chan Event]struct{}{}
	}
	f.readers[c] = struct{}{}
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, open := f.readers[c]; open {
			delete(f.readers, c)
			close(c)
		}
	})
	return c
}
