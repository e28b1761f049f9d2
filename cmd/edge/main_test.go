package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/admin"
	"github.com/spf13/cobra"
)

func TestEveryCommandHasHelpAndAnExampleAndJSONWhereItPrintsData(t *testing.T) {
	t.Parallel()
	noData := map[string]bool{"edge run": true, "edge schema": true} // the schema is JSON
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no help", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() {
			return
		}
		seen++
		if !strings.HasPrefix(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s has no example of itself: %q", c.CommandPath(), c.Example)
		}
		if has := c.Flags().Lookup("json") != nil; has == noData[c.CommandPath()] {
			t.Errorf("%s: --json: %t", c.CommandPath(), has)
		}
	}
	walk(commands())
	if seen < 15 {
		t.Errorf("only %d commands were found", seen)
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-finish
	}))
	defer origin.Close()
	defer close(finish)
	dir := t.TempDir()
	text := "global: {admin: 'unix:admin.sock', log: {access: off}}\n" + strings.Replace(plainConfig, "127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"), 1)
	cmd := exec.Command("edge", "run", "-c", put(t, text, dir, "edge.yaml"), "--drain", "1h")
	cmd.Env = append(os.Environ(), quickExit)
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its state is looked at below
	}()
	defer func() { _ = cmd.Process.Kill() }() // if it has not ended by then

	client, err := admin.Dial("unix:" + filepath.Join(dir, "admin.sock"))
	must(t, err)
	defer client.Close()
	ctx := context.Background()
	address := ""
	if !await(func() bool {
		r, err := client.Report(ctx)
		if err == nil {
			address = r.Frontends[0].Binds[0]
		}
		return err == nil
	}) {
		t.Fatal("it never serves")
	}
	go func() {
		if res, err := http.Get("http://" + address); err == nil { // it is cut
			res.Body.Close()
		}
	}()
	<-arrived
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if !await(func() bool { s, err := client.Status(ctx); return err == nil && s.Draining }) {
		t.Fatal("it does not drain")
	}
	select {
	case <-ended:
		t.Fatalf("it has not waited for the request: %s", cmd.ProcessState)
	default:
	}
	if !await(func() bool {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it fails when the process has ended
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}) {
		t.Fatal("it does not end")
	}
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("ended otherwise: %s", cmd.ProcessState)
	}
}

func TestDurationsAndBytesReadWell(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		51234 * time.Microsecond: "51ms", 2345 * time.Millisecond: "2.3s", 61 * time.Second: "1m1s",
		3*time.Hour + 2*time.Minute + time.Second: "3h2m", 50 * time.Hour: "2d2h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, wanted %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 63: "8.0 EiB"} {
		if got := bytesOf(n); got != want {
			t.Errorf("%d: %s, wanted %s", n, got, want)
		}
	}
}
