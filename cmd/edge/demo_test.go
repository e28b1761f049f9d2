package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheDemoEndsWithinASecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("edge", "demo", "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, quickExit)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }() // if it has not ended by then
	address := ""
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if _, url, ok := strings.Cut(lines.Text(), "curl -i "); ok && address == "" {
			address = strings.Fields(url)[0]
		}
	}
	// A connection that stays open must not hold it up.
	client := &http.Client{Timeout: patience}
	a, err := fetch(context.Background(), client, address)
	if err != nil || a.body != "Hello from A" {
		t.Errorf("%s: %+v, %v", address, a, err)
	}
	begin := time.Now()
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_, err = io.Copy(io.Discard, stdout)
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %s to end", took)
	}
	if stderr.Len() > 0 {
		t.Errorf("it complained: %s", &stderr)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestADemoThatIsStoppedBeforeItServesEndsWell(t *testing.T) {
	t.Parallel()
	d, err := newDemo("127.0.0.1:0", io.Discard)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, d.Run(ctx, io.Discard, nil), d.Close())
}

func TestAReloadTakesAPeerAwayAndBringsItBackWhileTheOtherTunnelStands(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	d, err := newDemo("127.0.0.1:0", &stderr)
	must(t, err)
	defer func() { must(t, d.Close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	introduced, stdout := io.Pipe()
	go func() { ended <- d.Run(ctx, stdout, nil) }()
	defer func() {
		cancel()
		must(t, introduced.Close(), <-ended)
	}()
	if _, err := introduced.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, introduced) }() // until it is closed
	whole, err := os.ReadFile(d.config())
	must(t, err)
	without := regexp.MustCompile(`(?m)^ +vm3: .*(8001|public_key.*)\n`).ReplaceAllString(string(whole), "")
	without = strings.Replace(without, "vm3: 10.0.0.13:8002", "vm2: 10.0.0.12:8002", 1) // nobody listens there
	shook := d.edge.Mesh().Peers[0].LastHandshake

	put(t, without, d.config())
	r, err := d.edge.Reload(ctx)
	must(t, err)
	if m := d.edge.Mesh(); !r.OK || len(m.Peers) != 1 || m.Peers[0].Name != "vm2" || !m.Peers[0].LastHandshake.Equal(shook) {
		t.Fatalf("without vm3: %+v, %+v", r, m)
	}
	answers := func(node string) bool {
		a, err := fetch(ctx, http.DefaultClient, "http://"+d.address()+"/service-a")
		return err == nil && a.status == 200 && a.node == node
	}
	for range 4 {
		if !answers("vm2") {
			t.Error("vm2 does not answer alone")
		}
	}

	put(t, string(whole), d.config())
	r, err = d.edge.Reload(ctx)
	must(t, err)
	if m := d.edge.Mesh(); !r.OK || len(m.Peers) != 2 || !m.Peers[0].LastHandshake.Equal(shook) {
		t.Fatalf("with vm3 again: %+v, %+v", r, m)
	}
	if !await(func() bool { return answers("vm3") }) {
		t.Error("vm3 does not answer again")
	}
}
