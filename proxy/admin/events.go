package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// heartbeat is how often a silent event stream says that it lives, so that a dead client is noticed.
	heartbeat = 15 * time.Second
	// writeLimit is how long a client may take to accept one event.
	writeLimit = 10 * time.Second
)

// events streams server-sent events (WHATWG HTML, section 9.2) until the client, the operator or the process ends it. The event
// field is the kind, id the event's number, data the event in JSON.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	feed := a.op.Events(r.Context())
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil { // the server's limit is for requests, and would end the context
		fail(w, fmt.Errorf("stream events: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(text []byte) bool {
		if c.SetWriteDeadline(time.Now().Add(writeLimit)) != nil {
			return false
		}
		_, err := w.Write(text)
		return err == nil && c.Flush() == nil
	}
	if !send([]byte(": listening\n\n")) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case e, open := <-feed:
			if !open {
				return
			}
			data, err := json.Marshal(e)
			if err != nil || !send(fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)) {
				return
			}
		case <-r.Context().Done():
			return
		case <-beat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		}
	}
}
