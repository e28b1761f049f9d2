package load

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestUploadSendsWholeBodiesAndCountsWhatFails(t *testing.T) {
	t.Parallel()
	var bytes, served atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		bytes.Add(n)
		if served.Add(1) == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	r, err := Upload(t.Context(), s.Listener.Addr().String(), "/up", 4, 1000, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests < 4 || int64(r.Requests) != served.Load() || bytes.Load() != 1000*served.Load() {
		t.Errorf("%d requests seen, %d served, %d bytes", r.Requests, served.Load(), bytes.Load())
	}
	if r.Failed != 1 {
		t.Errorf("%d failed, want the one 503", r.Failed)
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.Elapsed < 50*time.Millisecond {
		t.Errorf("times %+v", r)
	}
}

func TestUploadOpensAConnectionAnewWhenTheServerClosesIt(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Connection", "close")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	r, err := Upload(t.Context(), s.Listener.Addr().String(), "/", 1, 10, 50*time.Millisecond)
	if err != nil || r.Failed != 0 || r.Requests < 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := opened.Load(); n < int64(r.Requests) {
		t.Errorf("%d requests over %d connections, each of which the server closed", r.Requests, n)
	}
}

func TestHoldKeepsEveryConnectionOpenUntilReleased(t *testing.T) {
	t.Parallel()
	var idle, closed atomic.Int64
	gone := make(chan struct{})
	const n = 40
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateIdle:
			idle.Add(1)
		case http.StateClosed:
			if closed.Add(1) == n {
				close(gone)
			}
		}
	}
	s.Start()
	defer s.Close()
	release, err := Hold(t.Context(), s.Listener.Addr().String(), "/", n)
	if err != nil {
		t.Fatal(err)
	}
	if closed.Load() != 0 {
		t.Errorf("%d connections closed while held", closed.Load())
	}
	release()
	<-gone
	if idle.Load() != n {
		t.Errorf("%d connections did their one request, want %d", idle.Load(), n)
	}
}

func TestHoldRefusesAServerThatDoesNotAnswerWell(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if release, err := Hold(t.Context(), s.Listener.Addr().String(), "/", 3); err == nil {
		release()
		t.Error("404 on every connection was taken for well held")
	}
}
