package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// output may be looked at while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *output) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *output) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestADrainWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-finish
	}))
	defer origin.Close()
	dir := t.TempDir()
	text := "global: {admin: 'unix:admin.sock', log: {access: off}}\n" + strings.Replace(plainConfig, "127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"), 1)
	d, _ := running(t, put(t, text, dir, "edge.yaml"), nil)
	socket := "unix:" + filepath.Join(dir, "admin.sock")
	ctx := context.Background()
	answers := make(chan answer, 1)
	go func() {
		a, _ := fetch(ctx, http.DefaultClient, web(d)) // an error is an empty answer
		answers <- a
	}()
	<-arrived

	// The time is up before the request has ended.
	var stdout, stderr output
	if status := edge(ctx, []string{"server", "drain", "app/one", "--timeout", "1ms", "--admin", socket}, &stdout, &stderr); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if want := "edge: app/one is not empty after 1ms\n"; !strings.HasSuffix(stderr.String(), want) {
		t.Errorf("%q does not end in %q", stderr.String(), want)
	}
	if want := "app/one: drain, 1 requests and 0 tunnels in flight\n"; stdout.String() != want {
		t.Errorf("%q instead of %q", stdout.String(), want)
	}

	// Who does not want to wait is told what is left.
	stdout, stderr = output{}, output{}
	if status := edge(ctx, []string{"server", "drain", "app/one", "--timeout", "0s", "--json", "--admin", socket}, &stdout, &stderr); status != exitOK {
		t.Errorf("status %d: %s", status, stderr.String())
	}
	if !strings.Contains(stdout.String(), `"http": 1`) {
		t.Errorf("%s", stdout.String())
	}

	// It waits, and tells what for.
	var out, progress output
	status := make(chan int, 1)
	go func() {
		status <- edge(ctx, []string{"server", "drain", "app/one", "--timeout", "1h", "--admin", socket}, &out, &progress)
	}()
	if !await(func() bool { return progress.String() == "app/one: 1 requests and 0 tunnels in flight\n" }) {
		t.Errorf("progress: %q", progress.String())
	}
	close(finish)
	if a := <-answers; a.status != 200 {
		t.Errorf("the request in flight: %+v", a)
	}
	if got := <-status; got != exitOK || out.String() != "app/one: drain, nothing in flight\n" {
		t.Errorf("status %d: %q", got, out.String())
	}
}
